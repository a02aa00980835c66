"""The duties of a connector, clause by clause, as the conformance suite of connectors tries them.

The clauses are those of :class:`~anydeploy.Connector` and of ``docs/writing-a-connector.md``.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import Process
from attrs import frozen

from ..config import DeploymentConfig
from ..connector import Connector
from ..exceptions import CommandError, InvalidConnectorError
from ..manager import DefaultDeploymentManager

#: Seconds after which an operation counts as one that never ends. Nothing waits for it to pass.
NEVER = 60.0
#: Awaits at which an operation is interrupted, at most. An operation that polls has any number of them.
_MOST_AWAITS = 40
#: Seconds for what may wait for something that never comes.
_A_MOMENT = 0.2


@frozen
class Tested:
    """A connector type with settings, in a directory of its own.

    :ivar make: builds a connector that is not deployed
    :ivar exists: whether there is anything of its environment; None where that cannot be told
    :ivar config: a definition of it
    :ivar stride: an operation is interrupted at its first await, and at every further one that is so far behind
    """

    directory: Path
    make: Callable[[], Connector]
    exists: Callable[[Connector], bool | None]
    config: DeploymentConfig
    connector_type: type[Connector]
    stride: int = 1

    def check_gone(self, connector: Connector, when: str) -> None:
        """Check that nothing of the environment is left."""
        expect(not self.exists(connector), f"the environment is still there {when}")

    @asynccontextmanager
    async def deployed(self) -> AsyncGenerator[Connector, None]:
        """Open a block in which a connector is deployed."""
        connector = self.make()
        # A task group that the connector holds open lies within this scope, so its teardown has to as well.
        with anyio.CancelScope() as scope:
            await connector.deploy(False)
            try:
                yield connector
            finally:
                scope.shield = True
                await connector.undeploy(False)


@frozen
class Clause:
    """One duty of a connector.

    :ivar act: shows that it keeps it; raises an AssertionError where it does not
    :ivar runs: it concerns only connectors in whose environments commands can be run
    """

    act: Callable[[Tested], Awaitable[None]]
    runs: bool

    @property
    def id(self) -> str:
        return self.act.__name__

    @property
    def title(self) -> str:
        return (inspect.getdoc(self.act) or "").partition("\n")[0]


def expect(condition: bool, otherwise: str) -> None:
    """Raise an AssertionError that says what is the case otherwise, unless the condition holds."""
    if not condition:
        raise AssertionError(otherwise)


_CLAUSES: list[Clause] = []


def every_clause() -> Sequence[Clause]:
    """Return all clauses."""
    return _CLAUSES


def clause(*, runs: bool) -> Callable[[Callable[[Tested], Awaitable[None]]], Clause]:
    """Make a clause of a function that shows that a connector keeps it; ``runs`` as in :class:`Clause`."""

    def make(act: Callable[[Tested], Awaitable[None]]) -> Clause:
        clause = Clause(act, runs)
        _CLAUSES.append(clause)
        return clause

    return make


# -- Its life ----------------------------------------------------------------------------------------------------------


@clause(runs=False)
async def constructing_it_does_nothing(tested: Tested) -> None:
    """Constructing a connector has no effect on the world (D4)."""
    tested.check_gone(tested.make(), "when it has only been constructed")


@clause(runs=False)
async def it_comes_up_and_goes_down(tested: Tested) -> None:
    """`deploy` brings the environment up, and `undeploy` in the same task takes it down (D1, U1)."""
    connector = tested.make()
    await connector.deploy(False)
    expect(tested.exists(connector) is not False, "the environment is not there after deploy")
    await connector.undeploy(False)
    tested.check_gone(connector, "after undeploy")


@clause(runs=False)
async def a_deploy_can_be_cancelled_anywhere(tested: Tested) -> None:
    """`deploy` may be cancelled at any of its awaits; `undeploy` then leaves nothing (D6)."""
    for number in range(1, _MOST_AWAITS + 1, tested.stride):
        connector, came_up, scope = tested.make(), False, anyio.CancelScope()
        deploy = Interrupted(connector.deploy(False), number, scope)
        with anyio.fail_after(NEVER):
            with scope, anyio.CancelScope() as stay:
                await deploy
                # It came up in spite of it, and may hold a task group open in here: so its teardown belongs here.
                stay.shield = came_up = True
                await connector.undeploy(False)
            if not came_up:
                await connector.undeploy(False)
        tested.check_gone(connector, f"when undeploy had followed a deploy that was cancelled at its await {number}")
        expect(
            not deploy.swallowed,
            f"deploy has swallowed the cancellation that came at its await {number}: it returned as if it were up",
        )
        if not deploy.reached:
            break


@clause(runs=False)
async def a_teardown_can_be_repeated(tested: Tested) -> None:
    """`undeploy` may be cancelled at any of its awaits, when its time is up, and is then safe to repeat (U6)."""
    for number in range(1, _MOST_AWAITS + 1, tested.stride):
        connector, ended, scope = tested.make(), False, anyio.CancelScope()
        undeploy = Interrupted(connector.undeploy(False), number, scope)
        with anyio.fail_after(NEVER):
            with scope:
                await connector.deploy(False)
                await undeploy
                ended = True
            if not ended:
                await connector.undeploy(False)
        tested.check_gone(connector, f"after a teardown that was cancelled at its await {number} and repeated")
        if not undeploy.reached:
            break


@clause(runs=False)
async def it_works_under_a_manager(tested: Tested) -> None:
    """Its settings are accepted, and a manager brings it up and down (D4, M1)."""
    types = {tested.config.type: tested.connector_type}
    async with DefaultDeploymentManager([tested.config], connector_types=types, config_dir=tested.directory) as manager:
        await manager.deploy(tested.config.name)
        connector = manager.get_connector(tested.config.name)
        expect(isinstance(connector, tested.connector_type), f"the manager gave {connector!r}")
        await manager.undeploy(tested.config.name)
    tested.check_gone(tested.make(), "after the manager's undeploy")


@clause(runs=False)
async def what_is_external_is_left_alone(tested: Tested) -> None:
    """With `external` nothing is created and nothing is destroyed (E1)."""
    owner, guest = tested.make(), tested.make()
    await owner.deploy(False)
    try:
        await guest.deploy(True)
        await guest.undeploy(True)
        expect(tested.exists(owner) is not False, "undeploy of an external environment has destroyed it")
    finally:
        await owner.undeploy(False)
    tested.check_gone(owner, "after undeploy")
    stranger, came_up, created = tested.make(), False, False
    # There is nothing that it could connect to: it may fail, or wait for it.
    with suppress(Exception), anyio.move_on_after(_A_MOMENT) as patience:
        await stranger.deploy(True)
        # A task group that it holds open lies within the scope, so its teardown has to as well.
        patience.deadline, came_up = math.inf, True
        created = bool(tested.exists(stranger))
        await stranger.undeploy(not created)
    if not came_up:
        created = bool(tested.exists(stranger))
        with suppress(Exception):
            await stranger.undeploy(not created)
    expect(not created, "deploy of an external environment that was not there has created it")


@clause(runs=False)
async def it_can_be_hurried(tested: Tested) -> None:
    """`hurry` may be called at any time, and more than once."""
    connector = tested.make()
    connector.hurry()
    await connector.deploy(False)
    connector.hurry()
    await connector.undeploy(False)
    connector.hurry()
    tested.check_gone(connector, "after undeploy")


class Interrupted:
    """An awaitable that cancels a scope when it waits for the nth time."""

    def __init__(self, awaitable: Awaitable[object], number: int, scope: anyio.CancelScope) -> None:
        self.reached = self.swallowed = False
        self._steps = awaitable.__await__()
        self._number = number
        self._scope = scope

    def __await__(self) -> Generator[Any, Any, None]:
        sent, thrown, awaits, told = None, None, 0, False
        while True:
            try:
                waits_for = self._steps.send(sent) if thrown is None else self._steps.throw(thrown)
            except StopIteration:
                self.swallowed = told
                return
            awaits += 1
            told = False
            if awaits == self._number:
                self.reached = True
                self._scope.cancel()
            sent, thrown = None, None
            try:
                sent = yield waits_for
            except BaseException as exc:  # noqa: BLE001 - it goes on to where it was meant to go
                thrown = exc
                told = self.reached and isinstance(exc, anyio.get_cancelled_exc_class())


# -- What can be done in it --------------------------------------------------------------------------------------------


@clause(runs=True)
async def a_command_is_run_to_its_end(tested: Tested) -> None:
    """`run` gives what the command printed, and feeds it what it is to read."""
    async with tested.deployed() as connector:
        done = await connector.run(["sh", "-c", "cat; echo 'to you'"], stdin="hello ")
        expect(
            done.stdout == b"hello to you\n", f"the command was fed 'hello ' to continue, and printed {done.stdout!r}"
        )


@clause(runs=True)
async def arguments_arrive_as_they_are(tested: Tested) -> None:
    """No shell and no connector interprets the arguments of a command."""
    arguments = ["two words", "$HOME", "'", '"', "*", "", "a\nb", "\\"]
    async with tested.deployed() as connector:
        done = await connector.run(["printf", "%s\\0", *arguments])
        expect(done.stdout.decode().split("\0")[:-1] == arguments, f"{arguments!a} arrived as {done.stdout!r}")


@clause(runs=True)
async def environment_and_workdir_are_those_asked_for(tested: Tested) -> None:
    """A command has the environment and the directory that are asked for."""
    async with tested.deployed() as connector:
        done = await connector.run(["sh", "-c", "echo $ASKED; pwd"], environment={"ASKED": "for"}, workdir="/")
        expect(done.stdout == b"for\n/\n", f"the command found {done.stdout!r}")


@clause(runs=True)
async def a_failed_command_raises(tested: Tested) -> None:
    """`run` raises a CommandError with the status and the output, or returns them with `check=False`."""
    fails = ["sh", "-c", "echo why >&2; exit 3"]
    async with tested.deployed() as connector:
        try:
            await connector.run(fails)
        except CommandError as exc:
            expect((exc.returncode, exc.output.strip()) == (3, "why"), f"the error is {exc!r}")
        else:
            expect(False, "run returned although the command had failed")
        done = await connector.run(fails, check=False)
        expect(done.returncode == 3, f"the status is {done.returncode}")


@clause(runs=True)
async def a_cancelled_run_stops_the_command(tested: Tested) -> None:
    """A `run` that is cancelled stops the command, and everything that it has started."""
    stays = ["sh", "-c", "echo begun; exec sleep 1000"]
    async with tested.deployed() as connector:
        started: list[Process] = []
        with anyio.fail_after(NEVER), anyio.CancelScope() as scope:
            async with connector.start(stays) as process:
                started.append(process)
                if process.stdout is not None:
                    await process.stdout.receive()
                scope.cancel()
                await process.wait()
        expect(started[0].returncode is not None, "the command still runs")


@clause(runs=True)
async def a_run_has_a_limit(tested: Tested) -> None:
    """A `run` with a `timeout` stops the command when that has passed, and raises a TimeoutError."""
    async with tested.deployed() as connector:
        try:
            await connector.run(["sleep", "1000"], timeout=0.01)
        except TimeoutError as exc:
            expect("0.01" in str(exc), f"{exc!r} does not name the limit")
        else:
            expect(False, "run returned before the command had ended")


@clause(runs=True)
async def a_tree_is_copied_with_its_permissions(tested: Tested) -> None:
    """`copy` copies a directory with all that is in it, makes missing parents, and refuses an existing directory."""
    source, target = tested.directory / "source", tested.directory / "new" / "target"
    make = 'mkdir -p "$0" && echo text >"$0/program" && chmod 750 "$0/program"'
    async with tested.deployed() as connector:
        await connector.run(["sh", "-c", make, str(source)])
        await connector.copy(str(source), str(target))
        done = await connector.run(["ls", "-l", str(target)])
        expect(done.stdout.decode().splitlines()[-1].startswith("-rwxr-x---"), f"the copy is {done.stdout!r}")
        try:
            await connector.copy(str(source), str(target))
        except CommandError:
            return
        expect(False, "the directory at the target was not refused")


@clause(runs=True)
async def a_failed_copy_leaves_nothing(tested: Tested) -> None:
    """A `copy` that fails raises a CommandError, and nothing stands at its target."""
    target = tested.directory / "target"
    async with tested.deployed() as connector:
        try:
            await connector.copy(str(tested.directory / "nowhere"), str(target))
        except CommandError:
            done = await connector.run(["ls", str(target)], check=False)
            expect(done.returncode != 0, "something stands at the target of the failed copy")
        else:
            expect(False, "copy returned although there is no source")


@clause(runs=True)
async def what_is_invalid_refuses_to_work(tested: Tested) -> None:
    """When the connector has been invalidated every operation raises, and the error names the deployment (R4)."""
    async with tested.deployed() as connector:
        connector.invalidate("it is over")
        await _refuses(connector, connector.run(["true"]))
        await _refuses(connector, connector.copy("/", str(tested.directory / "target")))
        await _refuses(connector, _start(connector))


async def _start(connector: Connector) -> None:
    async with connector.start(["true"]):
        pass


async def _refuses(connector: Connector, operation: Awaitable[object]) -> None:
    try:
        await operation
    except InvalidConnectorError as exc:
        expect(connector.deployment_name in str(exc), f"{exc!r} does not name {connector.deployment_name}")
    else:
        expect(False, "an operation of an invalid connector was carried out")
