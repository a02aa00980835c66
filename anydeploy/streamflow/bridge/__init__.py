"""StreamFlow's connectors under anydeploy's manager: the connector family ``streamflow``.

Importing this package needs no streamflow. It is imported when a type is looked up.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING

from ...connector import Connector
from ...exceptions import WorkflowDefinitionException

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streamflow.core.deployment import Connector as StreamFlowConnector


def types() -> Iterable[str]:
    """Return all of StreamFlow's connector types, with those of its plugins.

    :raises WorkflowDefinitionException: if streamflow is not installed, or one of its plugins cannot be loaded
    """
    return _classes()


def connector_type(type_: str) -> type[Connector]:
    """Return the class of one of :func:`types`."""
    from .connector import bridged_type  # noqa: PLC0415 - streamflow may be missing

    return bridged_type(_classes()[type_])


@cache
def _classes() -> Mapping[str, type[StreamFlowConnector]]:
    try:
        from streamflow.deployment.connector import connector_classes  # noqa: PLC0415 - as above
        from streamflow.ext.utils import load_extensions  # noqa: PLC0415 - as above
        from streamflow.log_handler import logger  # noqa: PLC0415 - as above
    except ModuleNotFoundError as exc:
        if exc.name is None or exc.name.partition(".")[0] != "streamflow":
            raise
        raise WorkflowDefinitionException(
            "StreamFlow's types need streamflow, which is not installed: pip install 'anydeploy[streamflow]'"
        ) from None
    # StreamFlow logs everything it does on the standard error, which shows the progress of a command.
    logger.setLevel(max(logger.level, logging.WARNING))
    try:
        load_extensions()
    except Exception as exc:
        raise WorkflowDefinitionException(f"StreamFlow's plugins cannot be loaded: {exc}") from exc
    return connector_classes
