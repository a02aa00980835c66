"""The base of connectors whose commands run in containers."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import ClassVar, Final

from anyio import CancelScope, Event, move_on_after
from anyio.abc import ByteStream, Process
from attrs import define, field

from ..command import Command
from ..exceptions import ConnectionLostError, WorkflowExecutionException
from ..location import Port
from ._containers import ContainerProgram
from ._forwarded import ForwardedStream
from .local import LocalConnector
from .remote import RemoteConnector

#: Seconds in which a lost connection is told from a container that has ended.
_ASKING: Final = 10.0
#: Arguments: a host and a port. It joins its input and output with them.
_CONNECT: Final = """
for program in nc ncat; do
    if command -v $program >/dev/null 2>&1; then exec $program "$1" "$2"; fi
done
echo "the container has no nc, by which a connection to a port could be made" >&2
exit 1
"""
_UNUSUAL: Final = re.compile(r"[^a-z0-9]+")


@define(kw_only=True, eq=False, slots=False)
class ContainerConnector(RemoteConnector):
    """Containers, which a program in the wrapped environment drives.

    It has to come back to the place in the wrapped environment where it was deployed: a container is nowhere else.
    """

    stateful: ClassVar[bool] = True
    #: Each around the question why a session has ended, with what is set when the loss has been reported.
    _questions: dict[CancelScope, Event] = field(init=False, factory=dict[CancelScope, Event], repr=False)

    @property
    @abstractmethod
    def client(self) -> ContainerProgram:
        """The program."""

    @property
    def outside_name(self) -> str:
        """The name of what it makes: ``anydeploy-<project>-<deployment>-<token>``."""
        words = (self.config_dir.absolute().name, self.deployment_name, self.token)
        reduced = (_UNUSUAL.sub("-", word.lower()).strip("-") for word in words)
        return "-".join(("anydeploy", *(word for word in reduced if word)))

    @property
    def labels(self) -> Mapping[str, str]:
        """The labels of what it makes."""
        return {"anydeploy.run": self.token, "anydeploy.deployment": self.deployment_name}

    @property
    def local_directory(self) -> str | None:
        """The directory that relative paths are relative to, where the program runs on this machine."""
        return str(self.config_dir.absolute()) if isinstance(self.connector, LocalConnector) else None

    async def record_place(self) -> None:
        """Record the place in the wrapped environment where the program runs, and so the containers are."""
        place = await self._find_place()
        if place is not None:
            self.record("place", place)

    async def return_to_place(self, facts: Mapping[str, str] | None) -> None:
        """After a crash, run the program where it ran before."""
        place = (facts or {}).get("place")
        if place is not None and place != await self._find_place():
            self.connector = self.connector.at(location=place)

    async def _find_place(self) -> str | None:
        return next(iter(await self.connector.get_available_locations(self.service)), None)

    @asynccontextmanager
    async def _forward(self, port: Port) -> AsyncGenerator[ByteStream, None]:
        # A container may have a network of its own, which only its own programs see.
        command = Command(
            ("sh", "-c", _CONNECT, "anydeploy", port.host, str(port.port)), service=port.service, location=port.location
        )
        async with (
            self._start(command) as process,
            ForwardedStream(f"{port.host}:{port.port}", process) as stream,
        ):
            yield stream

    async def close_way(self) -> None:
        for question in self._questions:
            question.cancel()
        await super().close_way()

    def tell_loss(self, container: str, error: ConnectionLostError) -> None:
        """Find out, in a task, why the session in a container has ended, and report that."""
        if self._tasks is None:
            self.report_lost(error)
        else:
            question = CancelScope()
            self._questions[question] = Event()
            self._tasks.start_soon(self._report_loss, question, container, error)

    async def _report_loss(self, question: CancelScope, container: str, error: ConnectionLostError) -> None:
        """Report that the container has ended, or else that only the connection to it is lost."""
        loss: Exception = error
        try:
            with question:
                try:
                    with move_on_after(_ASKING):
                        loss = await self.client.explain(container, error)
                except (WorkflowExecutionException, OSError):
                    # Not even that can be asked.
                    loss = error
                self.report_lost(loss)
        finally:
            self._questions.pop(question).set()

    @asynccontextmanager
    async def telling_loss(self) -> AsyncGenerator[None, None]:
        """Raise the loss of a session when it has been reported, so that the deployment is seen to be lost by then."""
        try:
            yield
        except ConnectionLostError:
            for told in list(self._questions.values()):
                await told.wait()
            raise

    @asynccontextmanager
    async def _start(self, command: Command) -> AsyncGenerator[Process, None]:
        async with self.telling_loss(), super()._start(command) as process:
            yield process
