"""Connectors for StreamFlow that need no program: they show where a command has passed, and log their life."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from shlex import quote

from streamflow.core.exception import WorkflowExecutionException
from streamflow.core.scheduling import AvailableLocation
from streamflow.deployment.wrapper import ConnectorWrapper, get_inner_location


class Room(ConnectorWrapper):
    """As a container does, it puts words in front of every command: these add its name to the variable ROOMS."""

    def __init__(self, deployment_name, config_dir, connector, service, log=None, delay=0, rooms=None, fail=False):
        super().__init__(deployment_name, config_dir, connector, service, 2**16)
        self.fail = fail
        self.log = Path(config_dir, log) if log else None
        self.delay = delay
        self.rooms = ["room"] if rooms is None else rooms

    @classmethod
    def get_schema(cls):
        return json.dumps(
            {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "$id": "https://anydeploy.example/room.json",
                "type": "object",
                "properties": {
                    "fail": {"type": "boolean"},
                    "log": {"type": "string"},
                    "delay": {"type": "number"},
                    "rooms": {"type": "array", "items": {"type": "string"}},
                },
                "additionalProperties": False,
            }
        )

    def _note(self, what):
        if self.log:
            with self.log.open("a") as file:
                file.write(f"{self.deployment_name} {what}\n")

    async def deploy(self, external):
        self._note("deploy")
        await asyncio.sleep(self.delay)
        if self.fail:
            raise WorkflowExecutionException("no room")
        self._note("deployed")

    async def undeploy(self, external):
        self._note("undeploy")

    async def get_available_locations(self, service=None):
        inner = await self.connector.get_available_locations(service=self.service)
        wrapped = next(iter(inner.values()))
        return {
            room: AvailableLocation(
                room, self.deployment_name, wrapped.hostname, service=service, stacked=True, wraps=wrapped
            )
            for room in self.rooms
            if service in (None, room)
        }

    def _inside(self, line, location):
        name = self.deployment_name if location.name == "room" else location.name
        return ["sh", "-c", quote(f"export ROOMS=$ROOMS/{name}; {line}")]

    async def run(self, location, command, environment=None, workdir=None, *args, **kwargs):
        return await self.connector.run(
            get_inner_location(location),
            self._inside(" ".join(command), location),
            environment,
            workdir,
            *args,
            **kwargs,
        )

    async def get_shell(self, command, location):
        return await self.connector.get_shell(
            ["env", f"ROOMS={self.deployment_name}", *command], get_inner_location(location)
        )

    async def get_stream_reader(self, command, location):
        return await self.connector.get_stream_reader(
            self._inside(" ".join(command), location), get_inner_location(location)
        )

    async def get_stream_writer(self, command, location):
        return await self.connector.get_stream_writer(
            self._inside(" ".join(command), location), get_inner_location(location)
        )
