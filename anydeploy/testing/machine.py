"""Random graphs, and random interleavings of calls, cancellations, failures and completions, checked at every step.

class MyMachine(ManagerMachine):
    subject = MySubject()

def test_my_manager():
    check_manager(MyMachine, backend="trio")
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from threading import Thread
from typing import Any, ClassVar

import anyio
from anyio.abc import TaskGroup, TaskStatus
from anyio.from_thread import BlockingPortal
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from ..config import DeploymentConfig
from ..exceptions import ConnectionLostError
from .callers import Caller, Recorded, recorded
from .history import Rule, Violation
from .invariants import every_rule
from .rest import settle
from .scripted import STUBBORN, Operation, Script, ScriptedError
from .subject import AnydeploySubject, Feature, Subject
from .virtual import pass_time, standing_still

_NAMES = "abcde"
#: Seconds in which everything must have come to its end when every connector gets on.
_LONG = 10


@st.composite
def graphs(draw: st.DrawFn, features: frozenset[Feature] = frozenset(Feature)) -> list[DeploymentConfig]:
    """Forests by ``wraps``, general DAGs by ``depends_on``, eager, lazy and uninterruptible ones mixed."""
    configs: list[DeploymentConfig] = []
    plain = ["scripted", "scripted", STUBBORN] if Feature.UNINTERRUPTIBLE in features else ["scripted"]
    for name in _NAMES[: draw(st.integers(1, len(_NAMES)))]:
        earlier = [config.name for config in configs]
        wraps = draw(st.sampled_from([None, *earlier]))
        several = earlier and Feature.DEPENDS_ON in features
        depends_on = draw(st.lists(st.sampled_from(earlier), unique=True, max_size=2)) if several else []
        type_ = "wrapper" if wraps is not None else draw(st.sampled_from(plain))
        lazy = Feature.LAZY in features and draw(st.integers(0, 3)) == 0
        retries = draw(st.sampled_from([0, 0, 0, 1])) if Feature.RETRIES in features else 0
        restarts = draw(st.sampled_from([0, 0, 1, 2])) if Feature.RESTARTS in features else 0
        configs.append(
            DeploymentConfig(
                name, type_, wraps=wraps, depends_on=depends_on, lazy=lazy, retries=retries, restarts=restarts
            )
        )
    return configs


class ManagerMachine(RuleBasedStateMachine):
    """Callers come and go, connectors get on, fail or are lost; the manager has to keep its rules all the time.

    :cvar subject: the manager that is put to the test
    :cvar portal: the event loop that it runs in; :func:`check_manager` sets it
    :cvar standing: whether time stands still in it; likewise
    """

    subject: ClassVar[Subject] = AnydeploySubject()
    portal: ClassVar[BlockingPortal]
    standing: ClassVar[bool] = False
    world: World | None = None

    @staticmethod
    def watching() -> Iterable[Rule]:
        """Make the rules that are watched; a subclass may add its own."""
        return every_rule()

    @initialize(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        features = self._features
        configs = data.draw(graphs(features), label="configs")
        limits = [None, 1, 2] if Feature.LIMITS in features else [None]
        limit = data.draw(st.sampled_from(limits), label="max_concurrent")
        script = self.portal.call(lambda: Script(*configs, max_concurrent=limit, rules=self.watching, holding=True))
        self.world = World(self.portal, self.subject, script)
        # Most of what can go wrong takes something that is up, or on its way there.
        for name in data.draw(st.lists(st.sampled_from(self._names[::-1]), unique=True, max_size=3), label="wanted"):
            self._call("deploy", name)
        if data.draw(st.booleans(), label="up"):
            self._finish_all()

    @rule(data=st.data())
    def deploy(self, data: st.DataObject) -> None:
        # Reversed, because examples shrink towards the first: what depends on something tells more.
        self._call("deploy", data.draw(st.sampled_from(self._names[::-1])))

    @rule(data=st.data())
    def undeploy(self, data: st.DataObject) -> None:
        self._call("undeploy", data.draw(st.sampled_from(self._names)))

    @precondition(lambda self: self._stirred)
    @rule()
    def undeploy_all(self) -> None:
        self._call("undeploy_all")

    @precondition(lambda self: self._armed)
    @rule(data=st.data())
    def use(self, data: st.DataObject) -> None:
        self._call("use", data.draw(st.sampled_from(self._armed)))

    @precondition(lambda self: self._old)
    @rule(data=st.data())
    def use_an_old_one(self, data: st.DataObject) -> None:
        connector = self._old[data.draw(st.integers(0, len(self._old) - 1))]
        self._call("use", connector.deployment_name, connector=connector)

    @precondition(lambda self: self._world.callers)
    @rule(data=st.data(), how=st.sampled_from(["scope", "deadline", "native"]))
    def cancel(self, data: st.DataObject, how: str) -> None:
        caller = self._world.callers[data.draw(st.integers(0, len(self._world.callers) - 1))]
        self._world.step(lambda: caller.cancel(how))

    @precondition(lambda self: self._operations)
    @rule(data=st.data(), error=st.sampled_from([None, None, None, ScriptedError, SystemExit]))
    def finish(self, data: st.DataObject, *, error: type[BaseException] | None) -> None:
        operation = self._operations[data.draw(st.integers(0, len(self._operations) - 1))]
        failure = error(f"{operation}: as told") if error is not None else None
        self._world.step(lambda: operation.plan.release(failure))

    @precondition(lambda self: Feature.HOOKS in self._features)
    @rule(
        data=st.data(),
        hook=st.sampled_from(["build", "invalidate"]),
        error=st.sampled_from([ScriptedError, SystemExit]),
    )
    def misbehave(self, data: st.DataObject, *, hook: str, error: type[BaseException]) -> None:
        name = data.draw(st.sampled_from(self._names))
        self._world.script.fail_hook(f"{hook} {name}", error(f"{hook} of {name}: as told"))

    @precondition(lambda self: Feature.RESTART in self._features and self._stirred)
    @rule(data=st.data())
    def restart(self, data: st.DataObject) -> None:
        self._call("restart", data.draw(st.sampled_from(self._names)))

    @precondition(lambda self: Feature.LOSS in self._features and self._world.script.connectors)
    @rule(data=st.data(), cut_off=st.booleans())
    def lose(self, data: st.DataObject, *, cut_off: bool) -> None:
        name = data.draw(st.sampled_from(sorted(self._world.script.connectors)))
        error = ConnectionLostError(f"{name} was cut off") if cut_off else ScriptedError(f"{name} has ended")
        self._world.step(lambda: self._world.lose(name, error))

    @precondition(lambda self: self.standing)
    @rule(seconds=st.sampled_from([1, 5, 100]))
    def wait(self, seconds: float) -> None:
        self._world.pass_time(seconds)

    @precondition(lambda self: self._operations)
    @rule()
    def finish_all(self) -> None:
        self._finish_all()

    def teardown(self) -> None:
        if self.world is not None:
            self.world.end()

    # -- Choices -----------------------------------------------------------------------------------------------------

    @property
    def _world(self) -> World:
        assert self.world is not None  # noqa: S101 - it begins before any rule
        return self.world

    @property
    def _features(self) -> frozenset[Feature]:
        """The features of the manager, but for those that take time where it cannot be told to pass."""
        timed = frozenset[Feature]() if self.standing else frozenset([Feature.RETRIES, Feature.RESTARTS])
        return self.subject.features - timed

    @property
    def _names(self) -> list[str]:
        return list(self._world.script.premises.configs)

    @property
    def _stirred(self) -> bool:
        """Whether something is there, or somebody waits."""
        return bool(self._world.script.history.picture.instances or self._world.callers)

    @property
    def _armed(self) -> list[str]:
        return sorted(self._world.script.history.picture.armed)

    @property
    def _old(self) -> list[Any]:
        """The connectors of eager deployments that were constructed so far."""
        script = self._world.script
        return [c for name, cs in script.connectors.items() if name not in script.premises.lazy for c in cs]

    @property
    def _operations(self) -> list[Operation]:
        return self._world.script.operations

    def _finish_all(self) -> None:
        while self._operations:
            self._world.step(self._operations[0].plan.release)

    def _call(self, operation: str, name: str = "", **what: Any) -> None:
        self._world.step(lambda: self._world.call(operation, name, **what))


class World:
    """A manager and its callers in another thread, taken from one state of rest to the next.

    :ivar script: holds every operation of its connectors until it is released
    """

    def __init__(self, portal: BlockingPortal, subject: Subject, script: Script) -> None:
        self.script = script
        self._portal = portal
        self._subject = subject
        self._callers: list[Caller] = []
        self._failure: BaseException | None = None
        self._manager: Recorded
        self._tasks: TaskGroup
        self._stop = portal.call(_make_event)
        portal.start_task(self._host)

    async def _host(self, *, task_status: TaskStatus[None]) -> None:
        async with anyio.create_task_group() as self._tasks:
            try:
                async with recorded(self.script, self._subject) as self._manager:
                    task_status.started()
                    await self._stop.wait()
            except (Violation, BaseExceptionGroup) as exc:
                self._failure = exc

    @property
    def callers(self) -> list[Caller]:
        """The callers that wait."""
        self._callers = [caller for caller in self._callers if caller.outcome is None]
        return self._callers

    def call(self, operation: str, name: str, **what: Any) -> None:
        """Make a call in a task of its own; inside a step."""
        self._callers.append(self._manager.start(self._tasks, operation, name, **what))

    def lose(self, name: str, error: Exception) -> None:
        """Let the newest connector of a name report a loss; inside a step."""
        # Out of it comes what its hooks raise.
        with suppress(Exception, SystemExit):
            self.script.lose(name, error)

    def pass_time(self, seconds: float) -> None:
        """Let time pass, with everything that follows, and look whether the rules hold."""
        self._portal.call(self._pass_time, seconds)

    async def _pass_time(self, seconds: float) -> None:
        await pass_time(seconds, self._rest)
        await self._step(_nothing)

    def step(self, action: Callable[[], None]) -> None:
        """Take an action, wait until everything is at rest, and check the rules."""
        self._portal.call(self._step, action)

    async def _step(self, action: Callable[[], None]) -> None:
        action()
        await self._rest()
        self._manager.read()
        self.script.history.check()

    async def _rest(self) -> None:
        await settle()
        self.script.history.at_rest()
        if self._failure is not None:
            raise self._failure

    def end(self) -> None:
        """Let everything finish and leave the block: nothing may be left, and no caller may wait."""
        try:
            self._portal.call(self._finish)
        except BaseException:
            self._portal.call(self._abandon)
            raise

    async def _finish(self) -> None:
        self._stop.set()
        with anyio.fail_after(_LONG):
            await self._rest()
            while self.script.operations:
                self.script.operations[0].plan.release()
                await self._rest()
        self.script.history.check()

    async def _abandon(self) -> None:
        self._stop.set()
        for _ in range(3):
            for operation in list(self.script.operations):
                operation.plan.release()
            await settle()
        self._tasks.cancel_scope.cancel()


def _nothing() -> None:
    pass


async def _make_event() -> anyio.Event:
    return anyio.Event()


def check_manager(
    machine: type[ManagerMachine],
    *,
    backend: str = "asyncio",
    backend_options: Mapping[str, Any] | None = None,
    max_examples: int = 150,
    **options: Any,
) -> None:
    """Run a machine in an event loop of its own.

    Time stands still in it, and passes when the machine lets it, if the manager claims to have
    :attr:`Feature.RESTARTS` and there are no ``backend_options``.

    :param max_examples: the number of sequences of steps that are tried
    :param options: further ``hypothesis.settings``; those not given are of the profile that is loaded
    :raises Violation: if a rule is broken, after the shortest sequence of steps that was found to do so
    """
    options = {"stateful_step_count": 30, "deadline": None, "suppress_health_check": list(HealthCheck)} | options
    # Managers of other systems may be connected with the world.
    standing = not backend_options and Feature.RESTARTS in machine.subject.features
    loop_options = standing_still(backend) if standing else dict(backend_options or {})
    with _portal(backend, loop_options) as portal:
        run_state_machine_as_test(
            type(machine.__name__, (machine,), {"portal": portal, "standing": standing}),
            settings=settings(max_examples=max_examples, **options),
        )


@contextmanager
def _portal(backend: str, backend_options: dict[str, Any]) -> Generator[BlockingPortal, None, None]:
    """A portal to an event loop in a thread that is not waited for after a failure.

    A manager that is broken may never come to an end, and the violation has to be told all the same.
    """
    ready: Future[BlockingPortal] = Future()

    async def host() -> None:
        async with BlockingPortal() as portal:
            ready.set_result(portal)
            await portal.sleep_until_stopped()

    thread = Thread(target=lambda: anyio.run(host, backend=backend, backend_options=backend_options), daemon=True)
    thread.start()
    portal = ready.result()
    try:
        yield portal
    except BaseException:
        portal.start_task_soon(portal.stop, True)
        raise
    portal.call(portal.stop)
    thread.join()
