"""anydeploy's exceptions as StreamFlow's: of the same classes, and of StreamFlow's besides.

Of a failed deployment StreamFlow's own manager says no more than ``FAILED deployment of NAME``. That is the first of
the ``args`` here as well, for whoever compares it; the message says what failed, and why.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final, cast

from streamflow.core.exception import WorkflowDefinitionException as StreamFlowDefinitionException
from streamflow.core.exception import WorkflowExecutionException as StreamFlowExecutionException

from ...exceptions import DeployError, UndeployError, WorkflowDefinitionException, WorkflowException

#: The class that stands for each of anydeploy's.
_classes: Final[dict[type[WorkflowException], type[WorkflowException]]] = {}


@contextmanager
def translated() -> Generator[None]:
    """Let nothing out of the block that StreamFlow would not know."""
    try:
        yield
    except WorkflowException as exc:
        raise as_streamflow(exc) from exc.__cause__
    except ExceptionGroup as group:
        raise all_as_streamflow(group) from None


def as_streamflow(error: WorkflowException) -> WorkflowException:
    """A fresh exception that is of a class of StreamFlow as well, with the same message, attributes and cause."""
    class_ = _class(type(error))
    args = (f"FAILED deployment of {error.deployment_name}",) if isinstance(error, DeployError) else error.args
    translation = class_.__new__(class_, *args)
    vars(translation).update(vars(error), _message=str(error))
    translation.__cause__ = error.__cause__
    return translation


def all_as_streamflow(group: ExceptionGroup[Exception]) -> ExceptionGroup[Exception]:
    """The same for what several teardowns have raised."""
    errors = [as_streamflow(error) if isinstance(error, UndeployError) else error for error in group.exceptions]
    return group.derive(errors)


def _message(translation: Any) -> str:
    return str(translation._message)  # noqa: SLF001 - a method of the classes made below


def _class(ours: type[WorkflowException]) -> type[WorkflowException]:
    if ours not in _classes:
        theirs = (
            StreamFlowDefinitionException
            if issubclass(ours, WorkflowDefinitionException)
            else StreamFlowExecutionException
        )
        members = {"__module__": __name__, "__doc__": ours.__doc__, "__str__": _message}
        _classes[ours] = cast("type[WorkflowException]", type(ours.__name__, (ours, theirs), members))
    return _classes[ours]
