"""The directory of a command at its location, and the calls of the scripts in it: see :mod:`.script`."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from attrs import define, field
from streamflow.core.deployment import Connector, ExecutionLocation

from ...exceptions import WorkflowExecutionException
from .tasks import BackgroundTasks

#: A path that is one word to every shell, and to connectors that use none.
_PLAIN: Final = re.compile(r"/[A-Za-z0-9_@%+=:,./-]+")


@define(eq=False)
class CommandDirectory:
    """A directory at a location, and what StreamFlow's connector can do there.

    :ivar path: the directory; absolute once it has been made
    """

    connector: Connector
    location: ExecutionLocation
    tasks: BackgroundTasks
    path: str
    #: The signal that was sent last.
    _latest: asyncio.Task[None] | None = field(init=False, default=None)

    async def make(self, script: str) -> None:
        """Make the directory by means of a script that prints its path.

        :raises WorkflowExecutionException: if it cannot be made
        """
        output, status = await self.run(script)
        path = output.strip()
        if status or not _PLAIN.fullmatch(path):
            raise WorkflowExecutionException(
                f"the connector could not make a directory for it at {self.location}: {path}"
            )
        self.path = path

    async def do(self, *words: str) -> tuple[str, int]:
        """Call the script ``do``, and return its output and its exit status."""
        return await self.run(*self._do(words))

    async def run(self, *words: str) -> tuple[str, int]:
        """Run a short command at the location, and return its output and its exit status."""
        result = await self.connector.run(self.location, list(words), capture_output=True)
        return result if result is not None else ("", 0)

    def send(self, call: Coroutine[Any, Any, object]) -> None:
        """Make a call in the background, when the calls before it have ended: signals arrive in their order."""
        self._latest = self.tasks.start(_after(self._latest, call))

    async def open_reader(self, *words: str) -> AbstractAsyncContextManager[Any]:
        """Call the script ``do``, with a stream that its output can be read from."""
        return await self.connector.get_stream_reader(self._do(words), self.location)

    async def open_writer(self, *words: str) -> AbstractAsyncContextManager[Any]:
        """Call the script ``do``, with a stream that its input can be written to."""
        return await self.connector.get_stream_writer(self._do(words), self.location)

    def _do(self, words: Sequence[str]) -> list[str]:
        return ["sh", f"{self.path}/do", *words]


async def _after(before: asyncio.Task[None] | None, call: Coroutine[Any, Any, object]) -> None:
    if before is not None:
        await asyncio.wait([before])
    await call
