"""The life of a deployment whose connector does nothing, compared with one bare task and one Event."""

from __future__ import annotations

from .contenders import BACKENDS, anydeploy, anydeploy_one_by_one, bounded_floor, floor, timed
from .graphs import SHAPES, definitions, wide
from .measure import Aim, Effort, Row, Section, Spread, compare, in_turns, ratios

#: The numbers of deployments, and the number of rounds for each.
_ROUNDS = {100: 21, 1_000: 15, 10_000: 7, 100_000: 3}
_FLOORS = ("floor", "bounded floor")
#: By shape and size, with the garbage collector on.
_AIMS = {("wide", 1_000): Aim(2.3), ("chain", 1_000): Aim(2.8)}


def run(effort: Effort) -> list[Section]:
    rows: dict[str, list[Row]] = {name: [] for name in _FLOORS}
    growth: list[Row] = []
    cost: dict[str, list[tuple[float, float]]] = {name: [] for name in ("anydeploy", *_FLOORS)}
    for shape, make in SHAPES.items():
        for loop, backend, collect in _loops():
            previous: dict[str, Spread] = {}
            for n in effort.sizes(*_ROUNDS):
                configs = definitions(make(n))
                contenders = {
                    "anydeploy": timed(anydeploy, configs, backend=backend),
                    "floor": timed(floor, configs, backend=backend),
                    "bounded floor": timed(bounded_floor, configs, backend=backend),
                }
                found = in_turns(contenders, effort.rounds(_ROUNDS.get(n, 1)), collect=collect, warm_up=n <= 1_000)
                each = {name: Spread.of([1e6 * value / n for value in values]) for name, values in found.items()}
                case: dict[str, str | int] = {"shape": shape, "n": n, "loop": loop}
                for name in _FLOORS:
                    aim = _AIMS.get((shape, n)) if name == "floor" and collect else None
                    label = f"{shape}, {n:,}" if aim is not None and loop == "asyncio" else None
                    row = compare(case, found, "anydeploy", name, unit="µs", scale=1e6 / n, aim=aim, label=label)
                    rows[name].append(row)
                if n == 1_000:
                    previous = each
                if n == 100_000 and previous:
                    growth += [
                        _growth(name, shape, loop, previous[name], found[name]) for name in ("anydeploy", "floor")
                    ]
                if (shape, loop) == ("wide", "asyncio"):
                    for name, spread in each.items():
                        cost[name].append((n, spread.median))
    title = "Deploy and undeploy of connectors that do nothing, compared with "
    sections = [
        Section(f"{title}one task and one Event", rows["floor"], across="loop", curves=cost),
        Section(f"{title}a task with a shield, a deadline and an order", rows["bounded floor"], across="loop"),
        Section(f"{title}one task and one Event, with a caller for each", _one_by_one(effort), across="loop"),
    ]
    if growth:
        sections.append(Section("A deployment among 100,000, compared with one among 1,000", growth, across="loop"))
    return sections


def _one_by_one(effort: Effort) -> list[Row]:
    rows: list[Row] = []
    for loop, backend, collect in _loops():
        for n in effort.sizes(1_000, 10_000):
            configs = definitions(wide(n))
            contenders = {
                "anydeploy": timed(anydeploy_one_by_one, configs, backend=backend),
                "floor": timed(floor, configs, backend=backend),
            }
            found = in_turns(contenders, effort.rounds(_ROUNDS.get(n, 1)), collect=collect, warm_up=n <= 1_000)
            aim = Aim(3.5) if n == 1_000 and collect else None
            label = f"wide, {n:,}, a caller for each" if aim is not None and loop == "asyncio" else None
            case: dict[str, str | int] = {"shape": "wide", "n": n, "loop": loop}
            rows.append(compare(case, found, *contenders, unit="µs", scale=1e6 / n, aim=aim, label=label))
    return rows


def _loops() -> list[tuple[str, str, bool]]:
    """A name, the backend, and whether the garbage collector is on, which is the default of Python."""
    return [*((name, name, True) for name in BACKENDS), ("asyncio, gc off", "asyncio", False)]


def _growth(name: str, shape: str, loop: str, small: Spread, large: list[float]) -> Row:
    each = [1e6 * value / 100_000 for value in large]
    aim = Aim(1.3) if name == "anydeploy" else None
    case = {"what": name, "shape": shape, "loop": loop}
    return Row(case, "1,000", "µs", Spread.of(each), small, ratios(each, [small.median] * len(each)), aim)
