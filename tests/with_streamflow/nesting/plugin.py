"""Registers the connector of type ``nesting``."""

from streamflow.ext.plugin import StreamFlowPlugin

from .connector import NestingConnector


class NestingPlugin(StreamFlowPlugin):
    def register(self) -> None:
        self.register_connector("nesting", NestingConnector)
