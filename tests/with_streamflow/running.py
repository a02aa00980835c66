"""``streamflow run`` in a process of its own, on a file made for the occasion."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import define, field
from ruamel.yaml import YAML

from .nesting.processes import with_variable

HERE = Path(__file__).parent
COMMAND = str(Path(sys.executable).parent / "streamflow")
ANYDEPLOY = "anydeploy"
REFERENCE = "default"
#: Seconds after which a run counts as one that hangs. Of the reference that is expected.
PATIENCE = {ANYDEPLOY: 60.0, REFERENCE: 10.0}
_POLL = 0.02
_ENTRY_POINTS = "[unito.streamflow.plugin]\nnesting = nesting.plugin:NestingPlugin\n"


@define
class Run:
    """One run, in a directory of its own. What it starts carries the directory's name as a mark.

    :ivar manager: the type of the deployment manager
    :ivar settings: its ``config``
    :ivar deployments: those of the file
    :ivar on: the one that the steps run on; None: the local machine
    :ivar workflow: which of the workflows in ``data``
    :ivar docker: what becomes of a DockerRequirement
    :ivar sections: others of the file
    """

    directory: Path
    manager: str
    deployments: Mapping[str, Any] = field(factory=dict)
    on: str | None = None
    workflow: str = "scatter"
    settings: Mapping[str, Any] = field(factory=dict)
    docker: Mapping[str, Any] | None = None
    sections: Mapping[str, Any] = field(factory=dict)
    _process: subprocess.Popen[bytes] = field(init=False)

    def start(self) -> None:
        self._install_nesting()
        with (self.directory / "streamflow.yml").open("w") as file:
            YAML(typ="safe").dump(self._file(), file)
        for name in (f"{self.workflow}.cwl", f"{self.workflow}.yml"):
            shutil.copy(HERE / "data" / name, self.directory)
        with (self.directory / "output").open("w") as output:
            self._process = subprocess.Popen(
                [COMMAND, "run", "--outdir", str(self.directory / "out"), "streamflow.yml"],
                cwd=self.directory,
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join([str(self.directory / "site"), str(HERE)]),
                    "HOME": str(self.directory),
                    "TMPDIR": str(self.directory),
                    "MARK": str(self.directory),
                },
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return (self.directory / "output").read_text()

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until something has happened in the run."""
        deadline = time.monotonic() + PATIENCE[self.manager]
        while not condition():
            assert self._process.poll() is None, self.output
            assert time.monotonic() < deadline, self.output
            time.sleep(_POLL)

    def finish(self) -> int:
        """Wait for the end; returns the exit status."""
        return self._process.wait(PATIENCE[self.manager])

    def log(self, *, runs: bool = False) -> list[str]:
        """All that was done with the environments, with the commands or without."""
        path = self.directory / "log"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if runs or not line.startswith("run")]

    def left(self) -> list[int]:
        """The processes that were started in this run and do not end by themselves."""
        deadline = time.monotonic() + 2
        while (found := list(with_variable("MARK", str(self.directory)))) and time.monotonic() < deadline:
            time.sleep(_POLL)
        return found

    def clean_up(self) -> None:
        self._process.kill()
        self._process.wait()
        for pid in with_variable("MARK", str(self.directory)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _install_nesting(self) -> None:
        """Make the files that pip would leave of an installed package, for the one that lies beside this module."""
        info = self.directory / "site" / "nesting-1.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: nesting\nVersion: 1\n")
        (info / "entry_points.txt").write_text(_ENTRY_POINTS)

    def _file(self) -> dict[str, Any]:
        binding = {"step": "/", "target": {"deployment": self.on}}
        config: dict[str, Any] = {"file": f"{self.workflow}.cwl", "settings": f"{self.workflow}.yml"}
        if self.docker is not None:
            config["docker"] = [{"step": "/", "deployment": dict(self.docker)}]
        return {
            "version": "v1.0",
            "workflows": {
                "main": {"type": "cwl", "config": config, "bindings": [binding] if self.on is not None else []}
            },
            "deployments": dict(self.deployments),
            "deploymentManager": {"type": self.manager, "config": dict(self.settings)},
            "database": {"type": "default", "config": {"connection": str(self.directory / "database.sqlite")}},
            **self.sections,
        }
