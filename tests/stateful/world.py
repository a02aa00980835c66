"""A world of scripted connectors around one manager, driven step by step from synchronous code, on either backend.

After every step the world runs until everything in it is blocked. What is checked then is derived from the calls that
were made and from what the connectors saw, never from the manager's own state.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import anyio
import attrs
from anyio import wait_all_tasks_blocked
from anyio.from_thread import BlockingPortal
from anyio.lowlevel import checkpoint

from anydeploy import (
    Connector,
    ConnectorWrapper,
    DefaultDeploymentManager,
    DeployError,
    DeploymentConfig,
    InvalidConnectorError,
    UndeployError,
)

#: Steps of the event loop after which a world that is still busy is taken to spin for ever.
_BUSY = 5_000


class ScriptedError(Exception):
    """What a connector operation raises when it is told to fail."""


@attrs.define(eq=False)
class Operation:
    """One running `deploy` or `undeploy`; it goes on when told how to end."""

    instance: Instance
    kind: str
    told: anyio.Event = attrs.field(factory=anyio.Event)
    fails: bool = False

    def __str__(self) -> str:
        return f"{self.kind} of {self.instance}"


@attrs.define(eq=False)
class Instance:
    """One connector of a name, as the environment sees it."""

    name: str
    number: int
    connector: Connector
    #: deploying, live, broken (deploy failed or was cancelled), undeploying, stuck, gone
    state: str = "new"
    #: Whether undeploy(name) was called since it began.
    touched: bool = False

    def __str__(self) -> str:
        return f"{self.name}#{self.number}"

    @property
    def exists(self) -> bool:
        return self.state not in ("new", "gone")


@attrs.define(eq=False)
class Caller:
    """A task that waits for one call of the manager."""

    what: str
    name: str
    scope: anyio.CancelScope = attrs.field(factory=anyio.CancelScope)
    task: asyncio.Task[Any] | None = None
    error: BaseException | None = None
    done: bool = False
    native: bool = False

    def __str__(self) -> str:
        return f"{self.what}({self.name})"


class World:
    """The environments, the callers and the manager."""

    def __init__(self, configs: Sequence[DeploymentConfig], **options: Any) -> None:
        self.configs = {config.name: config for config in configs}
        self.limited = options.get("max_concurrent") is not None
        self.instances: dict[str, list[Instance]] = {}
        self.operations: list[Operation] = []
        self.callers: list[Caller] = []
        self.violations: list[str] = []
        self.errors: set[int] = set()
        self.raised: list[BaseException] = []
        #: By the calls alone: an explicit deploy was granted and not taken back.
        self.granted: set[str] = set()
        self.armed: set[str] = set()
        self.withdrawn: set[str] = set()
        types = _connector_types(self)
        self.manager = DefaultDeploymentManager(configs, connector_types=types, undeploy_timeout=None, **options)
        self._tasks: anyio.abc.TaskGroup | None = None
        self._stop = anyio.Event()
        self.failure: BaseException | None = None

    # -- Life --------------------------------------------------------------------------------------------------------

    async def host(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        async with anyio.create_task_group() as self._tasks:
            try:
                async with self.manager:
                    task_status.started()
                    await self._stop.wait()
            except BaseExceptionGroup as exc:
                self.failure = exc

    def stop(self) -> None:
        self._withdraw(self.configs)
        self._stop.set()

    async def settle(self) -> None:
        """Run until everything is blocked."""
        loop = asyncio.get_running_loop() if anyio_is_asyncio() else None
        ready = getattr(loop, "_ready", None)
        if ready is not None:
            for _ in range(_BUSY):
                await asyncio.sleep(0)
                if not ready:
                    return
            raise AssertionError("the event loop is never idle")
        for _ in range(30 if loop is not None else 0):
            await checkpoint()
        await wait_all_tasks_blocked()

    # -- Connectors --------------------------------------------------------------------------------------------------

    def born(self, connector: Connector) -> Instance:
        known = self.instances.setdefault(connector.deployment_name, [])
        instance = Instance(connector.deployment_name, len(known) + 1, connector)
        for other in known:
            if other.exists:
                self.violations.append(f"D2/D3: {instance} was built while {other} is {other.state}")
        known.append(instance)
        return instance

    async def operate(self, instance: Instance, kind: str) -> None:
        self._began(instance, kind)
        operation = Operation(instance, kind)
        self.operations.append(operation)
        instance.state = f"{kind}ing"
        try:
            await operation.told.wait()
            if operation.fails:
                raise ScriptedError(str(operation))
        except BaseException as exc:
            instance.state = "broken" if kind == "deploy" else "stuck"
            if kind == "deploy" and not instance.connector.interruptible and not isinstance(exc, ScriptedError):
                self.violations.append(f"D6: deploy of {instance} was interrupted, though it must not be")
            raise
        else:
            instance.state = "live" if kind == "deploy" else "gone"
        finally:
            self.operations.remove(operation)

    def _began(self, instance: Instance, kind: str) -> None:
        if kind == "deploy":
            if instance.state != "new":
                self.violations.append(f"D2: deploy of {instance} was called twice")
            for dependency in self.configs[instance.name].dependencies:
                if self.live(dependency) is None:
                    self.violations.append(f"D1/R3: {instance} is deployed before {dependency} is live")
        else:
            if instance.state not in ("live", "broken", "stuck"):
                self.violations.append(f"U3: undeploy of {instance} began while it was {instance.state}")
            for dependent in self.dependents(instance.name):
                for other in self.instances.get(dependent, ()):
                    if other.exists:
                        self.violations.append(f"U1: {instance} is undeployed under {other}, which is {other.state}")

    def live(self, name: str) -> Instance | None:
        return next((i for i in self.instances.get(name, ()) if i.state == "live"), None)

    def present(self, name: str) -> Instance | None:
        return next((i for i in self.instances.get(name, ()) if i.exists), None)

    def dependents(self, name: str) -> Iterable[str]:
        return [other for other, config in self.configs.items() if name in config.dependencies]

    def closure(self, name: str) -> set[str]:
        found, stack = {name}, [name]
        while stack:
            for dependency in self.configs[stack.pop()].dependencies:
                if dependency not in found:
                    found.add(dependency)
                    stack.append(dependency)
        return found

    # -- Calls -------------------------------------------------------------------------------------------------------

    def deploy(self, name: str) -> None:
        self.withdrawn.discard(name)
        lazy = self.configs[name].lazy
        if lazy:
            self.armed.add(name)
        self._call("deploy", name, lambda: self.manager.deploy(name), None if lazy else self._grant)

    def use(self, name: str) -> None:
        connector = self.manager.get_connector(name)
        if connector is not None and name in self.armed:
            self._call("use", name, lambda: connector.run(["true"]), self._grant)

    def undeploy(self, name: str) -> None:
        others = [other for other in self.configs if name in self.closure(other) and other != name]
        needed = any(o in self.granted or self.present(o) for o in others)
        needed = needed or any(caller.name in others for caller in self.callers)
        instance = None if needed else self.present(name)
        self._withdraw([name])

        def gone(caller: Caller) -> None:
            if instance is not None and instance.exists:
                self.violations.append(f"U1: {caller} returned, but {instance} is {instance.state}")

        self._call("undeploy", name, lambda: self.manager.undeploy(name), gone)

    def undeploy_all(self) -> None:
        def withdraw_and_undeploy() -> Any:
            self._withdraw(list(self.configs))
            return self.manager.undeploy_all()

        self._call("undeploy_all", "*", withdraw_and_undeploy, None)

    def _withdraw(self, names: Iterable[str]) -> None:
        for name in names:
            self.granted.discard(name)
            self.armed.discard(name)
            self.withdrawn.add(name)
            for caller in self.callers:
                if caller.name == name and caller.what in ("deploy", "use"):
                    caller.what = "deploy, withdrawn,"
            instance = self.present(name)
            if instance is not None:
                instance.touched = True

    def _grant(self, caller: Caller) -> None:
        if self.live(caller.name) is None:
            self.violations.append(f"D1: {caller} returned, but {caller.name} is not live")
        if caller.what in ("deploy", "use"):
            self.granted.add(caller.name)

    def _call(self, what: str, name: str, call: Callable[[], Any], granted: Callable[[Caller], None] | None) -> None:
        caller = Caller(what, name)
        self.callers.append(caller)
        assert self._tasks is not None
        self._tasks.start_soon(self._run, caller, call, granted)

    async def _run(self, caller: Caller, call: Callable[[], Any], granted: Callable[[Caller], None] | None) -> None:
        if anyio_is_asyncio():
            caller.task = asyncio.current_task()
        try:
            with caller.scope:
                await call()
                if granted is not None:
                    granted(caller)
        except (DeployError, UndeployError, InvalidConnectorError, ExceptionGroup) as exc:
            self._check_error(caller, exc)
            caller.error = exc
        except anyio.get_cancelled_exc_class():
            # A child that ends like this would take its task group with it.
            if not caller.native:
                raise
        finally:
            caller.done = True
            self.callers.remove(caller)

    def _check_error(self, caller: Caller, exc: Exception) -> None:
        if id(exc) in self.errors:
            self.violations.append(f"D5: {caller} got an exception object that another caller got before")
        self.errors.add(id(exc))
        self.raised.append(exc)
        if isinstance(exc, DeployError) and exc.deployment_name != caller.name:
            self.violations.append(f"D5: {caller} got an error about {exc.deployment_name}")
        if isinstance(exc, DeployError) and caller.what != "deploy, withdrawn," and exc.__cause__ is None:
            self.violations.append(f"D5: {caller} got an error without a cause: {exc}")

    def cancel(self, caller: Caller, how: str) -> None:
        if how == "native" and caller.task is not None:
            caller.native = True
            caller.task.cancel()
        elif how == "deadline":
            caller.scope.deadline = anyio.current_time()
        else:
            caller.scope.cancel()

    def finish(self, operation: Operation, *, fails: bool) -> None:
        operation.fails = fails
        operation.told.set()

    # -- What must hold when everything is blocked -------------------------------------------------------------------

    def check(self) -> None:
        assert self.failure is None, f"something came out of the task group: {self.failure!r}"
        assert not self.violations, self.violations
        for name in self.configs:
            self._check_reading(name)
            self._check_existence(name)
        for caller in self.callers:
            self._check_waiting(caller)

    def _check_reading(self, name: str) -> None:
        shown, live = self.manager.get_connector(name), self.live(name)
        if self.configs[name].lazy:
            if name in self.armed:
                assert shown is not None, f"L1: {name} was deployed lazily, but get_connector gives None"
                return
            shown = shown.live.connector if shown is not None and shown.live is not None else shown
        assert shown is None or live is not None, f"R1: get_connector({name}) gives a connector that is not live"
        if live is not None:
            assert shown is None or shown is live.connector, f"R2: get_connector({name}) is not that of {live}"
            if live.touched and name in self.withdrawn:
                assert shown is None, f"R1: get_connector({name}) shows {live} after undeploy({name})"
            if name not in self.withdrawn and not self._queueing:
                assert shown is not None, f"R1: get_connector({name}) is None, but {live} is live"

    @property
    def _queueing(self) -> bool:
        """All slots may be taken, and what has to go may still have to wait for one."""
        return self.limited and bool(self.operations)

    def _check_existence(self, name: str) -> None:
        live = self.live(name)
        if name in self.granted:
            assert live is not None, f"an environment exists while it is demanded: {name} was granted, and is not live"
        if live is not None:
            for dependency in self.configs[name].dependencies:
                assert self.live(dependency), f"R3: {live} is live, {dependency} is not"
            above = [other for other in self.configs if name in self.closure(other)]
            demand = [o for o in above if o in self.granted or (o != name and self.present(o))]
            waiting = [c for c in self.callers if c.what in ("deploy", "use") and c.name in above]
            assert demand or waiting or self._queueing, (
                f"an environment exists no longer than it is demanded: {live} is live for nobody"
            )
        present = self.present(name)
        if present is not None and present.state in ("broken", "deploying", "undeploying"):
            busy = any(operation.instance is present or self.limited for operation in self.operations)
            assert busy, f"{present} is {present.state}, and nobody does anything about it"

    def _check_waiting(self, caller: Caller) -> None:
        assert not caller.scope.cancel_called and not caller.native, f"D6: {caller} was cancelled and still waits"
        busy = {operation.instance.name for operation in self.operations}
        if self.limited:
            reasons = busy
        elif caller.what in ("deploy", "use"):
            reasons = busy & self.closure(caller.name)
            # The closure's predecessors go down only after their own dependents.
            reasons |= {n for n in busy if self.closure(n) & self.closure(caller.name)}
        elif caller.what == "undeploy":
            reasons = busy & {caller.name}
        else:
            reasons = busy if caller.what == "undeploy_all" else set()
        assert reasons, f"{caller} waits for nothing"


def anyio_is_asyncio() -> bool:
    return "trio" not in sys.modules or not _in_trio()


def _in_trio() -> bool:
    import trio

    with suppress(RuntimeError):
        return trio.lowlevel.in_trio_run()
    return False


def _connector_types(world: World) -> Mapping[str, type[Connector]]:
    class Scripted(Connector):
        def __init__(self, deployment_name: str, config_dir: str) -> None:
            super().__init__(deployment_name=deployment_name, config_dir=config_dir)
            self.instance = world.born(self)

        async def deploy(self, external: bool) -> None:
            await world.operate(self.instance, "deploy")

        async def undeploy(self, external: bool) -> None:
            await world.operate(self.instance, "undeploy")

        async def run(self, *args: Any, **kwargs: Any) -> Any:
            self._check_valid()

    class Wrapper(ConnectorWrapper):
        def __init__(self, deployment_name: str, config_dir: str, connector: Connector, service: str | None) -> None:
            super().__init__(
                deployment_name=deployment_name, config_dir=config_dir, connector=connector, service=service
            )
            inner = world.configs[deployment_name].wraps
            assert inner is not None
            wrapped = world.live(inner.deployment)
            if wrapped is None or wrapped.connector is not connector:
                world.violations.append(f"D1: {deployment_name} was given another connector than {inner.deployment}'s")
            self.instance = world.born(self)

        deploy = Scripted.deploy
        undeploy = Scripted.undeploy
        run = Scripted.run

    class Stubborn(Scripted):
        interruptible = False

    return {"scripted": Scripted, "wrapper": Wrapper, "stubborn": Stubborn}


class Driver:
    """Drives a world in another thread from this one."""

    def __init__(self, portal: BlockingPortal, configs: Sequence[DeploymentConfig], **options: Any) -> None:
        self._portal = portal
        self.world = portal.call(lambda: World(configs, **options))
        self._future, _ = portal.start_task(self.world.host)

    def step(self, action: Callable[..., None], *args: Any, **kwargs: Any) -> None:
        async def act() -> None:
            action(*args, **kwargs)
            await self.world.settle()
            self.world.check()

        self._portal.call(act)

    def end(self) -> None:
        """Let everything finish and leave the block: nothing may be left, and nobody waiting."""

        async def finish() -> None:
            world = self.world
            world.stop()
            with anyio.fail_after(10):
                while True:
                    await world.settle()
                    if not world.operations:
                        break
                    world.finish(world.operations[0], fails=False)
            assert world.failure is None, world.failure
            assert not world.violations, world.violations
            assert not world.callers, f"still waiting after the end: {[str(c) for c in world.callers]}"
            left = [str(i) for known in world.instances.values() for i in known if i.exists]
            assert not left, f"left behind: {left}"

        async def abandon() -> None:
            assert self.world._tasks is not None
            self.world.stop()
            for _ in range(3):
                for operation in list(self.world.operations):
                    self.world.finish(operation, fails=False)
                await self.world.settle()
            self.world._tasks.cancel_scope.cancel()

        try:
            self._portal.call(finish)
        except BaseException:
            self._portal.call(abandon)
            raise
