"""anydeploy's exceptions as StreamFlow's: of the same classes, and of StreamFlow's besides."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final, cast

from streamflow.core.exception import WorkflowDefinitionException as StreamFlowDefinitionException
from streamflow.core.exception import WorkflowExecutionException as StreamFlowExecutionException

from ..exceptions import UndeployError, WorkflowDefinitionException, WorkflowException

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
    translation = class_.__new__(class_, *error.args)
    vars(translation).update(vars(error))
    translation.__cause__ = error.__cause__
    return translation


def all_as_streamflow(group: ExceptionGroup[Exception]) -> ExceptionGroup[Exception]:
    """The same for what several teardowns have raised."""
    errors = [as_streamflow(error) if isinstance(error, UndeployError) else error for error in group.exceptions]
    return group.derive(errors)


def _class(ours: type[WorkflowException]) -> type[WorkflowException]:
    if ours not in _classes:
        theirs = (
            StreamFlowDefinitionException
            if issubclass(ours, WorkflowDefinitionException)
            else StreamFlowExecutionException
        )
        members = {"__module__": __name__, "__doc__": ours.__doc__}
        _classes[ours] = cast("type[WorkflowException]", type(ours.__name__, (ours, theirs), members))
    return _classes[ours]
