"""Brings up the stack of ``stack.yml`` from Python, looks into it, and leaves nothing behind."""

from pathlib import Path

import anyio

from anydeploy import DefaultDeploymentManager
from anydeploy.file import load_file

STACK = Path(__file__).with_name("stack.yml")


async def main() -> None:
    async with DefaultDeploymentManager(load_file(STACK), config_dir=STACK.parent) as manager:
        # `server` is started in `site`, which comes up first.
        await manager.deploy("server")
        server = manager.get_connector("server")
        assert server is not None  # noqa: S101
        listing = await server.run(["ls"])
        print(listing.stdout.decode(), end="")


if __name__ == "__main__":
    anyio.run(main)
