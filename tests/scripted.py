"""A small world of scripted connectors: what each operation does is said before, and what it did is kept.

The world checks while it runs what no test should have to repeat: one instance of a name at a time (D2, D3), nothing
is deployed before its dependencies are live (D1), and nothing is undeployed under a live dependent (R3, U1).
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint
from attrs import define, field

from anydeploy import Connector, ConnectorWrapper, DefaultDeploymentManager, DeploymentConfig, DeploymentEvent


class ScriptedError(Exception):
    """What an operation raises that was told to fail."""


@define(eq=False)
class Plan:
    """What one operation is going to do."""

    error: BaseException | None = None
    #: Awaited in place of everything else.
    action: Callable[[Any], Awaitable[None]] | None = None
    held: bool = False
    #: Lets no cancellation through until it is released.
    deaf: bool = False
    #: Set when the operation has begun.
    reached: anyio.Event = field(factory=anyio.Event)
    _opened: anyio.Event = field(factory=anyio.Event)

    def release(self, error: BaseException | None = None) -> None:
        """Let it go on, to fail if there is an error."""
        self.error = error or self.error
        self._opened.set()

    async def play(self, connector: Any) -> None:
        self.reached.set()
        if self.action is not None:
            await self.action(connector)
        elif self.held:
            with anyio.CancelScope(shield=self.deaf):
                await self._opened.wait()
        else:
            await checkpoint()
        if self.error is not None:
            raise self.error


@define(eq=False)
class World:
    """Everything that scripted connectors share; makes the managers that they run under."""

    #: "deploy a", then "deployed a", "deploy failed a" or "deploy cancelled a"; likewise for "undeploy".
    history: list[str] = field(factory=list)
    #: By name, in the order in which they were constructed.
    instances: dict[str, list[Any]] = field(factory=dict)
    #: Names of environments that are there, wholly or in part.
    existing: dict[str, Any] = field(factory=dict)
    live: set[str] = field(factory=set)
    #: How many operations run, and the most that ever ran at once.
    running: int = 0
    most_running: int = 0
    violations: list[str] = field(factory=list)
    events: list[DeploymentEvent] = field(factory=list)
    #: What `external` was, by operation.
    external: dict[str, bool] = field(factory=dict)
    dependencies: dict[str, tuple[str, ...]] = field(factory=dict)
    _plans: dict[str, deque[Plan]] = field(factory=dict)
    _constructor_errors: dict[str, deque[BaseException]] = field(factory=dict)

    # -- The script --------------------------------------------------------------------------------------------------

    def plan(self, operation: str, **what: Any) -> Plan:
        """Say what the next operation (like "deploy a") does that has no plan yet."""
        plan = Plan(**what)
        self._plans.setdefault(operation, deque()).append(plan)
        return plan

    def hold(self, operation: str, **what: Any) -> Plan:
        return self.plan(operation, held=True, **what)

    def fail(self, operation: str, error: BaseException | None = None) -> BaseException:
        error = error or ScriptedError(f"{operation}: as told")
        self.plan(operation, error=error)
        return error

    def fail_constructor(self, name: str, error: BaseException) -> None:
        self._constructor_errors.setdefault(name, deque()).append(error)

    # -- The connectors ----------------------------------------------------------------------------------------------

    @property
    def types(self) -> dict[str, type[Connector]]:
        return {
            "scripted": _scripted(Connector, self),
            "wrapper": _scripted(ConnectorWrapper, self),
            "stubborn": _scripted(Connector, self, interruptible=False),
        }

    def constructed(self, connector: Any) -> None:
        name = connector.deployment_name
        errors = self._constructor_errors.get(name)
        if errors:
            raise errors.popleft()
        self.instances.setdefault(name, []).append(connector)

    async def operate(self, kind: str, connector: Any, *, external: bool) -> None:
        name = connector.deployment_name
        operation = f"{kind} {name}"
        self._check_start(kind, connector)
        self.history.append(operation)
        self.external[operation] = external
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        plans = self._plans.get(operation)
        outcome = "failed"
        try:
            await (plans.popleft() if plans else Plan()).play(connector)
            outcome = "ed"
        except anyio.get_cancelled_exc_class():
            outcome = "cancelled"
            raise
        finally:
            self.running -= 1
            self.history.append(f"{kind}ed {name}" if outcome == "ed" else f"{kind} {outcome} {name}")
            if kind == "deploy" and outcome == "ed":
                self.live.add(name)
            elif kind == "undeploy" and outcome == "ed":
                self.existing.pop(name, None)

    def _check_start(self, kind: str, connector: Any) -> None:
        name = connector.deployment_name
        if kind == "deploy":
            if name in self.existing:
                self.violations.append(f"two instances of {name}")
            self.violations += [f"{name} before {d}" for d in self.dependencies.get(name, ()) if d not in self.live]
            self.existing[name] = connector
        else:
            if self.existing.get(name) is not connector:
                self.violations.append(f"undeploy of {name}, which is not there")
            standing = [n for n, below in self.dependencies.items() if name in below and n in self.existing]
            self.violations += [f"{name} undeployed under {n}" for n in standing]
            self.live.discard(name)

    # -- What a test asks for ----------------------------------------------------------------------------------------

    def count(self, entry: str) -> int:
        return self.history.count(entry)

    def position(self, entry: str) -> int:
        return self.history.index(entry)

    def build(self, *configs: DeploymentConfig, **options: Any) -> DefaultDeploymentManager:
        self.dependencies.update((config.name, config.dependencies) for config in configs)
        options.setdefault("on_event", self.events.append)
        return DefaultDeploymentManager(configs, connector_types=self.types, **options)

    @asynccontextmanager
    async def manager(
        self, *configs: DeploymentConfig, **options: Any
    ) -> AsyncGenerator[DefaultDeploymentManager, None]:
        """A manager with these definitions; after it nothing may be left, and no rule broken."""
        async with self.build(*configs, **options) as manager:
            yield manager
        self.check()

    def check(self) -> None:
        assert self.violations == []
        assert list(self.existing) == []
        assert self.running == 0

    def states(self, name: str) -> list[str]:
        return [event.state.value for event in self.events if event.name == name]


def _scripted(base: type[Connector], world: World, *, interruptible: bool = True) -> type[Connector]:
    @define(kw_only=True, eq=False, slots=False)
    class Scripted(base):  # type: ignore[misc, valid-type]
        setting: int = field(default=0, converter=int)

        def __attrs_post_init__(self) -> None:
            world.constructed(self)

        async def deploy(self, external: bool) -> None:
            await world.operate("deploy", self, external=external)

        async def undeploy(self, external: bool) -> None:
            await world.operate("undeploy", self, external=external)

        async def run(self, argv: Any, **kwargs: Any) -> Any:
            self._check_valid()
            await checkpoint()
            return ("ran", self.deployment_name, argv)

    Scripted.interruptible = interruptible  # type: ignore[misc]
    return Scripted


def unit(name: str, *depends_on: str, type: str = "scripted", **what: Any) -> DeploymentConfig:  # noqa: A002
    """A definition of a scripted deployment."""
    return DeploymentConfig(name, type, depends_on=depends_on, **what)


def wrapper(name: str, wraps: str, **what: Any) -> DeploymentConfig:
    return DeploymentConfig(name, "wrapper", wraps=wraps, **what)


@define(eq=False)
class Call:
    """A task that makes one call and keeps what became of it."""

    scope: anyio.CancelScope = field(factory=anyio.CancelScope)
    ended: anyio.Event = field(factory=anyio.Event)
    #: "waiting", "returned", "raised", "cancelled"
    outcome: str = "waiting"
    value: Any = None
    error: BaseException | None = None

    running: ClassVar[str] = "waiting"

    async def make(self, function: Callable[..., Awaitable[Any]], *args: Any) -> None:
        try:
            with self.scope:
                self.value = await function(*args)
                self.outcome = "returned"
            if self.outcome == "waiting":
                self.outcome = "cancelled"
        except anyio.get_cancelled_exc_class():
            self.outcome = "cancelled"
            raise
        except Exception as exc:  # noqa: BLE001 - it is what the test looks at
            self.error, self.outcome = exc, "raised"
        finally:
            self.ended.set()

    def cancel(self) -> None:
        self.scope.cancel()

    async def wait(self) -> str:
        await self.ended.wait()
        return self.outcome


def start(tasks: TaskGroup, function: Callable[..., Awaitable[Any]], *args: Any) -> Call:
    """Make a call in a task of its own."""
    call = Call()
    tasks.start_soon(call.make, function, *args)
    return call


async def settle() -> None:
    """Let everything go on that can: far more turns of the event loop than any chain of wake-ups in a test needs."""
    for _ in range(30):
        await checkpoint()
