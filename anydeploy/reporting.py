"""Reports of a manager: events for its listener and the log, and errors of foreign code that have no other place."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from typing import cast

from anyio import get_cancelled_exc_class
from anyio.abc import TaskGroup
from attrs import define, field

from .exceptions import describe
from .lifecycle import DeploymentEvent

logger = logging.getLogger("anydeploy")
logger.addHandler(logging.NullHandler())


@define(eq=False)
class Reporter:
    """Tells the listener and the log, and keeps an interrupt until everything is down (rule D7).

    :ivar on_event: the listener
    :ivar context: the context in which the manager was entered; listeners run in it
    :ivar tasks: the task group of the block that an interrupt ends
    :ivar interrupt: the first KeyboardInterrupt that came out of foreign code
    """

    on_event: Callable[[DeploymentEvent], None] | None = None
    context: Context = field(factory=Context)
    tasks: TaskGroup | None = None
    interrupt: KeyboardInterrupt | None = None

    @property
    def wants_all(self) -> bool:
        """Whether events without an error are of interest to anything."""
        return self.on_event is not None or logger.isEnabledFor(logging.INFO)

    def report(self, event: DeploymentEvent) -> None:
        """Tell of an event. Never raises."""
        try:
            self.context.run(self._tell, event)
        except BaseException as exc:  # noqa: BLE001 - no await inside: a cancellation in here is the listener's own
            self.failed(f"telling of {event}", exc)

    def failed(self, doing: str, error: BaseException) -> None:
        """Log an error of foreign code that has no other place; an interrupt ends the block. Never raises."""
        if not self.notice_interrupt(error):
            # Logging itself may be what has failed.
            with suppress(Exception, get_cancelled_exc_class()):
                logger.error("%s failed: %s", doing, describe(error), exc_info=error)

    def notice_interrupt(self, error: BaseException) -> bool:
        """End the block if an error is a KeyboardInterrupt, to be raised when everything is down."""
        interrupt = _interrupt_in(error)
        if interrupt is None:
            return False
        self.interrupt = self.interrupt or interrupt
        if self.tasks is not None:
            self.tasks.cancel_scope.cancel()
        return True

    def _tell(self, event: DeploymentEvent) -> None:
        level = logging.INFO if event.error is None else logging.WARNING
        if logger.isEnabledFor(level):
            logger.log(level, "deployment '%s' %s", event.name, event.told)
        if self.on_event is not None:
            self.on_event(event)


def _interrupt_in(exc: BaseException) -> KeyboardInterrupt | None:
    """Return the KeyboardInterrupt that an exception is, or that a group of exceptions contains."""
    stack = [exc]
    while stack:
        each = stack.pop()
        if isinstance(each, KeyboardInterrupt):
            return each
        if isinstance(each, BaseExceptionGroup):
            stack.extend(cast("BaseExceptionGroup[BaseException]", each).exceptions)
    return None
