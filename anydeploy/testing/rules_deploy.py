"""D1 to D6 and R1 to R4 as monitors: how deployments come up, and how they are read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .entries import Entry
from .history import Rule, badly_told
from .instances import Call


class Order(Rule):
    """Each member of a closure comes up after its dependencies and as soon as they are live (D1)."""

    number = "D1"

    def built(self, entry: Entry) -> Iterator[str]:
        config = self.premises.configs.get(entry.name)
        if config is not None and config.wraps is not None:
            wrapped = self.picture.live(config.wraps.deployment)
            if wrapped is None or wrapped.number != entry.inner:
                given = f"{config.wraps.deployment}#{entry.inner}" if entry.inner > 0 else "an unknown connector"
                how = self.picture.how(config.wraps.deployment)
                yield f"{entry.name}#{entry.instance} was built upon {given}, but {how}"

    def began(self, entry: Entry) -> Iterator[str]:
        if entry.operation == "deploy":
            for dependency in self.premises.dependencies[entry.name]:
                if self.picture.live(dependency) is None:
                    yield f"{entry}, but {self.picture.how(dependency)}, and {entry.name} depends on it"

    def returned(self, entry: Entry) -> Iterator[str]:
        call = self.picture.calls[entry.caller]
        satisfied = self.picture.live(call.name) is not None or call.withdrawn or call.met
        if self.picture.claims(call) and not satisfied:
            yield f"{call} returned, but {self.picture.how(call.name)}"

    def at_rest(self) -> Iterator[str]:
        for call in self.picture.calls.values():
            # A use may wait for its operation when it has what it waits for.
            using = call.operation == "use" and self.picture.live(call.name) is None
            if call.operation == "deploy" or using:
                if not self.picture.reasons(call):
                    yield f"{call} waits for nothing: {self.picture.how_all(self.premises.closure[call.name])}"
                elif self.picture.demanding(call) and not call.shaken and self.premises.max_concurrent is None:
                    yield from (f"{call} waits, but {name} is ready and is not deployed" for name in self._ready(call))

    def _ready(self, call: Call) -> Iterator[str]:
        for name in self.premises.closure[call.name]:
            absent = name not in self.picture.instances and name not in self.picture.pausing
            below = [self.picture.live(dependency) for dependency in self.premises.dependencies[name]]
            if absent and all(each is not None and not each.restarted for each in below):
                yield name


class OneInstance(Rule):
    """Between two teardowns of a name there is one connector, deployed once (D2)."""

    number = "D2"

    def built(self, entry: Entry) -> Iterator[str]:
        for other in self.picture.instances.get(entry.name, ()):
            if other.state in {"built", "deploying"} or other.up:
                yield f"{entry}, but {other} is {other.state}"

    def began(self, entry: Entry) -> Iterator[str]:
        instance = self.picture.find(entry.name, entry.instance)
        if entry.operation == "deploy" and (instance is None or instance.state != "built"):
            how = "gone" if instance is None else instance.state
            yield f"{entry} for the second time, when it was {how}"


class NoOverlap(Rule):
    """Two instances of a name never overlap: a new one waits for the end of the teardown (D3)."""

    number = "D3"

    def began(self, entry: Entry) -> Iterator[str]:
        if entry.operation == "deploy":
            for other in self.picture.instances.get(entry.name, ()):
                if other.number != entry.instance and other.exists:
                    yield f"{entry}, but {other} is {other.state}"


class Failure(Rule):
    """When a deploy fails, every caller that waits for it is told, and it is cleaned away (D5)."""

    number = "D5"

    def __init__(self) -> None:
        self._errors: list[BaseException] = []

    def returned(self, entry: Entry) -> Iterator[str]:
        call = self.picture.calls[entry.caller]
        if call.operation in {"deploy", "use"} and call.doomed and not call.met:
            yield f"{call} returned, although what it waited for had failed"

    def raised(self, entry: Entry) -> Iterator[str]:
        call, error = self.picture.calls[entry.caller], entry.error
        if call.operation not in {"deploy", "use"} or entry.refused or error is None:
            return
        if any(error is other for other in self._errors):
            yield f"{call} got the exception object that another caller got before"
        self._errors.append(error)
        excused = call.withdrawn or self.picture.closing or self._may_time_out(call)
        if call.doomed or (call.shaken and not excused):
            yield from badly_told(call, error, call.name)
        elif call.operation == "deploy" and not excused:
            yield f"{call} raised {error!r}, although nothing that it waited for had failed"

    def _may_time_out(self, call: Call) -> bool:
        return any(map(self.premises.has_deploy_timeout, self.premises.closure[call.name]))

    def at_rest(self) -> Iterator[str]:
        for instance in self.picture.all():
            if instance.state == "broken" and not self.picture.held_up(instance):
                yield f"{instance} may be half made, and is not cleaned away"


class Cancellation(Rule):
    """A cancelled caller returns at once, others notice nothing, and a deploy without demand is cancelled (D6)."""

    number = "D6"

    def cancelled(self, entry: Entry) -> Iterator[str]:
        instance = self.picture.find(entry.name, entry.instance)
        if entry.operation != "deploy" or instance is None or self.premises.has_deploy_timeout(entry.name):
            return
        if instance.lost and entry.name not in self.premises.uninterruptible:
            return
        if entry.name in self.premises.uninterruptible:
            yield f"{entry}, which must not be interrupted"
        elif not (instance.unwanted or self.picture.closing) and self.picture.demanded(entry.name, sure=True):
            yield f"{entry}, although it was demanded by {', '.join(self.picture.demand(entry.name, sure=True))}"

    def returned(self, entry: Entry) -> Iterator[str]:
        call = self.picture.calls[entry.caller]
        live = self.picture.live(call.name)
        if self.picture.claims(call) and live is not None and live.unwanted and not call.withdrawn:
            yield f"{call} returned with {live}, which had lost its last demand before"

    def at_rest(self) -> Iterator[str]:
        for call in self.picture.calls.values():
            if call.asked and call.operation in {"deploy", "use"}:
                yield f"{call} was cancelled, and still waits"
        for instance in self.picture.all():
            interruptible = instance.name not in self.premises.uninterruptible
            if instance.state == "deploying" and instance.unwanted and interruptible:
                yield f"{instance} has lost its last demand, and its deploy goes on"


class Reading(Rule):
    """``get_connector`` gives the connector exactly when it is live and not withdrawn (R1)."""

    number = "R1"

    def read(self, entry: Entry) -> Iterator[str]:
        if entry.name not in self.premises.configs:
            if entry.instance:
                yield f"{entry}, a name that is not known"
        elif entry.name not in self.premises.lazy:
            allowed = self.picture.shown(entry.name)
            # That it gives one, but not the one that is live, is a matter of R2.
            if bool(entry.instance) not in map(bool, allowed):
                yield f"{entry}, but {self._why(entry.name)}"

    def _why(self, name: str) -> str:
        withdrawn = ", and undeploy was called" if name in self.picture.withdrawn else ""
        return f"{self.picture.how(name)}{withdrawn}"


class Identity(Rule):
    """``get_connector`` gives the same object for the whole life of a deployment (R2)."""

    number = "R2"

    def __init__(self) -> None:
        #: The stand-in that was last given out for each lazy deployment.
        self._stand_ins: dict[str, int] = {}

    def called(self, entry: Entry) -> Iterable[str]:
        if entry.operation in {"undeploy", "undeploy_all", "close"}:
            for name in [entry.name] if entry.name else list(self._stand_ins):
                self._stand_ins.pop(name, None)
        return ()

    def began(self, entry: Entry) -> Iterable[str]:
        if entry.operation == "undeploy":
            self._stand_ins.pop(entry.name, None)
        return ()

    def read(self, entry: Entry) -> Iterator[str]:
        if entry.instance == 0:
            return
        live = self.picture.live(entry.name)
        if entry.name in self.premises.lazy:
            if live is not None and live.unwanted:
                # Its life is over, and the next one may have begun.
                self._stand_ins.pop(entry.name, None)
            before = self._stand_ins.setdefault(entry.name, entry.instance)
            if before != entry.instance:
                yield f"{entry}, but another one than before"
        elif live is not None and entry.instance != live.number:
            yield f"{entry}, but {live} is live"


class Support(Rule):
    """While something is live, what it wraps is live, and what else it depends on is, unless it was lost (R3)."""

    number = "R3"

    def ended(self, entry: Entry) -> Iterator[str]:
        instance = self.picture.find(entry.name, entry.instance)
        if entry.operation == "deploy" and instance is not None and not instance.lost:
            for dependency in self.premises.dependencies[entry.name]:
                if self.picture.live(dependency) is None and dependency not in instance.gaps:
                    yield f"{instance} is live, but {self.picture.how(dependency)}"

    def began(self, entry: Entry) -> Iterator[str]:
        instance = self.picture.find(entry.name, entry.instance)
        if entry.operation == "undeploy" and instance is not None:
            for dependent in self.picture.standing(entry.name):
                if dependent.state == "live" and not self.picture.gets_on_without(dependent, instance):
                    yield f"{entry} under {dependent}, which is live"


class Validity(Rule):
    """After a loss, or when a teardown has begun, no operation of the connector gets through (R4)."""

    number = "R4"

    def began(self, entry: Entry) -> Iterator[str]:
        instance = self.picture.find(entry.name, entry.instance)
        if entry.operation != "run":
            return
        if instance is None:
            yield f"{entry}, when it was gone"
        elif instance.lost or instance.state in {"broken", "undeploying", "stuck"}:
            yield f"{entry}, when it was {instance.state}"
