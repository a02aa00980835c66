"""A remote environment that is none: this machine, entered through a shell of one's choice."""

from __future__ import annotations

import attrs
from attrs import define, field

from anydeploy import Command
from anydeploy.connectors.remote import RemoteConnector
from anydeploy.connectors.session import Session


@define(kw_only=True, eq=False, slots=False)
class Room(RemoteConnector):
    """Each client is a shell that runs ``prelude`` and then becomes the command.

    :ivar shell: the shell, in place of ``sh``
    :ivar grace: seconds that commands have to end with the session
    """

    shell: list[str] = field(factory=lambda: ["sh"])
    prelude: str = ""
    grace: float = 5

    async def deploy(self, external: bool) -> None:
        await self.connect()

    async def undeploy(self, external: bool) -> None:
        await self.disconnect()

    def new_session(self) -> Session:
        return attrs.evolve(super().new_session(), grace=self.grace)

    def transform(self, command: Command) -> Command:
        program, *arguments = command.argv
        assert program == "sh"
        script = f'{self.prelude}\nexec "$@"'
        return attrs.evolve(command, argv=[*self.shell, "-c", script, "room", *self.shell, *arguments])
