"""The messages of connectors, among the progress of a command."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager

from .progress import Progress

#: Connectors log here what is worth waiting for: what is pulled, why a job is pending, which server does not answer.
_logger = logging.getLogger("anydeploy.connectors")


class _Messages(logging.Handler):
    """Shows each message as a notice."""

    def __init__(self, progress: Progress) -> None:
        super().__init__(logging.INFO)
        self._progress = progress

    def emit(self, record: logging.LogRecord) -> None:
        self._progress.notice("log", record.getMessage(), level=record.levelname.lower())


@contextmanager
def showing_messages(progress: Progress) -> Generator[None, None, None]:
    """Open a block in which the messages of connectors are shown."""
    handler, level = _Messages(progress), _logger.level
    _logger.addHandler(handler)
    _logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        _logger.setLevel(level)
        _logger.removeHandler(handler)
