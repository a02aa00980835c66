"""D1-D6, R1-R4, U1-U8, M3, L1, L2, K1-K3, E1: through StreamFlow's interface, with StreamFlow's connectors."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from streamflow.core.deployment import DeploymentManager

from anydeploy.lazy import FutureConnector
from anydeploy.streamflow import AnydeployDeploymentManager
from anydeploy.streamflow.plugin.proxy import ConnectorProxy
from anydeploy.testing.conformance import ManagerSuite
from anydeploy.testing.machine import ManagerMachine, check_manager
from anydeploy.testing.scripted import Script
from anydeploy.testing.subject import Feature

from .subjects import StreamFlowSubject

if TYPE_CHECKING:
    from streamflow.core.context import StreamFlowContext

_EXAMPLES = int(os.environ.get("ANYDEPLOY_STATEFUL_EXAMPLES", "100"))


class PluginSubject(StreamFlowSubject):
    """The object given out for an eager deployment is shown as the connector that it stands for."""

    name = "AnydeployDeploymentManager"
    features = frozenset(Feature) - {
        *(Feature.BLOCK, Feature.UNINTERRUPTIBLE, Feature.LOSS, Feature.RESTART, Feature.RESTARTS, Feature.HOOKS)
    }

    def __init__(self) -> None:
        self.proxies: dict[Any, ConnectorProxy] = {}

    def build(self, context: StreamFlowContext, script: Script) -> DeploymentManager:
        premises = script.premises
        premises.uninterruptible = frozenset(premises.configs)
        limits = {
            "maxConcurrent": premises.max_concurrent,
            "deployTimeout": premises.deploy_timeout,
            "undeployTimeout": premises.undeploy_timeout,
        }
        return AnydeployDeploymentManager(
            context, **{name: value for name, value in limits.items() if value is not None}
        )

    @asynccontextmanager
    async def manager(self, script: Script, **options: Any) -> AsyncGenerator[Any, None]:
        self.proxies.clear()
        async with super().manager(script, **options) as manager:
            hidden = manager.get_connector
            manager.get_connector = lambda name: self._show(hidden(name))
            yield manager

    async def use(self, connector: Any) -> None:
        await super().use(self.proxies.get(connector, connector))

    def _show(self, proxy: Any) -> Any:
        if proxy is None or isinstance(proxy._source, FutureConnector):
            return proxy
        real = proxy._connector
        assert self.proxies.setdefault(real, proxy) is proxy, "R2: another object for the same connector"
        return real


_FINISHES = "a deploy of StreamFlow's is not cancelled: it is allowed to finish"


class TestPlugin(ManagerSuite):
    subject = PluginSubject()
    known_failures: ClassVar[Mapping[str, str]] = {
        "D4-wraps_on_what_cannot_wrap_is_refused": "StreamFlow warns of it, and deploys it all the same",
        "D4-another_definition_of_a_live_name_is_refused": "StreamFlow keeps the live one; there is a warning",
        "D6-what_nobody_wants_is_given_up": _FINISHES,
        "D6-a_newcomer_does_not_join_what_is_given_up": _FINISHES,
        "D6-a_cancelled_caller_leaves_nothing_below": _FINISHES,
        "D6-a_name_can_be_deployed_after_a_cancellation": _FINISHES,
        "U4-undeploying_what_comes_up_tells_those_who_wait": _FINISHES,
        "U7-undeploying_everything_gives_up_what_comes_up": _FINISHES,
        "U8-closing_gives_up_what_comes_up": _FINISHES,
        "M3-however_a_caller_is_cancelled": _FINISHES,
        "K2-a_deploy_that_takes_too_long_fails": _FINISHES,
    }


class PluginMachine(ManagerMachine):
    subject = PluginSubject()

    @property
    def _old(self) -> list[Any]:
        return [connector for connector in super()._old if connector in self.subject.proxies]


@pytest.mark.timeout(0)
def test_random_graphs_and_interleavings(caplog: pytest.LogCaptureFixture):
    """D1-D6, R1-R4, U1-U8, K1, L1: whatever callers and connectors do, in whatever order."""
    caplog.set_level(logging.CRITICAL, "streamflow")
    check_manager(PluginMachine, backend="asyncio", max_examples=_EXAMPLES)
