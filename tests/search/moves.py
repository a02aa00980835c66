"""All that can happen next, and the world after it."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum

from attrs import define, field

from anydeploy.engine.deployment import Deployment
from anydeploy.engine.losing import LONG_LIFE
from anydeploy.engine.state import Do, Effect
from anydeploy.lifecycle import Phase

from .facts import Facts, bits, present
from .graphs import NAMES
from .violation import require
from .world import (
    ATTEMPTING,
    CANCELLATIONS,
    CANCELLED,
    CUTS,
    DEPLOY_FAULTS,
    IDLE,
    LOSSES,
    TOLD,
    UNDEPLOY_FAULTS,
    UNDEPLOYING,
    World,
    number_of,
)


class Kind(IntEnum):
    """A kind of move."""

    DEPLOY = 0
    UNDEPLOY = 1
    RESTART = 2
    UNDEPLOY_ALL = 3
    CLOSE = 4
    #: A caller of `deploy` or `restart` is cancelled; the number is that of the claim.
    CANCEL = 5
    #: A caller of `undeploy` or `undeploy_all` is cancelled; the number is that of the wait.
    CANCEL_WAIT = 6
    CANCEL_CLOSE = 7
    #: A caller of `deploy` or `restart` leaves with what it asked for.
    LEAVE = 8
    #: A task takes up its start.
    BEGIN = 9
    #: An attempt returns.
    RETURN = 10
    #: An attempt that was cancelled ends with an error.
    END = 11
    #: A teardown returns.
    GONE = 12
    #: The time has come that a deployment waits for.
    DUE = 13
    #: A deployment has been live for long.
    LAST = 14
    #: An attempt fails, which may be because of its timeout.
    FAIL = 15
    #: So does a teardown.
    STICK = 16
    LOSE = 17
    #: The way into an environment is lost.
    CUT = 18
    #: The shutdown deadline passes.
    EXPIRE = 19


Move = tuple[Kind, int]

#: Those whose number is not that of a deployment.
WITHOUT_DEPLOYMENT = frozenset(
    {Kind.UNDEPLOY_ALL, Kind.CLOSE, Kind.CANCEL, Kind.CANCEL_WAIT, Kind.CANCEL_CLOSE, Kind.LEAVE, Kind.EXPIRE}
)


def show(move: Move) -> str:
    kind, number = move
    return f"{kind.name.lower()} {number if kind in WITHOUT_DEPLOYMENT else NAMES[number]}"


@define
class Next:
    """All that can happen next.

    :ivar progress: what happens by itself, if all goes well; all callers have to return by this alone
    :ivar leisure: deployments that stay live for long
    :ivar cancellations: callers that are cancelled
    :ivar calls: callers who come
    :ivar faults: what goes wrong
    """

    progress: list[Move] = field(factory=list[Move])
    leisure: list[Move] = field(factory=list[Move])
    cancellations: list[Move] = field(factory=list[Move])
    calls: list[Move] = field(factory=list[Move])
    faults: list[Move] = field(factory=list[Move])


def moves(world: World) -> Next:
    """Return all that can happen next.

    When the shutdown deadline has passed, no attempt or teardown returns any more: all of them fail by themselves.
    """
    found = Next()
    closing = world.engine.closing
    for number, record in enumerate(world.records):
        if not closing:
            found.calls.append((Kind.DEPLOY, number))
        if record is None:
            continue
        found.calls.append((Kind.UNDEPLOY, number))
        if not closing:
            found.calls.append((Kind.RESTART, number))
        _of_task(world, number, found)
        _of_environment(world, number, record, found)
    _of_manager(world, found)
    _of_callers(world, found)
    return found


def _of_manager(world: World, found: Next) -> None:
    engine = world.engine
    if engine.deployments:
        found.calls.append((Kind.UNDEPLOY_ALL, 0))
    if engine.drained.settled:
        return
    if not world.closers:
        found.calls.append((Kind.CLOSE, 0))
    if engine.closing and not world.expired:
        found.faults.append((Kind.EXPIRE, 0))


def _of_callers(world: World, found: Next) -> None:
    for number, claim in enumerate(world.claims):
        if claim.waiters:
            found.cancellations.append((Kind.CANCEL, number))
            if claim.settled:
                found.progress.append((Kind.LEAVE, number))
    found.cancellations += [(Kind.CANCEL_WAIT, number) for number in range(len(world.waits))]
    if world.closers:
        found.cancellations.append((Kind.CANCEL_CLOSE, 0))


def _of_task(world: World, number: int, found: Next) -> None:
    task = world.tasks[number]
    if task == TOLD:
        found.progress.append((Kind.BEGIN, number))
    elif task in (ATTEMPTING, CANCELLED):
        if not world.expired:
            found.progress.append((Kind.RETURN, number))
        if task == CANCELLED or world.expired:
            found.progress.append((Kind.END, number))
        else:
            found.faults.append((Kind.FAIL, number))
    elif task == UNDEPLOYING:
        if world.expired:
            found.progress.append((Kind.STICK, number))
        else:
            found.progress.append((Kind.GONE, number))
            found.faults.append((Kind.STICK, number))


def _of_environment(world: World, number: int, record: Deployment, found: Next) -> None:
    phase = record.phase
    if record.due is not None:
        found.progress.append((Kind.DUE, number))
    wrapped = world.graph.wrapped[number]
    if phase is Phase.LIVE or phase is Phase.RETIRING:
        found.faults.append((Kind.LOSE, number))
        if wrapped:
            found.faults.append((Kind.CUT, number))
        if record.restarts and record.live_since == 0.0:
            found.leisure.append((Kind.LAST, number))
    elif phase is Phase.ATTEMPTING:
        found.faults.append((Kind.LOSE, number))
    elif wrapped and record.wrapping and not record.cut_off:
        found.faults.append((Kind.CUT, number))


def make(world: World, move: Move) -> list[Effect]:
    """Let something happen, and carry out what the engine decides.

    :raises Violation: if a task is told what it cannot do
    """
    kind, number = move
    _MAKE[kind](world, number)
    engine = world.engine
    effects = list(engine.effects)
    engine.effects.clear()
    if effects:
        _carry_out(world, effects)
    if kind in _ENDS_OF_ATTEMPTS and _record(world, number).phase in (Phase.CLEANING, Phase.UNDEPLOYING):
        # The task has looked at what has become of its attempt.
        world.tasks[number] = UNDEPLOYING
    if engine.drained.settled:
        world.closers = False
    deployments = engine.deployments
    if len(deployments) < len(world.records):
        for each, name in enumerate(NAMES[: len(world.records)]):
            if name not in deployments:
                world.records[each] = None
    return effects


def _record(world: World, number: int) -> Deployment:
    record = world.records[number]
    assert record is not None
    return record


def _deploy(world: World, number: int) -> None:
    engine = world.engine
    graph = world.graph
    new = [each for each in graph.closure[number] if world.records[each] is None]
    claim = engine.claim(0.0, (NAMES[number],), [graph.nodes[each] for each in new])
    for each in new:
        world.records[each] = engine.deployments[NAMES[each]]
    if claim not in world.claims:
        world.claims.append(claim)


def _undeploy(world: World, number: int) -> None:
    goes_down = bits(present(Facts(world), [number]))
    wait = world.engine.withdraw(0.0, NAMES[number])
    if wait is not None:
        # Where others wait for the same already, it is theirs.
        world.waits.setdefault(wait, goes_down)


def _restart(world: World, number: int) -> None:
    claim = world.engine.restart(0.0, NAMES[number])
    if claim is not None:
        world.restarts[claim] = number
        world.claims.append(claim)


def _undeploy_all(world: World, number: int) -> None:
    phases = Facts(world).phases
    top = [
        each
        for each, above in enumerate(world.graph.above)
        if phases[each] is not Phase.ABSENT and all(phases[other] is Phase.ABSENT for other in above)
    ]
    world.waits[world.engine.withdraw_all(0.0)] = bits(top)


def _close(world: World, number: int) -> None:
    if not world.engine.closing:
        world.engine.close(0.0, 1.0)
    world.closers = True


def _cancel(world: World, number: int) -> None:
    world.engine.leave(0.0, world.claims[number], granted=False)


def _cancel_wait(world: World, number: int) -> None:
    del world.waits[list(world.waits)[number]]


def _cancel_close(world: World, number: int) -> None:
    world.closers = False


def _leave(world: World, number: int) -> None:
    world.engine.leave(0.0, world.claims[number], granted=True)


def _begin(world: World, number: int) -> None:
    world.tasks[number] = ATTEMPTING
    world.exists[number] = True
    world.engine.begun(0.0, _record(world, number))


def _return(world: World, number: int) -> None:
    world.tasks[number] = IDLE
    record = _record(world, number)
    world.engine.attempt_ended(0.0, record, connector=record.definition)


def _end(world: World, number: int) -> None:
    world.tasks[number] = IDLE
    world.engine.attempt_ended(0.0, _record(world, number), CANCELLATIONS[number])


def _fail(world: World, number: int) -> None:
    world.tasks[number] = IDLE
    world.engine.attempt_ended(0.0, _record(world, number), DEPLOY_FAULTS[number])


def _gone(world: World, number: int) -> None:
    world.tasks[number] = IDLE
    world.exists[number] = False
    world.engine.torn_down(0.0, _record(world, number))


def _stick(world: World, number: int) -> None:
    world.tasks[number] = IDLE
    world.engine.torn_down(0.0, _record(world, number), UNDEPLOY_FAULTS[number])


def _due(world: World, number: int) -> None:
    world.engine.due(1.0, _record(world, number))


def _last(world: World, number: int) -> None:
    _record(world, number).live_since = -LONG_LIFE


def _lose(world: World, number: int) -> None:
    world.engine.lost(0.0, _record(world, number), LOSSES[number], cut_off=False)


def _cut(world: World, number: int) -> None:
    world.engine.lost(0.0, _record(world, number), CUTS[number], cut_off=True)


def _expire(world: World, number: int) -> None:
    world.expired = True


#: By kind.
_MAKE: tuple[Callable[[World, int], None], ...] = (
    _deploy, _undeploy, _restart, _undeploy_all, _close, _cancel, _cancel_wait, _cancel_close, _leave, _begin, _return,
    _end, _gone, _due, _last, _fail, _stick, _lose, _cut, _expire,
)  # fmt: skip
_ENDS_OF_ATTEMPTS = frozenset({Kind.RETURN, Kind.END, Kind.FAIL})


def _carry_out(world: World, effects: list[Effect]) -> None:
    """Let the tasks do what they are told."""
    tasks = world.tasks
    for do, subject, _ in effects:
        if do is Do.TELL or do is Do.WAKE:
            continue
        assert isinstance(subject, Deployment)
        number = number_of(subject)
        if do is Do.PROCEED:
            require(tasks[number] == IDLE, "shell", f"{subject.name} is told to go on while it works")
            tasks[number] = UNDEPLOYING if subject.phase is Phase.UNDEPLOYING else TOLD
        elif do is Do.DISMISS:
            require(tasks[number] in (IDLE, TOLD), "shell", f"{subject.name} is dismissed while it works")
            tasks[number] = IDLE
        elif do is Do.CANCEL:
            require(tasks[number] in (ATTEMPTING, CANCELLED), "U5", f"{subject.name} is cancelled in no attempt")
            tasks[number] = CANCELLED
