"""How a process is ended: it is asked, has its grace, is killed, and has to vanish.

The same for a process on this machine and for a command at a location that another system's connector reaches.
"""

from __future__ import annotations

import math
import signal
from collections.abc import Generator
from contextlib import contextmanager
from shlex import join
from typing import Final, Protocol

from anyio import CancelScope, current_time, move_on_after
from attrs import define, field

from ..exceptions import WorkflowExecutionException

#: Seconds in which a process that was sent SIGKILL has to vanish.
VANISHING: Final = 5.0

_ENDING: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGKILL})


def is_ending(number: int) -> bool:
    """Return whether a signal asks a process to end."""
    return number in _ENDING


class UnstoppableError(WorkflowExecutionException):
    """A process is still there although it was killed: it belongs to another user, or hangs in the kernel.

    :ivar command: its argv
    :ivar pid: its number, and that of its process group
    """

    def __init__(self, command: tuple[str, ...], pid: int) -> None:
        self.command = command
        self.pid = pid
        super().__init__(f"`{join(command)}` could not be stopped and still runs as process {pid}")


@define(eq=False)
class EndRequests:
    """The signals that asked a process to end.

    :ivar first: the time of the first one, on the clock of the event loop; infinite before that
    :ivar terminated: SIGTERM was among them, which the background jobs of a shell do not ignore, as they do SIGINT
    :ivar killed: so was SIGKILL
    """

    first: float = math.inf
    terminated: bool = False
    killed: bool = False

    @property
    def made(self) -> bool:
        """Whether the process was asked to end at all."""
        return self.first < math.inf

    def note(self, number: int) -> None:
        """Take note of a signal that is being sent. Those that do not ask for an end are ignored."""
        if is_ending(number) and not self.made:
            self.first = current_time()
        self.terminated = self.terminated or number == signal.SIGTERM
        self.killed = self.killed or number == signal.SIGKILL


class Terminable(Protocol):
    """A process that can be signalled, and that can tell when it is gone."""

    @property
    def requests(self) -> EndRequests:
        """The requests that it was sent, by a :class:`Terminator` or by others."""
        ...

    def send_signal(self, number: int, /) -> None:
        """Send a signal to the process and to all that it has started, and note it in :attr:`requests`.

        A signal for what is gone is dropped.
        """
        ...

    async def wait_gone(self) -> None:
        """Wait until the process and all that it has started are gone.

        It is cancelled and called again; a cancellation leaves nothing behind but the process.
        """
        ...


@define(eq=False)
class Terminator:
    """Ends the processes of one connector.

    ::

        if not await self._terminator.end(process, grace=10):
            raise UnstoppableError(argv, process.pid)

    :ivar vanishing: seconds in which a process has to be gone when it has been killed
    """

    vanishing: float = VANISHING
    #: :meth:`hurry` was called: there is no grace any more.
    _hurried: bool = False
    #: The grace periods that are running, each around the wait for one process; with the seconds that a hurry leaves.
    _graces: dict[CancelScope, float] = field(factory=dict[CancelScope, float])

    def hurry(self) -> None:
        """Cut short all grace periods, those that are running and those to come."""
        self._hurried = True
        for grace, least in self._graces.items():
            _cut(grace, least)

    async def end(self, process: Terminable, grace: float, least: float = 0.0) -> bool:
        """Ask a process to end, unless it was asked before; kill it when its grace is over.

        :param grace: seconds from the first request that it was sent; none are left to one that was killed
        :param least: the seconds of it that :meth:`hurry` leaves
        :returns: whether it is gone

        If cancelled, or if the wait fails, it kills the process at once, waits until it is gone, for ``vanishing``
        seconds at most, and lets the cancellation or the error through.
        """
        if process.requests.killed:
            return await self.kill(process)
        if not process.requests.terminated:
            process.send_signal(signal.SIGTERM)
        try:
            with self.grace_period(process.requests.first + grace - current_time(), least):
                await process.wait_gone()
                return True
        except BaseException:
            await self.kill(process)
            raise
        return await self.kill(process)

    async def kill(self, process: Terminable) -> bool:
        """Kill a process at once, even if that was tried before, and wait until it is gone.

        :returns: whether it is gone

        A cancellation waits for the end of that, ``vanishing`` seconds at most.
        """
        process.send_signal(signal.SIGKILL)
        with CancelScope(deadline=current_time() + self.vanishing, shield=True):
            await process.wait_gone()
            return True
        return False

    @contextmanager
    def grace_period(self, seconds: float, least: float = 0.0) -> Generator[CancelScope, None, None]:
        """Open a block that is cut short after some seconds, or by :meth:`hurry`, which leaves it the ``least``."""
        with move_on_after(max(seconds, 0)) as scope:
            if self._hurried:
                _cut(scope, least)
            self._graces[scope] = least
            try:
                yield scope
            finally:
                del self._graces[scope]


def _cut(grace: CancelScope, least: float) -> None:
    """Cut a grace period short."""
    if least > 0:
        grace.deadline = min(grace.deadline, current_time() + least)
    else:
        grace.cancel()
