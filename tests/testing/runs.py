"""Runs of the manager under a script of calls, cancellations and failures, turn by turn of the event loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint
from attrs import frozen

from anydeploy.testing import Caller, Recorded, Rule, Script, Violation, unit

#: The graphs of up to three deployments, by what each depends on; dependencies first.
GRAPHS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "one": {"a": ()},
    "stack": {"a": (), "b": ("a",)},
    "chain": {"a": (), "b": ("a",), "c": ("b",)},
    "fork": {"a": (), "b": ("a",), "c": ("a",)},
    "join": {"a": (), "b": (), "c": ("a", "b")},
    "triangle": {"a": (), "b": ("a",), "c": ("a", "b")},
}


@frozen
class Act:
    """What happens next: ``which`` chooses among the names, waiting callers or running operations there are.

    :ivar turns: of the event loop before the next
    """

    what: str
    which: int = 0
    turns: int = 3


def play(
    backend: str,
    graph: str,
    acts: Sequence[Act],
    rules: Sequence[Rule],
    limit: int | None = None,
    *,
    checked: bool = True,
) -> Script:
    """Let it all happen, and then the manager be closed. Every name is read at every turn.

    :param checked: whether what a rule finds is raised
    """

    async def main() -> Script:
        configs = [unit(name, *below) for name, below in GRAPHS[graph].items()]
        script = Script(*configs, rules=lambda: rules, holding=True, max_concurrent=limit)
        with anyio.fail_after(30), suppress(*([] if checked else [BaseExceptionGroup, Violation])):
            async with anyio.create_task_group() as tasks, script.manager() as manager:
                callers: list[Caller] = []
                try:
                    for act in acts:
                        _happens(act, script, manager, callers, tasks)
                        for _ in range(act.turns):
                            manager.read()
                            await checkpoint()
                finally:
                    script.let_go()
                callers.append(manager.start(tasks, "close"))
                while any(caller.outcome is None for caller in callers):
                    manager.read()
                    await checkpoint()
                manager.read()
        return script

    return anyio.run(main, backend=backend)


def _happens(act: Act, script: Script, manager: Recorded, callers: list[Caller], tasks: TaskGroup) -> None:
    names = list(script.premises.configs)
    match act.what:
        case "deploy" | "undeploy":
            callers.append(manager.start(tasks, act.what, names[act.which % len(names)]))
        case "undeploy_all" | "close":
            callers.append(manager.start(tasks, act.what))
        case "build fails":
            script.fail_constructor(names[act.which % len(names)])
        case "cancel":
            waiting = [caller for caller in callers if caller.outcome is None]
            if waiting:
                waiting[act.which % len(waiting)].cancel()
        case _ if script.operations:
            plan = script.operations[act.which % len(script.operations)].plan
            plan.release() if act.what == "end" else plan.fail()
