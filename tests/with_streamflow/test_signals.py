"""The end of the environments when the program is told to end, or a context is never closed."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from signal import Signals

import pytest

from anydeploy.streamflow.plugin.signals import acquire

from .recorded import config, manager

ENDING = (Signals.SIGTERM, Signals.SIGHUP)

#: A program that has a manager with the environment `a`, and a second one with `b`.
PROGRAM = """
import asyncio, logging, signal, sys
from streamflow.deployment.connector import connector_classes
from {package}.recorded import Plain, config, happened, manager
connector_classes["plain"] = Plain
logging.getLogger("streamflow").setLevel(logging.WARNING)

async def up():
    first, second = manager(), manager()
    await first.deploy(config("a"))
    await second.deploy(config("b"))
    return first, second

async def up_and_close(number):
    first, second = await up()
    await first.close()
    try:
        signal.raise_signal(number)
        await asyncio.sleep(60)
    finally:
        await second.close()
"""


def run(program: str) -> tuple[int, str]:
    directory, package = __file__.rsplit("/", 2)[:-1]
    done = subprocess.run(
        [sys.executable, "-W", "default", "-c", PROGRAM.format(package=package) + program],
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.fixture(autouse=True)
def _dispositions() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (Signals.SIGINT, *ENDING)}
    for number in ENDING:
        signal.signal(number, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def handlers() -> list[object]:
    return [signal.getsignal(number) for number in ENDING]


@pytest.mark.anyio
@pytest.mark.usefixtures("happened")
async def test_the_handlers_stay_until_the_last_manager_is_closed():
    interrupt = signal.getsignal(Signals.SIGINT)
    first, second = manager(), manager()
    assert handlers() == [signal.SIG_DFL] * 2
    await first.deploy(config("a"))
    ours = handlers()
    assert signal.SIG_DFL not in ours
    await second.deploy(config("a"))
    await first.close()
    assert handlers() == ours
    await second.close()
    assert handlers() == [signal.SIG_DFL] * 2
    assert signal.getsignal(Signals.SIGINT) is interrupt


@pytest.mark.anyio
async def test_handlers_of_others_are_left_alone():
    signal.signal(Signals.SIGTERM, signal.SIG_IGN)
    held = acquire(lambda: None)
    assert signal.getsignal(Signals.SIGTERM) is signal.SIG_IGN
    theirs = signal.default_int_handler
    signal.signal(Signals.SIGHUP, theirs)
    held.release()
    assert handlers() == [signal.SIG_IGN, theirs]


@pytest.mark.anyio
async def test_other_threads_have_no_signals():
    def elsewhere() -> None:
        async def held() -> None:
            acquire(lambda: None).release()

        asyncio.run(held())

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert handlers() == [signal.SIG_DFL] * 2


def test_a_loop_that_was_closed_is_guarded_no_more():
    async def held() -> None:
        acquire(lambda: None)

    asyncio.run(held())
    left = handlers()
    assert signal.SIG_DFL not in left

    async def held_again() -> None:
        ours = acquire(lambda: None)
        assert handlers() != left
        ours.release()

    asyncio.run(held_again())
    assert handlers() == [signal.SIG_DFL] * 2


@pytest.mark.parametrize("number", ENDING, ids=lambda number: number.name)
def test_the_end_of_a_program(number: Signals):
    """As with Ctrl-C: the main task is cancelled, and asyncio raises KeyboardInterrupt in the end."""
    program = f"""
try:
    asyncio.run(up_and_close({int(number)}))
except KeyboardInterrupt:
    print(*happened, sep=", ")
"""
    assert run(program) == (
        0,
        "deploy a, deployed a, deploy b, deployed b, undeploy a, undeployed a, undeploy b, undeployed b\n",
    )


def test_the_end_of_a_program_that_ignores_sigint():
    """A script's background job does."""
    program = """
signal.signal(signal.SIGINT, signal.SIG_IGN)
try:
    asyncio.run(up_and_close(signal.SIGTERM))
except KeyboardInterrupt:
    print(*happened[-2:], sep=", ")
"""
    assert run(program) == (0, "undeploy b, undeployed b\n")


def test_a_context_that_is_never_closed():
    """At the end of asyncio.run everything is taken down all the same, and nothing is said about it."""
    program = """
asyncio.run(up())
print(*sorted(happened), sep=", ")
"""
    assert run(program) == (
        0,
        "deploy a, deploy b, deployed a, deployed b, undeploy a, undeploy b, undeployed a, undeployed b\n",
    )


@pytest.mark.parametrize(
    "end", ["", "loop.close()", "loop.close(); del loop, kept; gc.collect()", "del kept; gc.collect()"]
)
def test_a_context_and_a_loop_that_are_just_dropped(end: str):
    """There is no way to take anything down, but no storm of warnings either."""
    program = f"""
import gc
loop = asyncio.new_event_loop()
kept = loop.run_until_complete(up())
{end}
"""
    returncode, output = run(program)
    assert returncode == 0
    assert "Task was destroyed" not in output
    assert output == ""


def test_a_context_that_is_forgotten_while_the_loop_runs():
    """Its environments stay up until the end of the loop."""
    program = """
import gc
async def forget():
    await up()
    gc.collect()
    print(*happened, sep=", ")
asyncio.run(forget())
print(*sorted(happened[4:]), sep=", ")
"""
    assert run(program) == (
        0,
        "deploy a, deployed a, deploy b, deployed b\nundeploy a, undeploy b, undeployed a, undeployed b\n",
    )


def test_a_context_that_is_closed_too_late():
    """There is nothing left to close, and nothing is deployed any more."""
    program = """
first, second = asyncio.run(up())
asyncio.run(first.close())
try:
    asyncio.run(second.deploy(config("b")))
except Exception as error:
    print(error)
"""
    assert run(program) == (0, "the deployment manager is closed\n")


def test_a_signal_after_the_loop_was_closed():
    """It ends the program as if nobody had handled it."""
    program = """
loop = asyncio.new_event_loop()
kept = loop.run_until_complete(up())
loop.close()
signal.raise_signal(signal.SIGTERM)
"""
    assert run(program)[0] == -signal.SIGTERM


def test_where_no_event_loop_runs_the_third_signal_ends_the_program():
    """Nothing can be taken down then, and whoever asks three times is to be heard."""
    program = """
loop = asyncio.new_event_loop()
loop.run_until_complete(up())
for _ in range(3):
    print("once more", flush=True)
    signal.raise_signal(signal.SIGTERM)
print("still here")
"""
    assert run(program) == (-Signals.SIGTERM, "once more\n" * 3)


def test_the_second_signal_cuts_a_deploy_short():
    """D6: otherwise it would be allowed to finish. What it may have made is undeployed."""
    program = """
from {package}.recorded import scripts

async def interrupted():
    sut = manager()
    scripts["a"] = asyncio.Event().wait
    coming = asyncio.create_task(sut.deploy(config("a")))
    while not happened:
        await asyncio.sleep(0)
    try:
        signal.raise_signal(signal.SIGINT)
        await coming
    finally:
        asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)
        await sut.close()

try:
    asyncio.run(interrupted())
except KeyboardInterrupt:
    print(*happened, sep=", ")
"""
    returncode, output = run(program.format(package=__file__.rsplit("/", 2)[1]))
    assert returncode == 0
    notice, outcome = output.splitlines()
    assert "Deploys and grace periods are cut short. Once more leaves at once" in notice
    assert outcome == "deploy a, undeploy a, undeployed a"
