"""Every exception that anydeploy raises on purpose.

Each carries its subject as typed attributes and builds its own message from them, so that a handler never has to parse
text. Each pickles and copies, and comes back with the same attributes, message and notes. The roots have the names that
StreamFlow gives them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from shlex import join
from typing import Any

_LONGEST_PATH_SHOWN = 8
#: A longer word is near to nothing, and comparing it takes long.
_LONGEST_COMPARED = 60


def show_path(names: Sequence[str]) -> str:
    """``a -> b -> c``, with the middle left out when the path is long."""
    if len(names) > _LONGEST_PATH_SHOWN:
        half = _LONGEST_PATH_SHOWN // 2
        omitted = f"... ({len(names) - 2 * half} more) ..."
        names = [*names[:half], omitted, *names[-half:]]
    return " -> ".join(names)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A suggestion to append to an error about an unknown ``word``; empty when nothing known is near it."""
    near = get_close_matches(word, list(known), n=1) if len(word) <= _LONGEST_COMPARED else ()
    return f"; did you mean '{near[0]}'?" if near else ""


def describe(error: BaseException | None) -> str:
    """Return the text of an error, with its type where the text alone says too little. Never raises."""
    try:
        text = str(error)
    except BaseException:  # noqa: BLE001 - an error that cannot be printed is a failure like others
        text = ""
    if isinstance(error, (WorkflowException, TimeoutError)) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


class Picklable:
    """Mixin of exceptions whose constructors take something else than their message.

    Pickling and copying restore ``args`` and the attributes, the notes among them, and do not call the constructor.
    """

    args: tuple[Any, ...]

    def __reduce__(self) -> tuple[Any, ...]:
        return _new, (type(self),), {**vars(self), "args": self.args}


def _new(class_: type[BaseException]) -> BaseException:
    return class_.__new__(class_)


class WorkflowException(Picklable, Exception):
    """The root of all of them."""


class WorkflowDefinitionException(WorkflowException):
    """A definition or a request is wrong, and nothing was done."""


class DependencyCycleError(WorkflowDefinitionException):
    """Deployments depend on each other in a cycle.

    :ivar cycle: the names along the cycle, the first one repeated at the end
    """

    def __init__(self, cycle: Sequence[str]) -> None:
        self.cycle = tuple(cycle)
        if len(self.cycle) == 2:
            message = f"deployment '{self.cycle[0]}' depends on itself: {show_path(self.cycle)}"
        else:
            message = f"deployments depend on each other in a cycle: {show_path(self.cycle)}"
        super().__init__(message)


class UnknownDeploymentError(WorkflowDefinitionException):
    """A name that no definition has.

    :ivar deployment_name: the unknown name
    :ivar required_by: the deployment whose ``wraps`` or ``depends_on`` mentions it; None when the caller did
    """

    def __init__(self, deployment_name: str, *, required_by: str | None = None, known: Iterable[str] = ()) -> None:
        self.deployment_name = deployment_name
        self.required_by = required_by
        problem = f"there is no deployment '{deployment_name}' among the definitions"
        if required_by is not None:
            problem = f"deployment '{required_by}' depends on '{deployment_name}', which is not defined"
        super().__init__(f"{problem}{did_you_mean(deployment_name, known)}")


class InvalidConfigError(WorkflowDefinitionException):
    """A definition, or the settings of its connector, are not what they must be.

    :ivar deployment_name: the name in the definition; empty when the name itself is wrong, or not known yet
    :ivar setting: the setting of the connector that is wrong; None when the definition itself is
    :ivar field: the field of the definition that has a wrong value; None when its values are right one by one
    """

    def __init__(
        self, deployment_name: str, problem: str, *, setting: str | None = None, field: str | None = None
    ) -> None:
        self.deployment_name = deployment_name
        self.setting = setting
        self.field = field
        where = f"deployment '{deployment_name}'" if deployment_name else "a deployment"
        if setting is not None:
            where += f", setting '{setting}'"
        if field is not None:
            where += f", field '{field}'"
        super().__init__(f"{where}: {problem}")


class InvalidParameterError(WorkflowDefinitionException):
    """A deployment manager was constructed with a wrong value.

    :ivar parameter: the parameter of its constructor
    """

    def __init__(self, parameter: str, problem: str) -> None:
        self.parameter = parameter
        super().__init__(f"deployment manager, parameter '{parameter}': {problem}")


class DifferentDefinitionError(WorkflowDefinitionException):
    """A name has another definition than the one that is given for it.

    :ivar deployment_name: the name
    """

    def __init__(
        self, deployment_name: str, problem: str = "is in use with a different definition; undeploy it first"
    ) -> None:
        self.deployment_name = deployment_name
        super().__init__(f"deployment '{deployment_name}' {problem}")


class WorkflowExecutionException(WorkflowException):
    """An operation was tried, and failed."""


class ManagerClosedError(WorkflowExecutionException):
    """The manager was used outside its ``async with`` block, or after ``close()``."""


class DeployError(WorkflowExecutionException):
    """A deployment did not come up. The original error, if there is one, is the ``__cause__``.

    :ivar deployment_name: the deployment that was asked for
    :ivar path: the names from it down to the one that failed; just its own name when it failed itself
    """

    def __init__(self, deployment_name: str, problem: str, *, path: Sequence[str] = ()) -> None:
        self.deployment_name = deployment_name
        self.path: tuple[str, ...] = tuple(path or (deployment_name,))
        *needed_by, failed = self.path
        via = f" (needed by {show_path(needed_by)})" if needed_by else ""
        super().__init__(f"deployment '{failed}'{via} {problem}")


class UndeployError(WorkflowExecutionException):
    """A teardown failed: the environment may still exist. The original error is the ``__cause__``.

    :ivar deployment_name: the deployment that may have been left behind
    """

    def __init__(self, deployment_name: str, problem: str) -> None:
        self.deployment_name = deployment_name
        super().__init__(f"deployment '{deployment_name}' could not be undeployed and may still exist: {problem}")


class InvalidConnectorError(WorkflowExecutionException):
    """A connector was used although its environment is gone, or is going.

    :ivar deployment_name: the deployment it was the connector of
    """

    def __init__(self, deployment_name: str, reason: str) -> None:
        self.deployment_name = deployment_name
        super().__init__(f"the connector of deployment '{deployment_name}' can no longer be used: {reason}")


class ConnectionLostError(WorkflowExecutionException):
    """The way into an environment is lost; the environment itself may still be there.

    A connector reports it, and the manager then opens the way again for the teardown, with
    :meth:`Connector.reattach` (rule X3)::

        self.report_lost(ConnectionLostError("the connection to host 'login' was closed"))
    """


class CommandError(WorkflowExecutionException):
    """A command that had to succeed ended with another exit status than 0.

    :ivar command: its argv
    :ivar returncode: its exit status; negative is the signal that ended it
    :ivar output: the last lines of what it printed
    """

    def __init__(self, command: Sequence[str], returncode: int, output: str) -> None:
        self.command = tuple(command)
        self.returncode = returncode
        self.output = output
        ended = f"was ended by signal {-returncode}" if returncode < 0 else f"ended with status {returncode}"
        shown = f":\n{output.rstrip()}" if output.strip() else " and printed nothing"
        super().__init__(f"`{join(self.command)}` {ended}{shown}")
