"""``up`` and ``run``: from the arguments to the exit status."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final

import anyio
from attrs import frozen

from ..config import DeploymentConfig
from .loading import Selection, load, require
from .output import stderr, stdout
from .progress import JsonProgress, Progress
from .session import Session
from .tracker import Tracker
from .user_command import UserCommand

_BACKEND_MODULES: Final = {"asyncio": "anyio", "trio": "trio"}


@frozen
class Options:
    """The options of the command line.

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
        """Return the definitions of the file.

        :raises Misuse: for a bad file, or if something that the command needs is not installed
        """
        require("rich", _BACKEND_MODULES[self.backend])
        return load(self.file, quiet=self.quiet)


def bring_up(options: Options, selection: Selection, command: UserCommand | None = None) -> int:
    """Bring a selection up, stay or run the command, and take it down. Return the exit status."""
    config_dir = Path(options.file).absolute().parent
    return anyio.run(partial(_main, options, selection, config_dir, command), backend=options.backend)


async def _main(options: Options, selection: Selection, config_dir: Path, command: UserCommand | None) -> int:
    tracker = Tracker(selection, anyio.current_time())
    session = Session(
        selection,
        tracker,
        _progress(options, tracker),
        config_dir=config_dir,
        max_concurrent=options.max_concurrent,
        timeout=options.timeout,
        command=command,
    )
    return await session.run()


def _progress(options: Options, tracker: Tracker) -> Progress:
    stream = stderr()
    if options.as_json:
        return JsonProgress(tracker, stream, quiet=True, data=stdout())
    if options.quiet or not stream.isatty():
        return Progress(tracker, stream, quiet=options.quiet, verbose=options.verbose)
    from .live import live_progress  # noqa: PLC0415 - slow to import

    return live_progress(tracker, stream, verbose=options.verbose)
