"""``streamflow run`` in a process of its own, on a file made for the occasion."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import define, field
from ruamel.yaml import YAML

HERE = Path(__file__).parent
ANYDEPLOY = "anydeploy"
REFERENCE = "default"
#: Seconds after which a run counts as one that hangs. Of the reference that is expected.
PATIENCE = {ANYDEPLOY: 60.0, REFERENCE: 15.0}
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
    """

    directory: Path
    manager: str
    deployments: Mapping[str, Any] = field(factory=dict)
    on: str | None = None
    workflow: str = "scatter"
    settings: Mapping[str, Any] = field(factory=dict)
    output: str = field(init=False, default="")
    _process: subprocess.Popen[str] = field(init=False)

    def start(self) -> None:
        self._install_nesting()
        with (self.directory / "streamflow.yml").open("w") as file:
            YAML(typ="safe").dump(self._file(), file)
        for name in (f"{self.workflow}.cwl", f"{self.workflow}.yml"):
            shutil.copy(HERE / "data" / name, self.directory)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "streamflow", "run", "--outdir", str(self.directory / "out"), "streamflow.yml"],
            cwd=self.directory,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([str(self.directory / "site"), str(HERE)]),
                "HOME": str(self.directory),
                "TMPDIR": str(self.directory),
                "MARK": self._mark(),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until something has happened in the run."""
        deadline = time.monotonic() + PATIENCE[self.manager]
        while not condition():
            assert self._process.poll() is None, self._process.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(_POLL)

    def finish(self) -> int:
        """Wait for the end; returns the exit status."""
        try:
            self.output, _ = self._process.communicate(timeout=PATIENCE[self.manager])
        finally:
            if self._process.poll() is None:
                self._process.kill()
                self.output, _ = self._process.communicate()
        return self._process.returncode

    def log(self, *, runs: bool = False) -> list[str]:
        """What was done with the environments, with the commands or without."""
        path = self.directory / "log"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if runs or not line.startswith("run")]

    def left(self) -> list[int]:
        """The processes that were started in this run, and are still there."""
        return [pid for pid, environment in _environments() if f"MARK={self._mark()}".encode() in environment]

    def clean_up(self) -> None:
        for pid in self.left():
            os.kill(pid, signal.SIGKILL)

    def _mark(self) -> str:
        return str(self.directory)

    def _install_nesting(self) -> None:
        """What pip would leave of an installed package, for the one that lies beside this module."""
        info = self.directory / "site" / "nesting-1.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: nesting\nVersion: 1\n")
        (info / "entry_points.txt").write_text(_ENTRY_POINTS)

    def _file(self) -> dict[str, Any]:
        binding = {"step": "/", "target": {"deployment": self.on}}
        config = {"file": f"{self.workflow}.cwl", "settings": f"{self.workflow}.yml"}
        return {
            "version": "v1.0",
            "workflows": {
                "main": {"type": "cwl", "config": config, "bindings": [binding] if self.on is not None else []}
            },
            "deployments": dict(self.deployments),
            "deploymentManager": {"type": self.manager, "config": dict(self.settings)},
            "database": {"type": "default", "config": {"connection": str(self.directory / "database.sqlite")}},
        }


def _environments() -> Iterator[tuple[int, list[bytes]]]:
    """The environment variables of all processes that are not dead."""
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            if b"State:\tZ" not in (directory / "status").read_bytes():
                yield int(directory.name), (directory / "environ").read_bytes().split(b"\0")
        except OSError:
            pass
