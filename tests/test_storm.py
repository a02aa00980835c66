"""A storm: thousands of random calls over 200 deployments, with failures and cancellations, in virtual time."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import anyio
import pytest

from anydeploy import (
    Connector,
    DefaultDeploymentManager,
    DeployError,
    DeploymentConfig,
    DeploymentState,
    InvalidConnectorError,
    UndeployError,
)
from anydeploy.testing.virtual import BACKENDS, run_virtual

_DEPLOYMENTS = 200
_CALLS = 5000


class Storm:
    """The environments and the callers; every choice comes from one seeded generator."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.exists: Counter[str] = Counter()
        self.live: set[str] = set()
        self.failed_undeploys = 0
        self.outcomes: Counter[str] = Counter()
        self.calm = False
        self.configs = [self._config(i) for i in range(_DEPLOYMENTS)]

    def _config(self, index: int) -> DeploymentConfig:
        below = [f"d{self.random.randrange(index)}" for _ in range(self.random.randrange(5))] if index else []
        return DeploymentConfig(
            f"d{index}",
            "stormy",
            depends_on=below,
            lazy=self.random.random() < 0.2,
            retries=self.random.choice([0, 0, 0, 2]),
            deploy_timeout=self.random.choice([None, 3.0]),
        )

    async def work(self) -> None:
        await anyio.sleep(self.random.choice([0, 0.1, 1, 5]))
        if not self.calm and self.random.random() < 0.1:
            raise OSError("struck by lightning")

    async def call(self, manager: DefaultDeploymentManager) -> None:
        await anyio.sleep(self.random.random() * 200)
        name = f"d{self.random.randrange(_DEPLOYMENTS)}"
        choice = self.random.random()
        outcome = "cancelled"
        with anyio.move_on_after(self.random.choice([0, 0.05, 1, 20, 1000])):
            try:
                if choice < 0.6:
                    await manager.deploy(name)
                    connector = manager.get_connector(name)
                    if connector is not None:
                        await connector.run(["true"])
                elif choice < 0.99:
                    await manager.undeploy(name)
                else:
                    await manager.undeploy_all()
                outcome = "returned"
            except (DeployError, UndeployError, InvalidConnectorError, ExceptionGroup) as exc:
                outcome = type(exc).__name__
        self.outcomes[outcome] += 1

    def connector_type(storm: Storm) -> type[Connector]:  # noqa: N805 - the connectors' own self is taken
        class Stormy(Connector):
            async def deploy(self, external: bool) -> None:
                storm.exists[self.deployment_name] += 1
                assert storm.exists[self.deployment_name] == 1
                await storm.work()
                storm.live.add(self.deployment_name)

            async def undeploy(self, external: bool) -> None:
                storm.live.discard(self.deployment_name)
                storm.failed_undeploys += 1
                await storm.work()
                storm.failed_undeploys -= 1
                storm.exists[self.deployment_name] -= 1

            async def run(self, *args: Any, **kwargs: Any) -> Any:
                self._check_valid()
                assert self.deployment_name in storm.live

        return Stormy


@pytest.mark.parametrize("limit", [None, 5])
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("backend", BACKENDS)
def test_storm(backend: str, seed: int, limit: int | None) -> None:
    """D2, D5, D6, U1-U8, K1-K3, L1: after the storm nothing runs, and nobody waits."""
    storm = Storm(seed)

    async def rage() -> None:
        types = {"stormy": storm.connector_type()}
        async with DefaultDeploymentManager(storm.configs, connector_types=types, max_concurrent=limit) as manager:
            with anyio.fail_after(10_000):
                async with anyio.create_task_group() as callers:
                    for _ in range(_CALLS):
                        callers.start_soon(storm.call, manager)
                storm.calm = True
                await manager.undeploy_all()
                assert {status.state for status in manager.status().values()} == {DeploymentState.ABSENT}
        assert not +storm.exists

    run_virtual(backend, rage)
    assert sum(storm.outcomes.values()) == _CALLS
    assert min(storm.outcomes[outcome] for outcome in ("returned", "cancelled", "DeployError")) > 100, storm.outcomes
    assert storm.failed_undeploys > 10
