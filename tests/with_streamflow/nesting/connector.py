"""An environment that is a process, and a log of what was done with it.

Each line of the log is what happened and the name of the deployment: ``deploy``, ``deployed`` or ``failed``,
``undeploy`` and ``undeployed``, and ``run`` for every command. When the environment ends, so does all that runs in it.
Like StreamFlow's own connectors, this one does not expect its deploy to be cancelled.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

from streamflow.core.deployment import Connector, ExecutionLocation
from streamflow.core.exception import WorkflowExecutionException
from streamflow.core.scheduling import AvailableLocation
from streamflow.deployment.wrapper import ConnectorWrapper, get_inner_location

from .processes import with_variable


class NestingConnector(ConnectorWrapper):
    """Settings: ``log``, a file; ``failing``, how many deploys fail; ``waiting`` and ``leaving``, files to wait for.

    The one is waited for by ``deploy``, the other by ``undeploy``.
    """

    def __init__(
        self,
        deployment_name: str,
        config_dir: str,
        connector: Connector,
        service: str | None,
        log: str,
        failing: int = 0,
        waiting: str | None = None,
        leaving: str | None = None,
        transferBufferSize: int = 2**10,  # noqa: N803 - StreamFlow's
    ) -> None:
        super().__init__(deployment_name, config_dir, connector, service, transferBufferSize)
        self.log = Path(config_dir, log)
        self.failing = failing
        self.waiting = Path(config_dir, waiting) if waiting is not None else None
        self.leaving = Path(config_dir, leaving) if leaving is not None else None
        self.process: asyncio.subprocess.Process | None = None
        self.variable, self.value = f"INSIDE_{deployment_name}", str(self.log)

    @classmethod
    def get_schema(cls) -> str:
        return json.dumps(
            {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "$id": "urn:nesting",
                "type": "object",
                "properties": {
                    "log": {"type": "string"},
                    "failing": {"type": "integer"},
                    "waiting": {"type": "string"},
                    "leaving": {"type": "string"},
                    "transferBufferSize": {"type": "integer"},
                },
                "required": ["log"],
                "additionalProperties": False,
            }
        )

    async def deploy(self, external: bool) -> None:
        self.write("deploy")
        attempts = self.log.read_text().splitlines().count(f"deploy {self.deployment_name}")
        self.process = await asyncio.create_subprocess_exec(
            "sleep", "1000", start_new_session=True, env={**os.environ, self.variable: self.value}
        )
        await self.wait_for(self.waiting)
        if attempts <= self.failing:
            self.kill()
            self.write("failed")
            raise WorkflowExecutionException(f"attempt {attempts} is made to fail")
        self.write("deployed")

    async def undeploy(self, external: bool) -> None:
        self.write("undeploy")
        await self.wait_for(self.leaving)
        self.kill()
        self.write("undeployed")

    async def wait_for(self, file: Path | None) -> None:
        while file is not None and not file.exists():  # noqa: ASYNC110, ASYNC240 - another process makes it
            await asyncio.sleep(0.01)

    async def get_available_locations(self, service: str | None = None) -> dict[str, AvailableLocation]:
        locations = await self.connector.get_available_locations(service=self.service)
        return {
            self.deployment_name: AvailableLocation(
                name=self.deployment_name,
                deployment=self.deployment_name,
                service=service,
                hostname="localhost",
                slots=16,
                stacked=True,
                wraps=next(iter(locations.values())),
            )
        }

    async def run(self, location: ExecutionLocation, command: Any, environment: Any = None, **kwargs: Any) -> Any:
        self.write("run")
        if self.process is None or self.process.returncode is not None:
            raise WorkflowExecutionException(f"{self.deployment_name} is used and is not up")
        outside = environment or {}
        inside = {"NESTING": f"{self.deployment_name} {outside.get('NESTING', '')}".strip(), self.variable: self.value}
        return await self.connector.run(
            location=get_inner_location(location), command=command, environment={**outside, **inside}, **kwargs
        )

    def kill(self) -> None:
        """End the environment, with all that runs in it."""
        # Of a process that has just been started, the variables may not be there yet.
        own = [self.process.pid] if self.process is not None and self.process.returncode is None else []
        for pid in {*own, *with_variable(self.variable, self.value)}:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def write(self, what: str) -> None:
        with self.log.open("a") as log:
            print(what, self.deployment_name, file=log)
