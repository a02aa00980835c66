"""The observer, which draws a picture from the entries of a history, one after the other."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence

from ..exceptions import ConnectionLostError
from .demand import Demand
from .entries import Entry
from .instances import Call, Instance

#: Calls that take demand back.
_DOWN = frozenset({"undeploy", "undeploy_all", "close"})
#: Seconds after which an environment that was up may be renewed by itself as often as its definition says again.
_LONG = 60.0


class Observer(Demand):
    """Draws a picture, which is as it is after the entries so far."""

    def update(self, entry: Entry) -> None:
        """Take an entry into account; readings change nothing."""
        self.picture.resting = False
        getattr(self, f"_{entry.kind}")(entry)

    # -- Connectors --------------------------------------------------------------------------------------------------

    def _built(self, entry: Entry) -> None:
        instance = Instance(entry.name, entry.instance, entry.inner)
        self.picture.instances.setdefault(entry.name, []).append(instance)
        self.picture.pausing.discard(entry.name)

    def _began(self, entry: Entry) -> None:
        instance = self.picture.find(entry.name, entry.instance)
        if entry.operation == "run":
            if entry.name in self.picture.armed and self.picture.live(entry.name) is not None:
                # Even if this use fails, it has brought up the deployment.
                self.picture.granted.add(entry.name)
        elif instance is None:
            return
        elif entry.operation == "reattach":
            instance.reattached = True
            instance.reattaching += 1
        else:
            if entry.operation == "undeploy" and instance.lost:
                self.picture.renewing.add(entry.name)
            if entry.operation == "undeploy" and instance.restarted:
                self.picture.returning.add(entry.name)
            instance.operating += 1
            instance.state = f"{entry.operation}ing"
            instance.tries += entry.operation == "undeploy"

    def _ended(self, entry: Entry) -> None:
        instance = self._operated(entry)
        if instance is None:
            return
        if entry.operation == "deploy":
            if instance.lost:
                self._attempt_failed(instance)
            else:
                self._came_up(instance, entry.when)
        elif entry.operation == "undeploy":
            self._is_gone(instance)

    def _failed(self, entry: Entry) -> None:
        instance = self._operated(entry)
        if isinstance(entry.error, KeyboardInterrupt):
            self.picture.interrupted = True
        if entry.operation == "build":
            self._fail(entry.name)
        elif instance is None:
            return
        elif entry.operation == "deploy":
            self._attempt_failed(instance)
        elif entry.operation == "undeploy":
            self._is_stuck(instance)

    def _cancelled(self, entry: Entry) -> None:
        instance = self.picture.find(entry.name, entry.instance)
        if instance is not None and entry.operation == "deploy" and not instance.lost:
            # Where a caller deploys it in its own task, that is cancelled before the caller itself is.
            instance.unwanted = instance.unwanted or not self.picture.demanded(entry.name, sure=True)
        self._failed(entry)

    def _operated(self, entry: Entry) -> Instance | None:
        """Return the instance whose ``deploy``, ``undeploy`` or ``reattach`` has come to an end."""
        instance = self.picture.find(entry.name, entry.instance)
        if instance is None or entry.operation in {"build", "run"}:
            return None
        if entry.operation == "reattach":
            instance.reattaching -= 1
        else:
            instance.operating -= 1
        return instance

    def _came_up(self, instance: Instance, when: float) -> None:
        instance.state = "live"
        instance.came_up = not instance.unwanted
        self.picture.failures.pop(instance.name, None)
        self.picture.renewing.discard(instance.name)
        self.picture.returning.discard(instance.name)
        config = self.premises.configs.get(instance.name)
        if config is not None and config.restarts:
            self.picture.risen[instance.name] = when

    def _is_gone(self, instance: Instance) -> None:
        instance.state = "gone"
        known = self.picture.instances[instance.name]
        known.remove(instance)
        if not known:
            del self.picture.instances[instance.name]
        if instance.unwanted:
            self.picture.failures.pop(instance.name, None)
        self._look_for_unwanted(self.premises.dependencies[instance.name])
        if not self.picture.demanded(instance.name):
            # The next one begins anew.
            self.picture.restarts.pop(instance.name, None)
        if self._has_to_come(instance.name):
            self._may_be_renewed(self._lost_of(self.premises.closure[instance.name]))

    def _attempt_failed(self, instance: Instance) -> None:
        instance.state = "broken"
        if not instance.unwanted:
            wrapped = self.picture.wrapped(instance)
            self._fail(instance.name, for_good=wrapped is not None and wrapped.lost)

    def _is_stuck(self, instance: Instance) -> None:
        instance.state = "stuck"
        self.picture.restarts.pop(instance.name, None)
        # While something stands on it, as in a renewal, nobody waits for it yet: it is tried again in its turn.
        in_its_turn = not any(self.picture.standing(instance.name))
        for call in self.picture.calls.values():
            concerned = any(found is instance for found, _, _ in call.found)
            call.shaken = call.shaken or concerned
            if concerned and in_its_turn:
                call.doomed = True
                call.failed += (instance.name,)
            elif call.operation == "undeploy" and instance.name in self.premises.closure[call.name]:
                call.shaken = True
        self._look_for_unwanted(self.premises.dependencies[instance.name])
        self._fail(instance.name, for_good=True)
        self._keep_below(instance)

    # -- Loss --------------------------------------------------------------------------------------------------------

    def _lost(self, entry: Entry) -> None:
        instance = self.picture.find(entry.name, entry.instance)
        if instance is None:
            return
        instance.cut_off = instance.cut_off or isinstance(entry.error, ConnectionLostError)
        if instance.state == "live":
            self._lose(instance, entry.when)
        elif instance.state in {"built", "deploying"}:
            instance.lost = True

    def _lose(self, culprit: Instance, when: float) -> None:
        group, coming = self._reached_through(culprit)
        names = {instance.name for instance in group}
        waiting = [call for call in self.picture.calls.values() if self._needs(call, names)]
        self._may_return(waiting)
        for call in waiting:
            call.shaken = True
        for instance in group:
            instance.state = "lost"
            instance.lost = True
            instance.lost_at = when
            instance.cut_off = instance.cut_off or culprit.cut_off
            for dependent in self.picture.standing(instance.name):
                dependent.gaps |= names
        for instance in coming:
            if instance.name in self.picture.pausing:
                self._fail(instance.name, for_good=True)
            else:
                instance.lost = True
        if not culprit.restarted:
            self._charge_all(group, when)
        above = frozenset[str]().union(*(self.premises.above[name] for name in names))
        if any(map(self.picture.claims, waiting)) or any(map(self._has_to_come, above)):
            self._may_be_renewed(group)

    def _reached_through(self, culprit: Instance) -> tuple[list[Instance], list[Instance]]:
        """Return the live instances that are lost with another one, that one first, and those that are not live yet."""
        group, coming = [culprit], list[Instance]()
        for instance in group:
            for wrapper in self.picture.wrappers(instance):
                if wrapper.state == "live":
                    group.append(wrapper)
                elif wrapper.state in {"built", "deploying"} or wrapper.name in self.picture.pausing:
                    coming.append(wrapper)
        return group, coming

    def _has_to_come(self, name: str) -> bool:
        """Whether a name is demanded, and nothing of it exists: whatever it needs has to come, too."""
        return self.picture.present(name) is None and self.picture.demanded(name)

    def _may_be_renewed(self, lost: Iterable[Instance]) -> None:
        for instance in self._with_lost_wrappers(lost):
            instance.renewable = True

    def _lost_of(self, names: Iterable[str]) -> list[Instance]:
        found = [instance for name in names for instance in self.picture.instances.get(name, ())]
        return [instance for instance in found if instance.state == "lost"]

    def _with_lost_wrappers(self, instances: Iterable[Instance]) -> list[Instance]:
        found = list(instances)
        for instance in found:
            found.extend(each for each in self.picture.wrappers(instance) if each.state == "lost" and each not in found)
        return found

    def _may_return(self, calls: Iterable[Call]) -> None:
        """Let calls return with what they have, although they are going to lose it: they may not have woken up yet."""
        for call in calls:
            wanted = call.targets or ([call.name] if self.picture.claims(call) else [])
            call.met = call.met or (bool(wanted) and all(map(self.picture.complete, wanted)))

    def _charge_all(self, group: Sequence[Instance], when: float) -> None:
        """Note whether what was lost together comes up again by itself, for the sake of one of them."""
        charged = self._charge(group[0].name, when)
        for instance in () if charged else (each for each in group if not each.restarted):
            if self._charge(instance.name, when):
                charged = True
            else:
                self._forget(self._falling(instance.name) - {instance.name}, perhaps=True)
        for instance in self._with_lost_wrappers(group) if charged else ():
            instance.charged = True
            instance.lost_at = when

    def _charge(self, name: str, when: float) -> bool:
        """Use up one of the times that a name may be renewed by itself, if one is left."""
        restarts = self.picture.restarts
        config = self.premises.configs.get(name)
        if config is None or self.picture.closing:
            return False
        if when - self.picture.risen.get(name, when) >= _LONG:
            restarts.pop(name, None)
        if restarts.get(name, 0) >= config.restarts:
            return False
        restarts[name] = restarts.get(name, 0) + 1
        return True

    def _keep_below(self, stuck: Instance) -> None:
        """Keep what was to be restarted or renewed, and cannot be because of what is stuck upon it."""
        kept = [stuck]
        for above in kept:
            for name in self.premises.dependencies[above.name]:
                for instance in self.picture.instances.get(name, ()):
                    renewed = instance.state == "lost" and self.picture.wrapped(above) is instance
                    if instance.up and (instance.restarted or renewed):
                        instance.restarted = instance.due = False
                        instance.lost_at = self.picture.now
                        kept.append(instance)
        names = [instance.name for instance in kept[1:]]
        for call in self.picture.calls.values():
            call.shaken = call.shaken or self._needs(call, names)

    # -- Callers -----------------------------------------------------------------------------------------------------

    def _called(self, entry: Entry) -> None:
        call = Call(entry.caller, entry.operation, entry.name)
        if entry.operation not in _DOWN:
            asked = self.premises.closure[entry.name]
            if entry.operation == "restart":
                asked = asked.union(*(self.premises.closure[name] for name in self.premises.above[entry.name]))
            for other in self.picture.calls.values():
                other.renewed |= asked
        getattr(self, f"_call_{entry.operation}")(call)
        self.picture.calls[entry.caller] = call
        if self.picture.demanding(call):
            self._call_for(self.premises.closure[call.name])

    def _call_deploy(self, call: Call) -> None:
        if call.name not in self.premises.lazy:
            self.picture.withdrawn.discard(call.name)

    def _call_use(self, call: Call) -> None:
        call.withdrawn = call.name not in self.picture.armed | self.picture.perhaps

    def _call_undeploy(self, call: Call) -> None:
        known = self.picture.demanded(call.name) or self.picture.present(call.name) is not None
        self._withdraw([call.name])
        call.needed = self.picture.demanded(call.name)
        call.found = self._found(self._following(call.name) if known and not call.needed else ())
        self._look_for_unwanted(self.premises.closure[call.name])

    def _call_undeploy_all(self, call: Call) -> None:
        call.found = self._found(self.premises.configs)
        self._withdraw(self.premises.configs)
        self._look_for_unwanted(self.premises.configs)

    def _call_close(self, call: Call) -> None:
        call.found = self._found(self.premises.configs)
        self._withdraw(self.premises.configs)
        self.picture.closing = True
        for instance in self.picture.all():
            # An attempt is given up, whatever demands it.
            instance.unwanted = instance.unwanted or instance.state in {"built", "deploying"}
        self._look_for_unwanted(self.premises.configs)

    def _call_restart(self, call: Call) -> None:
        above = self.premises.above[call.name]
        if self.picture.closing:
            return
        call.targets = demanded = self._asked_for(above)
        call.certain = self._asked_for(above, sure=True)
        call.found = self._found(above)
        self._may_return(other for other in self.picture.calls.values() if self._needs(other, above))
        for name in above:
            for instance in self.picture.instances.get(name, ()):
                instance.restarted = name in demanded
                # An attempt is given up, though not its demand.
                instance.unwanted = instance.unwanted or not instance.up
        self._call_for(above, due=call.certain)

    def _asked_for(self, names: frozenset[str], *, sure: bool = False) -> frozenset[str]:
        """Return those of the names that a call has asked for, and what these stand on; not what is only going down."""
        picture = self.picture
        asked = picture.granted if sure else picture.granted | picture.perhaps
        asked = asked.union(*(picture.wanted_by(call, sure=sure) for call in picture.calls.values())) & names
        return frozenset(name for name in names if not asked.isdisjoint(self.premises.above[name]))

    def _found(self, names: Iterable[str]) -> tuple[tuple[Instance, str, int], ...]:
        instances = [i for name in names for i in self.picture.instances.get(name, ()) if i.exists]
        return tuple((instance, instance.state, instance.tries) for instance in instances)

    def _following(self, name: str) -> list[str]:
        """Return a name that nothing demands, and those below it that only it keeps up, or one that follows it."""
        picture = self.picture
        wanted = picture.granted | picture.perhaps
        wanted = wanted.union(*map(picture.wanted_by, picture.calls.values()))
        following = [name]
        for each in following:
            for below in self.premises.dependencies[each]:
                above = self.premises.dependents[below]
                alone = all(other in following or picture.present(other) is None for other in above)
                if below not in following and alone and wanted.isdisjoint(self.premises.above[below]):
                    following.append(below)
        return following

    def _call_for(self, names: Iterable[str], *, due: Container[str] | None = None) -> None:
        """Note that those of the names that are lost may be renewed, and what is reached through them.

        :param due: those that have to be; None: all of them
        """
        for instance in self._with_lost_wrappers(self._lost_of(names)):
            instance.renewable = True
            instance.due = instance.due or due is None or instance.name in due

    def _asked(self, entry: Entry) -> None:
        call = self.picture.calls[entry.caller]
        call.asked = True
        self._look_for_unwanted(self.premises.closure[call.name])

    def _returned(self, entry: Entry) -> None:
        picture = self.picture
        call = picture.calls.pop(entry.caller)
        if picture.claims(call):
            (picture.perhaps if call.withdrawn else picture.granted).add(call.name)
        elif call.operation == "deploy":
            (picture.perhaps if call.withdrawn else picture.armed).add(call.name)
            picture.withdrawn.discard(call.name)
        self._has_left(call)

    def _raised(self, entry: Entry) -> None:
        call = self.picture.calls.pop(entry.caller)
        if entry.refused and call.operation == "deploy":
            self.picture.perhaps.add(call.name)
        self._has_left(call)

    def _gave_up(self, entry: Entry) -> None:
        self._has_left(self.picture.calls.pop(entry.caller))

    def _has_left(self, call: Call) -> None:
        for name in call.targets or [call.name]:
            self._look_for_unwanted(self.premises.closure[name])
