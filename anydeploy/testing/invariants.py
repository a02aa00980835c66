"""The rules of ``docs/rules.md`` that can be seen from outside, each as a monitor of the history.

They never look into a manager. What they know comes from the calls that were made, from what the connectors saw, and
from what ``get_connector`` gave.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import ClassVar

from .history import Entry, Rule
from .picture import STAND_IN, Call, Instance


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
        if self.picture.claims(call) and not call.withdrawn and self.picture.live(call.name) is None:
            yield f"{call} returned, but {self.picture.how(call.name)}"

    def at_rest(self) -> Iterator[str]:
        for call in self.picture.calls.values():
            if call.operation in {"deploy", "use"} and self.picture.live(call.name) is None:
                if not self.picture.reasons(call):
                    yield f"{call} waits for nothing: {self._how_all(call)}"
                elif self.picture.demanding(call) and self.premises.max_concurrent is None:
                    yield from (
                        f"{call} waits, but nobody deploys {name}, which is ready" for name in self._ready(call)
                    )

    def _how_all(self, call: Call) -> str:
        return ", ".join(self.picture.how(name) for name in sorted(self.premises.closure[call.name]))

    def _ready(self, call: Call) -> Iterator[str]:
        for name in self.premises.closure[call.name]:
            absent = name not in self.picture.instances and name not in self.picture.failures
            if absent and all(self.picture.live(below) for below in self.premises.dependencies[name]):
                yield name


class OneInstance(Rule):
    """Between two teardowns of a name there is one connector, deployed once (D2)."""

    number = "D2"

    def built(self, entry: Entry) -> Iterator[str]:
        for other in self.picture.instances.get(entry.name, ()):
            if other.state in {"built", "deploying", "live"}:
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
    """When a deploy fails, everybody who waits for it is told, and it is cleaned away (D5)."""

    number = "D5"
    not_state: ClassVar[frozenset[str]] = Rule.not_state | {"_errors"}

    def __init__(self) -> None:
        self._errors: list[BaseException] = []

    def returned(self, entry: Entry) -> Iterator[str]:
        call = self.picture.calls[entry.caller]
        if call.operation in {"deploy", "use"} and call.doomed:
            yield f"{call} returned, although what it waited for had failed"

    def raised(self, entry: Entry) -> Iterator[str]:
        call, error = self.picture.calls[entry.caller], entry.error
        if call.operation not in {"deploy", "use"} or entry.refused or error is None:
            return
        if any(error is other for other in self._errors):
            yield f"{call} got the exception object that another caller got before"
        self._errors.append(error)
        if call.doomed:
            yield from badly_told(call, error)
        elif call.operation == "deploy" and not (call.withdrawn or self.picture.closing or self._may_time_out(call)):
            yield f"{call} raised {error!r}, although nothing that it waited for had failed"

    def _may_time_out(self, call: Call) -> bool:
        return any(map(self.premises.has_deploy_timeout, self.premises.closure[call.name]))

    def at_rest(self) -> Iterator[str]:
        for instance in self.picture.all():
            busy = self.premises.max_concurrent is not None and self.picture.operating
            if instance.state == "broken" and not busy:
                yield f"{instance} may be half made, and nobody cleans it away"


def badly_told(call: Call, error: BaseException) -> Iterator[str]:
    """What is missing in an error that tells a caller of a failure."""
    if not re.search(rf"(?<![\w.-]){re.escape(call.name)}(?![\w.-])", str(error)):
        yield f"{call} raised an error that does not name {call.name}: {error!r}"
    if error.__cause__ is None:
        yield f"{call} raised an error without its cause: {error!r}"


class Cancellation(Rule):
    """Who is cancelled returns at once, others notice nothing, and what nobody wants is given up (D6)."""

    number = "D6"

    def cancelled(self, entry: Entry) -> Iterator[str]:
        instance = self.picture.find(entry.name, entry.instance)
        if entry.operation != "deploy" or instance is None or self.premises.has_deploy_timeout(entry.name):
            return
        if entry.name in self.premises.uninterruptible:
            yield f"{entry}, which must not be interrupted"
        elif not instance.unwanted and self.picture.demanded(entry.name, sure=True):
            yield f"{entry}, although it was demanded by {', '.join(self.picture.demand(entry.name, sure=True))}"

    def returned(self, entry: Entry) -> Iterator[str]:
        call = self.picture.calls[entry.caller]
        live = self.picture.live(call.name)
        if self.picture.claims(call) and live is not None and live.unwanted and not call.withdrawn:
            yield f"{call} returned with {live}, which nobody had wanted any more before"

    def at_rest(self) -> Iterator[str]:
        for call in self.picture.calls.values():
            if call.asked and call.operation in {"deploy", "use"}:
                yield f"{call} was cancelled, and still waits"
        for instance in self.picture.all():
            interruptible = instance.name not in self.premises.uninterruptible
            if instance.state == "deploying" and instance.unwanted and interruptible:
                yield f"nobody wants {instance} any more, and its deploy goes on"


class Reading(Rule):
    """``get_connector`` gives the connector exactly when it is live and not withdrawn (R1)."""

    number = "R1"

    def read(self, entry: Entry) -> Iterator[str]:
        if entry.name not in self.premises.configs:
            if entry.instance:
                yield f"{entry}, a name that is not known"
        elif not self.premises.is_lazy(entry.name):
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
        #: What was last given out for a lazy deployment.
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
        live = self.picture.live(entry.name)
        if entry.instance == 0:
            return
        if self.premises.is_lazy(entry.name):
            if live is not None and live.unwanted:
                # Its life is over, and the next one may have begun.
                self._stand_ins.pop(entry.name, None)
            before = self._stand_ins.setdefault(entry.name, entry.instance)
            if before != entry.instance:
                yield f"{entry}, but another one than before"
        elif live is not None and entry.instance != live.number:
            yield f"{entry}, but {live} is live"


class Support(Rule):
    """While something is live, everything it depends on is live (R3)."""

    number = "R3"

    def ended(self, entry: Entry) -> Iterator[str]:
        if entry.operation == "deploy":
            for dependency in self.premises.dependencies[entry.name]:
                if self.picture.live(dependency) is None:
                    yield f"{entry.name}#{entry.instance} is live, but {self.picture.how(dependency)}"

    def began(self, entry: Entry) -> Iterator[str]:
        if entry.operation == "undeploy":
            for dependent in self.premises.dependents[entry.name]:
                live = self.picture.live(dependent)
                if live is not None:
                    yield f"{entry} under {live}, which is live"


class Validity(Rule):
    """After a teardown has begun no operation of the connector gets through (R4)."""

    number = "R4"

    def began(self, entry: Entry) -> Iterator[str]:
        instance = self.picture.find(entry.name, entry.instance)
        if entry.operation == "run" and (instance is None or instance.state in {"broken", "undeploying", "stuck"}):
            how = "gone" if instance is None else instance.state
            yield f"{entry}, when it was {how}"


class Teardown(Rule):
    """What nothing demands goes down, dependents first; ``undeploy`` returns when it is gone (U1)."""

    number = "U1"

    def began(self, entry: Entry) -> Iterator[str]:
        instance = self.picture.find(entry.name, entry.instance)
        if entry.operation != "undeploy" or instance is None:
            return
        for dependent in standing(self, entry.name):
            if dependent.state != "stuck":
                yield f"{entry} under {dependent.told}"
        demand = list(self.picture.demand(entry.name, sure=True))
        late = self.premises.has_deploy_timeout(entry.name)
        if demand and instance.state == "live" and not (instance.doubtful or late):
            yield f"{entry}, although it was demanded by {', '.join(demand)}"

    def returned(self, entry: Entry) -> Iterator[str]:
        call = self.picture.calls[entry.caller]
        if call.operation == "undeploy" and not call.needed:
            for instance, state, _ in call.found:
                if state != "undeploying" and not is_over(self, instance):
                    yield f"{call} returned, but {instance} is {instance.state}"

    def at_rest(self) -> Iterator[str]:
        for name in self.picture.granted:
            if self.picture.live(name) is None:
                yield f"deploy({name}) was granted and not taken back, but {self.picture.how(name)}"
        queueing = self.premises.max_concurrent is not None and self.picture.operating
        for instance in self.picture.all():
            if instance.state == "live" and not queueing and not self.picture.demanded(instance.name):
                yield f"{instance} is live for nobody"
        for call in self.picture.calls.values():
            if call.operation == "undeploy" and not call.needed and not self.picture.reasons(call):
                yield f"{call} waits for nothing that it has to wait for: {self.picture.how(call.name)}"


def standing(rule: Rule, name: str) -> Iterator[Instance]:
    """What may exist of that which stands on a name."""
    for dependent in rule.premises.dependents[name]:
        yield from (i for i in rule.picture.instances.get(dependent, ()) if i.exists)


def is_over(rule: Rule, instance: Instance) -> bool:
    """Whether there is nothing left to wait for: it is gone, or stuck when ``close`` has tried a last time."""
    return instance.state == "gone" or (instance.state == "stuck" and rule.picture.closing)


class Needed(Rule):
    """``undeploy`` of what is still needed returns at once (U2)."""

    number = "U2"

    def at_rest(self) -> Iterator[str]:
        for call in self.picture.calls.values():
            if call.operation == "undeploy" and call.needed and not self.picture.reasons(call):
                yield f"{call} waits, although {call.name} was needed by others, so that it had to return at once"


class OneTeardown(Rule):
    """Concurrent ``undeploy`` calls make one call of the connector's, and all return when it is down (U3)."""

    number = "U3"

    def began(self, entry: Entry) -> Iterator[str]:
        instance = self.picture.find(entry.name, entry.instance)
        if entry.operation != "undeploy":
            return
        if instance is None:
            yield f"{entry}, although it was gone"
        elif instance.state not in {"live", "broken", "stuck"}:
            yield f"{entry} while it was {instance.state}"

    def returned(self, entry: Entry) -> Iterator[str]:
        call = self.picture.calls[entry.caller]
        if call.operation == "undeploy" and not call.needed:
            for instance, state, _ in call.found:
                if state == "undeploying" and not is_over(self, instance):
                    yield f"{call} returned, but {instance} is {instance.state}, as it was when it was called"


class Withdrawal(Rule):
    """``undeploy`` of what is coming up tells those who wait for it (U4)."""

    number = "U4"

    def returned(self, entry: Entry) -> Iterator[str]:
        call = self.picture.calls[entry.caller]
        if self._was_withdrawn(call):
            yield f"{call} returned, although {call.name} was undeployed while it was coming up"

    def at_rest(self) -> Iterator[str]:
        for call in self.picture.calls.values():
            if self._was_withdrawn(call) and not call.doomed:
                yield f"{call} waits, although {call.name} was undeployed"

    def _was_withdrawn(self, call: Call) -> bool:
        return self.picture.claims(call) and call.withdrawn and not call.met


class Persistence(Rule):
    """A teardown goes on although the caller is cancelled, who returns at once (U5)."""

    number = "U5"

    def cancelled(self, entry: Entry) -> Iterator[str]:
        if entry.operation == "undeploy" and not self.premises.has_undeploy_timeout(entry.name):
            yield f"{entry}, though no limit of time was set"

    def at_rest(self) -> Iterator[str]:
        for call in self.picture.calls.values():
            if call.asked and call.operation not in {"deploy", "use"}:
                yield f"{call} was cancelled, and still waits"


class Stuck(Rule):
    """What could not be torn down is not forgotten, holds what it stands on, and is tried again (U6)."""

    number = "U6"

    def began(self, entry: Entry) -> Iterator[str]:
        if entry.operation == "undeploy" and not self.picture.closing:
            for dependent in standing(self, entry.name):
                if dependent.state == "stuck":
                    yield f"{entry} under {dependent.told}"

    def returned(self, entry: Entry) -> Iterator[str]:
        call = self.picture.calls[entry.caller]
        if call.operation == "undeploy" and call.doomed and not call.needed:
            yield f"{call} returned, although the teardown had failed"

    def raised(self, entry: Entry) -> Iterator[str]:
        call = self.picture.calls[entry.caller]
        if call.operation != "undeploy" or entry.error is None:
            return
        if call.doomed:
            yield from badly_told(call, entry.error)
        elif any(state == "stuck" and tries == instance.tries for instance, state, tries in call.found):
            yield f"{call} raised {entry.error!r} without another try"
        else:
            yield f"{call} raised {entry.error!r}, although no teardown had failed"


class Everything(Rule):
    """``undeploy_all`` takes everything down, and all errors come out together (U7)."""

    number = "U7"

    def returned(self, entry: Entry) -> Iterator[str]:
        call = self.picture.calls[entry.caller]
        if call.operation == "undeploy_all":
            for instance, _, _ in call.found:
                if instance.name not in call.renewed and not is_over(self, instance):
                    yield f"{call} returned, but {instance} is {instance.state}"

    def raised(self, entry: Entry) -> Iterator[str]:
        call = self.picture.calls[entry.caller]
        if call.operation != "undeploy_all":
            return
        if not hasattr(entry.error, "exceptions"):
            yield f"{call} raised {entry.error!r}, which is no group of errors"
        elif not (call.doomed or any(state == "stuck" for _, state, _ in call.found)):
            yield f"{call} raised {entry.error!r}, although no teardown had failed"

    def at_rest(self) -> Iterator[str]:
        for call in self.picture.calls.values():
            if call.operation == "undeploy_all" and not self.picture.reasons(call):
                yield f"{call} waits for nothing: {', '.join(map(self.picture.how, self.premises.configs))}"


class Closing(Rule):
    """``close`` gives up what is coming up, tries everything, and after it nothing is deployed (U8)."""

    number = "U8"

    def __init__(self) -> None:
        #: How often each teardown had begun when `close` was called.
        self._tries: dict[Instance, int] = {}
        #: A `close` has said what may be left.
        self._reported = False

    def called(self, entry: Entry) -> Iterable[str]:
        if entry.operation == "close" and not self.picture.closing:
            self._tries = {instance: instance.tries for instance in self._existing()}
        return ()

    def began(self, entry: Entry) -> Iterator[str]:
        if entry.operation == "deploy" and self.picture.closing:
            yield f"{entry} after close() was called"

    def returned(self, entry: Entry) -> Iterator[str]:
        call = self.picture.calls[entry.caller]
        if call.operation == "close":
            for instance in self._existing():
                if instance.state != "stuck" or not self._reported:
                    yield f"{call} returned, but {instance} is {instance.state}"
        elif call.operation == "deploy" and self.picture.closing and not call.met:
            yield f"{call} returned, after close() was called"

    def raised(self, entry: Entry) -> Iterator[str]:
        call = self.picture.calls[entry.caller]
        if call.operation == "close":
            self._reported = True
            for instance in self._existing():
                if instance.state != "stuck" or instance.tries <= self._tries.get(instance, 0):
                    yield f"{call} raised, but {instance} is {instance.state} and was not tried a last time"

    def at_rest(self) -> Iterator[str]:
        for call in self.picture.calls.values():
            if call.operation == "close" and not self.picture.reasons(call):
                yield f"{call} waits for nothing: {', '.join(map(self.picture.how, self.premises.configs))}"

    def at_end(self) -> Iterator[str]:
        for instance in self._existing():
            if instance.state != "stuck":
                yield f"{instance} is left behind: it is {instance.state}"

    def _existing(self) -> Iterator[Instance]:
        return (instance for instance in self.picture.all() if instance.exists)


class Limit(Rule):
    """Not more than ``max_concurrent`` connectors are brought up or torn down at once (K1)."""

    number = "K1"

    def began(self, entry: Entry) -> Iterator[str]:
        limit = self.premises.max_concurrent
        if entry.operation != "run" and limit is not None and len(self.picture.operating) >= limit:
            others = ", ".join(instance.told for instance in self.picture.operating)
            yield f"{entry} beside {others}; the limit is {limit}"


class Lazy(Rule):
    """A lazy deployment comes up at its first use and not before, and has a connector from its ``deploy`` on (L1)."""

    number = "L1"

    def began(self, entry: Entry) -> Iterator[str]:
        lazy = entry.operation == "deploy" and self.premises.is_lazy(entry.name)
        if lazy and not self.picture.closing and not self.picture.demanded(entry.name):
            yield f"{entry}, but nobody has used it"

    def read(self, entry: Entry) -> Iterator[str]:
        if self.premises.is_lazy(entry.name):
            shown = STAND_IN if entry.instance else 0
            if shown not in self.picture.shown(entry.name):
                was = "was deployed" if entry.name in self.picture.armed else "is not deployed"
                yield f"{entry}, but {entry.name} {was}, and {self.picture.how(entry.name)}"


class External(Rule):
    """What the definition says of ``external`` is what the connector is told (E1)."""

    number = "E1"

    def began(self, entry: Entry) -> Iterator[str]:
        config = self.premises.configs.get(entry.name)
        if config is not None and entry.operation != "run" and entry.external != config.external:
            yield f"{entry} with external={entry.external}, but {entry.name} is defined with {config.external}"


#: Every rule, in the order of their numbers in ``docs/rules.md``.
RULES: tuple[type[Rule], ...] = (
    Order,
    OneInstance,
    NoOverlap,
    Failure,
    Cancellation,
    Reading,
    Identity,
    Support,
    Validity,
    Teardown,
    Needed,
    OneTeardown,
    Withdrawal,
    Persistence,
    Stuck,
    Everything,
    Closing,
    Limit,
    Lazy,
    External,
)


def every_rule() -> list[Rule]:
    """A fresh monitor of each rule."""
    return [rule() for rule in RULES]
