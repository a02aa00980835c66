"""``streamflow run`` in a process of its own, on a file made for the occasion."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import define, field
from ruamel.yaml import YAML

HERE = Path(__file__).parent
#: Seconds after which a run counts as one that hangs.
PATIENCE = 60


@define
class Run:
    """One run, in a directory of its own.

    :ivar deployments: of the file; ``step`` is the one that the steps run on
    :ivar manager: the section ``deploymentManager`` of the file
    """

    directory: Path
    deployments: Mapping[str, Any]
    manager: Mapping[str, Any]
    step: str | None = None
    workflow: str = "scatter"
    process: subprocess.Popen[str] = field(init=False)
    output: str = field(init=False, default="")

    def start(self) -> None:
        (self.directory / "streamflow.yml").write_text("")
        with (self.directory / "streamflow.yml").open("w") as file:
            YAML(typ="safe").dump(self._file(), file)
        for name in (f"{self.workflow}.cwl", f"{self.workflow}.yml"):
            shutil.copy(HERE / "data" / name, self.directory)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "streamflow", "run", "--outdir", str(self.directory / "out"), "streamflow.yml"],
            cwd=self.directory,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(self.directory / "site"), str(HERE)]), "HOME": str(self.directory), "MARK": str(self.directory)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def _file(self) -> dict[str, Any]:
        bindings = [{"step": "/", "target": {"deployment": self.step}}] if self.step is not None else []
        config = {"file": f"{self.workflow}.cwl", "settings": f"{self.workflow}.yml"}
        return {
            "version": "v1.0",
            "workflows": {"main": {"type": "cwl", "config": config, "bindings": bindings}},
            "deployments": dict(self.deployments),
            "deploymentManager": dict(self.manager),
            "database": {"type": "default", "config": {"connection": str(self.directory / "database.sqlite")}},
        }

    def finish(self) -> int:
        self.output, _ = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode

    def log(self) -> list[str]:
        return (self.directory / "log").read_text().splitlines()
