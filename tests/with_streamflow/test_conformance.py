"""D1 to D6, R1 to R4, U1 to U8, M3, L1, L2, K1 to K3, E1: through StreamFlow's interface, with StreamFlow's connectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from streamflow.core.deployment import DeploymentManager

from anydeploy.streamflow import AnydeployDeploymentManager
from anydeploy.streamflow.adapter import StreamFlowSubject
from anydeploy.testing.conformance import ManagerSuite
from anydeploy.testing.scripted import Script
from anydeploy.testing.subject import Feature

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streamflow.core.context import StreamFlowContext


class PluginSubject(StreamFlowSubject):
    name = "AnydeployDeploymentManager"
    features = frozenset(Feature) - {Feature.BLOCK, Feature.UNINTERRUPTIBLE}

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


_FINISHES = "a deploy of StreamFlow's is not cancelled: it has half of the time for the teardown to finish"


class TestPlugin(ManagerSuite):
    subject = PluginSubject()
    known_failures: ClassVar[Mapping[str, str]] = {
        "D4-wraps_on_what_cannot_wrap_is_refused": "StreamFlow warns of it, and deploys it all the same",
        "D4-another_definition_of_a_live_name_is_refused": "StreamFlow keeps the live one; there is a warning",
        "D6-what_nobody_wants_is_given_up": _FINISHES,
        "D6-a_newcomer_does_not_join_what_is_given_up": _FINISHES,
        "D6-a_cancelled_caller_leaves_nothing_below": _FINISHES,
        "D6-a_name_can_be_deployed_after_a_cancellation": _FINISHES,
        "R2-it_is_the_same_connector_all_the_time": "what is given out is always a stand-in, and the same one",
        "U4-undeploying_what_comes_up_tells_those_who_wait": _FINISHES,
        "U7-undeploying_everything_gives_up_what_comes_up": _FINISHES,
        "U8-closing_gives_up_what_comes_up": _FINISHES,
        "M3-however_a_caller_is_cancelled": _FINISHES,
        "K2-a_deploy_that_takes_too_long_fails": _FINISHES,
    }
