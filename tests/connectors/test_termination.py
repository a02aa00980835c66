"""Ask, grace, kill, vanish: with a process that does as the test says."""

from __future__ import annotations

import asyncio
import math
from signal import SIGINT, SIGKILL, SIGTERM, SIGUSR1

import anyio
import pytest
from anyio import current_time

from anydeploy.connectors.termination import EndRequests, Terminator

pytestmark = pytest.mark.anyio

HOUR = 3600.0


class Process:
    """Is gone when it is sent one of the signals that end it."""

    def __init__(self, *ending: int) -> None:
        self.requests = EndRequests()
        self.sent: list[int] = []
        self.gone = anyio.Event()
        self.waits = 0
        self._ending = ending

    def send_signal(self, number: int) -> None:
        self.requests.note(number)
        self.sent.append(number)
        if number in self._ending:
            self.gone.set()

    async def wait_gone(self) -> None:
        self.waits += 1
        await self.gone.wait()


async def waiting(process: Process) -> None:
    while not process.waits:
        await anyio.lowlevel.checkpoint()


async def test_what_ends_when_it_is_asked_is_not_killed():
    process = Process(SIGTERM)
    assert await Terminator().end(process, HOUR)
    assert process.sent == [SIGTERM]


async def test_the_grace_begins_with_the_first_request():
    """However it was asked; what was asked with another signal is asked with SIGTERM as well."""
    process = Process(SIGKILL)
    process.send_signal(SIGUSR1)
    process.send_signal(SIGINT)
    assert process.requests.first <= current_time()
    process.requests.first -= HOUR
    assert await Terminator().end(process, HOUR)
    assert process.sent == [SIGUSR1, SIGINT, SIGTERM, SIGKILL]


async def test_what_does_not_ask_for_an_end_is_no_request():
    process = Process()
    process.send_signal(SIGUSR1)
    assert (process.requests.made, process.requests.first) == (False, math.inf)


async def test_what_was_asked_is_not_asked_again():
    process = Process(SIGKILL)
    process.send_signal(SIGTERM)
    process.send_signal(SIGINT)
    assert await Terminator().end(process, 0)
    assert process.sent == [SIGTERM, SIGINT, SIGKILL]


async def test_what_was_killed_has_no_grace():
    process = Process()
    process.send_signal(SIGKILL)
    process.send_signal(SIGINT)
    assert not await Terminator(vanishing=0).end(process, HOUR)
    assert process.sent == [SIGKILL, SIGINT, SIGKILL]


async def test_what_does_not_vanish_is_told():
    process = Process()
    assert not await Terminator(vanishing=0.01).end(process, 0.01)
    assert process.sent == [SIGTERM, SIGKILL]


async def test_hurry_cuts_every_grace():
    """Those that are running, and those to come."""
    terminator, first, second, third = Terminator(), Process(SIGKILL), Process(SIGKILL), Process(SIGKILL)
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            for process in (first, second):
                tasks.start_soon(terminator.end, process, HOUR)
                await waiting(process)
            terminator.hurry()
        assert await terminator.end(third, HOUR)
    assert first.sent == second.sent == third.sent == [SIGTERM, SIGKILL]


async def test_hurry_leaves_the_least():
    """To what was being ended, and to what comes."""
    terminator, process, late = Terminator(), Process(SIGKILL), Process(SIGKILL)
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(terminator.end, process, HOUR, HOUR / 2)
            tasks.start_soon(terminator.end, late, HOUR, 0.01)
            await waiting(process)
            await waiting(late)
            terminator.hurry()
            terminator.hurry()
            await late.gone.wait()
            assert process.sent == [SIGTERM]
            process.gone.set()
    assert late.sent == [SIGTERM, SIGKILL]


async def test_a_cancellation_kills_at_once_and_is_let_through():
    process = Process(SIGKILL)
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(Terminator().end, process, HOUR)
            await waiting(process)
            tasks.cancel_scope.cancel()
    assert process.sent == [SIGTERM, SIGKILL]
    assert process.waits == 2


async def test_a_cancellation_waits_for_what_was_killed_to_vanish():
    process = Process()

    async def vanish() -> None:
        while process.sent != [SIGTERM, SIGKILL]:
            await anyio.lowlevel.checkpoint()
        await anyio.wait_all_tasks_blocked()
        process.gone.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(vanish)
        with anyio.move_on_after(0.01) as scope:
            await Terminator(vanishing=HOUR).end(process, HOUR)
        assert scope.cancelled_caught
        assert process.gone.is_set()


async def test_a_cancellation_is_let_through_when_it_does_not_vanish():
    process = Process()
    with anyio.move_on_after(0.01) as scope:
        await Terminator(vanishing=0.02).end(process, HOUR)
    assert scope.cancelled_caught
    assert process.sent == [SIGTERM, SIGKILL]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_native_cancellation_kills_at_once_in_spite_of_a_shield():
    process = Process()

    async def end() -> None:
        with anyio.CancelScope(shield=True):
            await Terminator(vanishing=HOUR).end(process, HOUR)

    task = asyncio.create_task(end())
    await waiting(process)
    task.cancel()
    await anyio.wait_all_tasks_blocked()
    assert (process.sent, task.done()) == ([SIGTERM, SIGKILL], False)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_wait_that_fails_kills_it():
    class Broken(Process):
        async def wait_gone(self) -> None:
            if not self.sent[1:]:
                raise ZeroDivisionError
            await super().wait_gone()

    process = Broken(SIGKILL)
    with pytest.raises(ZeroDivisionError):
        await Terminator().end(process, HOUR)
    assert process.sent == [SIGTERM, SIGKILL]
