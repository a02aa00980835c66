"""Quoting, read back by every shell that is here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anydeploy.command import Command
from anydeploy.quoting import assignments, change_directory, escape, invocation

SHELLS = {
    "sh": ["sh"],
    "dash": ["dash"],
    "bash": ["bash", "--posix"],
    "busybox": ["busybox", "sh"],
}
#: Prints its arguments, each ended by a null character.
SHOW = "import os, sys; [os.write(1, os.fsencode(each) + b'\\0') for each in sys.argv[1:]]"

#: Any bytes but the null character, in the form in which Python has them in strings.
texts = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30),
    st.binary(max_size=30).map(lambda data: data.replace(b"\0", b"\n").decode(errors="surrogateescape")),
    st.sampled_from(
        ["", " ", "'", "\\", "$HOME", "`id`", "*", "~", "-n", "--", "\n", "a\n", "!", "'\\''", "\\c", "%s"]
    ),
)
names = st.from_regex(r"[a-z][A-Z0-9_]{3,8}", fullmatch=True)
examples = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> list[str]:
    argv = SHELLS[request.param]
    if shutil.which(argv[0]) is None:
        pytest.skip(f"{argv[0]} is not installed")
    return argv


def run(shell: list[str], script: bytes | str, **options: object) -> bytes:
    """Return the output of a script that the shell reads from a file, as `session.sh` does."""
    text = script if isinstance(script, bytes) else os.fsencode(script)
    read, write = os.pipe()
    os.write(write, text)
    os.close(write)
    try:
        command = [*shell, f"/dev/fd/{read}"]
        done = subprocess.run(command, capture_output=True, check=True, pass_fds=[read], **options)  # type: ignore[call-overload]
    finally:
        os.close(read)
    assert done.stderr == b""
    return done.stdout


def words(output: bytes) -> list[str]:
    return [os.fsdecode(each) for each in output.split(b"\0")[:-1]]


@examples
@given(arguments=st.lists(texts, max_size=4))
def test_arguments_arrive_as_they_are(shell: list[str], arguments: list[str]) -> None:
    assert words(run(shell, invocation([sys.executable, "-c", SHOW, *arguments]))) == arguments


@examples
@given(environment=st.dictionaries(names, texts, max_size=3))
def test_variables_arrive_as_they_are(shell: list[str], environment: dict[str, str]) -> None:
    program = "import os, sys; [os.write(1, os.environb[os.fsencode(each)] + b'\\0') for each in sys.argv[1:]]"
    script = assignments(environment) + invocation([sys.executable, "-c", program, *environment])
    assert words(run(shell, script)) == list(environment.values())


@examples
@given(text=texts)
def test_escaped_texts_are_one_word_of_a_line(shell: list[str], text: str) -> None:
    line = escape(text)
    script = b"read -r order rest\nprintf %b \"$rest\"\nprintf '\\0'\n"
    read, write = os.pipe()
    os.write(write, b"order " + line + b"\n")
    os.close(write)
    with os.fdopen(read) as stdin:
        assert words(run(shell, script, stdin=stdin)) == [text]


@pytest.mark.parametrize("name", ["-", "--", "-P", "a b", "$x", "new\nline", "~", "'", "under", "..."])
def test_a_directory_is_the_one_that_is_named(shell: list[str], tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / "elsewhere" / name).mkdir(parents=True)
    environment = {**os.environ, "CDPATH": str(tmp_path / "elsewhere"), "OLDPWD": "/"}
    script = f"{change_directory(name)}\n{invocation([sys.executable, '-c', 'import os; print(end=os.getcwd())'])}"
    assert os.fsdecode(run(shell, script, cwd=tmp_path, env=environment)) == str(tmp_path / name)


@pytest.mark.parametrize("name", ["-x", "--", "a=b", "a b", "$x", "if", "say"])
def test_a_program_is_the_one_that_is_named(shell: list[str], tmp_path: Path, name: str) -> None:
    program = tmp_path / name
    program.write_text('#!/bin/sh\nprintf "%s\\0" "$@"\n')
    program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    assert words(run(shell, invocation([name, "-n", ""]), env=environment)) == ["-n", ""]


@pytest.mark.parametrize("name", ["-x", "a=b", "plain"])
def test_an_inlined_command_interprets_nothing(tmp_path: Path, name: str) -> None:
    """Neither `CDPATH`, nor `cd -`, nor an assignment in the place of a program."""
    (tmp_path / "-").mkdir()
    program = tmp_path / name
    program.write_text('#!/bin/sh\npwd\nprintf %s "$A"\n')
    program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "CDPATH": "/", "OLDPWD": "/"}
    command = Command([name], {"A": "$B c"}, "-").inlined()
    done = subprocess.run(command.argv, capture_output=True, check=True, cwd=tmp_path, env=environment)
    assert done.stdout.decode() == f"{tmp_path}/-\n$B c"


@pytest.mark.parametrize("name", ["a-b", "1a", "", "a b", "UID", "RANDOM", "_", "a\n"])
def test_a_variable_that_no_shell_can_set_is_refused_without_its_value(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be set by a shell") as error:
        assignments({name: "hidden"})
    assert "hidden" not in str(error.value)


def test_null_characters_are_refused() -> None:
    with pytest.raises(ValueError, match="null character"):
        escape("a\0b")


def test_values_of_variables_are_not_shown() -> None:
    assert "hidden" not in repr(Command(["x"], {"PASSWORD": "hidden"}))
