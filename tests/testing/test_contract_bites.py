"""D1, D4, D6, R4, U6, E1: a connector that does not give what it owes does not pass the suite."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT, CompletedProcess
from typing import Any, ClassVar

import anyio
import pytest
from anyio.lowlevel import checkpoint
from attrs import define, evolve, field

from anydeploy import Command, CommandError, ConnectorWrapper, DeployError
from anydeploy.testing.commands import every_clause
from anydeploy.testing.conformance import ConnectorSuite

#: The directories of the environments that exist.
THERE: set[Path] = set()


@define(kw_only=True, eq=False, slots=False)
class Sound(ConnectorWrapper):
    """An environment that is nothing but a note that it is there. Comes up and goes down in several steps."""

    made: bool = field(init=False, default=False)

    async def deploy(self, external: bool) -> None:
        await checkpoint()
        if not external:
            THERE.add(self.config_dir)
        await checkpoint()

    async def undeploy(self, external: bool) -> None:
        await checkpoint()
        if not external:
            THERE.discard(self.config_dir)
        await checkpoint()


@define(kw_only=True, eq=False, slots=False)
class MakesInConstructor(Sound):
    def __attrs_post_init__(self) -> None:
        THERE.add(self.config_dir)


class NeverComesUp(Sound):
    async def deploy(self, external: bool) -> None:
        await checkpoint()


class NeverGoesDown(Sound):
    async def undeploy(self, external: bool) -> None:
        await checkpoint()


class ForgetsWhatWasInterrupted(Sound):
    async def deploy(self, external: bool) -> None:
        await super().deploy(external)
        self.made = True

    async def undeploy(self, external: bool) -> None:
        if self.made or external:
            await super().undeploy(external)


class SwallowsTheCancellation(Sound):
    async def deploy(self, external: bool) -> None:
        try:
            await super().deploy(external)
        except anyio.get_cancelled_exc_class():
            pass


class CreatesWhatIsExternal(Sound):
    async def deploy(self, external: bool) -> None:
        await super().deploy(False)


class CannotBeRepeated(Sound):
    async def undeploy(self, external: bool) -> None:
        self.made = not self.made
        await checkpoint()
        if self.made:
            await super().undeploy(external)


class DestroysWhatIsExternal(Sound):
    async def undeploy(self, external: bool) -> None:
        await super().undeploy(False)


class CannotBeHurried(Sound):
    def hurry(self) -> None:
        raise RuntimeError("no")


class RefusesItsSettings(Sound):
    def __init__(self, deployment_name: str, config_dir: Path, connector: Any, service: Any, missing: int = 0) -> None:
        super().__init__(deployment_name=deployment_name, config_dir=config_dir, connector=connector, service=service)

    async def deploy(self, external: bool) -> None:
        if anyio.get_current_task().name.startswith("anydeploy:"):
            raise RuntimeError("not under a manager")
        await super().deploy(external)


class PrintsSomethingElse(Sound):
    def transform(self, command: Command) -> Command:
        return evolve(command, argv=["echo", "something else"])


class LetsAShellInterpret(Sound):
    def transform(self, command: Command) -> Command:
        return evolve(command, argv=["sh", "-c", " ".join(f'"{argument}"' for argument in command.argv)])


class ForgetsTheWorkdir(Sound):
    def transform(self, command: Command) -> Command:
        return evolve(command, workdir=None)


class HidesTheStatus(Sound):
    async def run(self, argv: Any, **options: Any) -> CompletedProcess[bytes]:
        done = await super().run(argv, **options | {"check": False})
        return CompletedProcess(done.args, 0, done.stdout, done.stderr)


class HasNoLimit(Sound):
    async def run(self, argv: Any, **options: Any) -> CompletedProcess[bytes]:
        options.pop("timeout", None)
        return await super().run(["true"], **options)


class StillRunning:
    """A process that has not ended, whatever is done to it."""

    returncode = None

    def __init__(self, process: Any) -> None:
        self._process = process

    def __getattr__(self, name: str) -> Any:
        return getattr(self._process, name)


class LeavesTheCommand(Sound):
    @asynccontextmanager
    async def start(self, argv: Any, **options: Any) -> Any:
        async with super().start(argv, **options) as process:
            yield StillRunning(process)


class LosesPermissions(Sound):
    async def copy(self, source: str, target: str, *, origin: Any = None, whole: bool = False) -> None:
        await self.run(
            ["sh", "-c", 'test ! -e "$1" && mkdir -p "$1" && cat "$0/program" > "$1/program"', source, target]
        )


class CopiesHalf(Sound):
    async def copy(self, source: str, target: str, *, origin: Any = None, whole: bool = False) -> None:
        await self.run(["touch", target])
        await super().copy(source, target, origin=origin)


class WorksOn(Sound):
    def invalidate(self, reason: str) -> None:
        pass


@define(kw_only=True, eq=False, slots=False)
class Through(Sound):
    """Commands go through a script that is given them as its arguments."""

    script: ClassVar[str]

    def transform(self, command: Command) -> Command:
        return evolve(command, argv=["sh", "-c", self.script, "sh", *command.argv])


class HasItsOwnStatus(Through):
    script = '"$@" || exit 1'


class DropsNullCharacters(Through):
    script = '"$@" | tr -d "\\000"'


class EndsWhatIsInTheBackground(Through):
    script = '"$@"; trap : TERM; kill 0; exit 0'


class HasNoProgramOfItsOwn(Through):
    script = 'exec "$@"'


class DiesInItsPlace(Through):
    script = '"$@"; exit 0'


class JoinsNothing(Sound):
    def transform(self, command: Command) -> Command:
        return evolve(command, stderr=DEVNULL if command.stderr == STDOUT else command.stderr)


class DropsWhatGoesToFiles(Sound):
    def transform(self, command: Command) -> Command:
        return evolve(command, stdout=DEVNULL if command.stdout != PIPE else PIPE)


class ShowsItsVariables(Sound):
    def transform(self, command: Command) -> Command:
        script = 'export "$1"; shift; "$@"'
        variables = [f"{name}={value}" for name, value in command.environment.items()]
        return evolve(command, argv=["sh", "-c", script, "sh", *variables, *command.argv], environment={})


class SeesGhosts(Sound):
    def transform(self, command: Command) -> Command:
        is_look = command.argv[3:4] == ("alive",)
        return evolve(command, argv=["echo", *command.argv[4:], "1"]) if is_look else command


class ForgetsTheEnvironment(Sound):
    def transform(self, command: Command) -> Command:
        return evolve(command, environment={})


class GivesNoGrace(Sound):
    def transform(self, command: Command) -> Command:
        return evolve(command, grace=0)


class DropsTheInput(Sound):
    def transform(self, command: Command) -> Command:
        return evolve(command, stdin=DEVNULL)


class CopiesNothing(Sound):
    async def copy(self, source: str, target: str, **options: Any) -> None:
        await checkpoint()


class SaysThatItFindsStrays(Sound):
    finds_strays = True


BAD: list[tuple[str, type[Sound]]] = [
    ("constructing_it_does_nothing", MakesInConstructor),
    ("it_comes_up_and_goes_down", NeverComesUp),
    ("it_comes_up_and_goes_down", NeverGoesDown),
    ("a_deploy_can_be_cancelled_anywhere", ForgetsWhatWasInterrupted),
    ("a_deploy_can_be_cancelled_anywhere", SwallowsTheCancellation),
    ("a_teardown_can_be_repeated", CannotBeRepeated),
    ("it_works_under_a_manager", RefusesItsSettings),
    ("what_is_external_is_left_alone", DestroysWhatIsExternal),
    ("what_is_external_is_left_alone", CreatesWhatIsExternal),
    ("it_can_be_hurried", CannotBeHurried),
    ("a_command_is_run_to_its_end", PrintsSomethingElse),
    ("arguments_arrive_as_they_are", LetsAShellInterpret),
    ("environment_and_workdir_are_those_asked_for", ForgetsTheWorkdir),
    ("a_failed_command_raises", HidesTheStatus),
    ("a_run_has_a_limit", HasNoLimit),
    ("a_cancelled_run_stops_the_command", LeavesTheCommand),
    ("a_tree_is_copied_with_its_permissions", LosesPermissions),
    ("a_failed_copy_leaves_nothing", CopiesHalf),
    ("what_is_invalid_refuses_to_work", WorksOn),
    ("every_status_arrives", HasItsOwnStatus),
    ("streams_carry_any_bytes", DropsNullCharacters),
    ("streams_can_be_joined_and_dropped", JoinsNothing),
    ("output_goes_to_files", DropsWhatGoesToFiles),
    ("a_broken_pipe_ends_a_command", HasItsOwnStatus),
    ("nothing_waits_for_background_children", EndsWhatIsInTheBackground),
    ("nothing_is_interpreted", LetsAShellInterpret),
    ("values_of_variables_are_in_no_argv", ShowsItsVariables),
    ("a_missing_program_is_an_os_error", HasNoProgramOfItsOwn),
    ("signals_arrive", DiesInItsPlace),
    ("leaving_ends_the_whole_family", SeesGhosts),
    ("the_stubborn_are_killed", SeesGhosts),
    ("grace_is_given", GivesNoGrace),
    ("strays_are_ended", SaysThatItFindsStrays),
    ("a_run_can_be_cancelled_anywhere", SeesGhosts),
    ("a_shell_runs_one_command_after_the_other", ForgetsTheEnvironment),
    ("many_commands_run_at_once", DropsTheInput),
    ("copies_go_both_ways", CopiesNothing),
]


class Suite(ConnectorSuite):
    __test__ = False
    connector_type = Sound

    def exists(self, connector: Any, directory: Path) -> bool:
        return directory in THERE


def play(type_: type[Sound], clause: str) -> Callable[[Path], None]:
    suite = Suite()
    suite.connector_type = type_  # type: ignore[misc]
    found = next(each for each in every_clause() if each.id == clause)
    return lambda directory: suite.test_clause("asyncio", found, directory)


@pytest.mark.thorough
@pytest.mark.parametrize("clause", [clause.id for clause in every_clause()])
def test_a_sound_connector_passes(clause: str, tmp_path: Path):
    play(Sound, clause)(tmp_path)


@pytest.mark.parametrize(("clause", "type_"), BAD, ids=lambda value: getattr(value, "__name__", value))
def test_a_bad_one_does_not(clause: str, type_: type[Sound], tmp_path: Path):
    with pytest.raises((AssertionError, RuntimeError, CommandError, DeployError)):
        play(type_, clause)(tmp_path)


def test_every_clause_has_a_connector_that_breaks_it():
    assert {clause for clause, _ in BAD} == {clause.id for clause in every_clause()}
