"""CWL's DockerRequirement as a nesting environment that stands in no file, with the name of the image."""

from __future__ import annotations

import json

from streamflow.core.deployment import DeploymentConfig, Target, WrapsConfig
from streamflow.cwl.requirement.docker.translator import CWLDockerTranslator


class NestingTranslator(CWLDockerTranslator):
    def __init__(self, config_dir: str, wrapper: bool, log: str) -> None:
        super().__init__(config_dir, wrapper)
        self.log = log

    @classmethod
    def get_schema(cls) -> str:
        return json.dumps(
            {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "$id": "urn:nesting-translator",
                "type": "object",
                "properties": {"log": {"type": "string"}},
                "required": ["log"],
            }
        )

    def get_target(self, image: str, output_directory: str | None, network_access: bool, target: Target) -> Target:
        return Target(
            DeploymentConfig(
                name=image,
                type="nesting",
                config={"log": self.log},
                workdir=target.workdir,
                wraps=WrapsConfig(target.deployment.name, target.service) if self.wrapper else None,
            )
        )
