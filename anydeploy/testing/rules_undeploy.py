"""U1 to U8 as monitors: how deployments go down."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .entries import Entry
from .history import Rule, badly_told, is_named
from .instances import Call, Instance


class Teardown(Rule):
    """A deployment without demand goes down, dependents first; ``undeploy`` returns when it is gone (U1)."""

    number = "U1"

    def began(self, entry: Entry) -> Iterator[str]:
        instance = self.picture.find(entry.name, entry.instance)
        if entry.operation != "undeploy" or instance is None:
            return
        for dependent in self.picture.standing(entry.name):
            if dependent.state != "stuck" and not self.picture.gets_on_without(dependent, instance):
                yield f"{entry} under {dependent.told}"
        demand = list(self.picture.demand(entry.name, sure=True))
        late = self.premises.has_deploy_timeout(entry.name)
        # An attempt that was given up and could not be interrupted goes down, whatever demands it.
        given_up = instance.unwanted and not instance.came_up
        if demand and instance.state == "live" and not (instance.doubtful or instance.restarted or late or given_up):
            yield f"{entry}, although it was demanded by {', '.join(demand)}"

    def returned(self, entry: Entry) -> Iterator[str]:
        call = self.picture.calls[entry.caller]
        if call.operation == "undeploy":
            for instance, state, _ in call.found:
                itself = instance.name == call.name
                wanted_again = instance.name in call.renewed and not itself
                if not (itself and state == "undeploying") and not wanted_again and not is_over(self, instance):
                    yield f"{call} returned, but {instance} is {instance.state}"

    def at_rest(self) -> Iterator[str]:
        moving = list(self.picture.moving())
        for name in self.picture.granted:
            present = self.picture.present(name)
            lost = present is not None and present.state == "lost"
            waits = bool(self.picture.related(moving, [name])) or bool(moving and self.picture.queueing)
            if self.picture.live(name) is None and not lost and not (waits and self._goes_and_comes(name)):
                yield f"deploy({name}) was granted and not taken back, but {self.picture.how(name)}"
        for instance in self.picture.all():
            if instance.up and not self.picture.held_up(instance) and not self.picture.demanded(instance.name):
                yield f"{instance} is {instance.state}, but nothing demands it"
        for call in self.picture.calls.values():
            if call.operation == "undeploy" and not call.needed and not self.picture.reasons(call):
                yield f"{call} waits for nothing that it has to wait for: {self.picture.how(call.name)}"

    def _goes_and_comes(self, name: str) -> bool:
        """Whether a name that was granted may be on its way down and up again, by a restart or because of a loss."""
        return name in self.picture.renewing or name in self.picture.returning


def is_over(rule: Rule, instance: Instance) -> bool:
    """Return whether there is nothing left to wait for: it is gone, or stuck after the last try of ``close``."""
    return instance.state == "gone" or (instance.state == "stuck" and rule.picture.closing)


class Needed(Rule):
    """``undeploy`` of a deployment that is still needed returns at once (U2)."""

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
        elif not instance.up and instance.state not in {"broken", "stuck"}:
            yield f"{entry} while it was {instance.state}"

    def returned(self, entry: Entry) -> Iterator[str]:
        call = self.picture.calls[entry.caller]
        if call.operation == "undeploy":
            for instance, state, _ in call.found:
                if instance.name == call.name and state == "undeploying" and not is_over(self, instance):
                    yield f"{call} returned, but {instance} is {instance.state}, as it was when it was called"


class Withdrawal(Rule):
    """``undeploy`` of a deployment that is coming up tells the callers that wait for it (U4)."""

    number = "U4"

    def returned(self, entry: Entry) -> Iterator[str]:
        call = self.picture.calls[entry.caller]
        if self._was_withdrawn(call):
            yield f"{call} returned, although {call.name} was undeployed while it was coming up"

    def at_rest(self) -> Iterator[str]:
        for call in self.picture.calls.values():
            if self._was_withdrawn(call) and not (call.doomed or call.shaken):
                yield f"{call} waits, although {call.name} was undeployed"

    def _was_withdrawn(self, call: Call) -> bool:
        return self.picture.claims(call) and call.withdrawn and not call.met


class Persistence(Rule):
    """A teardown goes on although its caller is cancelled, which returns at once (U5)."""

    number = "U5"

    def cancelled(self, entry: Entry) -> Iterator[str]:
        if entry.operation == "undeploy" and not self.premises.has_undeploy_timeout(entry.name):
            yield f"{entry}, though no limit of time was set"

    def at_rest(self) -> Iterator[str]:
        for call in self.picture.calls.values():
            if call.asked and call.operation not in {"deploy", "use"}:
                yield f"{call} was cancelled, and still waits"


class Stuck(Rule):
    """A failed teardown is not forgotten, keeps its dependencies up, and is tried again (U6)."""

    number = "U6"

    def began(self, entry: Entry) -> Iterator[str]:
        instance = self.picture.find(entry.name, entry.instance)
        if entry.operation == "undeploy" and instance is not None and not self.picture.closing:
            for dependent in self.picture.standing(entry.name):
                if dependent.state == "stuck" and not self.picture.gets_on_without(dependent, instance):
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
            yield from self._badly_told(call, entry.error)
        elif call.shaken:
            return
        elif any(state == "stuck" and tries == instance.tries for instance, state, tries in call.found):
            yield f"{call} raised {entry.error!r} without another try"
        else:
            yield f"{call} raised {entry.error!r}, although no teardown had failed"

    def _badly_told(self, call: Call, error: BaseException) -> Iterator[str]:
        """One that failed has to be named by the error, and the others by its notes."""
        named = next((name for name in call.failed if is_named(name, str(error))), call.failed[0])
        yield from badly_told(call, error, named)
        notes = "\n".join(getattr(error, "__notes__", ()))
        for name in call.failed:
            if name != named and name not in call.renewed and not is_named(name, notes):
                yield f"{call} raised an error whose notes do not name {name}, which failed too: {error!r}"


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
        elif not (call.doomed or call.shaken or any(state == "stuck" for _, state, _ in call.found)):
            yield f"{call} raised {entry.error!r}, although no teardown had failed"

    def at_rest(self) -> Iterator[str]:
        for call in self.picture.calls.values():
            if call.operation == "undeploy_all" and not self.picture.reasons(call):
                yield f"{call} waits for nothing: {', '.join(map(self.picture.how, self.premises.configs))}"


class Closing(Rule):
    """``close`` cancels deploys in flight, tears everything down, and after it nothing is deployed (U8)."""

    number = "U8"

    def __init__(self) -> None:
        #: For each instance, the number of times that its teardown had begun when `close` was called.
        self._tries: dict[Instance, int] = {}
        #: A `close` has reported what may be left.
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
