"""The contract between the manager, an execution environment, and the code that uses it.

A connector knows how to create and destroy one environment, and how to start a command there; the manager decides
when. Authors subclass :class:`Connector`, or :class:`ConnectorWrapper` for what is reached through another environment.
"""

from __future__ import annotations

import subprocess
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from pathlib import Path, PurePosixPath
from shlex import join
from typing import IO, Any, ClassVar, TypeAlias, cast

import attrs
from anyio import create_task_group, move_on_after
from anyio.abc import Process
from attrs import define, field, frozen
from attrs.setters import NO_OP

from .exceptions import CommandError, InvalidConnectorError, WorkflowExecutionException, describe
from .streams import Collector, communicate, last_lines, pipe_archive

#: Seconds between the request to end and the kill, unless a connector or a caller says otherwise.
DEFAULT_GRACE = 5.0

#: Unpacks an archive beside the target, then moves it there, so that a copy is complete or absent. The arguments are
#: the target and the name of the source in the archive. The directory is named before it is made: otherwise a script
#: that is ended in between could not remove it.
_UNPACK = """
set -e
parent=$(dirname -- "$1")
mkdir -p -- "$parent"
if [ -d "$1" ]; then echo "the directory $1 exists already" >&2; exit 1; fi
new=
trap 'test -z "$new" || rm -rf -- "$new"' EXIT
trap 'exit 1' TERM INT HUP
new=$(mktemp -u -- "$parent/.anydeploy.XXXXXX")
mkdir -m 700 -- "$new" || { new=; exit 1; }
tar -C "$new" -xf -
mv -f -- "$new/$2" "$1"
"""

Stdio: TypeAlias = int | IO[Any] | None

#: The connectors that the current task may use although they are invalid: those below a wrapper, for its teardown.
admitted: ContextVar[frozenset[Connector]] = ContextVar("anydeploy_admitted", default=frozenset())


def _to_argv(value: Sequence[str]) -> tuple[str, ...]:
    if isinstance(value, str):
        raise TypeError(f"a command is a sequence of strings, the program and its arguments, not the string {value!r}")
    return tuple(value)


@frozen
class Command:
    """A command to be started in an environment.

    A wrapper transforms it into a command for the environment that it wraps::

        attrs.evolve(command, argv=["nice", *command.argv])

    :ivar argv: the program and its arguments; no shell interprets them
    :ivar environment: variables added to those of the environment
    :ivar workdir: the directory to run in; None: the default of the environment
    :ivar stdin: ``subprocess.PIPE``, ``DEVNULL``, a file, or None to inherit that of this program
    :ivar stdout: likewise; ``stderr``: likewise, or ``subprocess.STDOUT``
    :ivar grace: seconds between the request to end and the kill when the command is stopped
    """

    argv: tuple[str, ...] = field(converter=_to_argv)
    environment: Mapping[str, str] = field(factory=dict[str, str])
    workdir: str | None = None
    stdin: Stdio = subprocess.PIPE
    stdout: Stdio = subprocess.PIPE
    stderr: Stdio = subprocess.PIPE
    grace: float = DEFAULT_GRACE

    def inlined(self) -> Command:
        """Return the same command with environment and workdir in its argv, by means of ``env`` and ``sh``.

        For an environment that takes nothing but an argv, as ``docker exec`` and ``ssh`` do.
        """
        argv: tuple[str, ...] = self.argv
        if self.environment:
            argv = ("env", *(f"{name}={value}" for name, value in self.environment.items()), *argv)
        if self.workdir is not None:
            argv = ("sh", "-c", 'cd -- "$0" && exec "$@"', self.workdir, *argv)
        return attrs.evolve(self, argv=argv, environment={}, workdir=None)


def _to_path(path: str | Path) -> Path:
    return path if isinstance(path, Path) else Path(path)


@define(kw_only=True, eq=False, slots=False)
class Connector(ABC):
    """One execution environment.

    The settings of a connector are the attrs fields that a subclass adds, each with a type, and with a converter or a
    validator where the type does not say everything. The settings of a definition are checked against them before
    anything is deployed. The constructor only stores them: it has no effect outside, and does not block::

        @attrs.define(kw_only=True, eq=False, slots=False)
        class Tunnel(Connector):
            port: int = attrs.field(converter=int)

    The manager calls :meth:`deploy` at most once, and :meth:`undeploy` as described there, **both in the same task**,
    so that a connector may hold a task group, a cancel scope or a process open between the two. It calls neither
    while the other runs, and it calls ``undeploy`` only after everything that stands on this environment is down.

    A connector has to look after what it holds open. A task group whose task fails is cancelled, and with it everything
    that ``undeploy`` awaits inside. Therefore catch errors in such tasks and call :meth:`report_lost`; in ``undeploy``,
    leave the task group first and destroy the environment outside of it. Neither method, nor a task that it starts, may
    wait for the manager to bring deployments up or down, because these may be waiting for this one: the manager refuses
    such a call.

    :ivar deployment_name: the name of the deployment that it belongs to, for messages
    :ivar config_dir: the directory that relative paths in its settings are relative to
    :cvar interruptible: whether ``deploy`` may be cancelled when nothing demands the deployment any more. Set it to
        False if an interrupted deploy cannot be cleaned up: it is then allowed to finish, and undeployed. A
        ``deploy_timeout`` and the shutdown timeout are limits of the user's, and cancel it all the same.
    :cvar asyncio_only: whether it works on asyncio and on no other event loop, where its definition is refused
    """

    deployment_name: str
    config_dir: Path = field(converter=_to_path)
    interruptible: ClassVar[bool] = True
    asyncio_only: ClassVar[bool] = False
    #: The reason why all operations are refused; set once, and never taken back.
    _invalid: str | None = field(init=False, default=None, repr=False, on_setattr=NO_OP)
    #: The manager's listener for :meth:`report_lost`; None while no deployment stands for this connector.
    on_lost: Callable[[Exception], None] | None = field(init=False, default=None, repr=False, on_setattr=NO_OP)
    #: The first loss that was reported, for a manager that does not listen yet.
    reported_loss: Exception | None = field(init=False, default=None, repr=False, on_setattr=NO_OP)

    # -- The author's contract: called by the manager, unless said otherwise -------------------------------------------

    @classmethod
    def check_config(cls, config: Mapping[str, Any]) -> Iterable[tuple[Sequence[Any], str]] | None:  # noqa: ARG003
        """Return the problems of a definition's settings; None: check them against the attrs fields (rule D4).

        Override it for a class whose settings are described by something else than its fields. A problem is a pair:
        the keys that lead to the value, the name of the setting first, and a message that says what was expected::

            return [(("ports", 0), "expected a number, found 'http'")]
        """
        return None

    @abstractmethod
    async def deploy(self, external: bool) -> None:
        """Bring the environment up, and return when it can be used.

        With ``external`` true the environment exists already: connect to it, create nothing (rule E1).

        It may fail by raising any :class:`Exception`. It may be cancelled at any of its awaits: because nothing demands
        the deployment any more, because the ``deploy_timeout`` has passed, or because the manager shuts down. Either
        way it owes the manager a prompt return that lets the cancellation through, with every cancel scope and task
        group left that it has entered, as ``async with`` does by itself. It need not remove what it has made of the
        environment: :meth:`undeploy` is called next, once, to do that.

        A scope, task group or process that stays open until ``undeploy`` belongs on an
        :class:`contextlib.AsyncExitStack`, handed over with ``pop_all()`` as the last thing before returning::

            async with AsyncExitStack() as stack:
                self._process = await stack.enter_async_context(self.connector.start(self.command))
                self._stack = stack.pop_all()
        """

    @abstractmethod
    async def undeploy(self, external: bool) -> None:
        """Take the environment down, and return when it is gone. With ``external`` true: disconnect, destroy nothing.

        It is called after a ``deploy`` that returned, and once after one that raised or was cancelled. So it has to
        cope with an environment that is complete, half made, or missing: "it is not there" is success.

        It is cancelled only when the ``undeploy_timeout`` or the manager's shutdown timeout has passed, never because
        a caller has left (rule U5). A cancelled ``undeploy`` still owes everything that it can do without waiting: kill
        instead of asking to end, drop a connection instead of closing it politely, and in any case leave every scope
        and task group that ``deploy`` left open. Then it lets the cancellation through.

        Once it has returned, the environment is gone for good, and it is not called again. If it raises or is
        cancelled, the environment may still exist (rule U6). It is called again when the user asks for that, so it has
        to be safe to repeat; by then nothing is open any more, and only the environment remains.
        """

    async def reattach(self) -> None:
        """Open a new way into an environment whose connection was lost, for the teardown of what stands on it.

        It is called at most once, after this connector has reported a :class:`ConnectionLostError`, and only while
        its wrappers are torn down. It creates nothing, and waits for nothing but the connection; users' operations
        stay refused. It may raise, and may be cancelled by the ``undeploy_timeout`` of the wrapper, whose ``undeploy``
        is then called all the same (rule X3).
        """
        return

    def hurry(self) -> None:
        """Cut short every grace period that is running, and every later one. It may be called more than once."""
        return

    def at(self, service: str) -> Connector:  # noqa: ARG002
        """Return the connector that wrappers of one service of this environment are given; by default itself."""
        return self

    @asynccontextmanager
    async def _start(self, command: Command) -> AsyncGenerator[Process, None]:
        """Start a command in this environment: the primitive behind every operation.

        Leaving the block ends the command with everything that it has started: it is asked to end, and killed after
        its grace period, which a cancellation does not shorten. Wrappers implement :meth:`ConnectorWrapper.transform`.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot start `{join(command.argv)}`")
        yield

    def report_lost(self, error: Exception) -> None:
        """Report that the environment has ended by itself. Called by the connector, not by the manager.

        From now on every operation raises :class:`InvalidConnectorError` with ``error`` as its reason, here and in all
        wrappers. The deployment is *lost* until it is deployed, restarted or undeployed, and ``undeploy`` is called in
        its turn. Before ``deploy`` has returned, the attempt fails (rule X1)::

            self.report_lost(RuntimeError(f"the server ended with status {await process.wait()}"))

        :param error: what happened; a :class:`ConnectionLostError` says that only the way in was lost, and that the
            environment may still exist
        """
        # An author's mistake in the argument does not make the environment less lost.
        loss = error if isinstance(cast("object", error), Exception) else WorkflowExecutionException(repr(error))
        self.reported_loss = self.reported_loss or loss
        try:
            self.invalidate(describe(loss))
        finally:
            if self.on_lost is not None:
                self.on_lost(loss)

    # -- The user's calls ----------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def start(
        self,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        workdir: str | None = None,
        stdin: Stdio = subprocess.PIPE,
        stdout: Stdio = subprocess.PIPE,
        stderr: Stdio = subprocess.PIPE,
        grace: float = DEFAULT_GRACE,
    ) -> AsyncGenerator[Process, None]:
        """Start a command in the environment: an async context manager that gives a process with byte streams.

        Leaving the block while the command runs stops it with everything that it has started, also if an exception or
        a cancellation is the reason: it is asked to end (SIGTERM), and killed after ``grace`` seconds::

            async with connector.start(["tail", "-f", "app.log"]) as process:
                async for chunk in process.stdout:
                    print(chunk.decode(), end="")

        The parameters are those of :class:`Command`.

        :raises InvalidConnectorError: if the environment is lost, being torn down, or gone
        :raises OSError: if the program cannot be started
        """
        command = Command(argv, environment or {}, workdir, stdin, stdout, stderr, grace)
        async with self.start_command(command) as process:
            yield process

    @asynccontextmanager
    async def start_command(self, command: Command) -> AsyncGenerator[Process, None]:
        """Start a command as :meth:`start` does, given as one object.

        :raises InvalidConnectorError: if the environment is lost, being torn down, or gone
        :raises OSError: if the program cannot be started

        Leaving the block stops the command, also if a cancellation is the reason, as for :meth:`start`.
        """
        self._check_valid()
        async with self._start(command) as process:
            yield process

    async def run(
        self,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        workdir: str | None = None,
        stdin: bytes | str | None = None,
        timeout: float | None = None,
        capture: bool = True,
        check: bool = True,
        grace: float = DEFAULT_GRACE,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command in the environment until it ends, and return its exit status and output.

            done = await connector.run(["uname", "-r"])
            print(done.stdout.decode())

        The other parameters are those of :class:`Command`.

        :param stdin: the input of the command; None: no input
        :param timeout: seconds after which the command is stopped, with everything that it has started; None: no limit
        :param capture: whether to keep stdout and stderr; otherwise they go where those of this program go
        :param check: whether to raise an error if the exit status is not 0
        :raises CommandError: with ``check``, naming the command, its status and the last lines of its output
        :raises TimeoutError: naming the command and the limit
        :raises InvalidConnectorError: if the environment is lost, being torn down, or gone
        :raises OSError: if the program cannot be started

        If cancelled, it stops the command as :meth:`start` does, and then lets the cancellation through.
        """
        output = subprocess.PIPE if capture else None
        source = subprocess.DEVNULL if stdin is None else subprocess.PIPE
        data = stdin.encode() if isinstance(stdin, str) else stdin
        completed = None
        with move_on_after(timeout):
            async with self.start(
                argv,
                environment=environment,
                workdir=workdir,
                stdin=source,
                stdout=output,
                stderr=output,
                grace=grace,
            ) as process:
                completed = await communicate(process, data)
        if completed is None:
            raise TimeoutError(f"`{join(argv)}` did not end within {timeout:g} s")
        if check and completed.returncode != 0:
            raise CommandError(argv, completed.returncode, last_lines(completed.stderr or completed.stdout))
        return subprocess.CompletedProcess(list(argv), completed.returncode, completed.stdout, completed.stderr)

    async def copy(self, source: str, target: str, *, origin: Connector | None = None) -> None:
        """Copy a file or a directory tree into this environment, with its permissions.

            await cluster.copy("data/in.csv", "/scratch/in.csv", origin=local)

        :param source: its path in the environment that it comes from
        :param target: the path of the copy; missing parents are made, an existing file is replaced
        :param origin: the connector of the environment that ``source`` is in; None: this one
        :raises CommandError: if either side fails, or if ``target`` is an existing directory
        :raises InvalidConnectorError: if either environment is lost, being torn down, or gone

        If it fails or is cancelled, ``target`` is as it was before.
        """
        path = PurePosixPath(source)
        pack = ("tar", "-C", str(path.parent), "-cf", "-", "--", path.name)
        unpack = ("sh", "-c", _UNPACK, "copy", target, path.name)
        async with (origin or self).start(pack, stdin=subprocess.DEVNULL) as packer, self.start(unpack) as unpacker:
            packing, unpacking = Collector(), Collector()
            async with create_task_group() as tasks:
                tasks.start_soon(pipe_archive, packer, unpacker)
                tasks.start_soon(packing.collect, packer.stderr)
                tasks.start_soon(unpacking.collect, unpacker.stderr)
            packed, unpacked = await packer.wait(), await unpacker.wait()
        # Each of the two takes the other one with it when it fails. A packer that a signal has ended is not to blame.
        if packed > 0 or (packed and not unpacked):
            raise CommandError(pack, packed, last_lines(packing.data))
        if unpacked:
            raise CommandError(unpack, unpacked, last_lines(unpacking.data))

    # -- The manager's back channel ------------------------------------------------------------------------------------

    def invalidate(self, reason: str) -> None:
        """Make every further operation raise :class:`InvalidConnectorError` (rule R4). The first reason stays.

        It may be overridden, to end what serves operations for example: call ``super().invalidate(reason)`` first. It
        is called in the middle of a decision, so it must neither raise nor block; what it raises is logged (rule D7).
        """
        if self._invalid is None:
            self._invalid = reason

    def _check_valid(self) -> None:
        if self._invalid is not None and self not in admitted.get():
            raise InvalidConnectorError(self.deployment_name, self._invalid)


@define(kw_only=True, eq=False, slots=False)
class ConnectorWrapper(Connector):
    """An environment that is reached through another one.

    A subclass says in :meth:`transform` how a command gets there; ``start``, ``run`` and ``copy`` follow from that, in
    stacks of any practical depth (Python's recursion limit ends it at about 240)::

        @attrs.define(kw_only=True, eq=False, slots=False)
        class Nice(ConnectorWrapper):
            def transform(self, command: Command) -> Command:
                return attrs.evolve(command, argv=["nice", *command.argv])

    :ivar connector: the connector of the environment that it wraps, which is live while this one is
    :ivar service: the service of that environment, if the definition names one
    """

    connector: Connector
    service: str | None = None

    async def deploy(self, external: bool) -> None:
        """Do nothing, unless a subclass has something to bring up."""

    async def undeploy(self, external: bool) -> None:
        """Do nothing, unless a subclass has something to take down."""

    def transform(self, command: Command) -> Command:
        """Return the command for the wrapped environment that starts ``command`` in this one; by default itself."""
        return command

    @asynccontextmanager
    async def _start(self, command: Command) -> AsyncGenerator[Process, None]:
        async with self.connector.start_command(self.transform(command)) as process:
            yield process
