"""From bytes to nodes: whatever the bytes are (DESIGN section 6)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from anydeploy.file import MAX_BYTES, FileError, load_file

from .files import load, problem, problems


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", " is empty; expected a mapping with 'version' and 'deployments'"),
        ("# nothing\n", " is empty; expected"),
        ("null", "1:1: expected a mapping with 'version' and 'deployments', found nothing (null)"),
        ("- 1", "1:1: expected a mapping with 'version' and 'deployments', found a list"),
        ("text", "1:1: expected a mapping with 'version' and 'deployments', found the string 'text'"),
        ("{}", "1:1: the key 'version' is missing; expected 'version: v1.0'"),
        ("version: 1.0", "1:10: unsupported version: expected v1.0, found the number 1.0"),
        (
            "version: v1.0\ndeployments:\n",
            "2:1: 'deployments': expected a mapping of names to deployments, found nothing",
        ),
        (
            "version: v1.0\ndeployments: [a]",
            "2:14: 'deployments': expected a mapping of names to deployments, found a list",
        ),
        ("version: v1.0\n---\nversion: v1.0\n", "2:1: not valid YAML: expected a single document in the stream"),
        ("version: v1.0\n1: 2", "2:1: the key is the number 1; expected a string"),
        ("version: v1.0\nversion: v1.0", "2:1: duplicate key 'version', which stands on line 1 already"),
        ("version: v1.0\ndeployments: {a: [}", "2:"),
        ("version: v1.0\n\tx: 1", "2:"),
        ("a: *b", "1:4: not valid YAML: found undefined alias 'b'"),
        ("%YAML 1.7\n---\na: 1", "2:4: not valid YAML: it cannot be read on from here; expected YAML 1.1"),
        ("%YAML 9.9\n---\na: 1", "1:1: not valid YAML: found incompatible YAML document (version 1.* is required)"),
        ("%TAG ! tag:x,2000:\n---\n!a {}", "3:1: the key 'version' is missing"),
        ('a: "\\UFFFFFFFF"', "1:7: not valid YAML: it cannot be read on from here; expected YAML 1.1"),
        (b"version: v1.0\n# caf\xe9\n", "2:6: the byte 0xe9 is not UTF-8; expected UTF-8 text"),
        ("version: v1.0".encode("utf-16"), "1:1: the byte 0xff is not UTF-8"),
        (b"version: v1.0\n\x00", "2:1: the character U+0000 is not allowed in YAML"),
        ("[" * 100_000, "1:"),
        ("- " * 5_000, "1:"),
        ("a: " + "{a: " * 100 + "}" * 100, "1:253: nested too deeply; expected at most 64 levels"),
        ("&r {<<: *r, version: v1.0}", "1:1: this value contains itself"),
    ],
)
def test_broken_input_gives_one_problem(file: Path, text: str | bytes, expected: str) -> None:
    """DESIGN 6: no input, however broken, shows a traceback."""
    found = problems(file, text)
    assert found[0].startswith(expected)
    assert len(found) == 1


@pytest.mark.parametrize(
    "head", ["%YAML 1.2", "%TAG ! tag:example.org,2000:", "%YAML 1.2\n%TAG !e! tag:e", "%FUTURE x"]
)
def test_directives_are_read(file: Path, head: str) -> None:
    """DESIGN 6: as StreamFlow reads them."""
    assert list(load(file, f"{head}\n---\nversion: v1.0\ndeployments: {{a: {{type: host, config: {{}}}}}}\n")) == ["a"]


@pytest.mark.parametrize(
    "name", ["directory", "fifo", "/dev/zero", "/dev/null", "missing", "file/x", "nul\0", "loop", "x" * 5000]
)
def test_what_is_no_regular_file_is_not_read(tmp_path: Path, name: str) -> None:
    """DESIGN 6: it neither blocks nor shows a traceback."""
    (tmp_path / "directory").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(FileError, match="cannot be read: ") as caught:
        load_file(str(tmp_path / name))
    assert len(caught.value.problems) == 1


def test_the_size_is_bounded(file: Path) -> None:
    """DESIGN 6."""
    assert problem(file, b"#" * (MAX_BYTES + 1)) == " is larger than the limit; expected at most 10 MiB"
    assert load(file, b"version: v1.0\n" + b"#" * (MAX_BYTES - 14)) == {}


def test_a_file_that_becomes_a_fifo_after_the_first_look_does_not_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DESIGN 6."""
    os.mkfifo(tmp_path / "fifo")
    regular = Path(__file__).stat()
    monkeypatch.setattr("anydeploy.file.yaml.os.stat", lambda path: regular)
    with pytest.raises(FileError, match="it is not a regular file"):
        load_file(tmp_path / "fifo")


def test_a_device_is_not_even_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """DESIGN 6: opening some has effects."""
    opened: list[object] = []
    monkeypatch.setattr("anydeploy.file.yaml.os.open", lambda path, flags: opened.append(path))
    with pytest.raises(FileError, match="it is not a regular file"):
        load_file("/dev/null")
    assert not opened


@pytest.mark.parametrize("module", ["ruamel.yaml"])
def test_a_missing_library_is_explained(module: str) -> None:
    """DESIGN 4: the file loader is an extra."""
    code = f"import sys; sys.modules[{module!r}] = None; import anydeploy.file"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.stderr.splitlines()[-1].endswith("pip install 'anydeploy[file]'")
