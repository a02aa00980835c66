"""Reference model of the observed state: it follows the calls and the operations of connectors, never the manager.

The rules share one picture, and see it as it was before each entry.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from attrs import define, field

from .entries import Entry
from .premises import Premises

#: In place of the number of an instance: the connector of a lazy deployment that stands for it.
STAND_IN = -1
#: Calls that take demand back.
_DOWN = frozenset({"undeploy", "undeploy_all", "close"})


@define(eq=False)
class Instance:
    """One connector of a name, until its environment is gone.

    :ivar state: ``built``, ``deploying``, ``live``, ``broken`` (its deploy failed or was cancelled), ``undeploying`` or
        ``stuck``
    :ivar unwanted: at some moment nothing demanded it, so that no caller may join it any more
    :ivar doubtful: at some moment it was not sure that anything demanded it
    :ivar touched: ``undeploy`` of its name was called since it was built
    :ivar tries: the number of times that its teardown has begun
    :ivar operating: the number of its ``deploy`` and ``undeploy`` calls that are running
    """

    name: str
    number: int
    state: str = "built"
    unwanted: bool = False
    doubtful: bool = False
    touched: bool = False
    tries: int = 0
    operating: int = 0

    def __str__(self) -> str:
        return f"{self.name}#{self.number}"

    @property
    def told(self) -> str:
        return f"{self}, which is {self.state}"

    @property
    def exists(self) -> bool:
        """Whether there may be an environment, whole or in part."""
        return self.state not in {"built", "gone"}


@define(eq=False)
class Call:
    """A call that has not come back.

    :ivar asked: its caller was asked to give up
    :ivar withdrawn: the demand that it stood for was taken back by ``undeploy``, ``undeploy_all`` or ``close``
    :ivar met: by then its deployment was live
    :ivar doomed: a deployment that it waits for has failed
    :ivar needed: when it was made, the name was demanded by others than those whose demand it takes back
    :ivar renewed: the names that have been deployed or used since, with their dependencies
    :ivar found: the instances that it concerned when it was made, each with its state and tries
    """

    number: int
    operation: str
    name: str
    asked: bool = False
    withdrawn: bool = False
    met: bool = False
    doomed: bool = False
    needed: bool = False
    renewed: frozenset[str] = frozenset()
    found: tuple[tuple[Instance, str, int], ...] = ()

    def __str__(self) -> str:
        return f"{self.operation}({self.name}) by caller {self.number}"


@define(eq=False)
class Picture:
    """The environments that exist, and the calls that wait.

    :ivar instances: by name, those that are not gone; several only where a rule is broken
    :ivar calls: those that have not come back, by the number of the caller
    :ivar granted: names of which a ``deploy`` was granted (of lazy ones: a use) and not taken back
    :ivar perhaps: names for which an ``undeploy`` and the return of a ``deploy`` crossed: either may have been last
    :ivar armed: names of lazy deployments that a use will bring up
    :ivar withdrawn: names of which ``undeploy`` was called since the last ``deploy``
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
    closing: bool = False
    resting: bool = False

    # -- What the rules ask ------------------------------------------------------------------------------------------

    def live(self, name: str) -> Instance | None:
        for instance in self.instances.get(name, ()):
            if instance.state == "live":
                return instance
        return None

    def present(self, name: str) -> Instance | None:
        """The environment of a name, if there may be one."""
        return next((i for i in self.instances.get(name, ()) if i.exists), None)

    def find(self, name: str, number: int) -> Instance | None:
        """The instance with this number, unless it is gone."""
        return next((i for i in self.instances.get(name, ()) if i.number == number), None)

    def all(self) -> Iterator[Instance]:
        for instances in self.instances.values():
            yield from instances

    @property
    def operating(self) -> list[Instance]:
        """Those whose ``deploy`` or ``undeploy`` is running."""
        return [instance for instance in self.all() if instance.operating]

    def claims(self, call: Call) -> bool:
        """Whether the call asks for its name to be brought up."""
        return call.operation == ("use" if call.name in self.premises.lazy else "deploy")

    def demanding(self, call: Call) -> bool:
        """Whether the call is a demand for its name that can still be met."""
        return self.claims(call) and not (call.withdrawn or call.doomed or self.closing)

    def demand(self, name: str, *, sure: bool = False) -> Iterator[str]:
        """Tell each demand for a name in words.

        :param sure: leave out demands that may have been taken back, and callers that were asked to give up
        """
        above = self.premises.above[name]
        for other in above & (self.granted if sure else self.granted | self.perhaps):
            yield f"the deploy({other}) that was granted"
        for call in self.calls.values():
            if call.name in above and self.demanding(call) and not (sure and call.asked):
                yield str(call)
        for dependent in self.premises.dependents[name]:
            present = self.present(dependent)
            # Closing goes on below what is stuck.
            if present is not None and not (self.closing and present.state == "stuck"):
                yield present.told

    def demanded(self, name: str, *, sure: bool = False) -> bool:
        return any(True for _ in self.demand(name, sure=sure))

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
        if live.unwanted or name in self.withdrawn or name in self.perhaps:
            return (number, 0)
        return (number,) if self.resting or self.premises.above[name] & self.granted else (number, 0)

    def reasons(self, call: Call) -> list[Instance]:
        """Return the connectors at work that a call may be waiting for."""
        busy = self.operating
        if call.operation in {"undeploy_all", "close"} or self.premises.max_concurrent is not None:
            return busy
        if call.operation == "undeploy":
            return [instance for instance in busy if instance.name == call.name]
        # A predecessor of a dependency goes down only after its own dependents.
        closure = self.premises.closure
        return [instance for instance in busy if closure[instance.name] & closure[call.name]]

    def how(self, name: str) -> str:
        """Tell the state of a name in words."""
        found = self.instances.get(name)
        return " and ".join(f"{instance} is {instance.state}" for instance in found) if found else f"{name} is absent"

    # -- What happened -----------------------------------------------------------------------------------------------

    def update(self, entry: Entry) -> None:
        """Take an entry into account; readings change nothing."""
        self.resting = False
        getattr(self, f"_{entry.kind}")(entry)

    def _built(self, entry: Entry) -> None:
        self.instances.setdefault(entry.name, []).append(Instance(entry.name, entry.instance))

    def _began(self, entry: Entry) -> None:
        instance = self._operating(entry)
        if instance is not None:
            instance.operating += 1
            instance.state = f"{entry.operation}ing"
            instance.tries += entry.operation == "undeploy"
        elif entry.name in self.armed and self.live(entry.name) is not None:
            # Even if this use fails, it has brought up the deployment.
            self.granted.add(entry.name)

    def _ended(self, entry: Entry) -> None:
        instance = self._operating(entry)
        if instance is None:
            return
        instance.operating -= 1
        if entry.operation == "deploy":
            instance.state = "live"
            self.failures.pop(entry.name, None)
        else:
            instance.state = "gone"
            self.instances[entry.name].remove(instance)
            if not self.instances[entry.name]:
                del self.instances[entry.name]
            self._look_for_unwanted(self.premises.dependencies[entry.name])

    def _failed(self, entry: Entry) -> None:
        instance = self._operating(entry)
        if instance is not None:
            instance.operating -= 1
            instance.state = "broken" if entry.operation == "deploy" else "stuck"
        if entry.operation == "undeploy":
            for call in self.calls.values():
                call.doomed = call.doomed or any(found is instance for found, _, _ in call.found)
            self._look_for_unwanted(self.premises.dependencies[entry.name])
        if entry.operation != "run" and (instance is None or not instance.unwanted or instance.state == "stuck"):
            self._doom(entry.name, for_good=entry.operation == "undeploy")

    def _cancelled(self, entry: Entry) -> None:
        instance = self._operating(entry)
        if instance is not None and entry.operation == "deploy" and not self.demanded(entry.name, sure=True):
            # Where a caller deploys it in its own task, that is cancelled before the caller itself is.
            instance.unwanted = True
        self._failed(entry)

    def _called(self, entry: Entry) -> None:
        call = Call(entry.caller, entry.operation, entry.name)
        if entry.operation not in _DOWN:
            for other in self.calls.values():
                other.renewed |= self.premises.closure[entry.name]
        names = [entry.name] if entry.name else list(self.premises.configs)
        if entry.operation in _DOWN:
            call.found = tuple(
                (i, i.state, i.tries) for name in names for i in self.instances.get(name, ()) if i.exists
            )
            self._withdraw(names)
            self.closing = self.closing or entry.operation == "close"
            call.needed = bool(entry.name) and self.demanded(entry.name)
            self._look_for_unwanted(self.premises.closure[entry.name] if entry.name else self.premises.configs)
        elif entry.operation == "deploy":
            if entry.name not in self.premises.lazy:
                self.withdrawn.discard(entry.name)
        else:
            call.withdrawn = entry.name not in self.armed | self.perhaps
        self.calls[entry.caller] = call

    def _asked(self, entry: Entry) -> None:
        call = self.calls[entry.caller]
        call.asked = True
        self._look_for_unwanted(self.premises.closure[call.name])

    def _returned(self, entry: Entry) -> None:
        call = self.calls.pop(entry.caller)
        if self.claims(call):
            (self.perhaps if call.withdrawn else self.granted).add(call.name)
        elif call.operation == "deploy":
            (self.perhaps if call.withdrawn else self.armed).add(call.name)
            self.withdrawn.discard(call.name)

    def _raised(self, entry: Entry) -> None:
        call = self.calls.pop(entry.caller)
        if entry.refused and call.operation == "deploy":
            self.perhaps.add(call.name)
        self._look_for_unwanted(self.premises.closure[call.name])

    def _gave_up(self, entry: Entry) -> None:
        call = self.calls.pop(entry.caller)
        self._look_for_unwanted(self.premises.closure[call.name])

    # -- The steps of that -------------------------------------------------------------------------------------------

    def _operating(self, entry: Entry) -> Instance | None:
        return self.find(entry.name, entry.instance) if entry.operation in {"deploy", "undeploy"} else None

    def _withdraw(self, names: Iterable[str]) -> None:
        for name in names:
            for known in (self.granted, self.perhaps, self.armed):
                known.discard(name)
            self.withdrawn.add(name)
            for call in self.calls.values():
                if call.name == name and call.operation in {"deploy", "use"}:
                    call.met = call.met or (not call.withdrawn and self.live(name) is not None)
                    call.withdrawn = True
            for instance in self.instances.get(name, ()):
                instance.touched = True

    def _doom(self, name: str, *, for_good: bool) -> None:
        """Mark the calls that wait for a failed deployment, unless it is tried again."""
        self.failures[name] = self.failures.get(name, 0) + 1
        config = self.premises.configs.get(name)
        if for_good or config is None or self.failures[name] > config.retries:
            del self.failures[name]
            for call in self.calls.values():
                if call.name in self.premises.above[name] and self.demanding(call):
                    call.doomed = True
                    self._look_for_unwanted(self.premises.closure[call.name])

    def _look_for_unwanted(self, names: Iterable[str]) -> None:
        """Mark those of these names that have lost their last demand."""
        for name in names:
            for instance in self.instances.get(name, ()):
                instance.doubtful = instance.doubtful or not self.demanded(name, sure=True)
                instance.unwanted = instance.unwanted or (instance.doubtful and not self.demanded(name))
