"""Runs of the manager under a script of calls, cancellations and failures, turn by turn of the event loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint
from attrs import frozen
from hypothesis import strategies as st

from anydeploy import DeploymentConfig
from anydeploy.testing import Caller, Recorded, Rule, Script, Violation, recorded, unit

#: The graphs of up to three deployments, by what each depends on; dependencies first.
GRAPHS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "one": {"a": ()},
    "stack": {"a": (), "b": ("a",)},
    "chain": {"a": (), "b": ("a",), "c": ("b",)},
    "fork": {"a": (), "b": ("a",), "c": ("a",)},
    "join": {"a": (), "b": (), "c": ("a", "b")},
    "triangle": {"a": (), "b": ("a",), "c": ("a", "b")},
}


def units(graph: str) -> list[DeploymentConfig]:
    return [unit(name, *below) for name, below in GRAPHS[graph].items()]


@frozen
class Act:
    """The next thing that happens.

    :ivar which: chooses among the names, the waiting callers or the running operations that there are
    :ivar turns: of the event loop before the next act
    """

    what: str
    which: int = 0
    turns: int = 3


#: Any act. A cancellation is made through the scope, by a deadline, or as native asyncio makes it.
acts = st.builds(
    Act,
    st.sampled_from(
        ["deploy"] * 4
        + ["undeploy"] * 3
        + ["end"] * 5
        + ["fail"] * 2
        + ["scope", "deadline", "native", "use", "undeploy_all", "close", "build fails"]
    ),
    st.integers(0, 5),
    st.integers(0, 6),
)


def play(
    backend: str,
    configs: Sequence[DeploymentConfig],
    script: Sequence[Act],
    rules: Sequence[Rule],
    limit: int | None = None,
    *,
    checked: bool = True,
) -> Script:
    """Play the acts, and then close the manager. Every name is read at every turn.

    :param checked: whether a violation of a rule is raised
    """

    async def main() -> Script:
        told = Script(*configs, rules=lambda: rules, holding=True, max_concurrent=limit)
        with anyio.fail_after(30), suppress(*([] if checked else [BaseExceptionGroup, Violation])):
            async with anyio.create_task_group() as tasks, recorded(told) as manager:
                callers: list[Caller] = []
                try:
                    for act in script:
                        _happens(act, told, manager, callers, tasks)
                        for _ in range(act.turns):
                            manager.read()
                            await checkpoint()
                finally:
                    told.let_go()
                callers.append(manager.start(tasks, "close"))
                while any(caller.outcome is None for caller in callers):
                    manager.read()
                    await checkpoint()
                manager.read()
        return told

    return anyio.run(main, backend=backend)


def _happens(act: Act, script: Script, manager: Recorded, callers: list[Caller], tasks: TaskGroup) -> None:
    def one_of(choices: Sequence[str]) -> str:
        return choices[act.which % len(choices)]

    names = list(script.premises.configs)
    waiting = [caller for caller in callers if caller.outcome is None]
    usable = [name for name in sorted(script.history.picture.armed) if manager.manager.get_connector(name)]
    match act.what:
        case "deploy" | "undeploy":
            callers.append(manager.start(tasks, act.what, one_of(names)))
        case "undeploy_all" | "close":
            callers.append(manager.start(tasks, act.what))
        case "use":
            callers += [manager.start(tasks, "use", one_of(usable))] if usable else []
        case "build fails":
            script.fail_constructor(one_of(names))
        case "scope" | "deadline" | "native":
            for caller in waiting[act.which % len(waiting) :][:1] if waiting else ():
                caller.cancel(act.what)
        case _ if script.operations:
            plan = script.operations[act.which % len(script.operations)].plan
            plan.release() if act.what == "end" else plan.fail()
        case _:
            pass
