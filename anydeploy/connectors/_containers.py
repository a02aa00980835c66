"""The program that drives containers, ``docker`` or ``podman``, in the environment that a connector wraps."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from subprocess import DEVNULL, STDOUT, CompletedProcess
from typing import Any, Final, cast

import attrs
from anyio import BrokenResourceError, sleep
from anyio.abc import ByteReceiveStream
from attrs import frozen

from ..command import DEFAULT_GRACE, Command
from ..connector import Connector
from ..exceptions import ConnectionLostError, WorkflowExecutionException, describe
from ..streams import last_lines
from ._remote_process import is_special

_logger = logging.getLogger("anydeploy.connectors")

_MISSING: Final = re.compile(r"no such (container|object)|no container with (name|id)", re.IGNORECASE)
_NO_SHELL: Final = re.compile(r"executable file not found|no such file or directory|not found in \$PATH", re.IGNORECASE)
#: Lines that tell how to call the program, not why it has failed.
_USAGE: Final = ("See '", "Run '", "Usage:")
_NO_INIT: Final = re.compile(r"(container|docker)-init.*not found", re.IGNORECASE)
_PREFIXES: Final = re.compile(r"^(docker|error|error response from daemon|daemon|podman): ", re.IGNORECASE)
#: Seconds between two attempts to remove a container that another call is removing.
_REMOVING_INTERVAL: Final = 0.1
_ATTEMPTS: Final = 100
#: Seconds between looks at a container that runs, as its program says, and cannot be entered.
_PAUSES: Final = (0.1, 0.2, 0.5, 1.0)
#: The program may open its input by a path, which is an error where that is a socket, as uvloop has it.
_PIPED: Final = 'cat | "$@"'
#: Where a wrapped connector brings output to a file, it tells of a broken pipe by SIGPIPE, which the program ignores.
_MORTAL: Final = '"$@"; exit $?'
#: The last lines that a container has printed, or a word on stderr. podman 4.3 loses with its own `--tail` a line that
#: has come in parts, or has no end.
_LOGS: Final = '{ "$@" 2>&1 || echo failed >&3; } 3>&2 | tail -n 20'


class ContainerError(WorkflowExecutionException):
    """A container could not be brought up or found, or has ended by itself."""


class NoShellError(ContainerError):
    """A container runs, but has no ``sh``, without which no command can run in it."""


def reason(output: bytes | str) -> str:
    """Return the line of a program's errors that tells why it has failed."""
    text = output.decode(errors="replace") if isinstance(output, bytes) else output
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith(_USAGE)]
    found = next((line for line in lines if "error" in line.lower()), lines[-1] if lines else "it printed nothing")
    while (shorter := _PREFIXES.sub("", found)) != found:
        found = shorter
    return f"{found}; install it, or set `init: false`" if _NO_INIT.search(found) else found


@frozen
class ContainerState:
    """The state of a container, as its program tells it.

    :ivar status: ``created``, ``running``, ``exited`` ...
    :ivar exit_code: the exit status of its main process, when that has ended
    :ivar health: ``starting``, ``healthy`` or ``unhealthy``; empty where its image has no health check
    :ivar problem: the program's own error, or the last output of a health check that has failed
    """

    status: str
    exit_code: int = 0
    health: str = ""
    problem: str = ""

    @property
    def has_ended(self) -> bool:
        return self.status in {"exited", "dead", "stopped", "removing"}

    @classmethod
    def parse(cls, text: str) -> ContainerState:
        """Read the state from the JSON that the program prints."""
        state = cast("dict[str, Any]", json.loads(text))
        health = cast("dict[str, Any]", state.get("Health") or state.get("Healthcheck") or {})
        checks = cast("Sequence[dict[str, Any]]", health.get("Log") or ())
        problem = str(state.get("Error") or "")
        if state.get("OOMKilled"):
            problem = problem or "it ran out of memory"
        if checks and not problem and health.get("Status") == "unhealthy":
            problem = str(checks[-1].get("Output") or "").strip()
        health_status = str(health.get("Status") or "")
        return cls(
            str(state.get("Status", "")),
            int(state.get("ExitCode") or 0),
            "" if health_status == "none" else health_status,
            problem,
        )


@frozen
class ContainerProgram:
    """``docker`` or ``podman`` in an environment.

        program = ContainerProgram(local, ("docker",))
        await program.ask("pull", "alpine")

    :ivar argv: the program with its options
    :ivar environment: variables for it
    :ivar removing: the calls that remove a container at once, each with its name as the last word; the last one decides
    """

    connector: Connector
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    removing: tuple[tuple[str, ...], ...] = (("rm", "--force", "--volumes"),)

    async def call(
        self, *arguments: str, stdin: str | None = None, environment: Mapping[str, str] | None = None
    ) -> CompletedProcess[bytes]:
        """Run the program until it ends, however it does.

        :param environment: further variables
        :raises OSError: if there is no such program
        """
        variables = {**self.environment, **(environment or {})}
        argv = [*self.argv, *arguments]
        if stdin is not None:
            argv = ["sh", "-c", _PIPED, "anydeploy", *argv]
        return await self.connector.run(argv, stdin=stdin, environment=variables, check=False)

    async def ask(
        self,
        *arguments: str,
        failure: str,
        stdin: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> str:
        """Run the program, and return what it prints.

        :param failure: the beginning of the error: what cannot be done
        :raises ContainerError: with the reason in one line, if it fails
        """
        done = await self.call(*arguments, stdin=stdin, environment=environment)
        if done.returncode != 0:
            raise ContainerError(f"{failure}: {reason(done.stderr or done.stdout)}")
        return done.stdout.decode(errors="replace").strip()

    async def follow(
        self, *arguments: str, failure: str, subject: str, grace: float = DEFAULT_GRACE, stdin: bytes = b""
    ) -> None:
        """Run the program, and log each line that it prints while it works.

        :param stdin: its input, which fits into a pipe
        :param subject: the beginning of each line in the log
        :param grace: seconds that it has to end if it is cancelled
        :raises ContainerError: as for :meth:`ask`
        """
        argv = [*self.argv, *arguments]
        async with self.connector.start(
            argv,
            environment=self.environment,
            stderr=STDOUT,
            grace=grace,
        ) as process:
            if process.stdin is not None:
                with suppress(BrokenResourceError):
                    await process.stdin.send(stdin)
                await process.stdin.aclose()
            printed = await _log_lines(process.stdout, subject)
            status = await process.wait()
        if status != 0:
            raise ContainerError(f"{failure}: {reason(printed)}")

    async def state(self, container: str) -> ContainerState | None:
        """Return the state of a container; None if there is none.

        :raises ContainerError: if the program cannot tell
        """
        done = await self.call("container", "inspect", "--format", "{{json .State}}", container)
        if done.returncode == 0:
            return ContainerState.parse(done.stdout.decode(errors="replace"))
        if _MISSING.search(done.stderr.decode(errors="replace")):
            return None
        raise ContainerError(f"the state of container '{container}' is not known: {reason(done.stderr)}")

    async def describe_end(self, container: str, state: ContainerState) -> str:
        """Return a sentence on a container that has ended, with its status and its last output."""
        argv = ["sh", "-c", _LOGS, "anydeploy", *self.argv, "logs", container]
        done = await self.connector.run(argv, environment=self.environment, check=False)
        output = "" if done.stderr else last_lines(done.stdout)
        detail = f" ({state.problem})" if state.problem else ""
        shown = f"; its last output:\n{output}" if output.strip() else " and printed nothing"
        return f"container '{container}' ended with status {state.exit_code}{detail}{shown}"

    async def explain(self, container: str, error: WorkflowExecutionException) -> WorkflowExecutionException:
        """Return the reason why a container cannot be entered, or no longer: its end, or the given error."""
        lost = isinstance(error, ConnectionLostError)
        state = await (self._final_state(container) if lost else self.state(container))
        if state is None:
            return ContainerError(f"there is no container '{container}' (any more)")
        if state.has_ended:
            return ContainerError(await self.describe_end(container, state))
        if state.status != "running":
            return ContainerError(
                f"container '{container}' does not run: it is {state.status} {state.problem}".rstrip()
            )
        if lost:
            return error
        # The error of a program that cannot be started is printed where its output would be.
        done = await self.call("exec", container, "sh", "-c", ":")
        printed = (done.stdout + done.stderr).decode(errors="replace")
        if done.returncode in (126, 127) and _NO_SHELL.search(printed):
            return NoShellError(f"commands cannot run in container '{container}': its image has no `sh`")
        return ContainerError(f"container '{container}' cannot be entered: {describe(error)}")

    async def _final_state(self, container: str) -> ContainerState | None:
        """Return the state of a container whose commands may have ended with it, which is noticed a little later."""
        for pause in _PAUSES:
            state = await self.state(container)
            if state is None or state.status != "running":
                return state
            if (await self.call("exec", container, "sh", "-c", ":")).returncode == 0:
                return state
            await sleep(pause)
        return await self.state(container)

    def enter(self, container: str, command: Command) -> Command:
        """Return the command that runs a command without environment and workdir in a container."""
        interactive = ("--interactive",) if command.stdin != DEVNULL else ()
        argv = [*self.argv, "exec", *interactive, container, *command.argv]
        if not is_special(command.stdout):
            argv = ["sh", "-c", _MORTAL, "anydeploy", *argv]
        return attrs.evolve(command, argv=argv, environment=self.environment)

    async def stop(self, container: str) -> None:
        """Let a container end. One that is not there, or does not run, is left as it is."""
        done = await self.call("stop", container)
        if done.returncode != 0 and not _MISSING.search(done.stderr.decode(errors="replace")):
            _logger.info("container '%s' could not be stopped: %s", container, reason(done.stderr))

    async def remove(self, *containers: str) -> None:
        """Remove containers with their anonymous volumes, whether they run or not. It returns when they are gone.

        :raises ContainerError: if one is still there
        """
        for container in containers:
            await self._remove(container)

    async def _remove(self, container: str) -> None:
        *before, removing = self.removing
        for words in before:
            await self.call(*words, container)
        attempts = _ATTEMPTS
        while True:
            done = await self.call(*removing, container)
            problem = done.stderr.decode(errors="replace")
            if done.returncode == 0 or _MISSING.search(problem):
                return
            attempts -= 1
            if "already in progress" not in problem or attempts == 0:
                raise ContainerError(f"container '{container}' could not be removed: {reason(problem)}")
            await sleep(_REMOVING_INTERVAL)


async def _log_lines(stream: ByteReceiveStream | None, subject: str) -> bytes:
    assert stream is not None  # noqa: S101 - it is a pipe
    printed = rest = b""
    async for chunk in stream:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            _logger.info("%s: %s", subject, line.decode(errors="replace").strip())
        printed = (printed + chunk)[-4096:]
    return printed
