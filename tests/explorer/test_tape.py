"""A tape is all that is needed to play a run again, and nothing else is taken for one."""

from __future__ import annotations

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given
from hypothesis import strategies as st

from . import Limits, Tape, replay
from .play import Limits as SameLimits

limits = st.builds(
    Limits,
    cancellations=st.integers(0, 3),
    failures=st.integers(0, 3),
    steps=st.sampled_from([10, Limits().steps]),
    callbacks=st.booleans(),
)


@given(st.sampled_from(["asyncio", "trio"]), limits, st.lists(st.integers(0, 12), max_size=30))
def test_what_is_written_is_read(backend: str, limits: Limits, taken: list[int]):
    tape = Tape.of(backend, limits, taken)
    assert Tape.parse(str(tape)) == tape
    assert tape.limits == limits
    assert [*tape.ways, *[0] * (len(taken) - len(tape.ways))] == taken


def test_its_text():
    assert str(Tape.of("asyncio", SameLimits(1, 0), [0, 0, 2, 0, 1, 0])) == "asyncio:c1f0:2=2,4=1"
    assert str(Tape.of("trio", SameLimits(), [])) == "trio:c0f0:"
    assert str(Tape.of("trio", SameLimits(steps=7), [1])) == "trio:c0f0s7:0=1"
    assert str(Tape.of("asyncio", SameLimits(callbacks=True, bound=3), [1])) == "asyncio:c0f0k:0=1"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "asyncio",
        "asyncio:",
        "asyncio:c1f0",
        "asyncio:c1f0:1",
        "asyncio:c1f0:1=",
        "asyncio:c1f0:1=1,",
        "asyncio:c1f0:1=0",
        "asyncio:c1f0:2=1,1=1",
        "asyncio:c1f0:1=1,1=2",
        "asyncio:c-1f0:1=1",
        "asyncio:c1f0:\u0661=1",
        "asyncio:c1f0:999999999999=1",
        "asyncio:c1f0:01=1",
        "curio:c0f0:",
        "asyncio:c0f0:0=1\nasyncio:c0f0:0=1",
    ],
)
def test_bad_tapes_are_refused(text: str):
    with pytest.raises(ValueError, match="tape"):
        replay(checkpoint, text)


async def scenario() -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(checkpoint)
        tasks.start_soon(checkpoint)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_tapes_of_other_scenarios_are_refused(backend: str):
    assert replay(scenario, f"{backend}:c0f0:0=1")
    with pytest.raises(ValueError, match="another scenario"):
        replay(scenario, f"{backend}:c0f0:0=7")
    with pytest.raises(ValueError, match="another scenario"):
        replay(scenario, f"{backend}:c0f0:99=1")


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_run_that_goes_well_is_told(backend: str):
    story = replay(scenario, f" {backend}:c0f0: ")
    assert story[0] == "1. scenario"
    assert [line.partition(".")[0] for line in story] == [str(number + 1) for number in range(len(story))]
    assert any("(ready as well: " in line for line in story)
