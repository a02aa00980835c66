"""The time until a program is ready: importing, ``--help``, and ``plan``."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from .graphs import forest, names
from .measure import Aim, Effort, Row, Section, compare, in_turns

_FLOOR = "import anyio, its asyncio backend and attrs"
_CPU = "import time as t; print(t.process_time())"


def run(effort: Effort) -> list[Section]:
    rows: list[Row] = []
    rounds = effort.rounds(15)
    found = in_turns(
        {
            "import anydeploy": _program("import anydeploy"),
            "import of the manager": _program("from anydeploy import DefaultDeploymentManager"),
            "import anyio": _program("import anyio"),
            _FLOOR: _program("import anyio, anyio._backends._asyncio, attrs"),
            "python": _program(""),
        },
        rounds,
    )
    bare = found.pop("python")
    for values in found.values():
        values[:] = [value - start for value, start in zip(values, bare, strict=True)]
    for ours, theirs, aim in (
        ("import anydeploy", "import anyio", Aim(1.3)),
        ("import of the manager", "import anyio", None),
        ("import of the manager", _FLOOR, Aim(1.3)),
    ):
        label = ours if aim is not None else None
        rows.append(compare({"what": ours}, found, ours, theirs, unit="ms", scale=1e3, aim=aim, label=label))
    skipped: list[str] = []
    if all(find_spec(name) for name in ("click", "rich", "ruamel")):
        rows += _commands(effort, rounds)
    else:
        skipped.append("the command is not installed: pip install 'anydeploy[cli]'")
    return [Section("Start-up, without that of Python itself", rows, skipped=skipped)]


def _commands(effort: Effort, rounds: int) -> list[Row]:
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as directory:
        for n in effort.sizes(1_000):
            path = Path(directory, "streamflow.yml")
            path.write_text(_file(n))
            load = "from ruamel.yaml import YAML; from pathlib import Path"
            load += f"; YAML(typ='safe', pure=True).load(Path({str(path)!r}))"
            found = in_turns(
                {
                    "anydeploy plan": _program(_command("plan", str(path))),
                    "loading the YAML": _program(load),
                    "anydeploy --help": _program(_command("--help")),
                    "anydeploy --version": _program(_command("--version")),
                    "import click": _program("import click"),
                    "python": _program(""),
                },
                min(rounds, 7),
            )
            bare = found.pop("python")
            for values in found.values():
                values[:] = [value - start for value, start in zip(values, bare, strict=True)]
            what = f"anydeploy plan of {n:,} deployments"
            ours, theirs = "anydeploy plan", "loading the YAML"
            rows.append(compare({"what": what}, found, ours, theirs, unit="ms", scale=1e3, aim=Aim(2), label=what))
            rows += [
                compare({"what": name}, found, name, "import click", unit="ms", scale=1e3)
                for name in ("anydeploy --help", "anydeploy --version")
            ]
    return rows


def _command(*arguments: str) -> str:
    return (
        "import contextlib, io\nfrom anydeploy.cli import main\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):\n"
        f"    main({list(arguments)!r})\n"
    )


def _program(code: str) -> Callable[[], float]:
    """Return a contender: the CPU seconds of a Python that runs a program, from its start to its end."""

    def measure() -> float:
        command = [sys.executable, "-c", f"{code}\n{_CPU}"]
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])

    return measure


def _file(n: int) -> str:
    lines = ["version: v1.0", "workflows: {}", "deployments:"]
    for name, below in names(forest(n)).items():
        lines += [f"  {name}:", "    type: command", f"    dependsOn: [{', '.join(below)}]"]
        lines += ["    config:", f"      deploy: [touch, /tmp/{name}]", f"      undeploy: [rm, /tmp/{name}]"]
    return "\n".join(lines) + "\n"
