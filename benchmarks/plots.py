"""The plots: cost against the number of deployments, and the time until all are up against the bound."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def draw(directory: Path) -> None:
    """Write an SVG for each plot that there are figures for.

    :param directory: where the JSON files of the benchmarks are, and the plots will be
    :raises ImportError: if matplotlib is not installed
    """
    import matplotlib as mpl

    mpl.use("svg")
    # The same figures give the same file.
    mpl.rcParams.update({"svg.hashsalt": "anydeploy", "svg.fonttype": "none", "font.size": 10})
    overhead, makespan = _curves(directory, "overhead"), _curves(directory, "makespan")
    if overhead:
        _cost(overhead | _curves(directory, "streamflow"), directory / "overhead.svg")
    if makespan:
        _makespan(makespan, directory / "makespan.svg")


def _curves(directory: Path, name: str) -> dict[str, Any]:
    path = directory / f"{name}.json"
    sections = json.loads(path.read_text())["sections"] if path.exists() else []
    return {title: points for section in sections for title, points in section["curves"].items()}


def _cost(curves: Mapping[str, Any], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes: Any = figure.add_subplot()
    styles = {"anydeploy": "o-", "floor": "s--", "bounded floor": "^--", "StreamFlow": "x-"}
    for name, points in curves.items():
        axes.loglog(*zip(*points, strict=True), styles.get(name, "d-"), label=name)
    axes.set(xlabel="deployments", ylabel="µs each, CPU time", title="Deploy and undeploy, asyncio, no dependencies")
    axes.grid(visible=True, which="both", alpha=0.25)
    axes.legend()
    _save(figure, path)


def _makespan(curves: Mapping[str, Any], path: Path) -> None:
    from matplotlib.figure import Figure

    shapes = list(dict.fromkeys(name.rpartition(", ")[0] for name in curves))
    figure = Figure(figsize=(2.6 * len(shapes), 3.4), layout="constrained")
    styles = {"anydeploy": "o-", "FIFO": "s--", "levels": "^:", "foresight": "d-."}
    first: Any = None
    for number, shape in enumerate(shapes):
        axes: Any = figure.add_subplot(1, len(shapes), number + 1, sharey=first)
        first = first or axes
        for order, style in styles.items():
            points = curves.get(f"{shape}, {order}")
            if points:
                axes.plot(*zip(*points, strict=True), style, label=order)
                axes.set_xscale("log", base=2)
                axes.set_xticks([x for x, _ in points], [f"{x:g}" for x, _ in points])
                axes.minorticks_off()
        axes.axhline(1, color="grey", linewidth=0.8)
        axes.set(title=shape, xlabel="max_concurrent")
        axes.grid(visible=True, alpha=0.25)
    first.set_ylabel("time until all are up / bound")
    first.legend()
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, metadata={"Date": None})
