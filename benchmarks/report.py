"""The results: a short table for the page, full tables, and JSON."""

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
    """Return all figures, for programs."""
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
    """Return the full tables."""
    lines: list[str] = []
    for section in sections:
        lines += [f"### {section.title}", "", *_table(section)]
        lines += [f"Skipped: {why}." for why in section.skipped]
        lines += [""]
    lines += [f"`{_command()}`: {_about()}."]
    return "\n".join(lines) + "\n"


def as_summary(name: str, sections: Sequence[Section]) -> str:
    """Return the short table: the labelled rows, each with its aim and whether that is met.

    :param name: the benchmark, whose full tables the text links to
    """
    lines = [_line(["", "anydeploy", "compared with", "ratio", "aim", ""]), _line(["---"] * 6)]
    for row in [row for section in sections for row in section.rows if row.label is not None]:
        ours, theirs = (f"{_number(spread.median)} {row.unit}" for spread in (row.ours, row.theirs))
        met = "" if row.aim is None else "met" if row.aim.met(row.ratio) else "missed"
        ratio, aim = f"**{_number(row.ratio.median)}**", "" if row.aim is None else str(row.aim)
        lines.append(_line([row.label or "", ours, f"{row.against}: {theirs}", ratio, aim, met]))
    skipped = dict.fromkeys(f"Skipped: {why}." for section in sections for why in section.skipped)
    lines += ["", *skipped, f"{_about()}. [All figures](results/{name}.md)."]
    return "\n".join(lines) + "\n"


def replace_in(page: Path, name: str, summary: str) -> None:
    """Replace the short table of a benchmark in the page."""
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
    before, _, rest = page.read_text().partition(begin)
    _, _, after = rest.partition(end)
    page.write_text(f"{before}{begin}\n{summary}\n{end}{after}")


def _about() -> str:
    found = machine()
    where = found.pop("machine")
    return f"{where}; {', '.join(f'{name} {what}' for name, what in found.items())}"


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
    """Format the median, with the quartiles if they differ from it."""
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
