"""StreamFlow's own `slurm` under our manager, on a real Slurm: no job stays when a run is interrupted."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from slurm_server import Slurm

pytest.importorskip("streamflow")

from streamflow.core.deployment import DeploymentConfig

from anydeploy.streamflow import AnydeployDeploymentManager


def test_a_job_that_is_not_waited_for_is_removed(slurm: Slurm, tmp_path: Any) -> None:
    """U1: StreamFlow's `undeploy` would look for it below the place where it is, and fail."""

    def left(jobs: set[str]) -> set[str]:
        return jobs & set(slurm.ask("squeue", "-h", "-t", "PD,R,CG,S,CF", "-o", "%i").split())

    async def use() -> None:
        context: Any = SimpleNamespace(config={"path": str(tmp_path / "streamflow.yml"), "deployments": {}})
        manager = AnydeployDeploymentManager(context)
        settings = {"pollingInterval": 1, "maxConcurrentJobs": 5}
        await manager.deploy(DeploymentConfig("queue", "slurm", settings, lazy=False))
        connector: Any = manager.get_connector("queue")
        (found,) = (await connector.get_available_locations()).values()
        runs = [
            asyncio.create_task(connector.run(found.location, ["sleep", "1000"], job_name=f"interrupted-{number}"))
            for number in range(2)
        ]
        while len(connector._scheduled_jobs) < len(runs):  # noqa: ASYNC110 - StreamFlow tells of it in no other way
            await asyncio.sleep(0.05)
        jobs = set(connector._scheduled_jobs)
        assert left(jobs) == jobs
        for run in runs:
            run.cancel()
        await asyncio.wait(runs)
        await manager.close()
        while left(jobs):  # noqa: ASYNC110 - nor does Slurm
            await asyncio.sleep(0.05)

    asyncio.run(asyncio.wait_for(use(), 60))
