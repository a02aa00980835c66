"""X1 to X4 as monitors: environments that are lost, and how they come back."""

from __future__ import annotations

from collections.abc import Iterator

from .entries import Entry
from .history import Rule


class Loss(Rule):
    """Lost stays lost until something asks for it; what comes up on it fails (X1)."""

    number = "X1"

    def began(self, entry: Entry) -> Iterator[str]:
        instance = self.picture.find(entry.name, entry.instance)
        if entry.operation != "undeploy" or instance is None or instance.state != "lost":
            return
        demand = list(self.picture.demand(entry.name, sure=True))
        called = instance.renewable or instance.restarted or instance.doubtful
        if demand and not (called or instance.charged):
            yield f"{entry}, which was lost, though nothing has asked for it; it is demanded by {', '.join(demand)}"

    def at_rest(self) -> Iterator[str]:
        for instance in self.picture.all():
            interruptible = instance.name not in self.premises.uninterruptible
            if instance.state == "deploying" and instance.lost and interruptible:
                yield f"{instance} has lost its environment, and its deploy goes on"


class Renewal(Rule):
    """``deploy`` renews what was lost first, and never returns with what stands on something lost (X2)."""

    number = "X2"

    def returned(self, entry: Entry) -> Iterator[str]:
        call = self.picture.calls[entry.caller]
        excused = call.withdrawn or call.met or self.picture.live(call.name) is None
        if self.picture.claims(call) and not excused and not self.picture.complete(call.name):
            yield f"{call} returned, but {self.picture.how_all(self.premises.closure[call.name])}"

    def at_rest(self) -> Iterator[str]:
        moving = list(self.picture.moving(by_itself=False))
        for instance in self.picture.all():
            waits = self.picture.queueing or self.picture.related(moving, [instance.name])
            if instance.state == "lost" and instance.due and not waits:
                yield f"{instance} was lost and has been asked for since, and is not renewed"


class Reattachment(Rule):
    """Before the teardown of a wrapper, what it is reached through is asked for a fresh way in (X3)."""

    number = "X3"

    def began(self, entry: Entry) -> Iterator[str]:
        instance = self.picture.find(entry.name, entry.instance)
        if instance is None:
            return
        if entry.operation == "undeploy":
            for below in self.picture.way_to(instance):
                if below.lost and below.cut_off and not below.reattached:
                    yield f"{entry}, but {below}, whose connection was lost, was not asked to reattach"
        elif entry.operation == "reattach":
            if not instance.cut_off:
                yield f"{entry}, although its connection was not lost"
            if not any(wrapper.exists for wrapper in self.picture.wrappers(instance)):
                yield f"{entry}, although nothing is there that is reached through it"


#: Seconds of the longest pause before an environment comes up again by itself, and one more.
_LONG = 31.0


class Restart(Rule):
    """``restart`` returns when what stands on a name is up again; with ``restarts`` that comes by itself (X4)."""

    number = "X4"

    def began(self, entry: Entry) -> Iterator[str]:
        instance = self.picture.find(entry.name, entry.instance)
        if entry.operation != "undeploy" or instance is None or instance.state != "lost":
            return
        called = instance.renewable or instance.restarted or instance.doubtful
        if instance.charged and not called and entry.when <= instance.lost_at:
            yield f"{entry} by itself, without a pause after it was lost"

    def returned(self, entry: Entry) -> Iterator[str]:
        call = self.picture.calls[entry.caller]
        for instance, _, _ in call.found:
            if instance.name in call.certain and instance.state != "gone":
                yield f"{call} returned, but {instance}, which was to go, is {instance.state}"
        for name in sorted(call.certain):
            if self.picture.live(name) is None and not call.met:
                yield f"{call} returned, but {self.picture.how(name)}"

    def raised(self, entry: Entry) -> Iterator[str]:
        call = self.picture.calls[entry.caller]
        excused = call.doomed or call.shaken or call.withdrawn or self.picture.closing or entry.refused
        if call.operation == "restart" and not excused and not self._may_time_out(call.targets):
            yield f"{call} raised {entry.error!r}, although nothing had failed"

    def _may_time_out(self, names: frozenset[str]) -> bool:
        below = frozenset[str]().union(*(self.premises.closure[name] for name in names))
        return any(self.premises.has_deploy_timeout(name) for name in below)

    def at_rest(self) -> Iterator[str]:
        for call in self.picture.calls.values():
            if call.operation == "restart" and not self.picture.reasons(call):
                yield f"{call} waits for nothing: {self.picture.how_all(self.premises.above[call.name])}"
        moving = list(self.picture.moving(by_itself=False))
        stuck = [instance.name for instance in self.picture.all() if instance.state == "stuck"]
        for instance in self.picture.all():
            waits = self.picture.queueing or self.picture.related(moving, [instance.name])
            if instance.restarted and instance.up and not waits:
                yield f"{instance} is to be restarted, and stays {instance.state}"
            late = self.picture.now > instance.lost_at + _LONG and self.picture.demanded(instance.name, sure=True)
            held = waits or self.picture.related(stuck, [instance.name])
            if instance.state == "lost" and instance.charged and late and not held:
                yield f"{instance} was lost long ago, and has not come up by itself"
