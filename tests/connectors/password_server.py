"""An ssh server that asks for a password, as none of this machine does for a user of its own: ``PROGRAM KEY PASSWORD``.

It prints its port, and each password that it is given, a line each.
"""

from __future__ import annotations

import asyncio
import sys
from subprocess import PIPE
from typing import Any

import asyncssh

KEY, PASSWORD = sys.argv[1:]


class Server(asyncssh.SSHServer):
    def password_auth_supported(self) -> bool:
        return True

    def begin_auth(self, username: str) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        print(password, flush=True)
        return password == PASSWORD

    def connection_requested(self, *_: Any) -> bool:
        return True


async def handle(process: asyncssh.SSHServerProcess[bytes]) -> None:
    argv = ["sh", "-c", process.command or ""]
    shell = await asyncio.create_subprocess_exec(*argv, stdin=PIPE, stdout=PIPE, start_new_session=True)
    assert shell.stdout is not None
    await process.redirect(stdin=shell.stdin)
    while data := await shell.stdout.read(65536):
        process.stdout.write(data)
    process.exit(await shell.wait())


async def main() -> None:
    server = await asyncssh.listen(
        "127.0.0.1", 0, server_factory=Server, server_host_keys=[KEY], process_factory=handle, encoding=None
    )
    print(server.get_port(), flush=True)
    await server.wait_closed()


asyncio.run(main())
