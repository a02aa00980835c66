"""Scripted connectors: each operation does as it was told beforehand, and is written down.

    script = Script(unit("a"), wrapper("b", "a"))
    script.fail("deploy b")
    async with recorded(script) as manager:
        ...

An operation that nothing was said about takes one step and succeeds. Everything goes into a
:class:`~anydeploy.testing.history.History`, and leaving the block raises if a rule was broken.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import cached_property
from subprocess import CompletedProcess
from typing import Any, ClassVar

from anyio import CancelScope, Event, get_cancelled_exc_class, sleep
from anyio.lowlevel import checkpoint
from attrs import define, field

from ..config import DeploymentConfig
from ..connector import Connector, ConnectorWrapper
from .entries import EntryKind
from .history import History, Rule
from .invariants import every_rule
from .premises import Premises

#: The type of a connector whose `deploy` must not be interrupted.
STUBBORN = "stubborn"
#: The type of a connector whose constructor does not call that of its base.
HEADLESS = "headless"
#: Operations that take their time.
_OPERATIONS = frozenset({"deploy", "undeploy", "run", "reattach"})
#: Those that do not.
_HOOKS = frozenset({"build", "invalidate", "hurry"})


class ScriptedError(Exception):
    """Raised by an operation that was told to fail."""


@define(eq=False)
class Plan:
    """Instructions for one operation.

    :ivar operation: like "deploy a"
    :ivar error: raised at its end
    :ivar held: it goes on when :meth:`release` is called, and not before
    :ivar deaf: it lets no cancellation through until then
    :ivar delay: seconds that it takes
    :ivar action: awaited with the connector in place of all that
    :ivar reached: set when the operation has begun
    """

    operation: str
    error: BaseException | None = None
    held: bool = False
    deaf: bool = False
    delay: float | None = None
    action: Callable[[Any], Awaitable[None]] | None = None
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
        """Carry the instructions out.

        :raises BaseException: the ``error``, if there is one
        """
        self.reached.set()
        if self.action is not None:
            await self.action(connector)
        else:
            with CancelScope(shield=self.deaf):
                await self._pass_time()
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

    :ivar kind: ``deploy``, ``undeploy``, ``run`` or ``reattach``
    :ivar instance: the number of the connector among those of its name
    """

    kind: str
    name: str
    instance: int
    plan: Plan

    def __str__(self) -> str:
        return f"{self.kind} of {self.name}#{self.instance}"


class Script:
    """Instructions for a set of scripted connectors, and the history of what they and their callers did.

    :ivar premises: the definitions, and the limits of the manager
    :ivar history: the entries so far
    :ivar holding: every ``deploy`` and ``undeploy`` that has no plan is held
    :ivar connectors: all that were constructed, by name and in their order
    :ivar operations: those under way
    """

    def __init__(
        self,
        *configs: DeploymentConfig,
        max_concurrent: int | None = None,
        deploy_timeout: float | None = None,
        undeploy_timeout: float | None = None,
        rules: Callable[[], Iterable[Rule]] = every_rule,
        holding: bool = False,
    ) -> None:
        """Take definitions with scripted types, and the limits of the manager that is to be built of them.

        :param max_concurrent: how many ``deploy`` and ``undeploy`` calls may run at once
        :param deploy_timeout: of a ``deploy``, in seconds
        :param undeploy_timeout: of an ``undeploy``, in seconds
        :param rules: makes the rules that watch the history; by default all of :mod:`anydeploy.testing.invariants`
        :param holding: hold every ``deploy`` and ``undeploy`` that has no plan
        """
        self.premises = Premises({}, frozenset(), max_concurrent, deploy_timeout, undeploy_timeout)
        self._rules = rules
        self._holding = holding
        self.restart()
        self.define(*configs)

    def restart(self) -> None:
        """Forget the history and the plans. The definitions stay, and so do the rules, which begin afresh."""
        self.history = History(self.premises, self._rules())
        self.holding = self._holding
        self.connectors: dict[str, list[Any]] = {}
        self.operations: list[Operation] = []
        self._numbers: dict[Any, int] = {}
        self._plans: dict[str, deque[Plan]] = {}
        self._hook_errors: dict[str, deque[BaseException]] = {}

    def define(self, *configs: DeploymentConfig) -> None:
        """Add definitions."""
        for config in configs:
            self.premises.add(config)
        stubborn = (config.name for config in configs if config.type == STUBBORN)
        self.premises.uninterruptible |= frozenset(stubborn)

    # -- Instructions ------------------------------------------------------------------------------------------------

    def plan(self, operation: str, **options: Any) -> Plan:
        """Tell the next operation (like "deploy a") that has no plan yet what to do.

        :param options: the fields of :class:`Plan`
        :raises ValueError: if that is no operation of a connector
        """
        self._check(operation, _OPERATIONS)
        plan = Plan(operation, **options)
        self._plans.setdefault(operation, deque()).append(plan)
        return plan

    def hold(self, operation: str, **options: Any) -> Plan:
        """Let an operation hang until its plan is released."""
        return self.plan(operation, held=True, **options)

    def delay(self, operation: str, seconds: float, **options: Any) -> Plan:
        """Let an operation take so many seconds on the clock of the event loop."""
        return self.plan(operation, delay=seconds, **options)

    def fail(self, operation: str, error: BaseException | None = None) -> BaseException:
        """Let an operation fail. Returns the error that it is going to raise."""
        error = error or ScriptedError(f"{operation}: as told")
        self.plan(operation, error=error)
        return error

    def fail_constructor(self, name: str, error: BaseException | None = None) -> BaseException:
        """Let the next construction of a connector fail. Returns the error that it is going to raise."""
        return self.fail_hook(f"build {name}", error)

    def fail_hook(self, operation: str, error: BaseException | None = None) -> BaseException:
        """Let a constructor or a hook (like "build a", "invalidate a", "hurry a") fail, the next time it is called.

        Returns the error that it is going to raise.

        :raises ValueError: if there is no such hook
        """
        self._check(operation, _HOOKS)
        error = error or ScriptedError(f"{operation}: as told")
        self._hook_errors.setdefault(operation, deque()).append(error)
        return error

    def _check(self, operation: str, known: frozenset[str]) -> None:
        kind, _, name = operation.partition(" ")
        if kind not in known or not name:
            expected = ", ".join(f"'{each} a'" for each in sorted(known))
            raise ValueError(f"not an operation: {operation!r} (expected something like {expected})")

    def lose(self, name: str, error: Exception | None = None) -> Exception:
        """Let the newest connector of a name report that its environment was lost. Returns the error that it reports.

        ::

            script.lose("a", ConnectionLostError("a: the line is dead"))

        :param error: a :class:`~anydeploy.ConnectionLostError` says that only the way into it was lost
        """
        error = error or ScriptedError(f"{name} has ended")
        self.connectors[name][-1].report_lost(error)
        return error

    def let_go(self) -> None:
        """Let everything go on and succeed from now on, whatever was said before."""
        self.holding = False
        self._plans.clear()
        self._hook_errors.clear()
        for operation in list(self.operations):
            operation.plan.release()

    # -- Operations --------------------------------------------------------------------------------------------------

    def built(self, connector: Any, inner: Any = None) -> None:
        """Note that a connector was built. A scripted connector calls it at the end of its constructor.

        :param inner: the connector that it wraps, if it wraps one
        :raises BaseException: the error of :meth:`fail_constructor`, if there is one
        """
        name = connector.deployment_name
        try:
            self.called("build", name)
        except BaseException as exc:
            self.history.record(EntryKind.FAILED, "build", name, error=exc)
            raise
        known = self.connectors.setdefault(name, [])
        known.append(connector)
        self._numbers[connector] = len(known)
        number = 0 if inner is None else self.number(inner)
        self.history.record(EntryKind.BUILT, "build", name, instance=len(known), inner=number)

    def called(self, hook: str, name: str) -> None:
        """Fail if a hook was told to. A scripted connector calls it in each of its hooks.

        :raises BaseException: the error of :meth:`fail_hook`, if there is one
        """
        errors = self._hook_errors.get(f"{hook} {name}")
        if errors:
            raise errors.popleft()

    def was_lost(self, connector: Any, error: BaseException) -> None:
        """Note that a connector reports a loss. A scripted connector calls it before it does."""
        name, instance = connector.deployment_name, self.number(connector)
        self.history.record(EntryKind.LOST, "report_lost", name, instance=instance, error=error)

    async def operate(self, kind: str, connector: Any, *, external: bool = False) -> None:
        """Carry out the plan of an operation. A scripted connector awaits it in each of its operations.

        :param kind: ``deploy``, ``undeploy``, ``run`` or ``reattach``
        :param external: the argument that the operation was given
        :raises BaseException: the error of the plan, if there is one
        """
        name, instance = connector.deployment_name, self.number(connector)
        operation = Operation(kind, name, instance, self._next_plan(kind, name))
        self.operations.append(operation)
        self.history.record(EntryKind.BEGAN, kind, name, instance=instance, external=external)
        try:
            await operation.plan.play(connector)
        except BaseException as exc:
            dropped = isinstance(exc, GeneratorExit) and exc is not operation.plan.error
            # Where the whole run was dropped, its history was, too.
            if not dropped:
                cancelled = isinstance(exc, get_cancelled_exc_class())
                told = EntryKind.CANCELLED if cancelled else EntryKind.FAILED
                self.history.record(told, kind, name, instance=instance, error=None if cancelled else exc)
            raise
        else:
            self.history.record(EntryKind.ENDED, kind, name, instance=instance)
        finally:
            self.operations.remove(operation)

    def _next_plan(self, kind: str, name: str) -> Plan:
        plans = self._plans.get(f"{kind} {name}")
        return plans.popleft() if plans else self.unplanned(kind, name)

    def unplanned(self, kind: str, name: str) -> Plan:
        """Make the plan of an operation that nothing was said about. A subclass may choose another default."""
        return Plan(f"{kind} {name}", held=self.holding and kind != "run")

    def number(self, connector: Any) -> int:
        """Return the number of a connector among those of its name; 0 for None, a negative one for a stranger."""
        return 0 if connector is None else self._numbers.setdefault(connector, -1 - len(self._numbers))

    @cached_property
    def types(self) -> Mapping[str, type[Connector]]:
        """The connector classes for anydeploy: ``scripted``, ``wrapper``, ``stubborn`` and ``headless``."""
        return {
            "scripted": _bound(_Scripted, self),
            "wrapper": _bound(_ScriptedWrapper, self),
            STUBBORN: _bound(_Stubborn, self),
            HEADLESS: _bound(_Headless, self),
        }


class _Told:
    """Base of the scripted connectors: the script carries out their operations."""

    script: ClassVar[Script]

    def __attrs_post_init__(self) -> None:
        self.script.built(self, getattr(self, "connector", None))

    async def deploy(self, external: bool) -> None:
        await self.script.operate("deploy", self, external=external)

    async def undeploy(self, external: bool) -> None:
        await self.script.operate("undeploy", self, external=external)

    async def reattach(self, facts: Mapping[str, str] | None = None) -> None:  # noqa: ARG002
        await self.script.operate("reattach", self)

    def report_lost(self: Any, error: Exception) -> None:
        self.script.was_lost(self, error)
        super().report_lost(error)  # type: ignore[misc]

    def invalidate(self: Any, reason: str) -> None:
        super().invalidate(reason)  # type: ignore[misc]
        self.script.called("invalidate", self.deployment_name)

    def hurry(self: Any) -> None:
        super().hurry()  # type: ignore[misc]
        self.script.called("hurry", self.deployment_name)

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


class _Headless(_Scripted):
    def __init__(self, **_: Any) -> None:
        """Forget to call the constructor of the base."""


def _bound(base: Any, script: Script) -> type[Connector]:
    """Make a connector class of one script. It is cheap: a script may be made anew thousands of times."""

    class Bound(base):  # type: ignore[misc]
        pass

    Bound.script = script
    return Bound


def unit(name: str, *depends_on: str, type: str = "scripted", **fields: Any) -> DeploymentConfig:  # noqa: A002
    """Define a scripted deployment.

    :param fields: further ones of the definition
    """
    return DeploymentConfig(name, type, depends_on=depends_on, **fields)


def wrapper(name: str, wraps: str, *depends_on: str, **fields: Any) -> DeploymentConfig:
    """Define a scripted deployment that wraps another one.

    :param fields: further ones of the definition
    """
    return DeploymentConfig(name, "wrapper", wraps=wraps, depends_on=depends_on, **fields)
