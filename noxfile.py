"""All checks, session by session: ``nox -l`` lists them, ``nox -s tests`` runs one."""

from __future__ import annotations

import os
import shutil
import tomllib
from pathlib import Path
from typing import Any

import nox
from packaging.requirements import Requirement

nox.needs_version = ">=2024.10.9"
nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["lint", "types", "tests"]

ROOT = Path(__file__).parent
PYPROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = nox.project.python_versions(PYPROJECT)
#: Files and packages that the tests need beside an installed anydeploy.
TESTED = ("tests", "docs", "examples", "benchmarks", "README.md", "CHANGELOG.md", "pyproject.toml")
#: The pages that sessions write; they are no part of the documentation.
REPORTS = Path(".nox", "reports")


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff: the rules, and the format."""
    session.install(*nox.project.dependency_groups(PYPROJECT, "lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Mypy and pyright, both strict."""
    session.install("-e", ".[test,streamflow]", *nox.project.dependency_groups(PYPROJECT, "types"))
    session.run("mypy")
    session.run("pyright")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The tests on every Python; each concurrent one runs on asyncio, on uvloop and on trio."""
    session.install("-e", ".[test]")
    session.run("pytest", *session.posargs)


@nox.session(python=PYTHONS[-1])
def thorough(session: nox.Session) -> None:
    """The tests that take long: the laboratory, seeded defects, costs, storms, duties of connectors, the benchmarks."""
    session.install("-e", ".[test]")
    session.run("pytest", "-m", "thorough", *session.posargs)


@nox.session(python=[PYTHONS[0], PYTHONS[-1]])
def streamflow(session: nox.Session) -> None:
    """The deployment manager in StreamFlow, beside StreamFlow's own, and StreamFlow's connectors in anydeploy."""
    session.install("-e", ".[test,streamflow]")
    session.run("pytest", "tests/with_streamflow", "tests/bridge", *session.posargs)


@nox.session(python=PYTHONS)
def coverage(session: nox.Session) -> None:
    """The tests with branch coverage, those with StreamFlow among them; `covered` adds that of `servers`."""
    session.install("-e", ".[test,streamflow]")
    selected = "not reference and not thorough and not servers"
    session.run("coverage", "run", "-m", "pytest", "-m", selected, *session.posargs)


@nox.session(python=PYTHONS)
def servers(session: nox.Session) -> None:
    """The connectors with real servers, as far as they are installed: sshd, dockerd, podman, Compose v2, Slurm."""
    session.install("-e", ".[test,streamflow]")
    session.run("coverage", "run", "-m", "pytest", "-m", "servers", *(session.posargs or ["tests/connectors"]))


@nox.session(python=PYTHONS)
def covered(session: nox.Session) -> None:
    """Report the lines and branches that neither `coverage` nor `servers` has reached, on one Python."""
    session.install("coverage[toml]")
    session.run("coverage", "combine", "-q")
    session.run("coverage", "report")


@nox.session(name="property")
def property_(session: nox.Session) -> None:
    """The property tests with many more examples, drawn anew each time.

    ``HYPOTHESIS_PROFILE=ci`` takes fewer, and the same each time; ``ANYDEPLOY_STATEFUL_EXAMPLES`` is the number for the
    state machines.
    """
    session.install("-e", ".[test]")
    profile = os.environ.get("HYPOTHESIS_PROFILE", "property")
    examples = os.environ.get("ANYDEPLOY_STATEFUL_EXAMPLES", "3000")
    found = [str(path) for path in sorted((ROOT / "tests").rglob("test_*.py")) if "from hypothesis" in path.read_text()]
    found += [str(path) for path in sorted((ROOT / "tests").glob("test_*stateful*.py")) if str(path) not in found]
    environment = {"HYPOTHESIS_PROFILE": profile, "ANYDEPLOY_STATEFUL_EXAMPLES": examples}
    session.run("pytest", "--timeout=1800", *found, *session.posargs, env=environment)


@nox.session(python=PYTHONS[-1])
def mutation(session: nox.Session) -> None:
    """Small changes of the core, each of which a test must notice: all of them, or with ``-- --sample 25`` a few."""
    session.install("-e", ".[test]", *nox.project.dependency_groups(PYPROJECT, "mutation"))
    session.run("python", "-m", "mutation", *session.posargs, env={"PYTHONPATH": str(ROOT / "tests")})


@nox.session
def lowest(session: nox.Session) -> None:
    """The tests with the lowest versions that anydeploy allows of what it needs."""
    pins = lowest_versions("file", "cli", "testing", "test")
    session.install("-e", ".[test]", *pins)
    session.run("pytest", *session.posargs)


@nox.session
def build(session: nox.Session) -> None:
    """Build sdist and wheel, and run the tests against the wheel in an environment that has nothing else."""
    tmp = Path(session.create_tmp()).resolve()
    shutil.rmtree(tmp)
    session.install(*nox.project.dependency_groups(PYPROJECT, "build"))
    session.run("python", "-m", "build", "--outdir", str(tmp / "dist"), silent=True)
    (wheel,) = (tmp / "dist").glob("*.whl")
    session.run("python", "-m", "venv", "--clear", str(tmp / "venv"))
    python = str(tmp / "venv" / "bin" / "python")
    session.run(python, "-m", "pip", "install", "-q", f"{wheel}[test]", external=True)
    for name in TESTED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp / name)
    session.chdir(tmp)
    session.run(python, "-c", "import anydeploy, sys; assert sys.prefix in anydeploy.__file__", external=True)
    # The programs of the fresh environment, and not those of this session's, are what the tests are to find.
    path = os.pathsep.join([str(tmp / "venv" / "bin"), os.environ["PATH"]])
    session.run(python, "-m", "pytest", external=True, env={"PATH": path, "VIRTUAL_ENV": str(tmp / "venv")})


@nox.session
def explore(session: nox.Session) -> None:
    """All small scopes of the manager, in every order, on both backends: hours for all of it, on two cores.

    ``-- --deployments 2 --callers 2`` for a small part; ``-- --help`` for the rest.
    """
    session.install("-e", ".[testing]")
    prove(session, "exploration.md", "explore", "--jobs", str(os.cpu_count()), *session.posargs)


@nox.session(python=PYTHONS[-1])
def search(session: nox.Session) -> None:
    """Every state of the engine, for all graphs of up to three deployments: a quarter of an hour on two cores.

    Three calls and two faults are searched completely and compared with a sequential model; of the graphs of four
    deployments there is a sample, with ``-- --sample 40`` one of forty graphs. The session fails if a rule is broken,
    or a row of the table of transitions is never taken.
    """
    session.install("-e", ".[testing]")
    REPORTS.mkdir(exist_ok=True)
    command = ("python", "-m", "search", "--output", str(REPORTS / "search.md"), "--jobs", str(os.cpu_count()))
    session.run(*command, *session.posargs, env={"PYTHONPATH": str(ROOT / "tests")})


@nox.session
def report(session: nox.Session) -> None:
    """The rules that StreamFlow's own manager breaks, what the explorer finds in it, and the tests of each rule."""
    session.install("-e", ".[testing,streamflow]")
    reference = "with_streamflow.subjects:ReferenceSubject"
    prove(session, "rules.md", "rules", silent=True)
    prove(session, "reference-report.md", "report", reference, silent=True)
    limits = ("--most", "200", "--last", "400", "--bound", "2")
    # That something is broken is what it is to find.
    prove(session, "reference-exploration.md", "explore", reference, *limits, silent=True, success_codes=[1])


def prove(session: nox.Session, page: str, *arguments: str, **options: Any) -> None:
    """Run a command of ``tests/proofs`` that writes a page."""
    REPORTS.mkdir(exist_ok=True)
    command = ("python", "-m", "proofs", arguments[0], "--output", str(REPORTS / page), *arguments[1:])
    session.run(*command, env={"PYTHONPATH": str(ROOT / "tests")}, **options)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure the cost of a deployment, beside peers and limits, for benchmarks/README.md. Best on an idle machine."""
    session.install("-e", ".[test]", *nox.project.dependency_groups(PYPROJECT, "bench"))
    session.run("python", "-m", "benchmarks", *session.posargs)


def lowest_versions(*extras: str) -> list[str]:
    """``==`` pins of the direct dependencies; pip cannot be asked for the lowest that it may install."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    stated = [*project["dependencies"]]
    for extra in extras:
        stated += project["optional-dependencies"][extra]
    pins: dict[str, str] = {}
    for requirement in map(Requirement, stated):
        if requirement.name != project["name"]:
            (bound,) = (spec.version for spec in requirement.specifier if spec.operator == ">=")
            extra = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
            marker = f"; {requirement.marker}" if requirement.marker else ""
            pins[requirement.name] = f"{requirement.name}{extra}=={bound}{marker}"
    return list(pins.values())
