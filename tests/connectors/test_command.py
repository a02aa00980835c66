from __future__ import annotations

import os
import secrets
from pathlib import Path
from subprocess import DEVNULL, PIPE

import anyio
import pytest
from test_local import OBEDIENT, assert_gone

from anydeploy import Command
from anydeploy.connectors._ready import NotReadyError
from anydeploy.connectors.command import CommandConnector
from anydeploy.connectors.local import LocalConnector
from anydeploy.exceptions import CommandError
from anydeploy.streams import communicate

pytestmark = pytest.mark.anyio


@pytest.fixture
def build(tmp_path: Path):
    def build(**settings) -> CommandConnector:
        local = LocalConnector(deployment_name="l", config_dir=tmp_path)
        settings.setdefault("workdir", str(tmp_path))
        return CommandConnector(deployment_name="c", config_dir=tmp_path, connector=local, **settings)

    return build


def shell(script: str) -> list[str]:
    return ["sh", "-c", script]


async def test_its_life(build, tmp_path):
    command = build(deploy=shell("echo $V > up"), undeploy=["rm", "up"], environment={"V": "v"})
    await command.deploy(False)
    assert (tmp_path / "up").read_text() == "v\n"
    await command.undeploy(False)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(CommandError, match="`rm up` ended with status 1"):
        await command.undeploy(False)


async def test_a_failing_deploy_says_why(build):
    with pytest.raises(CommandError, match=r"ended with status 2:\nno quota"):
        await build(deploy=shell("echo no quota; exit 2")).deploy(False)


async def test_ready_is_polled(build, tmp_path):
    script = "echo x >> tries; test $(wc -l < tries) -ge 3"
    command = build(deploy=["touch", "tries"], ready=shell(script), interval="10ms", run=["false"])
    await command.deploy(False)
    assert (tmp_path / "tries").read_text() == "x\nx\nx\n"


async def test_never_ready(build, tmp_path):
    command = build(
        deploy=["touch", "up"],
        undeploy=["rm", "up"],
        ready=shell("echo pending >&2; exit 1"),
        timeout=0.3,
        interval=0.01,
    )
    with pytest.raises(NotReadyError, match=r"not ready within 0.3 s: command .*status 1: pending"):
        await command.deploy(False)
    await command.undeploy(False)
    assert list(tmp_path.iterdir()) == []


async def test_a_hanging_ready_is_ended(build, tmp_path):
    command = build(ready=shell(f"{{ {OBEDIENT}; }} > pids"), timeout=0.3)
    with pytest.raises(NotReadyError, match="the first attempt has not ended"):
        await command.deploy(False)
    assert_gone([int(pid) for pid in (tmp_path / "pids").read_text().split()])


async def test_external_only_waits(build, tmp_path):
    command = build(deploy=["touch", "up"], undeploy=["touch", "down"], ready=["touch", "asked"])
    await command.deploy(True)
    await command.undeploy(True)
    assert [path.name for path in tmp_path.iterdir()] == ["asked"]


async def test_cancelled_deploy_leaves_no_process(build, tmp_path):
    command = build(deploy=shell(f"{{ {OBEDIENT}; }} > pids"), grace=60)
    pids = tmp_path / "pids"
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(command.deploy, False)
            while not (pids.exists() and len(pids.read_text().split()) == 2):  # noqa: ASYNC110
                await anyio.sleep(0.005)
            tasks.cancel_scope.cancel()
    assert_gone([int(pid) for pid in pids.read_text().split()])


async def test_environment_and_workdir_arrive_behind_the_prefix(build, tmp_path):
    (tmp_path / "in side").mkdir()
    command = build(run=["env", "-i", f"PATH={tmp_path}:/usr/bin:/bin", "OUT=1"], environment={"HIDDEN": "1"})
    script = "echo $HIDDEN $OUT $IN; pwd; cat"
    inside = str(tmp_path / "in side")
    completed = await command.run(shell(script), environment={"IN": "a b"}, workdir=inside, stdin="data")
    assert completed.stdout.decode() == f"1 a b\n{tmp_path.resolve()}/in side\ndata"


#: A prefix that stays, as a client does, so that all can read what it was given.
STAYING = ["sh", "-c", '"$@"; exit $?', "sh"]
LOOK = 'printf %s "$HIDDEN" | grep -lsF -f - /proc/[0-9]*/cmdline; printf "%s;" "$HIDDEN"; cat'
HIDDEN = {"HIDDEN": f"{secrets.token_hex(8)}\nthat is 'hidden' \\"}


@pytest.mark.parametrize("stdin", [PIPE, DEVNULL, "a file"], ids=repr)
async def test_values_of_variables_are_in_no_argv(build, tmp_path, stdin):
    """Wherever the input of the command comes from, and however much of it there is."""
    data = bytes(range(256)) * 1000
    (tmp_path / "input").write_bytes(data)
    with (tmp_path / "input").open("rb") as file:
        given = file if stdin == "a file" else stdin
        command = Command(shell(LOOK), HIDDEN, stdin=given)
        async with build(run=STAYING).start_command(command) as process:
            done = await communicate(process, data)
    assert done.stdout == HIDDEN["HIDDEN"].encode() + b";" + (data if stdin != DEVNULL else b"")
    assert done.returncode == 0


async def test_a_command_with_variables_does_not_wait_for_the_end_of_a_file(build):
    reader, writer = os.pipe()
    with os.fdopen(reader) as file, os.fdopen(writer, "w"), anyio.fail_after(20):
        async with build(run=STAYING).start(["true"], environment=HIDDEN, stdin=file) as process:
            assert await process.wait() == 0


async def test_variables_need_a_prefix_that_passes_stdin_on(build):
    deaf = build(run=["sh", "-c", '"$@" </dev/null', "sh"])
    with pytest.raises(CommandError, match="the prefix `run` has to pass its stdin on"):
        await deaf.run(["true"], environment=HIDDEN)
    assert (await deaf.run(["true"])).returncode == 0


async def test_a_variable_that_no_shell_can_set_is_refused(build):
    with pytest.raises(OSError, match=r"the variable 'a\.b' cannot be set by a shell") as refused:
        await build(run=STAYING).run(["true"], environment={"a.b": "hidden"})
    assert "hidden" not in str(refused.value)


async def test_without_a_prefix_the_settings_are_defaults(build, tmp_path):
    completed = await build(environment={"A": "1", "B": "1"}).run(shell("echo $A $B; pwd"), environment={"B": "2"})
    assert completed.stdout.decode() == f"1 2\n{tmp_path.resolve()}\n"
