"""What was found, as tables for people and as JSON for programs."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from os import cpu_count
from pathlib import Path
from typing import Any

from .measure import Row, Section, Spread

_PACKAGES = ("anydeploy", "anyio", "attrs", "trio", "uvloop", "streamflow", "networkx", "rustworkx", "ruamel.yaml")


def machine() -> dict[str, str]:
    found = {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "machine": f"{platform.system()} {platform.machine()}, {cpu_count()} cores, {_processor()}",
    }
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def as_dict(sections: Sequence[Section]) -> dict[str, Any]:
    """All figures, for programs."""
    found = [
        {
            "title": section.title,
            "rows": [row.as_dict() for row in section.rows],
            "skipped": section.skipped,
            "curves": section.curves,
        }
        for section in sections
    ]
    return {"machine": machine(), "command": _command(), "sections": found}


def as_markdown(sections: Sequence[Section]) -> str:
    """The tables, for people."""
    lines: list[str] = []
    for section in sections:
        lines += [f"### {section.title}", "", *_table(section)]
        lines += [f"Skipped: {why}." for why in section.skipped]
        lines += [""]
    about = machine()
    where = about.pop("machine")
    lines += [f"`{_command()}`: {where}; {', '.join(f'{name} {what}' for name, what in about.items())}."]
    return "\n".join(lines) + "\n"


def into(readme: Path, name: str, tables: str) -> None:
    """Put the tables of a benchmark in place of those of its last run."""
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
    before, _, rest = readme.read_text().partition(begin)
    _, _, after = rest.partition(end)
    readme.write_text(f"{before}{begin}\n{tables}\n{end}{after}")


def _command() -> str:
    return " ".join(["python -m benchmarks", *sys.argv[1:]])


def _table(section: Section) -> Iterator[str]:
    rows = section.rows
    if not rows:
        return
    if section.across is None:
        keys = list(dict.fromkeys(key for row in rows for key in row.case))
        yield _line([*keys, "takes", "against", "takes", "ratio", "aim"])
        yield _line(["---"] * (len(keys) + 5))
        for row in rows:
            ours, theirs = (f"{_number(spread.median)} {row.unit}" for spread in (row.ours, row.theirs))
            case = [_cell(row.case.get(key, "")) for key in keys]
            yield _line([*case, ours, row.against, theirs, _ratio(row.ratio), _aim(row)])
    else:
        yield from _wide_table(rows, section.across)


def _wide_table(rows: Sequence[Row], across: str) -> Iterator[str]:
    columns = list(dict.fromkeys(str(row.case[across]) for row in rows))
    lines: dict[tuple[str, ...], dict[str, Row]] = {}
    for row in rows:
        key = tuple(_cell(value) for name, value in row.case.items() if name != across)
        lines.setdefault(key, {})[str(row.case[across])] = row
    keys = [name for name in rows[0].case if name != across]
    yield _line([*keys, *columns, "aim"])
    yield _line(["---"] * (len(keys) + len(columns) + 1))
    for key, cells in lines.items():
        aims = dict.fromkeys(str(row.aim) for row in cells.values() if row.aim is not None)
        shown = [_within(cells[column]) if column in cells else "" for column in columns]
        yield _line([*key, *shown, ", ".join(aims)])


def _within(row: Row) -> str:
    mark = "" if row.aim is None or row.aim.met(row.ratio) else " ✗"
    return f"{_ratio(row.ratio)}{mark}, {_number(row.ours.median)} {row.unit}"


def _aim(row: Row) -> str:
    return "" if row.aim is None else f"{row.aim}{'' if row.aim.met(row.ratio) else ' ✗'}"


def _ratio(spread: Spread) -> str:
    """The median, and the quartiles where they differ from it."""
    low, middle, high = (_number(value) for value in (spread.low, spread.median, spread.high))
    return f"**{middle}**" if low == high else f"**{middle}** ({low} to {high})"


def _number(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _cell(value: str | int) -> str:
    return f"{value:,}" if isinstance(value, int) else value


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
