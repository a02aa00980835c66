"""The plots: cost against the number of deployments, and the time until all are up against the bound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .measure import Section


def draw(found: Mapping[str, Sequence[Section]], directory: Path) -> list[Path]:
    """Write an SVG for each plot that there are figures for.

    :raises ImportError: if matplotlib is not installed
    """
    import matplotlib as mpl

    mpl.use("svg")
    # The same figures give the same file.
    mpl.rcParams.update({"svg.hashsalt": "anydeploy", "svg.fonttype": "none", "font.size": 10})
    drawn: list[Path] = []
    cost = {name: points for part in ("overhead", "streamflow") for name, points in _curves(found, part)}
    if cost:
        drawn.append(_cost(cost, directory / "overhead.svg"))
    makespan = dict(_curves(found, "makespan"))
    if makespan:
        drawn.append(_makespan(makespan, directory / "makespan.svg"))
    return drawn


def _curves(found: Mapping[str, Sequence[Section]], name: str) -> list[tuple[str, Any]]:
    return [curve for section in found.get(name, ()) for curve in section.curves.items()]


def _cost(curves: Mapping[str, Any], path: Path) -> Path:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes: Any = figure.add_subplot()
    styles = {"anydeploy": "o-", "floor": "s--", "bounded floor": "^--", "StreamFlow": "x-"}
    for name, points in curves.items():
        axes.loglog(*zip(*points, strict=True), styles.get(name, "d-"), label=name)
    axes.set(xlabel="deployments", ylabel="µs each, CPU time", title="Deploy and undeploy, asyncio, no dependencies")
    axes.grid(visible=True, which="both", alpha=0.25)
    axes.legend()
    return _save(figure, path)


def _makespan(curves: Mapping[str, Any], path: Path) -> Path:
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
    return _save(figure, path)


def _save(figure: Any, path: Path) -> Path:
    figure.savefig(path, metadata={"Date": None})
    return path
