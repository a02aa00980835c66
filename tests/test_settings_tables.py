"""The settings in the documentation are those of the code: names, defaults and meanings.

A setting whose meaning is told in the docstring of its class, as ``:ivar name: meaning`` or ``:ivar name: setting
``alias``: meaning``, is a row of the table on the page of its type. The others are options of a program, which are
listed there by their names, or are refused.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from anydeploy.checking import settings_of
from anydeploy.connectors import _BUILTIN, connector_type
from anydeploy.file import load_file

ROOT = Path(__file__).parents[1]
HEAD = "| setting | default | meaning |\n|---|---|---|\n"
_MEANING = re.compile(r"^:ivar (\w+): (?:setting ``(\w+)``: )?((?:.+\n?)+?)(?=:|\n|\Z)", re.MULTILINE)
#: Those have the settings of another type.
SAME = {"podman": "docker"}


def page(type_: str) -> str:
    return (ROOT / "docs" / "connectors" / f"{type_}.md").read_text()


def meanings(class_: type) -> Iterator[tuple[str, str]]:
    """What is told of settings, from the bases to the class itself."""
    for base in reversed(class_.__mro__):
        for name, alias, text in _MEANING.findall(inspect.cleandoc(base.__doc__ or "")):
            if (alias or name) in settings_of(class_):  # type: ignore[arg-type]
                yield alias or name, " ".join(text.replace("``", "`").split())


def default(attribute: attrs.Attribute[Any]) -> str:
    value: Any = attribute.default
    if value is attrs.NOTHING:
        return "required"
    if isinstance(value, attrs.Factory):  # type: ignore[arg-type]
        value = value.factory()
    match value:
        case bool():
            shown = str(value).lower()
        case float():
            shown = f"{value:g}s"
        case int():
            shown = str(value)
        case _:
            assert not value
            return "none"
    return f"`{shown}`"


@pytest.mark.parametrize("type_", sorted({*_BUILTIN} - {*SAME}))
def test_the_table_of_settings(type_: str):
    class_ = connector_type(type_)
    settings = settings_of(class_)
    rows = [f"| `{name}` | {default(settings[name])} | {meaning} |\n" for name, meaning in meanings(class_)]
    text = page(type_)
    if not settings:
        assert "there are no settings" in text
        return
    (table,) = re.findall(rf"{re.escape(HEAD)}((?:\|.*\n)+)", text)
    assert table == "".join(rows)


@pytest.mark.parametrize("type_", sorted({*_BUILTIN} - {*SAME}))
def test_the_other_settings_are_listed_or_refused(type_: str):
    class_ = connector_type(type_)
    settings = settings_of(class_)
    refused = {name for name, setting in settings.items() if "refused" in setting.metadata}
    told = {name for name, _ in meanings(class_)}
    options = {name for name, setting in settings.items() if "option" in setting.metadata} - told
    assert told | options | refused == set(settings)
    assert not told & refused
    text = page(type_).replace(HEAD, "")
    listed = [row for row in re.findall(r"^\|.*\|$", text, re.MULTILINE) if row.count("|") == 3]
    found = {name for row in listed for name in re.findall(r"`(\w+)`", row.split("|")[2])}
    assert options == (found if options else set())
    assert refused <= set(re.findall(r"`(\w+)`", re.sub(r"^\|.*\n", "", text, flags=re.MULTILINE)))


@pytest.mark.parametrize(("type_", "other"), SAME.items())
def test_a_type_with_the_settings_of_another(type_: str, other: str):
    assert set(settings_of(connector_type(type_))) == set(settings_of(connector_type(other)))
    assert f"[settings of `{other}`]({other}.md)" in page(type_)


@pytest.mark.parametrize("type_", sorted({*_BUILTIN} - {"local"}))
def test_there_is_an_example_of_each(type_: str):
    """Its page names one; `local` is what all of them stand on."""
    (example,) = re.findall(r"\]\(../../(examples/\w+\.yml)\)", page(type_))
    assert type_ in {each.type for each in load_file(ROOT / example).values()}


@pytest.mark.parametrize("type_", sorted({*_BUILTIN}))
def test_no_variable_is_shown(type_: str):
    """Their values may be secret, and connectors stand in logs and tracebacks."""
    fields = attrs.fields_dict(connector_type(type_))
    assert [name for name in ("environment", "variables") if name in fields and fields[name].repr is not False] == []
