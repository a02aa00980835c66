"""Connectors that do as they are told, and write down what they did.

    script = Script(unit("a"), wrapper("b", "a"))
    script.fail("deploy b")
    async with script.manager() as manager:
        ...

What each operation does is said beforehand; what is not said takes one step and succeeds. Everything goes into a
:class:`~anydeploy.testing.history.History`, and leaving the block raises if a rule was broken.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import cached_property
from subprocess import CompletedProcess
from typing import Any, ClassVar

from anyio import CancelScope, Event, get_cancelled_exc_class, sleep
from anyio.lowlevel import checkpoint
from attrs import define, field

from ..config import DeploymentConfig
from ..connector import Connector, ConnectorWrapper
from .callers import Recorded, recorded
from .choices import choose
from .history import History, Rule, What
from .invariants import every_rule
from .premises import Premises
from .subject import AnydeploySubject

#: The type of a connector whose `deploy` must not be interrupted.
STUBBORN = "stubborn"


class ScriptedError(Exception):
    """What an operation raises that was told to fail."""


@define(eq=False)
class Plan:
    """What one operation is going to do.

    :ivar operation: like "deploy a"
    :ivar error: raised at its end
    :ivar held: it goes on when :meth:`release` is called, and not before
    :ivar deaf: it lets no cancellation through until then
    :ivar delay: seconds that it takes
    :ivar action: awaited with the connector in place of all that
    :ivar may_fail: whether an exploration may let it fail
    :ivar reached: set when the operation has begun
    """

    operation: str
    error: BaseException | None = None
    held: bool = False
    deaf: bool = False
    delay: float | None = None
    action: Callable[[Any], Awaitable[None]] | None = None
    may_fail: bool = False
    reached: Event = field(factory=Event)
    _opened: Event = field(factory=Event)

    def release(self, error: BaseException | None = None) -> None:
        """Let it go on, to fail if there is an error."""
        self.error = error or self.error
        self._opened.set()

    def fail(self) -> None:
        """Let it go on to fail."""
        self.release(self.error or ScriptedError(f"{self.operation}: as told"))

    async def play(self, connector: Any) -> None:
        """Do it."""
        self.reached.set()
        if self.action is not None:
            await self.action(connector)
        else:
            with CancelScope(shield=self.deaf):
                await self._pass_time()
        if self.error is None and self.may_fail and choose(2, f"{self.operation} fails"):
            self.error = ScriptedError(f"{self.operation}: by choice")
        if self.error is not None:
            raise self.error

    async def _pass_time(self) -> None:
        if self.held:
            await self._opened.wait()
        elif self.delay is not None:
            await sleep(self.delay)
        else:
            await checkpoint()


@define(eq=False)
class Operation:
    """An operation that is under way.

    :ivar kind: ``deploy``, ``undeploy`` or ``run``
    :ivar instance: the number of the connector among those of its name
    """

    kind: str
    name: str
    instance: int
    plan: Plan

    def __str__(self) -> str:
        return f"{self.kind} of {self.name}#{self.instance}"


class Script:
    """What a set of scripted connectors has been told to do, and what they did.

    :ivar premises: the definitions, and the limits of the manager
    :ivar history: what happened
    :ivar connectors: all that were constructed, by name and in their order
    :ivar operations: what is under way
    """

    not_state: ClassVar[frozenset[str]] = frozenset({"premises"})

    def __init__(
        self,
        *configs: DeploymentConfig,
        max_concurrent: int | None = None,
        deploy_timeout: float | None = None,
        undeploy_timeout: float | None = None,
        rules: Callable[[], Iterable[Rule]] = every_rule,
        holding: bool = False,
        may_fail: bool = False,
    ) -> None:
        """Definitions with scripted types, and the limits of the manager that is to be built of them.

        :param rules: makes what watches the history; by default every rule of :mod:`anydeploy.testing.invariants`
        :param holding: hold every ``deploy`` and ``undeploy`` that has no plan
        :param may_fail: let an exploration choose whether a ``deploy`` or ``undeploy`` fails that has no plan
        """
        self.premises = Premises({}, frozenset(), max_concurrent, deploy_timeout, undeploy_timeout)
        self._rules = rules
        self._told = holding, may_fail
        self.restart()
        self.define(*configs)

    def restart(self) -> None:
        """Forget what happened, and what was planned. The definitions stay, and so do the rules, which begin afresh."""
        self.history = History(self.premises, self._rules())
        self.holding, self.may_fail = self._told
        self.connectors: dict[str, list[Any]] = {}
        self.operations: list[Operation] = []
        self._numbers: dict[Any, int] = {}
        self._plans: dict[str, deque[Plan]] = {}
        self._constructor_errors: dict[str, deque[BaseException]] = {}

    def define(self, *configs: DeploymentConfig) -> None:
        """Add definitions."""
        for config in configs:
            self.premises.add(config)
        stubborn = (config.name for config in configs if config.type == STUBBORN)
        self.premises.uninterruptible |= frozenset(stubborn)

    # -- What they are told ------------------------------------------------------------------------------------------

    def plan(self, operation: str, **what: Any) -> Plan:
        """Say what the next operation (like "deploy a") does that has no plan yet; see :class:`Plan` for ``what``.

        :raises ValueError: if that is no operation of a connector
        """
        kind, _, name = operation.partition(" ")
        if kind not in {"deploy", "undeploy", "run"} or not name:
            raise ValueError(
                f"not an operation: {operation!r} (expected something like 'deploy a', 'undeploy a', 'run a')"
            )
        plan = Plan(operation, **what)
        self._plans.setdefault(operation, deque()).append(plan)
        return plan

    def hold(self, operation: str, **what: Any) -> Plan:
        """Let it hang until it is released."""
        return self.plan(operation, held=True, **what)

    def delay(self, operation: str, seconds: float, **what: Any) -> Plan:
        """Let it take its time, on the clock of the event loop."""
        return self.plan(operation, delay=seconds, **what)

    def fail(self, operation: str, error: BaseException | None = None) -> BaseException:
        """Let it fail. Returns the error that it is going to raise."""
        error = error or ScriptedError(f"{operation}: as told")
        self.plan(operation, error=error)
        return error

    def fail_constructor(self, name: str, error: BaseException | None = None) -> BaseException:
        """Let the next construction of a connector fail. Returns the error that it is going to raise."""
        error = error or ScriptedError(f"build {name}: as told")
        self._constructor_errors.setdefault(name, deque()).append(error)
        return error

    def let_go(self) -> None:
        """Let everything go on and succeed from now on, whatever was said before."""
        self.holding = self.may_fail = False
        self._plans.clear()
        self._constructor_errors.clear()
        for operation in list(self.operations):
            operation.plan.release()

    # -- What they do ------------------------------------------------------------------------------------------------

    def built(self, connector: Any, inner: Any = None) -> None:
        """To be called by a scripted connector at the end of its constructor, a wrapper with what it wraps."""
        name = connector.deployment_name
        errors = self._constructor_errors.get(name)
        if errors:
            error = errors.popleft()
            self.history.record(What.FAILED, "build", name, error=error)
            raise error
        known = self.connectors.setdefault(name, [])
        known.append(connector)
        self._numbers[connector] = len(known)
        number = 0 if inner is None else self.number(inner)
        self.history.record(What.BUILT, "build", name, instance=len(known), inner=number)

    async def operate(self, kind: str, connector: Any, *, external: bool = False) -> None:
        """To be called by a scripted connector for each of its operations."""
        name, instance = connector.deployment_name, self.number(connector)
        operation = Operation(kind, name, instance, self._next_plan(kind, name))
        self.operations.append(operation)
        self.history.record(What.BEGAN, kind, name, instance=instance, external=external)
        try:
            await operation.plan.play(connector)
        except GeneratorExit:
            # Nobody is interested any more: the whole run was dropped.
            raise
        except get_cancelled_exc_class():
            self.history.record(What.CANCELLED, kind, name, instance=instance)
            raise
        except BaseException as exc:
            self.history.record(What.FAILED, kind, name, instance=instance, error=exc)
            raise
        else:
            self.history.record(What.ENDED, kind, name, instance=instance)
        finally:
            self.operations.remove(operation)

    def _next_plan(self, kind: str, name: str) -> Plan:
        plans = self._plans.get(f"{kind} {name}")
        if plans:
            return plans.popleft()
        changes = kind != "run"
        return Plan(f"{kind} {name}", held=self.holding and changes, may_fail=self.may_fail and changes)

    def number(self, connector: Any) -> int:
        """The number of a connector among those of its name; 0 for None, a negative one for what is none of them."""
        return 0 if connector is None else self._numbers.setdefault(connector, -1 - len(self._numbers))

    # -- Under our manager -------------------------------------------------------------------------------------------

    @cached_property
    def types(self) -> Mapping[str, type[Connector]]:
        """Connector classes for anydeploy: ``scripted``, ``wrapper`` and ``stubborn``."""
        return {
            "scripted": _bound(_Scripted, self),
            "wrapper": _bound(_ScriptedWrapper, self),
            STUBBORN: _bound(_Stubborn, self),
        }

    def manager(self, **options: Any) -> AbstractAsyncContextManager[Recorded]:
        """A :class:`~anydeploy.DefaultDeploymentManager` of these definitions, every call of which is written down.

        :raises Violation: at the end of the block, if a rule was broken
        """
        return recorded(AnydeploySubject(), self, **options)


class _Told:
    """What scripted connectors have in common: the script knows what they do."""

    script: ClassVar[Script]

    def __attrs_post_init__(self) -> None:
        self.script.built(self, getattr(self, "connector", None))

    async def deploy(self, external: bool) -> None:
        await self.script.operate("deploy", self, external=external)

    async def undeploy(self, external: bool) -> None:
        await self.script.operate("undeploy", self, external=external)

    async def run(self: Any, argv: Sequence[str], **_: Any) -> CompletedProcess[bytes]:
        self._check_valid()
        await self.script.operate("run", self)
        return CompletedProcess(list(argv), 0, b"", b"")


@define(kw_only=True, eq=False, slots=False)
class _Scripted(_Told, Connector):
    setting: int = field(default=0, converter=int)


@define(kw_only=True, eq=False, slots=False)
class _ScriptedWrapper(_Told, ConnectorWrapper):
    setting: int = field(default=0, converter=int)


class _Stubborn(_Scripted):
    interruptible = False


def _bound(base: Any, script: Script) -> type[Connector]:
    """A connector class of one script. Cheap: a script may be made anew thousands of times."""

    class Bound(base):  # type: ignore[misc]
        pass

    Bound.script = script
    return Bound


def unit(name: str, *depends_on: str, type: str = "scripted", **what: Any) -> DeploymentConfig:  # noqa: A002
    """A definition of a scripted deployment."""
    return DeploymentConfig(name, type, depends_on=depends_on, **what)


def wrapper(name: str, wraps: str, *depends_on: str, **what: Any) -> DeploymentConfig:
    """A definition of a scripted deployment that wraps another one."""
    return DeploymentConfig(name, "wrapper", wraps=wraps, depends_on=depends_on, **what)
