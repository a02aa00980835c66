"""Registers the connector of type ``nesting``, and what makes one of a DockerRequirement."""

from streamflow.ext.plugin import StreamFlowPlugin

from .connector import NestingConnector
from .translator import NestingTranslator


class NestingPlugin(StreamFlowPlugin):
    def register(self) -> None:
        self.register_connector("nesting", NestingConnector)
        self.register_cwl_docker_translator("nesting", NestingTranslator)
