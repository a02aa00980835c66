"""What the manager takes for a deployment whose connector does nothing, beside one bare task and one Event."""

from __future__ import annotations

from .contenders import BACKENDS, anydeploy, bounded_floor, floor, timed
from .graphs import SHAPES, definitions
from .measure import Aim, Effort, Row, Section, Spread, compare, in_turns, ratios

#: The numbers of deployments, and how many rounds each is worth.
_ROUNDS = {100: 21, 1_000: 15, 10_000: 7, 100_000: 3}
_FLOORS = ("floor", "bounded floor")


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
                rounds = effort.rounds(_ROUNDS.get(n, 1))
                found = in_turns(contenders, rounds, collect=collect, warm_up=n <= 1_000)
                each = {name: Spread.of([1e6 * value / n for value in found[name]]) for name in contenders}
                case: dict[str, str | int] = {"shape": shape, "n": n, "loop": loop}
                for name in _FLOORS:
                    aim = Aim(1.5) if name == "floor" and n in (1_000, 100_000) else None
                    rows[name].append(compare(case, found, "anydeploy", name, unit="µs", scale=1e6 / n, aim=aim))
                if n == 1_000:
                    previous = each
                if n == 100_000:
                    growth += [
                        _growth(name, shape, loop, previous[name], found[name]) for name in ("anydeploy", "floor")
                    ]
                if (shape, loop) == ("wide", "asyncio"):
                    for name, spread in each.items():
                        cost[name].append((n, spread.median))
    title = "Overhead of a deployment that does nothing, beside "
    sections = [
        Section(f"{title}one task and one Event", rows["floor"], across="loop", curves=cost),
        Section(f"{title}a task with a scope, a deadline and its turn", rows["bounded floor"], across="loop"),
    ]
    if growth:
        sections.append(Section("Cost of a deployment among 100,000, beside that among 1,000", growth, across="loop"))
    return sections


def _loops() -> list[tuple[str, str, bool]]:
    """A name, the backend, and whether the garbage collector is on, as it is unless somebody switches it off."""
    return [*((name, name, True) for name in BACKENDS), ("asyncio, gc off", "asyncio", False)]


def _growth(name: str, shape: str, loop: str, small: Spread, large: list[float]) -> Row:
    each = [1e6 * value / 100_000 for value in large]
    aim = Aim(1.3) if name == "anydeploy" else None
    case = {"what": name, "shape": shape, "loop": loop}
    return Row(case, "1,000", "µs", Spread.of(each), small, ratios(each, [small.median] * len(each)), aim)
