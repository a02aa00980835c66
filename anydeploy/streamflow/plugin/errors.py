"""anydeploy's exceptions as StreamFlow's: of the same classes, and of StreamFlow's besides.

Of a failed deployment StreamFlow's own manager says ``FAILED deployment of NAME`` and nothing else. That is the first
of the ``args`` here as well, for code that compares it. The message says what failed, and why.
"""

from __future__ import annotations

from typing import Any, Final, cast, overload

from streamflow.core.exception import WorkflowDefinitionException as StreamFlowDefinitionException
from streamflow.core.exception import WorkflowExecutionException as StreamFlowExecutionException

from ...exceptions import DeployError, WorkflowDefinitionException, WorkflowException

#: The class that stands for each of anydeploy's.
_classes: Final[dict[type[WorkflowException], type[WorkflowException]]] = {}


@overload
def as_streamflow(error: WorkflowException) -> WorkflowException: ...
@overload
def as_streamflow(error: WorkflowException | ExceptionGroup[Exception]) -> Exception: ...
def as_streamflow(error: WorkflowException | ExceptionGroup[Exception]) -> Exception:
    """Return a fresh exception that is of a class of StreamFlow as well, with the same message, attributes and cause.

    The exceptions of a group become such exceptions.
    """
    if isinstance(error, ExceptionGroup):
        inner = [as_streamflow(each) if isinstance(each, WorkflowException) else each for each in error.exceptions]
        return error.derive(inner)
    class_ = _class(type(error))
    args = (f"FAILED deployment of {error.deployment_name}",) if isinstance(error, DeployError) else error.args
    translation = class_.__new__(class_, *args)
    vars(translation).update(vars(error), _message=str(error))
    translation.__cause__ = error.__cause__
    return translation


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
