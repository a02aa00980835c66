"""``up`` on a real terminal, with real processes."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest

from .terminal import COMMAND, DEADLINE, Terminal, kill_all, marked, wait_for_marked

Write = Callable[[str], Path]
Open = Callable[..., Terminal]
Anydeploy = Callable[..., subprocess.CompletedProcess[str]]
BACKENDS = ["asyncio", "trio"]

STACK = """
  db: {{type: process, config: {{command: [sleep, '{0}']}}}}
  web: {{type: process, dependsOn: [db], config: {{command: [sleep, '{0}']}}}}
  far: {{type: process, wraps: web, config: {{command: [sleep, '{0}']}}}}
"""
STUBBORN = """
  mule:
    type: process
    config:
      command: [sh, -c, 'trap "" TERM; echo here; while :; do sleep {0}; done']
      ready: {{log: here}}
      grace: {1}
"""


def _states(text: str, state: str) -> list[str]:
    """The deployments in the order in which they came to a state, as ``-v`` shows it."""
    return re.findall(rf"[0-9]\.[0-9]{{3}}  (\w+) \(process\): {state}\b", text)


def _waiting_in(pipe: IO[Any]) -> int:
    """How many bytes were written into a pipe and not read. More than 65,536 it does not hold."""
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


@pytest.mark.parametrize("backend", BACKENDS)
def test_comes_up_and_goes_down_in_reverse(write: Write, open_terminal: Open, marker: str, backend: str) -> None:
    terminal = open_terminal("up", "-v", "--backend", backend, str(write(STACK.format(marker))))
    terminal.wait_for("ready: 3 deployments")
    wait_for_marked(marker, 3)
    terminal.press()
    assert terminal.end() == 130
    assert _states(terminal.text, "live") == ["db", "web", "far"]
    assert _states(terminal.text, "undeploying") == ["far", "web", "db"]
    assert _states(terminal.text, "absent") == ["far", "web", "db"]
    assert "everything is down" in terminal.text
    assert "__LOCAL__" not in terminal.text


def test_the_live_view_tells_waiting_from_working(write: Write, open_terminal: Open, marker: str) -> None:
    path = write(f"""
  slow: {{type: command, config: {{deploy: [sleep, '{marker}']}}}}
  next: {{type: command, wraps: slow, config: {{}}}}
""")
    terminal = open_terminal("up", str(path))
    terminal.wait_for("1 deploying, 1 waiting")
    terminal.wait_for(re.compile(r"slow +command +deploying +[1-9][0-9]*(\.[0-9])? s *\n"))
    terminal.wait_for(re.compile(r"next +command +waiting +[1-9][0-9]*(\.[0-9])? s +for slow *\n"))
    terminal.press()
    assert terminal.end() == 130
    assert "\x1b[?25h" in terminal._raw.decode(), "the cursor is shown again"


def test_the_live_view_shows_attempts(write: Write, open_terminal: Open, marker: str) -> None:
    path = write(f"""
  flaky:
    type: command
    retries: 2
    config: {{deploy: [sh, -c, 'if mkdir tried; then echo no space left >&2; exit 3; fi; sleep {marker}']}}
""")
    terminal = open_terminal("up", str(path))
    terminal.wait_for(re.compile(r"flaky \(command\): deploying, attempt 1 of 3 failed after \d\.\d s: .* status 3:\n"))
    terminal.wait_for(re.compile(r"flaky +command +retrying +\d\.\d s +attempt 1 of 3; .* status 3: *\n"))
    terminal.wait_for(re.compile(r"flaky +command +deploying +\d\.\d s +attempt 2 of 3; .* status 3: *\n"))
    terminal.press()
    assert terminal.end() == 130


def test_brings_up_only_what_is_named(write: Write, open_terminal: Open, marker: str) -> None:
    terminal = open_terminal("up", str(write(STACK.format(marker))), "web")
    terminal.wait_for("ready: 2 deployments")
    terminal.press()
    assert terminal.end() == 130
    assert "far" not in terminal.text


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_second_ctrl_c_cuts_grace_periods_short(write: Write, open_terminal: Open, marker: str, backend: str) -> None:
    terminal = open_terminal("up", "--backend", backend, str(write(STUBBORN.format(marker, "1h"))))
    terminal.wait_for("ready: 1 deployment")
    terminal.press()
    terminal.wait_for("SIGINT: stopping")
    wait_for_marked(marker)
    terminal.press()
    assert terminal.end() == 130
    assert "grace periods are cut short" in terminal.text


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_third_ctrl_c_leaves_at_once(write: Write, open_terminal: Open, marker: str, backend: str) -> None:
    path = write(f"  mule: {{type: command, config: {{undeploy: [sleep, '{marker}']}}}}\n")
    terminal = open_terminal("up", "--backend", backend, str(path))
    terminal.wait_for("ready: 1 deployment")
    for said in ("SIGINT: stopping", "grace periods are cut short", "left at once"):
        terminal.press()
        while not marked(marker):
            assert terminal.process.poll() is None, terminal.text
        terminal.wait_for(said)
    terminal.wait_for("mule (command): undeploying")
    assert terminal.end() == 130
    assert "Traceback" not in terminal.text
    kill_all(marker)
    while marked(marker):
        pass


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_third_signal_leaves_a_blocked_event_loop(
    write: Write, open_terminal: Open, marker: str, backend: str
) -> None:
    path = write(f"""
  mule:
    type: process
    config: {{command: [sh, -c, 'echo {"a" * 40}b; sleep {marker}; :'], ready: {{log: '(a+)+$'}}}}
""")
    terminal = open_terminal("up", "--backend", backend, str(path))
    wait_for_marked(marker)
    cpu_time = terminal.cpu_time()
    while terminal.cpu_time() < cpu_time + 1:
        assert terminal.process.poll() is None, terminal.text
    # Signals that arrive before Python has looked count once.
    terminal.interrupt_until_it_ends()
    assert terminal.end() == 130
    assert "left at once; this may be left behind:\n  mule (process): deploying" in terminal.text
    assert "Traceback" not in terminal.text
    kill_all(marker)
    while marked(marker):
        pass


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_third_signal_leaves_when_nobody_reads(write: Write, tmp_path: Path, backend: str) -> None:
    path = write("".join(f"  {'d' * 200}{i}: {{type: command, config: {{}}}}\n" for i in range(500)))
    with subprocess.Popen(
        [*COMMAND, "up", "--json", "--backend", backend, str(path)], stdout=subprocess.PIPE, cwd=tmp_path
    ) as process:
        assert process.stdout is not None
        deadline = time.monotonic() + DEADLINE
        while _waiting_in(process.stdout) < 60_000:
            assert process.poll() is None
        while process.poll() is None:
            assert time.monotonic() < deadline
            process.send_signal(signal.SIGTERM)
            time.sleep(0.01)
        assert process.returncode == 143


def test_an_ignored_interrupt_is_still_ignored(write: Write, tmp_path: Path, marker: str) -> None:
    """As a script's background jobs have it."""
    command = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *COMMAND, "up", "--json", str(write(STACK.format(marker)))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        assert process.stdout is not None
        while '"ready"' not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
        assert process.wait() == 143


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_other_signals_are_like_ctrl_c(
    write: Write, open_terminal: Open, marker: str, number: int, status: int
) -> None:
    terminal = open_terminal("up", str(write(STACK.format(marker))))
    terminal.wait_for("ready: 3 deployments")
    os.kill(terminal.process.pid, number)
    assert terminal.end() == status
    assert "everything is down" in terminal.text


def test_a_child_that_ignores_sigterm_is_killed_after_its_grace(write: Write, open_terminal: Open, marker: str) -> None:
    terminal = open_terminal("up", str(write(STUBBORN.format(marker, "300ms"))))
    terminal.wait_for("ready: 1 deployment")
    terminal.press()
    assert terminal.end() == 130


def test_what_a_child_has_forked_goes_with_it(write: Write, open_terminal: Open, marker: str) -> None:
    path = write(f"""
  forks:
    type: process
    config:
      command: [sh, -c, 'sleep {marker} & sleep {marker} & echo here; wait']
      ready: {{log: here}}
""")
    terminal = open_terminal("up", str(path))
    terminal.wait_for("ready: 1 deployment")
    terminal.press()
    assert terminal.end() == 130


def test_ctrl_c_while_coming_up_cancels_it(write: Write, open_terminal: Open, marker: str) -> None:
    path = write(f"  slow: {{type: command, config: {{deploy: [sh, -c, 'sleep {marker}']}}}}\n")
    terminal = open_terminal("up", "-v", str(path))
    terminal.wait_for("slow (command): deploying")
    terminal.press()
    assert terminal.end() == 130


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_timeout_shows_what_is_still_starting(write: Write, open_terminal: Open, marker: str, backend: str) -> None:
    path = write(f"""
  db:
    type: process
    config: {{command: [sleep, '{marker}'], ready: {{command: ['false']}}}}
  web: {{type: process, dependsOn: [db], config: {{command: [sleep, '{marker}']}}}}
""")
    terminal = open_terminal("up", "--timeout", "500ms", "--backend", backend, str(path))
    assert terminal.end() == 1
    assert "error: not ready within 0.5 s; still starting:" in terminal.text
    waiting = r"web \(process\): waiting for db, \d\.\d s\n    db \(process\): deploying, \d\.\d s"
    assert re.search(waiting, terminal.text)


def test_a_port_that_is_taken(write: Write, open_terminal: Open, marker: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        path = write(f"""
  db:
    type: process
    config: {{command: [sleep, '{marker}'], ready: {{tcp: '127.0.0.1:{port}'}}}}
""")
        terminal = open_terminal("up", str(path))
        assert terminal.end() == 1
    assert "error: deployment 'db' (process) failed to deploy" in terminal.text
    assert f"port {port} of 127.0.0.1 is already in use" in terminal.text


def test_a_failing_deployment(write: Write, open_terminal: Open, marker: str) -> None:
    path = write(f"""
  base: {{type: process, config: {{command: [sleep, '{marker}']}}}}
  bad: {{type: command, wraps: base, config: {{deploy: [sh, -c, 'echo no space left >&2; exit 3']}}}}
  web: {{type: process, dependsOn: [bad], config: {{command: [sleep, '{marker}']}}}}
""")
    terminal = open_terminal("up", str(path))
    assert terminal.end() == 1
    assert "error: deployment 'bad' (command) failed to deploy after" in terminal.text
    assert "ended with status 3:\n  no space left" in terminal.text
    assert "not started because of that: web" in terminal.text


def test_a_deployment_that_fails_in_every_attempt(write: Write, anydeploy: Anydeploy) -> None:
    path = write("  bad: {type: command, retries: 1, config: {deploy: [sh, -c, 'exit 3']}}\n")
    result = anydeploy("up", str(path))
    assert result.returncode == 1
    assert re.findall(r"bad \(command\): (deploying.*?)(?: after|\n)", result.stderr) == [
        "deploying, attempt 1 of 2",
        "deploying, attempt 1 of 2 failed",
        "deploying, attempt 2 of 2",
    ]
    assert "error: deployment 'bad' (command) failed to deploy in attempt 2 of 2 after" in result.stderr


def test_a_deployment_that_is_lost(write: Write, open_terminal: Open, marker: str) -> None:
    path = write(f"""
  db:
    type: process
    config: {{command: [sh, -c, 'echo last words; sleep {marker}'], ready: {{log: words}}}}
""")
    terminal = open_terminal("up", str(path))
    terminal.wait_for("ready: 1 deployment")
    kill_all(marker)
    assert terminal.end() == 1
    assert "error: deployment 'db' (process) was lost:" in terminal.text
    assert "last words" in terminal.text


def test_a_deployment_that_is_restarted(write: Write, open_terminal: Open, marker: str) -> None:
    path = write(f"""
  db: {{type: process, restarts: 1, config: {{command: [sleep, '{marker}']}}}}
  web: {{type: command, wraps: db, config: {{}}}}
""")
    terminal = open_terminal("up", str(path))
    terminal.wait_for("ready: 2 deployments")
    wait_for_marked(marker)
    kill_all(marker)
    terminal.wait_for("error: deployment 'db' (process) was lost, and is restarted:")
    terminal.wait_for("error: deployment 'web' (command) was lost because of 'db'")
    terminal.wait_for("web (command): live after")
    wait_for_marked(marker)
    kill_all(marker)
    assert terminal.end() == 1
    assert "error: deployment 'db' (process) was lost: " in terminal.text


def test_a_restart_that_fails(write: Write, open_terminal: Open, marker: str) -> None:
    command = f"if mkdir tried; then echo here; exec sleep {marker}; fi; echo no space left; exit 3"
    path = write(f"""
  db: {{type: process, restarts: 1, config: {{command: [sh, -c, '{command}'], ready: {{log: here}}}}}}
""")
    terminal = open_terminal("up", str(path))
    terminal.wait_for("ready: 1 deployment")
    wait_for_marked(marker)
    kill_all(marker)
    assert terminal.end() == 1
    assert "error: deployment 'db' (process) failed to deploy after" in terminal.text
    assert "no space left" in terminal.text


def test_a_wrapper_that_cannot_be_taken_down_for_a_restart(write: Write, open_terminal: Open, marker: str) -> None:
    path = write(f"""
  db: {{type: process, restarts: 1, config: {{command: [sleep, '{marker}']}}}}
  mule: {{type: command, wraps: db, config: {{undeploy: [sh, -c, 'exit 4']}}}}
""")
    terminal = open_terminal("up", str(path))
    terminal.wait_for("ready: 2 deployments")
    wait_for_marked(marker)
    kill_all(marker)
    assert terminal.end() == 1
    assert "error: deployment 'mule' (command) could not be undeployed, and is not restarted:" in terminal.text


def test_a_teardown_that_fails(write: Write, open_terminal: Open) -> None:
    path = write("  mule: {type: command, config: {undeploy: [sh, -c, 'echo no way; exit 4']}}\n")
    terminal = open_terminal("up", str(path))
    terminal.wait_for("ready: 1 deployment")
    terminal.press()
    assert terminal.end() == 1
    assert "error: deployment 'mule' could not be undeployed and may still exist" in terminal.text
    assert "ended with status 4" in terminal.text
