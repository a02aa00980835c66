"""The duties of a connector towards the commands that run in its environment.

They need no program there but ``sh`` and what POSIX says of it, so that they can be tried in any container.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial

import anyio
from anyio.abc import Process

from ..connector import Connector
from ..connectors.local import LocalConnector
from ..exceptions import CommandError
from .contract import NEVER, Interrupted, Tested, clause, every_clause, expect

#: With those of this module.
__all__ = ["every_clause"]

#: Awaits of a `run` at which it is cancelled, at most.
_MOST_AWAITS = 60
_STATUSES = (0, 1, 2, 125, 126, 127, 128, 129, 130, 137, 143, 254, 255)
_EVERY_BYTE = bytes(range(256)) * 300
_HOSTILE = (
    "two words",
    "$HOME",
    "`id`",
    "'",
    '"',
    "*",
    "",
    "a\nb",
    "\\",
    "-n",
    "~",
    "!!",
    "é",
    "\udcff",
    "%s",
    ";",
    "\\c",
)
#: Says, a word each, which of its arguments are processes that have not ended.
_ALIVE = """
for pid; do
    kill -0 "$pid" 2>/dev/null || continue
    case $(sed -n 's/^State:[[:space:]]*//p' "/proc/$pid/status" 2>/dev/null) in Z* | X*) ;; *) echo "$pid" ;; esac
done
"""


async def _alive(connector: Connector, pids: Sequence[str]) -> list[str]:
    done = await connector.run(["sh", "-c", _ALIVE, "alive", *pids])
    return done.stdout.decode().split()


async def _lines(process: Process, count: int) -> list[str]:
    """Read the first lines of its output."""
    output = b""
    while output.count(b"\n") < count:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        try:
            output += await process.stdout.receive()
        except anyio.EndOfStream:
            raise AssertionError(f"the command should have printed {count} lines, and printed {output!r}") from None
    return output.decode().split()


async def _all(works: Sequence[Callable[[], Awaitable[None]]], at_once: int) -> None:
    limiter = anyio.CapacityLimiter(at_once)

    async def one(work: Callable[[], Awaitable[None]]) -> None:
        async with limiter:
            await work()

    async with anyio.create_task_group() as tasks:
        for work in works:
            tasks.start_soon(one, work)


# -- Streams and statuses ----------------------------------------------------------------------------------------------


@clause(runs=True)
async def every_status_arrives(tested: Tested) -> None:
    """The exit status is that of the command, and never one of the programs in between."""
    found: dict[int, int] = {}
    async with tested.deployed() as connector:

        async def exits(status: int) -> None:
            done = await connector.run(["sh", "-c", f"exit {status}"], check=False)
            found[status] = done.returncode

        await _all([partial(exits, status) for status in _STATUSES], 4)
    expect(all(found[each] == each for each in _STATUSES), f"the statuses were {found}")


@clause(runs=True)
async def streams_carry_any_bytes(tested: Tested) -> None:
    """Stdin, stdout and stderr carry every byte as it is."""
    async with tested.deployed() as connector:
        done = await connector.run(["sh", "-c", "cat; head -c 1000 /dev/zero >&2"], stdin=_EVERY_BYTE)
        expect(done.stdout == _EVERY_BYTE, "stdout is not what was fed to stdin")
        expect(done.stderr == bytes(1000), f"stderr should be 1000 null characters, and is {done.stderr[:100]!r}")
        done = await connector.run(["sh", "-c", "cat >&2"], stdin=_EVERY_BYTE)
        expect((done.stdout, done.stderr) == (b"", _EVERY_BYTE), "stderr is not what was fed to stdin")


@clause(runs=True)
async def streams_can_be_joined_and_dropped(tested: Tested) -> None:
    """``STDOUT`` joins stderr with stdout in their order; ``DEVNULL`` drops, and is an empty input."""
    script = "cat; echo 1; echo 2 >&2; echo 3"
    async with tested.deployed() as connector:
        joined = subprocess.STDOUT
        async with connector.start(["sh", "-c", script], stdin=subprocess.DEVNULL, stderr=joined) as process:
            expect(await _lines(process, 3) == ["1", "2", "3"], "stderr and stdout were not joined in order")
        dropped = subprocess.DEVNULL
        async with connector.start(["sh", "-c", script], stdin=dropped, stdout=dropped, stderr=dropped) as process:
            expect((process.stdout, process.stderr) == (None, None), "there are streams of what is dropped")
            expect(await process.wait() == 0, "the command has failed")


@clause(runs=True)
async def output_goes_to_files(tested: Tested) -> None:
    """Stdin and stdout may be files of this program, and all has arrived there when the block is left."""
    source, target = tested.directory / "from", tested.directory / "to"
    source.write_bytes(_EVERY_BYTE)
    async with tested.deployed() as connector:
        with source.open("rb") as stdin, target.open("wb") as stdout:
            async with connector.start(["cat"], stdin=stdin, stdout=stdout) as process:
                expect(await process.wait() == 0, "the command has failed")
        expect(target.read_bytes() == _EVERY_BYTE, "the file is not what was fed to stdin")


@clause(runs=True)
async def a_broken_pipe_ends_a_command(tested: Tested) -> None:
    """A command that writes to a pipe of this program which nothing reads any more ends with a status that says so."""
    async with tested.deployed() as connector:
        ends = os.pipe()
        with os.fdopen(ends[0], "rb") as reader, os.fdopen(ends[1], "wb") as writer:
            argv = ["sh", "-c", "while :; do echo more; done"]
            async with connector.start(argv, stdin=subprocess.DEVNULL, stdout=writer) as process:
                writer.close()
                with anyio.fail_after(NEVER):
                    await anyio.wait_readable(reader)
                    reader.close()
                    status = await process.wait()
        expect(status in (-signal.SIGPIPE, 128 + signal.SIGPIPE), f"the command ended with {status}")


@clause(runs=True)
async def nothing_waits_for_background_children(tested: Tested) -> None:
    """`run` returns when the command has ended, although what it leaves behind holds its output open."""
    async with tested.deployed() as connector:
        with anyio.fail_after(NEVER):
            done = await connector.run(["sh", "-c", "sleep 1000 & echo $!"])
        pid = done.stdout.decode().strip()
        is_alive = await _alive(connector, [pid]) == [pid]
        # Where each command has a place of its own, its background may end with that, as the processes of a job do.
        expect(is_alive or not connector.keeps_place, "what a command had left in the background was ended")
        if is_alive:
            await connector.run(["kill", "-s", "KILL", pid])


# -- Words -------------------------------------------------------------------------------------------------------------


@clause(runs=True)
async def nothing_is_interpreted(tested: Tested) -> None:
    """No argument, no value of a variable and no directory is changed on the way."""
    async with tested.deployed() as connector:
        done = await connector.run(["printf", "%s\\0", *_HOSTILE])
        expected = b"".join(each.encode(errors="surrogateescape") + b"\0" for each in _HOSTILE)
        expect(done.stdout == expected, f"arguments arrived as {done.stdout!r}")
        for value in _HOSTILE:
            done = await connector.run(["sh", "-c", 'printf %s "$ASKED"'], environment={"ASKED": value})
            expect(done.stdout == value.encode(errors="surrogateescape"), f"{value!r} arrived as {done.stdout!r}")
        directory = f"{tested.directory}/a '$HOME' \\ -"
        await connector.run(["mkdir", "-p", directory])
        done = await connector.run(["pwd"], workdir=directory)
        expect(done.stdout.decode() == f"{directory}\n", f"the command ran in {done.stdout!r}")


@clause(runs=True)
async def values_of_variables_are_in_no_argv(tested: Tested) -> None:
    """The values of the variables of a command cannot be read among the arguments of any process."""
    look = 'printf %s "$ASKED" | grep -ls -f - /proc/[0-9]*/cmdline; test -r /proc/self/cmdline'
    async with tested.deployed() as connector:
        done = await connector.run(["sh", "-c", look], environment={"ASKED": "a-value-that-is-hidden"}, check=False)
        expect(done.stdout == b"", f"found in {done.stdout.decode()}")


@clause(runs=True)
async def a_missing_program_is_an_os_error(tested: Tested) -> None:
    """A program or a directory that is not there is an OSError that names it, before the block is entered."""
    async with tested.deployed() as connector:
        for argv, workdir in ((["no-such-program"], None), (["/no/such/program"], None), (["true"], "/no/such/place")):
            try:
                async with connector.start(argv, workdir=workdir):
                    expect(False, f"{argv} in {workdir} was started")
            except OSError as exc:
                expect((workdir or argv[0]) in str(exc), f"{exc!r} does not name it")


# -- Ends --------------------------------------------------------------------------------------------------------------

_FAMILY = "sleep 1000 & echo $$ $!; wait"
#: SIGTERM ends neither it nor its child.
_STUBBORN = "trap '' TERM; (while :; do sleep 0.1; done) & echo $$ $!; while :; do sleep 0.1; done"


@clause(runs=True)
async def signals_arrive(tested: Tested) -> None:
    """Any signal reaches the command, and a status that comes of one is negative."""
    script = "trap 'exit 7' USR1; echo up; while :; do sleep 0.05; done"
    async with tested.deployed() as connector:
        with anyio.fail_after(NEVER):
            async with connector.start(["sh", "-c", script]) as process:
                await _lines(process, 1)
                process.send_signal(signal.SIGUSR1)
                expect(await process.wait() == 7, f"the command ended with {process.returncode}")
            for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGINT):
                async with connector.start(["sleep", "1000"]) as process:
                    process.send_signal(number)
                    expect(await process.wait() == -number, f"{number!r} ended the command with {process.returncode}")


@clause(runs=True)
async def leaving_ends_the_whole_family(tested: Tested) -> None:
    """When the block is left, everything that the command has started is gone."""
    async with tested.deployed() as connector:
        async with connector.start(["sh", "-c", _FAMILY]) as process:
            pids = await _lines(process, 1)
        expect(not await _alive(connector, pids), "processes are left")


@clause(runs=True)
async def the_stubborn_are_killed(tested: Tested) -> None:
    """A command that ignores the request to end is killed after its grace."""
    async with tested.deployed() as connector:
        async with connector.start(["sh", "-c", _STUBBORN], grace=0.2) as process:
            pids = await _lines(process, 1)
        expect(not await _alive(connector, pids), "processes are left")
        expect(process.returncode == -signal.SIGKILL, f"the status is {process.returncode}")


@clause(runs=True)
async def grace_is_given(tested: Tested) -> None:
    """A command that says good-bye when it is asked to end has the time for it, though its output is not read."""
    script = "trap 'head -c 300000 /dev/zero; exit 9' TERM; echo up; while :; do sleep 0.05; done"
    async with tested.deployed() as connector:
        with anyio.fail_after(NEVER):
            async with connector.start(["sh", "-c", script], grace=1000) as process:
                await _lines(process, 1)
        expect(process.returncode == 9, f"the status is {process.returncode}")


@clause(runs=True)
async def strays_are_ended(tested: Tested) -> None:
    """With ``finds_strays``, what has left the process group of its command is ended with it."""
    script = "setsid sh -c 'echo $$; exec sleep 1000' & wait"
    async with tested.deployed() as connector:
        possible = await connector.run(["sh", "-c", "command -v setsid && test -r /proc/self/environ"], check=False)
        if possible.returncode != 0 or not connector.finds_strays:
            return
        async with connector.start(["sh", "-c", script]) as process:
            pids = await _lines(process, 1)
        left = await _alive(connector, pids)
        if left:
            await connector.run(["kill", "-s", "KILL", *left])
        expect(not left, "a process that had left the group is left")


@clause(runs=True)
async def a_run_can_be_cancelled_anywhere(tested: Tested) -> None:
    """`run` may be cancelled at any of its awaits, and nothing of the command is left then."""
    seen = tested.directory / "seen"
    script = f"echo $$ >>'{seen}'; sleep 0.1 & wait"
    async with tested.deployed() as connector:
        await connector.run(["mkdir", "-p", str(tested.directory)])
        for number in range(1, _MOST_AWAITS + 1, tested.stride):
            scope = anyio.CancelScope()
            interrupted = Interrupted(connector.run(["sh", "-c", script]), number, scope)
            with anyio.fail_after(NEVER), scope:
                await interrupted
            if not interrupted.reached:
                break
            done = await connector.run(["sh", "-c", f"cat '{seen}' 2>/dev/null; true"])
            left = await _alive(connector, done.stdout.decode().split())
            expect(not left, f"a run that was cancelled at its await {number} has left {left}")


@clause(runs=True)
async def a_shell_runs_one_command_after_the_other(tested: Tested) -> None:
    """A shell that stays gives each command its own output and status, and nothing is interpreted."""
    async with tested.deployed() as connector, connector.get_shell(environment={"ASKED": "for"}) as shell:
        for number, value in enumerate(_HOSTILE):
            script = 'printf %s "$1$ASKED"; printf %s "$1" >&2; exit $2'
            argv = ["sh", "-c", script, "sh", value, str(number)]
            done = await shell.run(argv, environment={"ASKED": value}, check=False)
            raw = value.encode(errors="surrogateescape")
            found = (done.returncode, done.stdout, done.stderr)
            expect(found == (number, raw + raw, raw), f"the command with {value!r} gave {found}")
        done = await shell.run(["sh", "-c", "pwd; cat; echo $ASKED"], workdir="/")
        expect(done.stdout == b"/\nfor\n", f"the command printed {done.stdout!r}")


# -- Many, and copies --------------------------------------------------------------------------------------------------


@clause(runs=True)
async def many_commands_run_at_once(tested: Tested) -> None:
    """Fifty commands at once have each its own input, output and status."""
    async with tested.deployed() as connector:
        wrong: list[str] = []

        async def one(number: int) -> None:
            script = "cat; echo $1 >&2; exit $1"
            done = await connector.run(["sh", "-c", script, "x", str(number)], stdin=f"in {number}", check=False)
            found = (done.returncode, done.stdout, done.stderr)
            if found != (number, b"in %d" % number, b"%d\n" % number):
                wrong.append(f"command {number} gave {found}")

        await _all([partial(one, number) for number in range(50)], 50)
        expect(not wrong, "; ".join(wrong))


@clause(runs=True)
async def copies_go_both_ways(tested: Tested) -> None:
    """Trees and files are copied from this machine into the environment and back."""
    source, there, back = tested.directory / "source", f"{tested.directory}/new/x y", tested.directory / "back"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "-file").write_bytes(_EVERY_BYTE)
    (source / "link").symlink_to("sub")
    local = LocalConnector(deployment_name="here", config_dir=tested.directory)
    async with tested.deployed() as connector:
        await connector.copy(str(source), there, origin=local)
        await local.copy(there, str(back), origin=connector)
        expect((back / "sub" / "-file").read_bytes() == _EVERY_BYTE, "the file is not the same")
        expect((back / "link").is_symlink(), "the link is not one any more")
        await local.copy(f"{there}/sub/-file", str(tested.directory / "single"), origin=connector)
        expect((tested.directory / "single").read_bytes() == _EVERY_BYTE, "the single file is not the same")
        with suppress(CommandError):
            await local.copy("/no/such/file", str(tested.directory / "none"), origin=connector)
            expect(False, "a copy of nothing has succeeded")
        expect(not list(tested.directory.glob(".anydeploy-*")), "a failed copy has left something")
