"""``up`` and ``run``: from the arguments to the exit status."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final

import anyio
from attrs import frozen

from ..config import DeploymentConfig
from .board import Board
from .loading import Selection, load, require
from .output import stderr, stdout
from .progress import JsonProgress, Progress
from .session import Guest, Session

_BACKEND_MODULES: Final = {"asyncio": "anyio", "trio": "trio"}


@frozen
class Options:
    """What was said on the command line, apart from names.

    :ivar timeout: seconds for bringing up; None: no limit
    """

    file: str
    backend: str = "asyncio"
    max_concurrent: int | None = None
    timeout: float | None = None
    quiet: bool = False
    verbose: bool = False
    as_json: bool = False

    def load(self) -> Mapping[str, DeploymentConfig]:
        """The definitions in the file.

        :raises Misuse: for a bad file, or if something that the command needs is not installed
        """
        require("rich", _BACKEND_MODULES[self.backend])
        return load(self.file, quiet=self.quiet)


def bring_up(options: Options, selection: Selection, guest: Guest | None = None) -> int:
    """Bring a selection up, stay or run the guest, and tear it down. Returns the exit status."""
    config_dir = Path(options.file).absolute().parent
    return anyio.run(partial(_main, options, selection, config_dir, guest), backend=options.backend)


async def _main(options: Options, selection: Selection, config_dir: Path, guest: Guest | None) -> int:
    board = Board(selection, anyio.current_time())
    session = Session(
        selection,
        board,
        _progress(options, board),
        config_dir=config_dir,
        max_concurrent=options.max_concurrent,
        timeout=options.timeout,
        guest=guest,
    )
    return await session.run()


def _progress(options: Options, board: Board) -> Progress:
    stream = stderr()
    if options.as_json:
        return JsonProgress(board, stream, quiet=True, data=stdout())
    if options.quiet or not stream.isatty():
        return Progress(board, stream, quiet=options.quiet, verbose=options.verbose)
    from .live import live_progress  # noqa: PLC0415 - slow to import

    return live_progress(board, stream, verbose=options.verbose)
