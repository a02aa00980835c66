"""The contract between the manager and an execution environment.

A connector knows how to create and destroy one environment, and how a command gets there. The manager decides when.
Connector authors subclass :class:`Connector`, or :class:`ConnectorWrapper` for what is reached through another
environment.
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

from .exceptions import CommandError, InvalidConnectorError, WorkflowExecutionException, describe
from .streams import Collector, communicate, hand_over, last_lines

#: Seconds between the polite request to end and the kill, where nothing else is said.
DEFAULT_GRACE = 5.0

#: Unpacks what `tar` packed beside the target, then moves it there: a copy is there whole or not at all. The arguments
#: are the target and the name that the source has in the archive. The directory has its name before it is there: who is
#: ended in between would not know what to remove.
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
    """A command to be started at a location: what a wrapping connector transforms into one for its inner connector.

    :ivar argv: the program and its arguments; no shell interprets them
    :ivar environment: variables added to those that the location has
    :ivar workdir: the directory at the location to run in; None: where the location starts commands
    :ivar stdin: ``subprocess.PIPE``, ``DEVNULL``, a file, or None to inherit this program's; likewise ``stdout``
    :ivar stderr: likewise, or ``subprocess.STDOUT``
    :ivar grace: seconds between the request to end and the kill, when it has to be stopped
    """

    argv: tuple[str, ...] = field(converter=_to_argv)
    environment: Mapping[str, str] = field(factory=dict[str, str])
    workdir: str | None = None
    stdin: Stdio = subprocess.PIPE
    stdout: Stdio = subprocess.PIPE
    stderr: Stdio = subprocess.PIPE
    grace: float = DEFAULT_GRACE

    def inlined(self) -> Command:
        """The same command with environment and workdir moved into its argv.

        For a connector whose environment takes nothing but an argv (``docker exec``, ``ssh``): the program becomes
        ``env NAME=VALUE ...``, started by a ``sh`` that has changed the directory.
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

    Its settings are the attrs fields that a subclass adds: decorate it with
    ``@attrs.define(kw_only=True, eq=False, slots=False)``, give every field a type, and a converter or a validator
    where the type does not say it all. The settings of a definition are checked against them before anything is
    deployed. Constructing a connector has no effect on the world and takes no time.

    The manager calls :meth:`deploy` at most once, and :meth:`undeploy` as described there, **both in the same task**,
    so that a connector may hold a task group, a cancel scope or a process open between the two. It calls neither
    while the other runs, and it never calls ``undeploy`` before everything that stands on this environment is down.

    What it holds open has to look after itself: a task group whose task fails is cancelled, and with it everything that
    ``undeploy`` awaits inside. Catch errors in such tasks and call :meth:`report_lost`, and in ``undeploy`` leave the
    task group first and destroy the environment outside of it. Neither method, nor a task that it starts, may wait for
    the manager to bring deployments up or down, for these may be waiting for this one: the manager refuses it.

    :ivar deployment_name: the name of the deployment it belongs to, for messages
    :ivar config_dir: the directory that relative paths in its settings are relative to
    :cvar interruptible: whether ``deploy`` may be cancelled half-way because nobody wants it any more. Set it to False
        where an interrupted deploy cannot be cleaned up: it is then let finish and undeployed. A ``deploy_timeout``
        and the manager's shutdown timeout are the user's limits and cancel it all the same.
    :cvar asyncio_only: whether it works on asyncio and no other event loop: elsewhere its definition is refused
    """

    deployment_name: str
    config_dir: Path = field(converter=_to_path)
    interruptible: ClassVar[bool] = True
    asyncio_only: ClassVar[bool] = False
    _invalid: str | None = field(init=False, default=None, repr=False)
    #: Set by the manager, to be told by :meth:`report_lost`.
    on_lost: Callable[[Exception], None] | None = field(init=False, default=None, repr=False)
    #: The first loss that was reported, for a manager that does not listen yet.
    reported_loss: Exception | None = field(init=False, default=None, repr=False)

    # -- For authors: the contract -------------------------------------------------------------------------------------

    @classmethod
    def check_config(cls, config: Mapping[str, Any]) -> Iterable[tuple[Sequence[Any], str]] | None:  # noqa: ARG003
        """What is wrong with the settings of a definition; None: the attrs fields of the class tell (rule D4).

        For a class whose settings are described by something else. A problem is a pair: the keys that lead to the
        value, the name of the setting first, and a message that says what was expected.
        """
        return None

    @abstractmethod
    async def deploy(self, external: bool) -> None:
        """Bring the environment up, and return when it can be used.

        With ``external`` true the environment exists already: connect to it, create nothing (rule E1).

        It may fail by raising any :class:`Exception`, and it may be cancelled at any of its awaits: because nobody
        wants the deployment any more, because the ``deploy_timeout`` has passed, or because the manager shuts down.
        Either way it has to come back promptly, let the cancellation through, and leave every cancel scope and task
        group that it has entered, as ``async with`` does by itself. What it may have made of the environment stays:
        :meth:`undeploy` is called next, once, to clean it away.

        A scope, task group or process that is to stay open until ``undeploy`` belongs on an
        :class:`contextlib.AsyncExitStack`, handed over with ``pop_all()`` as the last thing before returning.
        """

    @abstractmethod
    async def undeploy(self, external: bool) -> None:
        """Take the environment down, and return when it is gone. With ``external`` true: disconnect, destroy nothing.

        It is called after a ``deploy`` that returned, and once after one that raised or was cancelled: it must cope
        with an environment that is there, half there, or not there at all. It is not cancelled because a caller went
        away (rule U5), only when the ``undeploy_timeout`` or the manager's shutdown timeout has passed; it should then
        do what can be done at once (kill instead of ask) and let the cancellation through.

        When it returns, the environment is gone for good and it is not called again. When it raises or is cancelled,
        the environment counts as possibly still there (rule U6), and it is called again when somebody asks for it:
        it must be safe to repeat. However it ends, every scope and task group that ``deploy`` left open is left by
        then: a second call has only the environment to deal with.
        """

    @asynccontextmanager
    async def _start(self, command: Command) -> AsyncGenerator[Process, None]:
        """The primitive behind every operation: start ``command`` in this environment.

        Leaving the block ends the command, with everything it started: politely first, and after ``command.grace``
        seconds by force; a cancellation does not cut this short of its end. A wrapper does not implement this, but
        :meth:`ConnectorWrapper.transform`.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot start `{join(command.argv)}`")
        yield

    def at(self, service: str) -> Connector:  # noqa: ARG002
        """The same environment with the commands started in one of its services; for who has none, itself.

        What wraps it ``{deployment, service}`` is given this as its connector.
        """
        return self

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
        """Start a command in the environment; an async context manager giving a process with byte streams.

        Leaving the block while the command runs, by an exception or a cancellation too, stops it and everything that
        it has started: it is asked to end (SIGTERM), and killed after ``grace`` seconds. Parameters are those of
        :class:`Command`.

        :raises InvalidConnectorError: if the environment is being torn down, gone, or lost
        :raises OSError: if the program cannot be started
        """
        command = Command(argv, environment or {}, workdir, stdin, stdout, stderr, grace)
        async with self.start_command(command) as process:
            yield process

    @asynccontextmanager
    async def start_command(self, command: Command) -> AsyncGenerator[Process, None]:
        """:meth:`start`, for who has the command ready."""
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
        """Run a command in the environment to its end.

        :param stdin: what to feed it; None for nothing
        :param timeout: seconds that it may take; it is stopped then, with everything it has started
        :param capture: keep stdout and stderr; otherwise they go where this program's go
        :param check: raise when its exit status is not 0
        :raises CommandError: with ``check``, naming the command, its status and the last lines of its output
        :raises TimeoutError: naming the command and the limit
        :raises InvalidConnectorError: if the environment is being torn down, gone, or lost

        If cancelled, it stops the command as :meth:`start` does and then lets the cancellation through.
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

        :param source: its path where it comes from
        :param target: the path that the copy will have here; missing parents are made, an existing file is replaced
        :param origin: the connector of the environment that ``source`` is in; None: this one
        :raises CommandError: if either side fails; an existing directory at ``target`` is refused

        If cancelled or failing, nothing stands at ``target`` that did not stand there before.
        """
        path = PurePosixPath(source)
        pack = ("tar", "-C", str(path.parent), "-cf", "-", "--", path.name)
        unpack = ("sh", "-c", _UNPACK, "copy", target, path.name)
        async with (origin or self).start(pack, stdin=subprocess.DEVNULL) as packer, self.start(unpack) as unpacker:
            packing, unpacking = Collector(), Collector()
            async with create_task_group() as tasks:
                tasks.start_soon(hand_over, packer, unpacker)
                tasks.start_soon(packing.collect, packer.stderr)
                tasks.start_soon(unpacking.collect, unpacker.stderr)
            packed, unpacked = await packer.wait(), await unpacker.wait()
        # Whichever fails takes the other one with it; a packer that was ended by a signal is not the one to blame.
        if packed > 0 or (packed and not unpacked):
            raise CommandError(pack, packed, last_lines(packing.data))
        if unpacked:
            raise CommandError(unpack, unpacked, last_lines(unpacking.data))

    async def reattach(self) -> None:
        """Open a fresh way into an environment whose connection was lost, for the teardown of what stands on it.

        Called at most once, when this connector has reported a :class:`ConnectionLostError`, and only while wrappers of
        it are torn down: it creates nothing, and waits for nothing but the connection. Users' operations stay refused.
        It may raise, and may be cancelled by the ``undeploy_timeout`` of the wrapper; the wrapper's ``undeploy`` is
        then called all the same. The default does nothing (rule X3).
        """
        return

    def hurry(self) -> None:
        """Cut short every grace period that is running, and every later one. May be called more than once."""
        return

    def report_lost(self, error: Exception) -> None:
        """Report that the environment has ended without being asked to. To be called by the connector itself.

        From now on every operation raises :class:`InvalidConnectorError` with ``error`` as its reason, and so do those
        of all wrappers. The deployment is *lost* until it is deployed, restarted or undeployed; ``undeploy`` is called
        in its turn. Before ``deploy`` has returned, this makes the attempt fail (rule X1).

        :param error: what happened; a :class:`ConnectionLostError` says that only the way in was lost, and the
            environment may still be there
        """
        # An author's slip is no reason not to believe that it is lost.
        loss = error if isinstance(cast("object", error), Exception) else WorkflowExecutionException(repr(error))
        self.reported_loss = self.reported_loss or loss
        self.invalidate(describe(loss))
        if self.on_lost is not None:
            self.on_lost(loss)

    def invalidate(self, reason: str) -> None:
        """Make every further operation raise :class:`InvalidConnectorError` (rule R4). Called by the manager."""
        if self._invalid is None:
            self._invalid = reason

    def _check_valid(self) -> None:
        if self._invalid is not None and self not in admitted.get():
            raise InvalidConnectorError(self.deployment_name, self._invalid)


@define(kw_only=True, eq=False, slots=False)
class ConnectorWrapper(Connector):
    """An environment that is reached through another one.

    :ivar connector: the connector of the environment it wraps, live for as long as this one is
    :ivar service: which service of that environment, if the definition says so
    """

    connector: Connector
    service: str | None = None

    async def deploy(self, external: bool) -> None:
        """Nothing, unless a subclass has something to bring up."""

    async def undeploy(self, external: bool) -> None:
        """Nothing, unless a subclass has something to take down."""

    def transform(self, command: Command) -> Command:
        """The command that, started in the wrapped environment, starts ``command`` in this one."""
        return command

    @asynccontextmanager
    async def _start(self, command: Command) -> AsyncGenerator[Process, None]:
        async with self.connector.start_command(self.transform(command)) as process:
            yield process
