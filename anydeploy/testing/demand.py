"""The end of demand in a picture: what is withdrawn, or fails, and what follows from that."""

from __future__ import annotations

from collections.abc import Iterable

from .instances import Call
from .picture import Picture


class Demand:
    """Changes a picture where demand ends.

    :ivar picture: the picture
    """

    def __init__(self, picture: Picture) -> None:
        self.picture = picture
        self.premises = picture.premises

    def _withdraw(self, names: Iterable[str]) -> None:
        picture = self.picture
        for name in names:
            for known in (picture.granted, picture.perhaps, picture.armed):
                known.discard(name)
            picture.withdrawn.add(name)
            for call in picture.calls.values():
                if call.name == name and call.operation in {"deploy", "use"}:
                    call.met = call.met or (not call.withdrawn and picture.live(name) is not None)
                    call.withdrawn = True
                elif name in call.targets:
                    call.withdrawn = True
            for instance in picture.instances.get(name, ()):
                instance.touched = True

    def _fail(self, name: str, *, for_good: bool = False) -> None:
        """Mark the calls that wait for a failed deployment, unless it is tried again."""
        picture = self.picture
        config = self.premises.configs.get(name)
        picture.failures[name] = picture.failures.get(name, 0) + 1
        if not for_good and config is not None and picture.failures[name] <= config.retries:
            picture.pausing.add(name)
            return
        # How often what was lost may come up again by itself is not counted here.
        perhaps = not for_good and config is not None and config.restarts > 0 and name in picture.renewing
        falling = self._falling(name)
        self._forget(falling, perhaps=perhaps)
        for each in falling:
            picture.failures.pop(each, None)
            picture.pausing.discard(each)
            if not perhaps:
                picture.restarts.pop(each, None)
        for call in picture.calls.values():
            if not perhaps and picture.wanted_by(call) & falling:
                call.doomed = True
            elif self._needs(call, [name]):
                call.shaken = True
        if perhaps:
            picture.pausing.add(name)
        for each in falling:
            self._look_for_unwanted(self.premises.closure[each])

    def _forget(self, names: Iterable[str], *, perhaps: bool) -> None:
        """Note that what was granted of these names is over, or perhaps is."""
        for name in names:
            if perhaps and name in self.picture.granted:
                self.picture.perhaps.add(name)
            self.picture.granted.discard(name)

    def _falling(self, name: str) -> frozenset[str]:
        """Return a name that has failed, and those above it that wait for it, so that nothing of them exists."""
        falling = [name]
        for each in falling:
            for dependent in self.premises.dependents[each]:
                if dependent not in falling and self.picture.present(dependent) is None:
                    falling.append(dependent)
        return frozenset(falling)

    def _look_for_unwanted(self, names: Iterable[str]) -> None:
        """Mark those of these names that have lost their last demand."""
        for name in names:
            for instance in self.picture.instances.get(name, ()):
                instance.doubtful = instance.doubtful or not self.picture.demanded(name, sure=True)
                instance.unwanted = instance.unwanted or (instance.doubtful and not self.picture.demanded(name))
            if name in self.picture.pausing and not self.picture.demanded(name):
                self.picture.pausing.discard(name)
                self.picture.failures.pop(name, None)

    def _needs(self, call: Call, names: Iterable[str]) -> bool:
        about = self.premises.above[call.name] if call.operation == "restart" else [call.name]
        return any(not self.premises.closure[name].isdisjoint(names) for name in about)
