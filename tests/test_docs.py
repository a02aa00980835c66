"""Every example in the documentation is executed, every link leads somewhere, and every rule has its tests.

A ``python`` block is a program, and a ``text`` block right behind it is what it prints. One that ends with
``anyio.run(main)`` is run on asyncio and on trio, and any other one once. If the first line is the name of a file, like
``# module.py``, all programs and commands of its page can import it, and if it is ``# test_it.py``, pytest runs it. A
``yaml`` block is a file that loads. A ``console`` block is what a terminal shows: ``$ anydeploy ...`` or ``$ python
...``, then the output. In all output ``...`` stands for anything.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import anyio
import attrs
import pytest
from proofs.rules import ROOT, files_by_rule

from anydeploy.file import load_file

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.DOTALL | re.MULTILINE)
_ASYNC = "\nanyio.run(main)\n"


@attrs.frozen
class Block:
    page: str
    line: int
    language: str
    text: str
    output: str | None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def file(self) -> str:
        """The name of the file that it shows; empty if it is none."""
        found = re.match(r"# (\w+\.py)\n", self.text)
        return found[1] if found else ""


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT)).removeprefix("docs/")


def blocks(*languages: str) -> list[Block]:
    found: list[Block] = []
    for page in PAGES:
        text = page.read_text()
        for match in _BLOCK.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            found.append(Block(name_of(page), line, match[1], match[2], match[3]))
    return [block for block in found if block.language in languages]


#: Those that start no event loop. The suite for connectors takes long.
PROGRAMS = [
    pytest.param(block, marks=pytest.mark.thorough if "ConnectorSuite" in block.text else ())
    for block in blocks("python")
    if not block.text.endswith(_ASYNC)
]


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, alone: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("block", [block for block in blocks("python") if block.text.endswith(_ASYNC)], ids=str)
def test_python(block: Block, backend: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    run = anyio.run
    monkeypatch.setattr(anyio, "run", lambda main: run(main, backend=backend))
    exec(compile(block.text, str(block), "exec", dont_inherit=True), {"__name__": "__main__"})
    if block.output is not None:
        assert_matches(capsys.readouterr().out, block.output)


@pytest.mark.parametrize("block", PROGRAMS, ids=str)
def test_python_that_starts_no_event_loop(block: Block, directory: Path):
    write_files(block.page, directory)
    if block.file.startswith("test_"):
        # The same examples each time.
        seed = "--hypothesis-seed=0"
        arguments = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, seed, block.file]
    else:
        assert block.file or block.output is not None, "it shows nothing, and is not run on both backends"
        arguments = ["-c", block.text]
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    if block.output is not None:
        assert_matches(done.stdout, block.output)


def write_files(page: str, directory: Path) -> None:
    for block in blocks("python"):
        if block.page == page and block.file:
            (directory / block.file).write_text(block.text)


@pytest.mark.parametrize("block", blocks("yaml"), ids=str)
def test_yaml(block: Block, directory: Path):
    path = directory / "streamflow.yml"
    path.write_text(block.text)
    assert load_file(path)


@pytest.mark.parametrize("block", blocks("console"), ids=str)
def test_console(block: Block, directory: Path, monkeypatch: pytest.MonkeyPatch):
    write_files(block.page, directory)
    monkeypatch.setenv("PYTHONPATH", str(directory))
    monkeypatch.chdir(ROOT)
    for session in block.text.removeprefix("$ ").split("\n$ "):
        line, _, expected = session.partition("\n")
        program, *arguments = shlex.split(line)
        programs = {"anydeploy": ["-m", "anydeploy"], "python": []}
        command = [sys.executable, *programs[program], *arguments]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        assert_matches(done.stdout, expected)


def assert_matches(found: str, expected: str) -> None:
    """Compare line by line, without regard to spaces at the ends; ``...`` stands for anything."""
    shown = "\n".join(line.rstrip() for line in found.strip().splitlines())
    wanted = "\n".join(line.rstrip() for line in expected.strip().splitlines())
    pattern = ".*".join(re.escape(part) for part in wanted.split("..."))
    assert re.fullmatch(pattern, shown, re.DOTALL), f"expected:\n{wanted}\n\nfound:\n{shown}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if not target.startswith("https://"):
            path, _, anchor = target.partition("#")
            linked = page.parent / path if path else page
            assert linked.exists(), target
            assert not anchor or anchor in anchors(linked), target


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_tests_that_are_linked_are_there(page: Path):
    for name, target in re.findall(r"\[(test_\w+)\]\(([^)\s]+)\)", page.read_text()):
        assert f"def {name}(" in (page.parent / target).read_text(), name


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(("rule", "files"), files_by_rule().items())
def test_every_rule_has_its_tests(rule: str, files: list[str]):
    assert files, f"no test has a docstring that names {rule}"
