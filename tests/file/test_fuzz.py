"""The outcome of loading is a mapping or a FileError for every input (DESIGN section 6)."""

from __future__ import annotations

import re
import warnings
from io import StringIO
from pathlib import Path

import attrs
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from anydeploy.file import FileError, FileWarning, load_file

from .files import TYPES, Host

FUZZ = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates() | st.binary(max_size=5)
VALUES = st.recursive(
    SCALARS, lambda v: st.lists(v, max_size=4) | st.dictionaries(st.text() | st.integers(), v, max_size=4)
)
NAMES = st.sampled_from(["a", "b", "c", "A", ""])
DEPLOYMENTS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["host", "layer", "needy", "local", "nothing"]) | VALUES,
        "config": st.dictionaries(st.sampled_from(sorted(attrs.fields_dict(Host))), VALUES, max_size=3) | VALUES,
        "wraps": NAMES | st.fixed_dictionaries({"deployment": NAMES}) | VALUES,
        "dependsOn": st.lists(NAMES) | VALUES,
        "deployTimeout": st.sampled_from(["5s", 1]) | VALUES,
        "retries": st.integers(0, 3) | VALUES,
        "lazy": VALUES,
        "workdir": st.text() | VALUES,
    },
)


def check_outcome(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FileWarning)
        try:
            found = load_file(file, connector_types=TYPES)
        except FileError as exc:
            error = exc
        else:
            error = None
    if error is not None:
        assert error.problems
        assert len(str(error).split("\n")) == len(error.problems)
        str(error).encode()
    else:
        assert all(re.fullmatch("[a-z][a-zA-Z0-9._-]*", name) and d.name == name for name, d in found.items())


@FUZZ
@given(st.binary())
def test_fuzz_bytes(file: Path, data: bytes) -> None:
    """DESIGN 6: the outcome is a mapping or a FileError."""
    check_outcome(file, data)
    check_outcome(file, b"version: v1.0\ndeployments:\n  a: " + data)


@FUZZ
@given(st.text(st.sampled_from("ab: {}[]-\n\"'!&*<|>?#%@`,.0=~\t_") | st.characters(codec="utf-8")))
@example("0b_")
@example("{a: !!bool x}")
@example("!!binary é")
@example("0x" + "f" * 6000)
@example("9" * 6000)
@example("{retries: 0x" + "f" * 6000 + "}")
@example("{type: host, config: {port: -0x" + "f" * 6000 + "}, deployTimeout: 0x" + "f" * 6000 + "}")
@example("? {a: b}\n: c")
@example("!!set {a}")
@example("!!omap [a: 1]")
@example("!<tag:yaml.org,2002:map> x")
@example("! x")
def test_fuzz_text(file: Path, text: str) -> None:
    """DESIGN 6: likewise."""
    check_outcome(file, text.encode())
    check_outcome(file, b"version: v1.0\ndeployments:\n  a: " + text.encode())


@FUZZ
@given(VALUES | st.fixed_dictionaries({"version": st.just("v1.0"), "deployments": st.dictionaries(NAMES, DEPLOYMENTS)}))
def test_fuzz_values(file: Path, value: object) -> None:
    """DESIGN 6: likewise, for files that nearly are what they should be."""
    stream = StringIO()
    YAML(typ="safe", pure=True).dump(value, stream)
    check_outcome(file, stream.getvalue().encode("utf-8", "surrogatepass"))
