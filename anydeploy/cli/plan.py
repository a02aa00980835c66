"""The formats of a plan: a table, JSON, and graphs for Mermaid and Graphviz."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import IO, Any, cast

from ..config import DeploymentConfig
from ..graph import teardown_waves, waves
from .loading import Selection, require
from .output import clean, stdout


def show_table(plan: Selection) -> None:
    """Print the waves as a table on stdout, as wide as necessary if that is not a terminal."""
    require("rich")
    from rich import box  # noqa: PLC0415 - slow to import
    from rich.console import Console  # noqa: PLC0415 - likewise
    from rich.table import Table  # noqa: PLC0415 - likewise
    from rich.text import Text  # noqa: PLC0415 - likewise

    stream = stdout()
    console = Console(file=cast("IO[str]", stream), width=None if stream.isatty() else 10_000)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for title in ("wave", "deployment", "type", "wraps", "depends on", ""):
        table.add_column(title, overflow="fold")
    for number, wave in enumerate(waves(plan.order, plan.dependencies), start=1):
        for row, name in enumerate(wave):
            cells = [str(number) if row == 0 else "", *_cells(plan.configs[name])]
            table.add_row(*(Text(clean(cell)) for cell in cells))
    console.print(table)
    stream.flush()


def _cells(config: DeploymentConfig) -> list[str]:
    wraps = config.wraps
    on = "" if wraps is None else wraps.deployment + (f" ({wraps.service})" if wraps.service is not None else "")
    return [config.name, config.type, on, ", ".join(config.depends_on), "external" if config.external else ""]


def to_json(plan: Selection) -> str:
    """Return the waves, up and down, and the definitions as JSON."""
    return json.dumps(
        {
            "waves": waves(plan.order, plan.dependencies),
            "teardown": teardown_waves(plan.order, plan.dependencies),
            "deployments": {name: _to_mapping(plan.configs[name]) for name in plan.order},
        },
        indent=2,
    )


def _to_mapping(config: DeploymentConfig) -> Mapping[str, Any]:
    wraps = config.wraps
    return {
        "type": config.type,
        "external": config.external,
        "lazy": config.lazy,
        "workdir": config.workdir,
        "wraps": None if wraps is None else {"deployment": wraps.deployment, "service": wraps.service},
        "dependsOn": list(config.depends_on),
    }


def to_mermaid(plan: Selection) -> str:
    """Return a flowchart for Mermaid, with an arrow from each deployment to each of its dependencies."""
    # Names may be keywords of Mermaid, such as `end`, so the nodes have numbers.
    number = {name: f"n{index}" for index, name in enumerate(plan.order)}
    lines = ["flowchart BT"]
    for name in plan.order:
        label = f"{name} ({plan.configs[name].type})".replace("#", "#35;").replace('"', "#quot;")
        lines.append(f'  {number[name]}["{clean(label)}"]')
    for name, dependency, label in _edges(plan):
        lines.append(f"  {number[name]} -->{f'|{label}|' if label else ''} {number[dependency]}")
    return "\n".join(lines)


def to_dot(plan: Selection) -> str:
    """Return a graph for Graphviz, with a rank for each wave."""
    lines = ["digraph plan {", "  rankdir=BT;", "  node [shape=box];"]
    for name in plan.order:
        label = f"{name}\n{plan.configs[name].type}"
        lines.append(f"  {_quote(name)} [label={_quote(label)}];")
    ranks = [" ".join(f"{_quote(name)};" for name in wave) for wave in waves(plan.order, plan.dependencies)]
    lines += [f"  {{ rank=same; {rank} }}" for rank in ranks]
    for name, dependency, label in _edges(plan):
        lines.append(f"  {_quote(name)} -> {_quote(dependency)}{f' [label={label}]' if label else ''};")
    return "\n".join([*lines, "}"])


def _quote(text: str) -> str:
    escaped = clean(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _edges(plan: Selection) -> Iterator[tuple[str, str, str]]:
    for name in plan.order:
        wraps = plan.configs[name].wraps
        for dependency in plan.dependencies(name):
            yield name, dependency, "wraps" if wraps is not None and wraps.deployment == dependency else ""
