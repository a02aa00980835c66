"""A shell that stays, for many short commands one after the other."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from subprocess import CompletedProcess
from typing import Final

from anyio import BrokenResourceError, ClosedResourceError, EndOfStream, Lock, create_task_group
from anyio.abc import ByteReceiveStream, Process
from attrs import define, field

from .exceptions import CommandError, WorkflowExecutionException
from .quoting import becoming
from .streams import last_lines

#: Runs each line of its input, and then writes its argument to both streams, with the status to the first.
_LOOP: Final = r"""
while read -r anydeploy_text; do
    (eval "$(printf %b "$anydeploy_text")") </dev/null
    printf '%s%s\n' "$1" "$?"
    printf '%s\n' "$1" >&2
done
"""


def new_mark() -> str:
    """Return a text that no command prints."""
    return f"anydeploy-{secrets.token_hex(16)}-"


def shell_argv(mark: str) -> Sequence[str]:
    """Return the command that a :class:`Shell` talks to."""
    return ("sh", "-c", _LOOP, "anydeploy", mark)


@define(eq=False)
class Shell:
    """A shell in an environment; see :meth:`Connector.get_shell`. One command runs at a time, the others wait."""

    _process: Process
    _mark: str
    _lock: Lock = field(init=False, factory=Lock)
    #: Its output is not that of the next command: it has ended, or a command was cancelled.
    _is_spent: bool = field(init=False, default=False)

    async def run(
        self,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        workdir: str | None = None,
        check: bool = True,
    ) -> CompletedProcess[bytes]:
        """Run a command to its end, without input, and return its status and output.

            await shell.run(["mkdir", "-p", "results"])

        A program that does not exist is a status of 127, as shells have it.

        :raises CommandError: with ``check``, if its status is not 0
        :raises WorkflowExecutionException: if the shell has ended, or another command in it was cancelled
        :raises ValueError: if an argument cannot be passed to a program, or a variable not be set by a shell

        If cancelled, the command is ended with the shell, when the block of that is left.
        """
        line = becoming(argv, environment or {}, workdir) + b"\n"
        async with self._lock:
            status, stdout, stderr = await self._exchange(line)
        if check and status != 0:
            raise CommandError(argv, status, last_lines(stderr or stdout))
        return CompletedProcess(list(argv), status, stdout, stderr)

    async def _exchange(self, line: bytes) -> tuple[int, bytes, bytes]:
        if self._is_spent:
            raise WorkflowExecutionException("the shell has ended, or a command in it was cancelled")
        self._is_spent = True
        outputs: list[bytes | None] = [None, None]

        async def read(index: int, stream: ByteReceiveStream | None) -> None:
            outputs[index] = await self._read(stream)

        async with create_task_group() as tasks:
            tasks.start_soon(read, 0, self._process.stdout)
            tasks.start_soon(read, 1, self._process.stderr)
            try:
                assert self._process.stdin is not None  # noqa: S101 - it is a pipe
                await self._process.stdin.send(line)
            except (BrokenResourceError, ClosedResourceError):
                tasks.cancel_scope.cancel()
        stdout, stderr = outputs
        if stdout is None or stderr is None:
            raise WorkflowExecutionException("the shell has ended")
        self._is_spent = False
        output, _, status = stdout.rpartition(self._mark.encode())
        return int(status), output, stderr.removesuffix(f"{self._mark}\n".encode())

    async def _read(self, stream: ByteReceiveStream | None) -> bytes | None:
        """Read to the end of the line with the mark; None if the stream ends before."""
        mark, data = self._mark.encode(), bytearray()
        assert stream is not None  # noqa: S101 - it is a pipe
        try:
            while True:
                searched = max(0, len(data) - len(mark) - 8)
                data += await stream.receive()
                found = data.find(mark, searched)
                if found >= 0 and data.endswith(b"\n"):
                    return bytes(data)
        except (EndOfStream, BrokenResourceError, ClosedResourceError):
            return None
