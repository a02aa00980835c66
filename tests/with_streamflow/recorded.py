"""StreamFlow connectors that note what is done with them, and do as they are told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from streamflow.core.deployment import (
    Connector,
    DeploymentConfig,
    DeploymentManager,
    ExecutionLocation,
    WrapsConfig,
)
from streamflow.core.scheduling import AvailableLocation
from streamflow.deployment.wrapper import ConnectorWrapper

from anydeploy.streamflow import AnydeployDeploymentManager

#: All that happened, in order; emptied before each test.
happened: list[str] = []
#: Called by name in ``deploy``, and as ``undeploy NAME`` in ``undeploy``.
scripts: dict[str, Callable[[], Any]] = {}
#: All that were built, by name.
built: dict[str, list[Any]] = {}


class _Recorded(Connector):
    """The common part of the two kinds."""

    async def deploy(self, external: bool) -> None:
        self.external = external
        await self._do("deploy", self.deployment_name)

    async def undeploy(self, external: bool) -> None:
        await self._do("undeploy", f"undeploy {self.deployment_name}")

    async def get_available_locations(self, service: str | None = None) -> dict[str, AvailableLocation]:
        return {"here": AvailableLocation("here", self.deployment_name, "localhost", service=service)}

    async def run(self, location: ExecutionLocation, command: Any, **kwargs: Any) -> tuple[str, int]:
        return f"{self.deployment_name}: {' '.join(command)}", 0

    async def copy_remote_to_remote(
        self,
        src: str,
        dst: str,
        locations: Any,
        source_location: Any,
        source_connector: Any = None,
        read_only: bool = False,
    ) -> None:
        self.copied_from = source_connector

    async def _do(self, what: str, script: str) -> None:
        happened.append(f"{what} {self.deployment_name}")
        if script in scripts:
            outcome = scripts[script]()
            if outcome is not None:
                await outcome
        happened.append(f"{what}ed {self.deployment_name}")

    @classmethod
    def get_schema(cls) -> str:
        return ""


class Plain(_Recorded):
    """One that wraps nothing."""

    def __init__(self, deployment_name: str, config_dir: str, transferBufferSize: int = 2**10, **kwargs: Any) -> None:  # noqa: N803
        super().__init__(deployment_name, config_dir, transferBufferSize)
        self.settings = kwargs
        built.setdefault(deployment_name, []).append(self)


class Wrapper(_Recorded, ConnectorWrapper):
    """One that wraps another."""

    def __init__(
        self,
        deployment_name: str,
        config_dir: str,
        connector: Connector,
        service: str | None,
        transferBufferSize: int = 2**10,  # noqa: N803 - StreamFlow's
        size: int = 0,
    ) -> None:
        ConnectorWrapper.__init__(self, deployment_name, config_dir, connector, service, transferBufferSize)
        self.size = size
        built.setdefault(deployment_name, []).append(self)


# Abstract in what nobody calls here.
Plain.__abstractmethods__ = frozenset()
Wrapper.__abstractmethods__ = frozenset()


def config(
    name: str,
    wraps: str | WrapsConfig | None = None,
    *,
    lazy: bool = False,
    type: str | None = None,  # noqa: A002 - StreamFlow's
    external: bool = False,
    **settings: Any,
) -> DeploymentConfig:
    wrapped = WrapsConfig(wraps) if isinstance(wraps, str) else wraps
    return DeploymentConfig(
        name=name,
        type=type or ("plain" if wraps is None else "wrapper"),
        config=settings,
        external=external,
        lazy=lazy,
        wraps=wrapped,
    )


def manager(
    deployments: dict[str, Any] | None = None,
    path: str = "/nowhere/streamflow.yml",
    type: type[DeploymentManager] = AnydeployDeploymentManager,  # noqa: A002
    **settings: Any,
) -> DeploymentManager:
    found: dict[str, Any] = {"path": path}
    if deployments is not None:
        found["deployments"] = deployments
    return type(context=SimpleNamespace(config=found), **settings)


def fail(times: int) -> Callable[[], None]:
    """A script that fails so many times, and then no more."""
    left = [times]

    def script() -> None:
        left[0] -= 1
        if left[0] >= 0:
            raise ZeroDivisionError("made to fail")

    return script


async def stay() -> None:
    await asyncio.get_running_loop().create_future()


async def settled() -> None:
    """Let everything happen that can."""
    for _ in range(20):
        await asyncio.sleep(0)
