"""Events of deployments, made by hand."""

from __future__ import annotations

from anydeploy import DeploymentConfig, DeploymentEvent, DeploymentState
from anydeploy.cli.loading import Selection, select
from anydeploy.lifecycle import SILENT, Step

#: The state that each reported step leads to. A restart leaves the state as it is.
STATES = {
    Step.DEMANDED: DeploymentState.DEPLOYING,
    Step.BEGUN: DeploymentState.DEPLOYING,
    Step.ATTEMPT_FAILED: DeploymentState.DEPLOYING,
    Step.ABORTED: DeploymentState.DEPLOYING,
    Step.DEPLOYED: DeploymentState.LIVE,
    Step.FAILED: DeploymentState.UNDEPLOYING,
    Step.FAILED_BELOW: DeploymentState.ABSENT,
    Step.DROPPED: DeploymentState.ABSENT,
    Step.GIVEN_UP: DeploymentState.UNDEPLOYING,
    Step.LOST: DeploymentState.LOST,
    Step.RENEWED: DeploymentState.LOST,
    Step.RESTARTED: DeploymentState.LIVE,
    Step.KEPT: DeploymentState.LIVE,
    Step.RELEASED: DeploymentState.UNDEPLOYING,
    Step.UNDEPLOYED: DeploymentState.ABSENT,
    Step.UNDEPLOY_FAILED: DeploymentState.STUCK,
    Step.RETRIED: DeploymentState.UNDEPLOYING,
}
assert STATES.keys() == set(Step) - SILENT


def event(
    name: str,
    step: Step,
    when: float = 0,
    *,
    attempt: int = 1,
    attempts: int = 1,
    because: str | None = None,
    error: BaseException | None = None,
) -> DeploymentEvent:
    return DeploymentEvent(name, STATES[step], step, when, attempt, attempts, because, error)


def selection(**depends_on: str) -> Selection:
    """Definitions by name, each with the names that it depends on; one that stands behind ``>`` is wrapped."""
    configs: dict[str, DeploymentConfig] = {}
    for name, names in depends_on.items():
        below = names.split()
        wraps = next((each[1:] for each in below if each.startswith(">")), None)
        depends = [each for each in below if not each.startswith(">")]
        configs[name] = DeploymentConfig(name, "t", wraps=wraps, depends_on=depends)
    return select(configs, ())
