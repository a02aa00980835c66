"""Reference model of the observed state: it follows the calls and the operations of connectors, never the manager.

The rules share one picture, and see it as it was before each entry.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from attrs import define, field

from .instances import Call, Instance
from .premises import Premises

#: In place of the number of an instance: the connector of a lazy deployment that stands for it.
STAND_IN = -1


@define(eq=False)
class Picture:
    """The environments that may exist, and the calls that wait.

    :ivar instances: by name, those that are not gone; several only where a rule is broken
    :ivar calls: those that have not come back, by the number of the caller
    :ivar granted: names of which a ``deploy`` was granted (of lazy ones: a use) and neither taken back nor lost to a
        failure since
    :ivar perhaps: names for which an ``undeploy`` and the return of a ``deploy`` crossed: either may have been last
    :ivar armed: names of lazy deployments that a use will bring up
    :ivar withdrawn: names of which ``undeploy`` was called since the last ``deploy``
    :ivar failures: the number of attempts that have failed, of names that are coming up
    :ivar pausing: names that are to be tried again
    :ivar renewing: names that were lost, went down, and are not live again yet
    :ivar returning: names that a ``restart`` has taken down, and that are not live again yet
    :ivar restarts: the number of times that a name was renewed by itself since it was last up for long
    :ivar risen: the times at which such names came up, in seconds
    :ivar now: the time of the last entry, in seconds
    :ivar interrupted: a connector has raised KeyboardInterrupt
    :ivar closing: ``close`` was called
    :ivar resting: nothing has happened since everything was blocked
    """

    premises: Premises
    instances: dict[str, list[Instance]] = field(factory=dict[str, list[Instance]])
    calls: dict[int, Call] = field(factory=dict[int, Call])
    granted: set[str] = field(factory=set[str])
    perhaps: set[str] = field(factory=set[str])
    armed: set[str] = field(factory=set[str])
    withdrawn: set[str] = field(factory=set[str])
    failures: dict[str, int] = field(factory=dict[str, int])
    pausing: set[str] = field(factory=set[str])
    renewing: set[str] = field(factory=set[str])
    returning: set[str] = field(factory=set[str])
    restarts: dict[str, int] = field(factory=dict[str, int])
    risen: dict[str, float] = field(factory=dict[str, float])
    now: float = 0.0
    interrupted: bool = False
    closing: bool = False
    resting: bool = False

    # -- Environments ------------------------------------------------------------------------------------------------

    def live(self, name: str) -> Instance | None:
        for instance in self.instances.get(name, ()):
            if instance.state == "live":
                return instance
        return None

    def present(self, name: str) -> Instance | None:
        """Return the instance of a name whose environment may exist."""
        return next((i for i in self.instances.get(name, ()) if i.exists), None)

    def find(self, name: str, number: int) -> Instance | None:
        """Return the instance with this number, unless it is gone."""
        return next((i for i in self.instances.get(name, ()) if i.number == number), None)

    def all(self) -> Iterator[Instance]:
        for instances in self.instances.values():
            yield from instances

    def standing(self, name: str) -> Iterator[Instance]:
        """Yield the instances of dependents of a name that may exist."""
        for dependent in self.premises.dependents[name]:
            yield from (i for i in self.instances.get(dependent, ()) if i.exists)

    def wrapped(self, instance: Instance) -> Instance | None:
        """Return the instance that another one wraps, unless it is gone, or the other one wraps nothing."""
        return self.find(self.premises.wraps.get(instance.name, ""), instance.inner)

    def way_to(self, instance: Instance) -> Iterator[Instance]:
        """Yield the instances that another one is reached through, the nearest first."""
        below = self.wrapped(instance)
        while below is not None:
            yield below
            below = self.wrapped(below)

    def wrappers(self, instance: Instance) -> Iterator[Instance]:
        """Yield the instances that wrap another one directly."""
        for dependent in self.premises.dependents[instance.name]:
            yield from (i for i in self.instances.get(dependent, ()) if self.wrapped(i) is instance)

    def gets_on_without(self, dependent: Instance, instance: Instance) -> bool:
        """Whether a dependent may stay while an instance goes down, which was lost, or never came up (rule X2)."""
        # A restart tries again at once what is stuck.
        lost = instance.lost and (instance.tries > 0 or not instance.restarted)
        gone = lost or not instance.came_up
        return gone and self.wrapped(dependent) is not instance

    def complete(self, name: str) -> bool:
        """Whether a name and everything that it depends on is live."""
        return all(self.live(below) for below in self.premises.closure[name])

    def how(self, name: str) -> str:
        """Tell the state of a name in words."""
        found = self.instances.get(name)
        return " and ".join(f"{instance} is {instance.state}" for instance in found) if found else f"{name} is absent"

    def how_all(self, names: Iterable[str]) -> str:
        """Tell the states of several names in words."""
        return ", ".join(map(self.how, sorted(names)))

    # -- Demand ------------------------------------------------------------------------------------------------------

    def claims(self, call: Call) -> bool:
        """Whether the call asks for its name to be brought up."""
        return call.operation == ("use" if call.name in self.premises.lazy else "deploy")

    def demanding(self, call: Call) -> bool:
        """Whether the call is a demand for its name that can still be met."""
        return self.claims(call) and not (call.withdrawn or call.doomed or self.closing)

    def wanted_by(self, call: Call, *, sure: bool = False) -> frozenset[str]:
        """The names that a call demands directly.

        :param sure: as in :meth:`demand`
        """
        if call.withdrawn or call.doomed or self.closing or (sure and (call.asked or call.shaken)):
            return frozenset()
        if self.claims(call):
            return frozenset([call.name])
        return call.certain if sure else call.targets

    def demand(self, name: str, *, sure: bool = False) -> Iterator[str]:
        """Tell each demand for a name in words.

        :param sure: leave out demands that may have been taken back or disappointed, and callers that were asked to
            give up
        """
        above = self.premises.above[name]
        for other in above & (self.granted if sure else self.granted | self.perhaps):
            yield f"the deploy({other}) that was granted"
        for call in self.calls.values():
            if self.wanted_by(call, sure=sure) & above:
                yield str(call)
        for dependent in self.premises.dependents[name]:
            present = self.present(dependent)
            # Closing goes on below what is stuck, unless that waits for a fresh way in to be tried again.
            given_up = self.closing and present is not None and present.state == "stuck"
            if present is not None and not (given_up and not self._reattaches(present)):
                yield present.told

    def demanded(self, name: str, *, sure: bool = False) -> bool:
        return any(True for _ in self.demand(name, sure=sure))

    # -- Activity ----------------------------------------------------------------------------------------------------

    @property
    def operating(self) -> list[Instance]:
        """Those whose ``deploy`` or ``undeploy`` is running."""
        return [instance for instance in self.all() if instance.operating]

    def moving(self, *, by_itself: bool = True) -> Iterator[str]:
        """Yield the names whose connectors are at work, or that wait for the time of their next attempt.

        :param by_itself: include those that were lost and may come up again by themselves
        """
        yield from self.pausing
        for instance in self.all():
            waits = by_itself and instance.state == "lost" and (instance.renewable or instance.charged)
            if instance.operating or waits or self._reattaches(instance):
                yield instance.name

    def reasons(self, call: Call) -> list[str]:
        """Return the moving names that a call may be waiting for."""
        moving = list(self.moving(by_itself=call.operation in {"deploy", "use", "restart"}))
        if call.operation in {"undeploy_all", "close"} or self.premises.max_concurrent is not None:
            return moving
        if call.operation == "undeploy" and call.needed:
            return [name for name in moving if name == call.name]
        return self.related(moving, self.premises.above[call.name] if call.operation == "restart" else [call.name])

    def related(self, moving: Iterable[str], names: Iterable[str]) -> list[str]:
        """Return those of the moving names that have a dependency in common with one of ``names``."""
        # A predecessor of a dependency goes down only after its own dependents.
        below = frozenset[str]().union(*(self.premises.closure[name] for name in names))
        return [name for name in moving if self.premises.closure[name] & below]

    @property
    def queueing(self) -> bool:
        """Whether a connector may have to wait for its turn (rule K1)."""
        # A teardown has its turn while what it is reached through reattaches.
        busy = any(instance.operating or instance.reattaching for instance in self.all())
        return self.premises.max_concurrent is not None and busy

    def held_up(self, instance: Instance) -> bool:
        """Whether a teardown may have to wait for its turn, or for a fresh way in (rules K1, X3)."""
        return self.queueing or self._reattaches(instance)

    def _reattaches(self, instance: Instance) -> bool:
        """Whether a connector is asked for a fresh way in, or one that it is reached through."""
        return any(each.reattaching for each in (instance, *self.way_to(instance)))

    # -- Readings ----------------------------------------------------------------------------------------------------

    def shown(self, name: str) -> tuple[int, ...]:
        """Return the readings of ``get_connector`` that are right: numbers of instances, 0 for None, :data:`STAND_IN`.

        While a connector has just come up, or is about to go, both the connector and None are right, unless nothing has
        happened since everything was at rest.
        """
        live = self.live(name)
        if name in self.premises.lazy:
            if name in self.armed:
                return (STAND_IN,)
            if name in self.perhaps or any(c.name == name and c.operation == "deploy" for c in self.calls.values()):
                return (STAND_IN, 0)
        if live is None or (live.touched and name in self.withdrawn and name not in self.perhaps):
            return (0,)
        number = STAND_IN if name in self.premises.lazy else live.number
        if live.unwanted or live.restarted or name in self.withdrawn or name in self.perhaps:
            return (number, 0)
        return (number,) if self.resting or self.premises.above[name] & self.granted else (number, 0)
