"""Runs of the manager under a script of calls, cancellations and failures, recorded entry by entry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import anyio
from anyio.lowlevel import checkpoint
from attrs import define, field, frozen

from anydeploy import Connector, DefaultDeploymentManager, DeploymentConfig, WorkflowDefinitionException
from anydeploy.testing.history import Entry, History, What

#: The graphs of up to three deployments, by what each depends on.
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
    """What the script does next: ``which`` chooses among the names, open calls or running operations there are.

    :ivar turns: of the event loop before the next
    """

    what: str
    which: int = 0
    turns: int = 3


@define(eq=False)
class Run:
    """One manager, its connectors and its callers, and the history of what they do."""

    dependencies: Mapping[str, Sequence[str]]
    #: Whether operations end by themselves, and not when told.
    swift: bool = False
    options: dict[str, Any] = field(factory=dict)
    history: History = field(init=False)
    built: dict[str, list[Connector]] = field(factory=dict)
    #: Operations that wait to be told how to end: whether to fail.
    running: list[list[bool]] = field(factory=list)
    open: dict[int, anyio.CancelScope] = field(factory=dict)
    doomed: set[str] = field(factory=set)
    calls: int = 0

    def play(self, backend: str, script: Sequence[Act], **backend_options: Any) -> list[Entry]:
        anyio.run(self._play, script, backend=backend, backend_options=backend_options)
        return self.history.entries

    async def _play(self, script: Sequence[Act]) -> None:
        kind = _connector_type(self)
        configs = [DeploymentConfig(name, "recorded", depends_on=below) for name, below in self.dependencies.items()]
        self.history = History(configs)
        manager = DefaultDeploymentManager(configs, connector_types={"recorded": kind}, **self.options)
        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks, manager:
                for act in script:
                    self._act(act, tasks, manager)
                    for _ in range(act.turns):
                        self._read_all(manager)
                        await checkpoint()
                self.swift = True
                self._start("close", "", tasks, manager)
                while self.open:
                    await self._go_on(manager)
                self._read_all(manager)

    async def _go_on(self, manager: DefaultDeploymentManager) -> None:
        for told in self.running:
            told or told.append(False)
        self._read_all(manager)
        await checkpoint()

    # -- What the script does ----------------------------------------------------------------------------------------

    def _act(self, act: Act, tasks: Any, manager: Any) -> None:
        names = list(self.dependencies)
        match act.what:
            case "deploy" | "undeploy":
                self._start(act.what, names[act.which % len(names)], tasks, manager)
            case "undeploy_all" | "close":
                self._start(act.what, "", tasks, manager)
            case "build fails":
                self.doomed.add(names[act.which % len(names)])
            case "cancel":
                if self.open:
                    caller = list(self.open)[act.which % len(self.open)]
                    self._ask(caller)
            case "end" | "fail":
                waiting = [told for told in self.running if not told]
                if waiting:
                    waiting[act.which % len(waiting)].append(act.what == "fail")

    def _ask(self, caller: int) -> None:
        called = [e for e in self.history.entries if e.what is What.CALLED and e.caller == caller]
        for entry in called:
            self.history.record(What.ASKED, entry.operation, entry.name, caller=caller)
        self.open[caller].cancel()

    def _start(self, operation: str, name: str, tasks: Any, manager: Any) -> None:
        self.calls += 1
        self.open[self.calls] = anyio.CancelScope()
        tasks.start_soon(self._call, self.calls, operation, name, manager)

    async def _call(self, caller: int, operation: str, name: str, manager: DefaultDeploymentManager) -> None:
        outcome, error = What.GAVE_UP, None
        with self.open[caller]:
            self.history.record(What.CALLED, operation, name, caller=caller)
            try:
                await getattr(manager, operation)(*([name] if name else []))
                outcome = What.RETURNED
            except Exception as exc:
                outcome, error = What.RAISED, exc
            finally:
                refused = isinstance(error, WorkflowDefinitionException)
                self.history.record(outcome, operation, name, caller=caller, error=error, refused=refused)
                del self.open[caller]
                self._read_all(manager)

    def _read_all(self, manager: DefaultDeploymentManager) -> None:
        for name in self.dependencies:
            shown = manager.get_connector(name)
            number = 0 if shown is None else self.built[name].index(shown) + 1
            self.history.record(What.READ, "get_connector", name, instance=number)

    # -- What the connectors do --------------------------------------------------------------------------------------

    def construct(self, connector: Connector) -> int:
        name = connector.deployment_name
        if name in self.doomed:
            self.doomed.remove(name)
            self.history.record(What.FAILED, "build", name, error=OSError("as told"))
            raise OSError("as told")
        self.built.setdefault(name, []).append(connector)
        number = len(self.built[name])
        self.history.record(What.BUILT, "build", name, instance=number)
        return number

    async def operate(self, operation: str, name: str, number: int) -> None:
        self.history.record(What.BEGAN, operation, name, instance=number)
        outcome, told = What.CANCELLED, list[bool]()
        self.running.append(told)
        try:
            await checkpoint()
            while not self.swift and not told:
                await checkpoint()
            if True in told:
                outcome = What.FAILED
                raise OSError("as told")
            outcome = What.ENDED
        finally:
            self.running.remove(told)
            self.history.record(outcome, operation, name, instance=number)


def _connector_type(run: Run) -> type[Connector]:
    @define(kw_only=True, eq=False, slots=False)
    class Recorded(Connector):
        number: int = field(init=False, default=0)

        def __attrs_post_init__(self) -> None:
            self.number = run.construct(self)

        async def deploy(self, external: bool) -> None:
            await run.operate("deploy", self.deployment_name, self.number)

        async def undeploy(self, external: bool) -> None:
            await run.operate("undeploy", self.deployment_name, self.number)

    return Recorded
