"""Commands whose input begins with a text of this program, before what their caller gives them to read."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import Final

import attrs
from anyio import BrokenResourceError, ClosedResourceError
from anyio.abc import Process

from ..command import Command
from ..connector import Connector
from ..streams import communicate
from .local import LocalConnector

#: Passes an input on, until the command has ended.
_PASS_ON: Final = Command(("cat",), stderr=DEVNULL)


@asynccontextmanager
async def start_with_preamble(connector: Connector, command: Command, preamble: bytes) -> AsyncGenerator[Process, None]:
    r"""Start a command as :meth:`Connector.start_command` does, and let it read a preamble first.

        async with start_with_preamble(local, Command(["cat"], stdin=DEVNULL), b"first\n") as process:
            await process.wait()

    The process has a stdin only where that of the command is a pipe.
    """
    if command.stdin not in (PIPE, DEVNULL):
        async with _start_on_file(connector, command, preamble) as process:
            yield process
        return
    async with connector.start_command(attrs.evolve(command, stdin=PIPE)) as process:
        assert process.stdin is not None  # noqa: S101 - it is a pipe
        with suppress(BrokenResourceError, ClosedResourceError):
            await process.stdin.send(preamble)
            if command.stdin == DEVNULL:
                await process.stdin.aclose()
        yield process


@asynccontextmanager
async def _start_on_file(connector: Connector, command: Command, preamble: bytes) -> AsyncGenerator[Process, None]:
    """Start a command on a pipe, into which the preamble goes, and then the file of this program that is its input."""
    here = LocalConnector(deployment_name="input", config_dir=Path())
    ends = os.pipe()
    # Each is closed when a process has it: otherwise neither side would notice that the other one has ended.
    with os.fdopen(ends[0], "rb") as reader, os.fdopen(ends[1], "wb") as writer:
        async with connector.start_command(attrs.evolve(command, stdin=reader)) as process:
            reader.close()
            async with here.start_command(attrs.evolve(_PASS_ON, stdout=writer)) as passing:
                await communicate(passing, preamble)
            async with here.start_command(attrs.evolve(_PASS_ON, stdin=command.stdin, stdout=writer)):
                writer.close()
                yield process
