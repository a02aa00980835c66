"""Scenarios, and the stage that they are played on."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import anyio
from anyio.abc import TaskGroup
from attrs import field, frozen

from ...config import DeploymentConfig
from ...exceptions import ConnectionLostError
from ..callers import Caller, Recorded
from ..entries import EntryKind
from ..history import Rule, Violation
from ..invariants import RULES
from ..rest import settle
from ..scripted import Script
from ..subject import Feature, Subject

#: Virtual seconds after which a manager that has not come to its end is left.
_ENDLESS = 1e6


@frozen
class Scenario:
    """A short play that shows whether a manager keeps a rule.

    :ivar rule: the number of the rule
    :ivar act: plays it; raises an AssertionError where the manager breaks the rule
    :ivar configs: the definitions that the manager knows
    :ivar needs: features that a manager must claim to have, for the scenario to concern it
    :ivar limits: of the manager, as :class:`~anydeploy.testing.Script` takes them
    """

    rule: str
    act: Callable[[Stage], Awaitable[None]]
    configs: tuple[DeploymentConfig, ...]
    needs: frozenset[Feature]
    limits: dict[str, Any] = field(factory=dict[str, Any])

    @property
    def id(self) -> str:
        return f"{self.rule}-{self.act.__name__}"

    @property
    def title(self) -> str:
        """The rule that it shows, in one sentence."""
        return (inspect.getdoc(self.act) or "").partition("\n")[0]

    @property
    def takes_time(self) -> bool:
        """Whether it waits for the clock, which had better be a virtual one."""
        return bool(self.needs & {Feature.TIMEOUTS, Feature.RETRIES, Feature.RESTARTS})

    def lacking(self, subject: Subject) -> list[Feature]:
        """Return the features that the scenario needs and the subject does not claim to have."""
        return sorted(self.needs - subject.features)


def scenario(
    rule: str, *configs: DeploymentConfig, **limits: Any
) -> Callable[[Callable[[Stage], Awaitable[None]]], Scenario]:
    """Make a scenario of a coroutine function, the docstring of which tells the rule in one sentence.

    The features that it needs are derived from its definitions and limits; more can be given as ``needs``.
    """
    needs = frozenset(limits.pop("needs", ())) | frozenset(_needs(configs, limits))
    return lambda act: Scenario(rule, act, configs, needs, limits)


def _needs(configs: tuple[DeploymentConfig, ...], limits: dict[str, Any]) -> Iterator[Feature]:
    if any(config.depends_on for config in configs):
        yield Feature.DEPENDS_ON
    if any(config.lazy for config in configs):
        yield Feature.LAZY
    if any(config.external for config in configs):
        yield Feature.EXTERNAL
    if any(config.retries for config in configs):
        yield Feature.RETRIES
    if any(config.restarts for config in configs):
        yield Feature.RESTARTS
    if any(config.type == "stubborn" for config in configs):
        yield Feature.UNINTERRUPTIBLE
    if "max_concurrent" in limits:
        yield Feature.LIMITS
    if {"deploy_timeout", "undeploy_timeout"} & limits.keys():
        yield Feature.TIMEOUTS


async def play(scenario: Scenario, subject: Subject) -> None:
    """Play a scenario with a manager.

    The rule that it is about is watched all the time; other rules are left to other scenarios, and so is the end, where
    every operation is released.

    :raises AssertionError: if the rule is not kept
    """

    def rules() -> list[Rule]:
        return [rule() for rule in RULES if rule.number == scenario.rule]

    script = Script(*scenario.configs, rules=rules, **scenario.limits)
    found: Exception | None = None
    verdict: Violation | None = Violation(scenario.rule, "it never came to an end")
    with anyio.move_on_after(_ENDLESS), suppress(Exception):
        async with anyio.create_task_group() as tasks, subject.manager(script) as manager:
            stage = Stage(scenario.rule, subject, script, Recorded(subject, manager, script), tasks)
            try:
                await scenario.act(stage)
            except Exception as exc:  # noqa: BLE001 - it is the verdict, not an exception on the way out
                found = exc
            verdict = _verdict(scenario, found, script)
            script.let_go()
            stage.cancel_all()
            tasks.start_soon(_leave, tasks.cancel_scope)
    if verdict is not None:
        raise verdict


def _verdict(scenario: Scenario, found: Exception | None, script: Script) -> Violation | None:
    """Return the finding of the scenario, followed by those of the monitor of its rule."""
    stories = [violation.story for violation in script.history.violations]
    if found is not None:
        stories.insert(0, found.story if isinstance(found, Violation) else f"{found!r} came out")
    if not stories:
        return None
    verdict = Violation(scenario.rule, "\n".join(stories), script.history.about())
    verdict.__cause__ = found
    return verdict


async def _leave(scope: anyio.CancelScope) -> None:
    """A manager that cannot be closed is left as it is, as soon as nothing goes on any more."""
    await settle()
    scope.cancel()


class Stage:
    """A manager, its scripted connectors, and callers that never wait longer than until nothing can go on any more."""

    def __init__(self, rule: str, subject: Subject, script: Script, manager: Recorded, tasks: TaskGroup) -> None:
        self.rule = rule
        self.subject = subject
        self.script = script
        self.manager = manager
        self._tasks = tasks
        self._callers: list[Caller] = []

    # -- What callers do ---------------------------------------------------------------------------------------------

    async def start(self, operation: str, deployment: Any = "", **what: Any) -> Caller:
        """Make a call, and let everything go on that can."""
        caller = self.manager.start(self._tasks, operation, deployment, **what)
        self._callers.append(caller)
        await self.rest()
        return caller

    async def done(self, operation: str, deployment: Any = "", **what: Any) -> Caller:
        """Make a call that has to return."""
        caller = await self.start(operation, deployment, **what)
        self.returned(caller)
        return caller

    async def refused(self, operation: str, deployment: Any = "", **what: Any) -> BaseException:
        """Make a call that has to raise. Returns the error."""
        return self.raised(await self.start(operation, deployment, **what))

    async def cancel(self, caller: Caller, how: str = "scope") -> None:
        """Cancel a caller, which has to go at once."""
        caller.cancel(how)
        await self.rest()
        self._ended(caller, EntryKind.GAVE_UP)

    async def release(self, plan: Any, error: BaseException | None = None) -> None:
        """Let a connector go on that is held, and everything else that can."""
        plan.release(error)
        await self.rest()

    def cut_off(self, name: str) -> None:
        """Let the connector of a name lose the way into its environment."""
        self.script.lose(name, ConnectionLostError(f"the way into {name} is gone"))

    async def rest(self) -> None:
        """Let everything go on that can."""
        await settle()
        self.script.history.at_rest()

    def cancel_all(self) -> None:
        """Cancel every caller."""
        for caller in self._callers:
            caller.scope.cancel()

    # -- What has to be so -------------------------------------------------------------------------------------------

    def returned(self, *callers: Caller) -> None:
        for caller in callers:
            self._ended(caller, EntryKind.RETURNED)

    def raised(self, caller: Caller) -> BaseException:
        self._ended(caller, EntryKind.RAISED)
        assert caller.error is not None  # noqa: S101 - for the type checker
        return caller.error

    def waits(self, *callers: Caller) -> None:
        for caller in callers:
            self.expect(caller.outcome is None, f"{caller} has to wait, but {caller.outcome}")

    def _ended(self, caller: Caller, outcome: EntryKind) -> None:
        became = "still waits" if caller.outcome is None else caller.outcome.replace("_", " ")
        if caller.error is not None:
            became += f" {caller.error!r}"
        self.expect(caller.outcome is outcome, f"{caller} {became}; expected: {outcome.replace('_', ' ')}")

    def stands(self, **states: str) -> None:
        """Each name is in this state, or ``absent``."""
        for name, state in states.items():
            found = [instance.state for instance in self.script.history.picture.instances.get(name, ())]
            how = self.script.history.picture.how(name)
            self.expect((found or ["absent"]) == [state], f"{how}; expected: {state}")

    def shows(self, name: str, *, connector: bool) -> Any:
        """``get_connector`` gives a connector, or None. Returns it."""
        found = self.manager.get_connector(name)
        gave = "None" if found is None else "a connector"
        self.expect((found is not None) is connector, f"get_connector({name}) gave {gave}")
        return found

    def happened(self, told: str, times: int = 1) -> None:
        """An entry of the history, such as "deploy of a#1 began", is there so many times."""
        found = self.script.history.count(told)
        self.expect(found == times, f"{told}: {found} times, expected: {times}")

    def tells_of(self, error: BaseException | None, name: str, cause: BaseException | None = None) -> None:
        """The error is one of those that tell of a failure, names the deployment, and has the cause."""
        failure = isinstance(error, self.subject.execution_errors) and not self._is_definition(error)
        self.expect(failure, f"{error!r} is not an error that tells of a failure")
        self.expect(name in str(error), f"{error!r} does not name {name}")
        if cause is not None:
            self.expect(error is not None and error.__cause__ is cause, f"the cause of {error!r} is not {cause!r}")

    def groups(self, error: BaseException, *names: str) -> None:
        """The error is a group of one for each of these names, which it names."""
        found = sorted(str(each) for each in getattr(error, "exceptions", ()))
        told = len(found) == len(names) and all(name in text for name, text in zip(names, found, strict=True))
        self.expect(isinstance(error, ExceptionGroup) and told, f"{error!r} is no group of errors about {names}")

    def says_misspecified(self, error: BaseException, *words: str) -> None:
        """The error says that what was asked for cannot be, with these words in its message."""
        self.expect(self._is_definition(error), f"{error!r} does not say that it is a matter of the definition")
        for word in words:
            self.expect(word in str(error), f"{error!r} does not mention {word}")

    def _is_definition(self, error: BaseException | None) -> bool:
        return isinstance(error, self.subject.definition_errors)

    def expect(self, condition: bool, otherwise: str) -> None:
        """Raise a :class:`Violation` that says what is the case otherwise, unless the condition holds."""
        if not condition:
            raise Violation(self.rule, otherwise, self.script.history.about())

    @contextmanager
    def in_time(self, seconds: float) -> Generator[None, None, None]:
        """The block has to take exactly so long on the clock of the event loop."""
        begun = anyio.current_time()
        yield
        took = anyio.current_time() - begun
        self.expect(abs(took - seconds) < 1e-6, f"it took {took:g} s; expected: {seconds:g} s")
