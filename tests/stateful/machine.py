"""Random graphs, random interleavings of calls, cancellations, failures and completions, checked after every step."""

from __future__ import annotations

from typing import Any, ClassVar

from anyio.from_thread import BlockingPortal
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from anydeploy import DeploymentConfig

from .world import Driver, World

_NAMES = "abcde"


@st.composite
def graphs(draw: st.DrawFn) -> list[DeploymentConfig]:
    """Forests by `wraps`, general DAGs by `depends_on`, eager, lazy and uninterruptible ones mixed."""
    configs: list[DeploymentConfig] = []
    for name in _NAMES[: draw(st.integers(1, len(_NAMES)))]:
        earlier = [config.name for config in configs]
        wraps = draw(st.sampled_from([None, *earlier]))
        depends_on = draw(st.lists(st.sampled_from(earlier), unique=True, max_size=2)) if earlier else []
        type_ = "wrapper" if wraps is not None else draw(st.sampled_from(["scripted", "scripted", "stubborn"]))
        lazy = draw(st.integers(0, 3)) == 0
        configs.append(DeploymentConfig(name, type_, wraps=wraps, depends_on=depends_on, lazy=lazy))
    return configs


class ManagerMachine(RuleBasedStateMachine):
    """Callers come and go, connectors get on or fail; the manager has to keep its rules all the time."""

    portal: ClassVar[BlockingPortal]
    driver: Driver | None = None

    @property
    def world(self) -> World:
        assert self.driver is not None
        return self.driver.world

    def _step(self, action: Any, *args: Any, **kwargs: Any) -> None:
        assert self.driver is not None
        self.driver.step(action, *args, **kwargs)

    @initialize(configs=graphs(), limit=st.sampled_from([None, None, 1, 2]))
    def begin(self, configs: list[DeploymentConfig], limit: int | None) -> None:
        self.driver = Driver(self.portal, configs, max_concurrent=limit)

    @rule(data=st.data())
    def deploy(self, data: st.DataObject) -> None:
        self._step(self.world.deploy, data.draw(st.sampled_from(sorted(self.world.configs)[::-1])))

    @rule(data=st.data())
    def undeploy(self, data: st.DataObject) -> None:
        self._step(self.world.undeploy, data.draw(st.sampled_from(sorted(self.world.configs))))

    @rule()
    def undeploy_all(self) -> None:
        self._step(self.world.undeploy_all)

    @precondition(lambda self: self.world.armed)
    @rule(data=st.data())
    def use(self, data: st.DataObject) -> None:
        self._step(self.world.use, data.draw(st.sampled_from(sorted(self.world.armed))))

    @precondition(lambda self: self.world.callers)
    @rule(data=st.data(), how=st.sampled_from(["scope", "deadline", "native"]))
    def cancel(self, data: st.DataObject, how: str) -> None:
        index = data.draw(st.integers(0, len(self.world.callers) - 1))
        self._step(self.world.cancel, self.world.callers[index], how)

    @precondition(lambda self: self.world.operations)
    @rule(data=st.data(), fails=st.sampled_from([False, False, True]))
    def finish(self, data: st.DataObject, *, fails: bool) -> None:
        index = data.draw(st.integers(0, len(self.world.operations) - 1))
        self._step(self.world.finish, self.world.operations[index], fails=fails)

    @precondition(lambda self: self.world.operations)
    @rule()
    def finish_all(self) -> None:
        for operation in list(self.world.operations):
            self._step(self.world.finish, operation, fails=False)

    def teardown(self) -> None:
        if self.driver is not None:
            self.driver.end()
