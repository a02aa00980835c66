"""D1-D6, R1-R4, U1-U8, K1, L1: the rules hold between any two steps, and not only when everything is at rest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from random import Random

import anyio
import pytest
from anyio.lowlevel import checkpoint

from anydeploy import DeploymentConfig
from anydeploy.testing import AnydeploySubject, Recorded, Script, choices, recorded, unit, wrapper
from anydeploy.testing.callers import Caller
from anydeploy.testing.rest import settle
from anydeploy.testing.virtual import BACKENDS

_SEEDS = 150


class Dice:
    """Lets operations fail by chance."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._chance = random.choice([0, 0.1, 0.3])

    def choose(self, ways: int, what: str) -> int:
        return int(self._random.random() < self._chance)

    def cancellable(self, what: str, cancel: object) -> object:
        return lambda: None

    def violated(self, violation: Exception) -> None:
        raise violation

    def now(self) -> float:
        return anyio.current_time()


@pytest.fixture(autouse=True)
def _nobody_plays() -> Iterator[None]:
    yield
    choices.play(None)


def graph(random: Random) -> Iterator[DeploymentConfig]:
    names = "abcde"[: random.randint(1, 4)]
    for number, name in enumerate(names):
        below = list(names[:number])
        others = random.sample(below, min(number, random.randint(0, 2)))
        lazy = random.random() < 0.2
        wraps = random.choice([None, *below])
        if wraps is not None:
            yield wrapper(name, wraps, *others, lazy=lazy)
        else:
            yield unit(name, *others, type=random.choice(["scripted", "stubborn"]), lazy=lazy)


async def storm(seed: int) -> None:
    random = Random(seed)
    script = Script(*graph(random), max_concurrent=random.choice([None, None, 1, 2]), may_fail=True)
    choices.play(Dice(random))  # type: ignore[arg-type]
    # That something may be left behind is what it says where a teardown has failed twice.
    with suppress(BaseExceptionGroup):
        async with recorded(AnydeploySubject(), script) as manager, anyio.create_task_group() as tasks:
            callers: list[Caller] = []
            for _ in range(random.randint(2, 14)):
                callers += act(random, manager, callers, tasks)
                for _ in range(random.choice([0, 0, 1, 1, 2, 3, 5])):
                    await checkpoint()
                manager.read()
            await settle()
            script.history.at_rest()
            manager.read()
    script.history.check()


def act(random: Random, manager: Recorded, callers: list[Caller], tasks: anyio.abc.TaskGroup) -> Iterator[Caller]:
    """What happens next."""
    script = manager.script
    what = random.choice([*["deploy"] * 4, *["undeploy"] * 3, "undeploy_all", "use", "use", "cancel", "cancel"])
    waiting = [caller for caller in callers if caller.outcome is None]
    usable = [name for name in sorted(script.history.picture.armed) if manager.manager.get_connector(name)]
    if what == "cancel" and waiting:
        random.choice(waiting).cancel(random.choice(["scope", "native", "deadline"]))
    elif what == "use" and usable:
        yield manager.start(tasks, "use", random.choice(usable))
    elif what in ("deploy", "undeploy"):
        yield manager.start(tasks, what, random.choice(list(script.premises.configs)))
    elif what == "undeploy_all":
        yield manager.start(tasks, what)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_rules_hold_between_any_two_steps(backend: str):
    """D1-D6, R1-R4, U1-U8, K1, L1: whatever callers do, while others are still on their way."""
    for seed in range(_SEEDS):
        anyio.run(storm, seed, backend=backend)
