"""The ssh connector, with a real server."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import anyio
import attrs
import pytest
from processes import alive, processes_of, signal_all, until
from servers import dying_with_us, running_sshd

from anydeploy import (
    Command,
    ConnectionLostError,
    DefaultDeploymentManager,
    DeployError,
    DeploymentConfig,
    DeploymentState,
    InvalidConnectorError,
)
from anydeploy.checking import check_settings
from anydeploy.connectors._ssh_askpass import askpass, destination
from anydeploy.connectors._ssh_command import HOP, is_dropped, reason, to_connection
from anydeploy.connectors.local import LocalConnector
from anydeploy.connectors.session import SessionError
from anydeploy.connectors.ssh import SshConnector
from anydeploy.file import load_file
from anydeploy.quoting import expand

pytestmark = pytest.mark.anyio


@pytest.fixture
def local(tmp_path):
    return LocalConnector(deployment_name="l", config_dir=tmp_path)


@pytest.fixture
def own_sshd(sshd, tmp_path):
    """A server that may be broken; the other one is shared by many tests."""
    (tmp_path / "server").mkdir()
    with running_sshd(tmp_path / "server") as server:
        yield server


@pytest.fixture
def ssh(sshd, tmp_path, local):
    def build(server=None, **settings):
        settings = {**(server or sshd).settings(), **settings}
        return SshConnector(deployment_name="s", config_dir=tmp_path, connector=local, **settings)

    return build


@asynccontextmanager
async def deployed(connector):
    with anyio.CancelScope() as scope:
        await connector.deploy(False)
        try:
            yield connector
        finally:
            scope.shield = True
            await connector.undeploy(False)


def sockets(connector):
    return list(Path("/tmp").glob(f".anydeploy-{connector.token}*"))


async def fails(connector):
    """The error of a deploy that has to fail, which leaves nothing."""
    with anyio.fail_after(60), pytest.raises(SessionError) as error:
        await connector.deploy(False)
    await connector.undeploy(False)
    assert sockets(connector) == []
    assert "\n" not in str(error.value)
    return str(error.value)


# -- Errors ------------------------------------------------------------------------------------------------------------


async def test_a_closed_port_is_told(ssh):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert "Connection refused" in await fails(ssh(nodes=[f"127.0.0.1:{port}"]))


async def test_an_unknown_host_is_told(ssh):
    assert "Could not resolve hostname no-such-host.invalid" in await fails(ssh(nodes=["no-such-host.invalid"]))


async def test_a_host_key_is_checked_unless_that_is_switched_off(ssh, sshd, tmp_path):
    (tmp_path / "client").write_text(f"IdentityFile {sshd.directory}/user\nUserKnownHostsFile {tmp_path}/none\n")
    config = str(tmp_path / "client")
    assert "host key is known" in await fails(ssh(sshConfig=config))
    async with deployed(ssh(sshConfig=config, checkHostKey=False)) as connector:
        assert (await connector.run(["echo", "x"])).stdout == b"x\n"
    assert not (tmp_path / "none").exists()


async def test_a_host_key_that_has_changed_is_told(ssh, sshd, tmp_path):
    other = (sshd.directory / "user.pub").read_text().split()[:2]
    (tmp_path / "known").write_text(f"[127.0.0.1]:{sshd.port} {' '.join(other)}\n")
    (tmp_path / "client").write_text(f"UserKnownHostsFile {tmp_path}/known\n")
    assert "changed" in (await fails(ssh(sshConfig=str(tmp_path / "client")))).lower()


@pytest.fixture
def keyless(sshd, tmp_path):
    """A configuration without a key."""
    (tmp_path / "keyless").write_text(f"UserKnownHostsFile {sshd.directory}/known\n")
    return "keyless"


async def test_a_key_that_is_not_accepted_is_told(ssh, sshd, keyless):
    assert "Permission denied" in await fails(ssh(sshConfig=keyless, sshKey=str(sshd.directory / "host")))


async def test_a_key_file_that_is_missing_is_told(ssh, keyless):
    assert "no-such-key" in await fails(ssh(sshConfig=keyless, sshKey="no-such-key"))


def force(server, command):
    """Let a server run a command in place of those that it is asked for."""
    key = (server.directory / "user.pub").read_text()
    (server.directory / "authorized").write_text(f'command="{command}" {key}')


async def test_a_login_that_hangs_has_a_limit(ssh, own_sshd):
    force(own_sshd, "exec cat >/dev/null")
    assert "was not open within 2 s (`connectTimeout`)" in await fails(ssh(own_sshd, connectTimeout=2))
    until(lambda: not own_sshd.sessions())


async def test_a_host_that_says_why_it_lets_nobody_in(ssh, own_sshd):
    force(own_sshd, "echo 'This account is currently not available.'")
    assert "This account is currently not available" in await fails(ssh(own_sshd))


BANNER = "Permission denied to strangers.\nHost key verification failed us.\nConnection closed by the police.\n"


@pytest.mark.parametrize("banner", [BANNER, "Permission denied to strangers.\r\n"], ids=["lines", "ends of ssh"])
async def test_a_banner_is_not_taken_for_the_reason(ssh, tmp_path, banner):
    (tmp_path / "banner").write_bytes(banner.encode())
    (tmp_path / "server").mkdir()
    with running_sshd(tmp_path / "server", further=f"Banner {tmp_path}/banner") as server:
        async with deployed(ssh(server)) as connector:
            assert (await connector.run(["echo", "x"])).stdout == b"x\n"
        (tmp_path / "keyless").write_text(f"UserKnownHostsFile {server.directory}/known\n")
        keyless = ssh(server, sshConfig="keyless", sshKey=str(server.directory / "host"))
        assert "Permission denied (publickey)" in await fails(keyless)


@pytest.mark.parametrize(
    ("printed", "expected", "dropped"),
    [
        (f"{BANNER}Connection closed by 10.0.0.1 port 22\r\n", "Connection closed by 10.0.0.1 port 22", True),
        (f"{BANNER}Bye.\r\n", "Bye", False),
        ("Warning: Identity file k not accessible: No such file.\nu@h: Permission denied (publickey).\r\n",
         "Identity file k not accessible: No such file", False),
        ("ssh: connect to host h port 22: Connection refused\r\n",
         "connect to host h port 22: Connection refused", False),
        ("sh: 1: ssh: not found\n", "sh: 1: ssh: not found", False),
        ("", "the connection was closed", False),
    ],
)  # fmt: skip
def test_the_reason_is_one_of_the_words_of_ssh(printed, expected, dropped):
    assert (reason(printed), is_dropped(printed)) == (expected, dropped)


async def test_every_host_is_contacted(ssh, sshd):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert f"host '127.0.0.1:{port}'" in await fails(ssh(nodes=[sshd.node, f"127.0.0.1:{port}"]))


async def test_a_manager_shows_the_reason(sshd, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = {**sshd.settings(), "nodes": [f"127.0.0.1:{port}"]}
    async with DefaultDeploymentManager([DeploymentConfig("host", "ssh", settings)]) as manager:
        with pytest.raises(DeployError, match="Connection refused"):
            await manager.deploy("host")


# -- Settings ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def locked_key(sshd, tmp_path):
    """The key, with a passphrase."""
    key = tmp_path / "key"
    key.write_bytes((sshd.directory / "user").read_bytes())
    key.chmod(0o600)
    subprocess.run(["ssh-keygen", "-q", "-p", "-P", "", "-N", "a pass'phrase", "-f", key], check=True)
    return "key"


async def test_a_passphrase_is_read_from_its_file(ssh, tmp_path, keyless, locked_key):
    (tmp_path / "phrase").write_text("a pass'phrase\n")
    (tmp_path / "wrong").write_text("wrong\n")
    settings = {"sshConfig": keyless, "sshKey": locked_key}
    async with deployed(ssh(**settings, sshKeyPassphraseFile="phrase")) as connector:
        assert (await connector.run(["echo", "x"])).stdout == b"x\n"
    assert sockets(connector) == []
    assert "Permission denied" in await fails(ssh(**settings, sshKeyPassphraseFile="wrong"))


@pytest.mark.parametrize(
    ("hop", "question", "answer"),
    [
        (0, "ada@host's password: ", "of host"),
        (0, "(ada@host) Password: ", "of host"),
        (0, "bob@host's password: ", None),
        (0, "ada@jump's password: ", None),
        (0, "(eve@evil) ada@host's password: ", None),
        (0, "(eve@evil) Enter passphrase for key '/a key': ", None),
        (0, "Enter passphrase for key '/a key': ", "of key"),
        (0, "Are you sure you want to continue connecting (yes/no)? ", None),
        (1, "ada@jump's password: ", "of jump"),
        (1, "ada@host's password: ", None),
        (1, "Enter passphrase for key '/a key': ", None),
    ],
)
def test_ssh_is_told_what_it_asks_for_and_nothing_else(tmp_path, hop, question, answer):
    for name in ("host", "jump", "key"):
        (tmp_path / f"$({name})'s").write_text(f"of {name}\n")
    settings = {
        "hostname": "alias",
        "sshKey": "/a key",
        "passwordFile": f"{tmp_path}/$(host)'s",
        "sshKeyPassphraseFile": f"{tmp_path}/$(key)'s",
        "tunnel": {"hostname": "jump", "passwordFile": f"{tmp_path}/$(jump)'s"},
    }
    script = askpass(to_connection(settings), ["ada@host", "ada@jump"])
    assert "of " not in script
    argv, environment = ["sh", "-c", script, "askpass", question], {**os.environ, HOP: str(hop)}
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode == 0, done.stdout) == (answer is not None, f"{answer}\n" if answer else "")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("host alias\nuser ada\nhostname Node1.example.org\nport 22\n", "ada@node1.example.org"),
        ("user ada\nhostname 127.0.0.1\nhostkeyalias Node1\nuserknownhostsfile x\n", "ada@node1"),
    ],
)
def test_the_name_that_ssh_has_for_a_host(settings, expected):
    assert destination(settings) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/a b", "/a b"),
        ("~", "/home"),
        ("~/a b", "/home/a b"),
        ("~root/$x", f"{Path('~root').expanduser()}/$x"),
        ("a~/b", "a~/b"),
        ("~;id/b", "~;id/b"),
    ],
)
def test_a_path_begins_with_a_home_directory(path, expected):
    done = subprocess.run(
        ["sh", "-c", f"printf %s {expand(path)}"], capture_output=True, text=True, check=True, env={"HOME": "/home"}
    )
    assert done.stdout == expected


@contextmanager
def password_server(sshd, password):
    """A server that asks for a password; gives its port, and then the passwords that it was told.

    ssh sends an empty one where it is told none.
    """
    pytest.importorskip("asyncssh")
    argv = [sys.executable, str(Path(__file__).with_name("password_server.py")), str(sshd.directory / "host"), password]
    with subprocess.Popen(dying_with_us(argv), stdout=subprocess.PIPE, text=True) as server:
        told = []
        try:
            assert server.stdout is not None
            yield int(server.stdout.readline()), told
        finally:
            server.terminate()
            told += filter(None, server.stdout.read().split("\n"))


@pytest.fixture
def asking(sshd, tmp_path):
    """A host with a password, and one with another password in front of it, by their aliases in `client`."""
    for name in ("far", "near"):
        (tmp_path / name).write_text(f"{name} secret\n")
    with password_server(sshd, "far secret") as (far, far_told), password_server(sshd, "near secret") as (near, told):
        ports = {"far": far, "near": near}
        hosts = [f"Host {name}\n HostName 127.0.0.1\n Port {port}\n User ada\n" for name, port in ports.items()]
        strict = "Host *\n IdentityFile none\n StrictHostKeyChecking no\n UserKnownHostsFile /dev/null\n"
        (tmp_path / "client").write_text("".join([*hosts, strict]))
        yield ports
    assert {*far_told} <= {"far secret"}
    assert {*told} <= {"near secret"}


async def test_a_password_is_read_from_its_file_for_an_alias(ssh, asking):
    connector = ssh(nodes=["far"], sshConfig="client", passwordFile="far", checkHostKey=False)
    async with deployed(connector):
        assert (await connector.run(["echo", "x"])).stdout == b"x\n"
    assert sockets(connector) == []


async def test_a_tunnel_to_the_same_address_has_its_own_password(ssh, asking):
    tunnel = {"hostname": "near", "passwordFile": "near", "checkHostKey": False}
    settings = {"nodes": ["far"], "sshConfig": "client", "passwordFile": "far", "checkHostKey": False}
    async with deployed(ssh(**settings, tunnel=tunnel)) as connector:
        assert (await connector.run(["echo", "x"])).stdout == b"x\n"


async def test_a_jump_host_of_the_configuration_is_not_told_the_password(ssh, asking, tmp_path):
    """That of another user there."""
    text = (tmp_path / "client").read_text().replace("Host far\n", "Host far\n ProxyJump near\n", 1)
    (tmp_path / "client").write_text(text)
    settings = {"nodes": ["far"], "sshConfig": "client", "checkHostKey": False}
    assert "Permission denied" in await fails(ssh(**settings, username="eve", passwordFile="far"))


async def test_files_of_the_home_directory(ssh, asking, tmp_path, keyless, locked_key, monkeypatch):
    (tmp_path / "phrase").write_text("a pass'phrase\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    async with deployed(ssh(nodes=["far"], sshConfig="~/client", passwordFile="~/far", checkHostKey=False)):
        pass
    async with deployed(ssh(sshConfig=keyless, sshKey=f"~/{locked_key}", sshKeyPassphraseFile="~/phrase")):
        pass


async def test_files_of_the_home_directory_over_there(ssh, sshd, locked_key, tmp_path):
    """Where ssh is run in another environment, its home directory is meant."""
    home = sshd.directory / "home"
    (home / "phrase").write_text("a pass'phrase\n")
    (home / "keyless").write_text(f"UserKnownHostsFile {sshd.directory}/known\n")
    settings = {"sshConfig": "~/keyless", "sshKey": f"{tmp_path}/{locked_key}", "tunnel": sshd.node}
    async with deployed(ssh()) as outer:
        inner = SshConnector(
            deployment_name="i",
            config_dir=tmp_path,
            connector=outer,
            **{**sshd.settings(), **settings, "sshKeyPassphraseFile": "~/phrase"},
        )
        async with deployed(inner):
            assert (await inner.run(["echo", "x"])).stdout == b"x\n"


@pytest.mark.parametrize("setting", ["passwordFile", "sshKeyPassphraseFile"])
async def test_a_file_with_a_secret_that_is_missing_is_told(ssh, setting):
    error = await fails(ssh(**{setting: "no-such-file"}))
    assert "no-such-file: No such file" in error
    assert "Permission" not in error


async def test_aliases_and_jump_hosts(ssh, sshd, own_sshd):
    """The configuration of ssh is honoured; the tunnel has its own settings."""
    key = str(sshd.directory / "user")
    tunnel = {"hostname": own_sshd.node, "sshKey": str(own_sshd.directory / "user"), "checkHostKey": False}
    async with deployed(ssh(nodes=["alias-of-the-server"], sshKey=key, tunnel=tunnel)) as connector:
        assert own_sshd.sessions()
        assert (await connector.run(["echo", "x"])).stdout == b"x\n"


#: Each breaks a session of its own accord.
CONFIGURED = [
    "StdinNull yes",
    "SessionType none",
    "SessionType subsystem",
    "ForkAfterAuthentication yes",
    "RemoteCommand echo hello",
    "RequestTTY force",
    "ProxyUseFdpass yes",
    "ControlMaster auto\n ControlPath /tmp/%C-none\n ControlPersist yes",
    "LocalForward 127.0.0.1:1 127.0.0.1:2\n ExitOnForwardFailure yes",
    "PermitLocalCommand yes\n LocalCommand echo hello",
]


@pytest.fixture
def configured(sshd, tmp_path):
    def write(line):
        text = (sshd.directory / "client").read_text()
        (tmp_path / "client").write_text(f"{text}Host *\n {line}\n")
        return "client"

    return write


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("line", CONFIGURED)
async def test_a_configuration_for_other_uses_of_ssh(ssh, sshd, configured, line):
    async with deployed(ssh(sshConfig=configured(line), tunnel=sshd.node)) as connector:
        assert (await connector.run(["cat"], stdin="x")).stdout == b"x"
        async with connector.forward("127.0.0.1", sshd.port) as stream:
            assert (await stream.receive()).startswith(b"SSH-2.0")


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_an_ssh_that_is_older_than_a_setting(ssh, sshd, tmp_path, monkeypatch):
    """8.4 says so of one that it does not know; later it is not asked again."""
    (tmp_path / "bin").mkdir()
    real, log = shutil.which("ssh"), tmp_path / "log"
    refusal = (
        f'*StdinNull*) echo x >>{log}; echo "command-line: line 0: Bad configuration option: stdinnull" >&2; exit 255'
    )
    (tmp_path / "bin" / "ssh").write_text(f'#!/bin/sh\ncase "$*" in {refusal} ;; esac\nexec {real} "$@"\n')
    (tmp_path / "bin" / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin", prepend=os.pathsep)
    (tmp_path / "file").write_text("x\n")
    async with deployed(ssh(tunnel=sshd.node, passwordFile="file")) as connector:
        assert (await connector.run(["echo", "x"])).stdout == b"x\n"
    assert log.read_text() == "x\n"


async def test_hosts_are_locations(ssh, sshd, own_sshd, tmp_path):
    nodes = [{"hostname": sshd.node}, {"hostname": own_sshd.node, "sshKey": str(own_sshd.directory / "user")}]
    (tmp_path / "client").write_text(
        f"IdentityFile {sshd.directory}/user\nUserKnownHostsFile {sshd.directory}/known {own_sshd.directory}/known\n"
    )
    async with deployed(ssh(nodes=nodes, sshConfig="client")) as connector:
        found = await connector.get_available_locations()
        assert [(name, each.hostname) for name, each in found.items()] == [
            (sshd.node, "127.0.0.1"),
            (own_sshd.node, "127.0.0.1"),
        ]
        homes = [(await connector.at(location=name).run(["sh", "-c", "echo $HOME"])).stdout.decode() for name in found]
        assert homes == [f"{sshd.directory}/home\n", f"{own_sshd.directory}/home\n"]
        with pytest.raises(Exception, match="no location 'elsewhere'"):
            await connector.at(location="elsewhere").run(["true"])


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"nodes": []}, "a list of hosts"),
        ({"nodes": ["-oProxyCommand=x"]}, "a host"),
        ({"nodes": [{"host": "x"}]}, "unknown setting 'host' of a connection; did you mean 'hostname'"),
        ({"nodes": ["a", "a"]}, "listed twice"),
        ({"nodes": ["ada@a"]}, "a host without a user, not 'ada@a': a user is the setting `username`"),
        ({"nodes": ["a"], "tunnel": "ada@b"}, "a host without a user, not 'ada@b'"),
        ({"nodes": ["a:99999"]}, "a port from 1 to 65535, not 99999"),
        ({"nodes": [{"hostname": "[::1]:0"}]}, "a port from 1 to 65535, not 0"),
        ({"nodes": ["ssh://a:22"]}, "a host: a name"),
        ({"nodes": ["x:22:33"]}, "a host: a name"),
        ({"nodes": ["a"], "maxConcurrentSessions": 1}, "2 or more"),
        ({"nodes": ["a"], "services": {}}, "not supported"),
        ({"nodes": ["a"], "checkHostKey": "no"}, "true or false"),
        ({"nodes": ["a"], "tunnel": {}}, "needs a `hostname`"),
    ],
)
def test_wrong_settings_are_told(settings, expected):
    (problem,) = [text for _, text in check_settings(SshConnector, settings)]
    assert expected in problem


@pytest.mark.parametrize(
    "host", ["a", "a:22", "a_b.c:65535", "127.0.0.1", "[::1]:22", "::1", "fe80::1%eth0", "::ffff:1.2.3.4"]
)
def test_hosts_are_written_as_for_ssh(host):
    assert check_settings(SshConnector, {"nodes": [host]}) == []


def test_a_tunnel_is_reached_as_the_deployment_says(ssh):
    """As in StreamFlow, but that its key is not checked has to be said of itself."""
    common = {"username": "ada", "sshKey": "/key", "passwordFile": "/password", "sshKeyPassphraseFile": "/phrase"}
    nodes = ["a", {"hostname": "b", "username": "bob", "tunnel": {"hostname": "c", "sshKey": None}}]
    tunnel = {"hostname": "d", "username": "dan"}
    found = ssh(nodes=nodes, tunnel=tunnel, checkHostKey=False, **common)._connections()
    assert found["a"].tunnel == to_connection({**common, **tunnel})
    assert found["b"].tunnel == to_connection({**common, "hostname": "c", "sshKey": None})
    assert [hop.check_host_key for hop in found["b"].hops] == [False, True]


# -- Many sessions -----------------------------------------------------------------------------------------------------


async def test_twenty_commands_on_a_server_that_lets_fewer_at_a_time(ssh, sshd, tmp_path):
    """Though it is told otherwise: a refused session goes to another connection."""
    (tmp_path / "server").mkdir()
    with running_sshd(tmp_path / "server", max_sessions=4) as server:
        async with deployed(ssh(server)) as connector:
            with socket.create_server(("127.0.0.1", 0), backlog=20) as gate:
                statuses = []

                async def one(number):
                    script = f"exec 3<>/dev/tcp/127.0.0.1/{gate.getsockname()[1]}; read -r _ <&3; exit {number}"
                    statuses.append((await connector.run(["bash", "-c", script], check=False)).returncode)

                with anyio.fail_after(90):
                    async with anyio.create_task_group() as tasks:
                        for number in range(20):
                            tasks.start_soon(one, number)
                        waiting = [(await anyio.to_thread.run_sync(gate.accept))[0] for _ in range(20)]
                        for each in waiting:
                            each.close()
            assert sorted(statuses) == list(range(20))


async def test_a_server_that_lets_one_session_at_a_time_is_told(ssh, sshd, tmp_path):
    (tmp_path / "server").mkdir()
    with running_sshd(tmp_path / "server", max_sessions=1) as server:
        async with deployed(ssh(server)) as connector:
            with pytest.raises(SessionError, match=rf"host '{server.node}' takes one session .*`MaxSessions 1`"):
                await connector.run(["echo", "x"])


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_all_statuses_arrive(ssh):
    """Those that ssh has for itself and those of signals among them."""
    found = {}
    async with deployed(ssh()) as connector:

        async def run(statuses):
            for status in statuses:
                done = await connector.run(["sh", "-c", f"exit {status}"], check=False)
                found[status] = done.returncode

        async with anyio.create_task_group() as tasks:
            for first in range(8):
                tasks.start_soon(run, range(first, 256, 8))
    assert found == {status: status for status in range(256)}


async def test_a_limit_of_connections_lets_commands_wait(ssh, sshd):
    async with deployed(ssh(maxConcurrentSessions=3, maxConnections=1)) as connector:
        async with anyio.create_task_group() as tasks:
            for _ in range(8):
                tasks.start_soon(connector.run, ["true"])
        assert len(next(iter(connector._pools.values()))._connections) == 1


# -- Loss and crashes --------------------------------------------------------------------------------------------------


async def test_a_cut_connection_is_a_loss(ssh, own_sshd, tmp_path):
    connector = ssh(own_sshd)
    losses = []
    connector.on_lost = losses.append
    async with deployed(connector):
        with anyio.fail_after(60):
            async with connector.start(["sh", "-c", "echo $$; sleep 300"]) as process:
                await process.stdout.receive()
                own_sshd.drop()
                with pytest.raises(ConnectionLostError, match=own_sshd.node):
                    await process.wait()
        assert [type(each) for each in losses] == [ConnectionLostError]
        with pytest.raises(InvalidConnectorError):
            await connector.run(["true"])
        await connector.reattach()
        async with connector._start(Command(["echo", "again"])) as process:
            assert await process.stdout.receive() == b"again\n"


async def test_only_the_first_connection_is_lost(ssh, own_sshd):
    """The others go on, and are closed with the new one."""
    connector = ssh(own_sshd, maxConcurrentSessions=2)
    losses = []
    connector.on_lost = losses.append
    async with deployed(connector), connector.start(["sh", "-c", "echo up; cat"]) as first:
        await first.stdout.receive()
        (serving,) = own_sshd.sessions()
        async with connector.start(["sh", "-c", "echo up; cat"]) as second:
            await second.stdout.receive()
            os.kill(serving, signal.SIGKILL)
            with anyio.fail_after(60), pytest.raises(ConnectionLostError):
                await first.wait()
            await connector.reattach()
            await second.stdin.send(b"on")
            assert await second.stdout.receive() == b"on"
    assert len(losses) == 1
    assert sockets(connector) == []


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_a_frozen_peer_is_a_loss(ssh, own_sshd):
    connector = ssh(own_sshd)
    async with deployed(connector):
        own_sshd.drop(signal.SIGSTOP)
        try:
            with anyio.fail_after(60), pytest.raises(ConnectionLostError, match="not responding"):
                await connector.run(["sleep", "300"])
        finally:
            own_sshd.drop(signal.SIGCONT)


async def test_what_stands_on_a_lost_connection_is_torn_down_through_a_new_one(own_sshd, tmp_path):
    """X3: a command that destroys the environment of the wrapper runs on the host."""
    made = {"deploy": ["touch", f"{tmp_path}/made"], "undeploy": ["rm", f"{tmp_path}/made"]}
    stack = [
        DeploymentConfig("host", "ssh", own_sshd.settings()),
        DeploymentConfig("made", "command", made, wraps="host"),
    ]
    lost = anyio.Event()

    def listen(event):
        if event.name == "made" and event.state is DeploymentState.LOST:
            lost.set()

    async with DefaultDeploymentManager(stack, on_event=listen) as manager:
        await manager.deploy("made")
        assert (tmp_path / "made").exists()
        own_sshd.drop()
        with anyio.fail_after(60):
            await lost.wait()
            await manager.undeploy("made")
    assert not (tmp_path / "made").exists()


async def test_a_process_and_a_command_on_a_host(sshd, tmp_path):
    """A wrapper of a host runs there, and goes with its deployment."""
    server = {
        "command": ["sh", "-c", f"echo $$ >{tmp_path}/pid; echo up; exec sleep 300"],
        "ready": {"log": "up"},
        "workdir": "/",
    }
    stack = [
        DeploymentConfig("host", "ssh", sshd.settings()),
        DeploymentConfig("server", "process", server, wraps="host"),
        DeploymentConfig("tool", "command", {"run": ["env", "A=b"]}, wraps="server"),
    ]
    async with DefaultDeploymentManager(stack) as manager:
        await manager.deploy("tool")
        done = await manager.get_connector("tool").run(["sh", "-c", "echo $A $HOME; pwd"])
        assert done.stdout.decode() == f"b {sshd.directory}/home\n/\n"
        pid = int((tmp_path / "pid").read_text())
    assert not alive(pid)


CRASHING = """
import json, sys, anyio
from anydeploy.connectors.local import LocalConnector
from anydeploy.connectors.ssh import SshConnector

async def main():
    settings = json.loads(sys.argv[1])
    local = LocalConnector(deployment_name="l", config_dir=".")
    outer = SshConnector(deployment_name="outer", config_dir=".", connector=local, **settings)
    inner = SshConnector(deployment_name="inner", config_dir=".", connector=outer, **settings)
    await outer.deploy(False)
    await inner.deploy(False)
    async with inner.start(["sh", "-c", sys.argv[2]]) as process:
        print(outer.token, inner.token, flush=True)
        await process.wait()

anyio.run(main)
"""


def test_after_a_kill_nothing_is_left_on_any_host(sshd, tmp_path):
    import json

    pids = tmp_path / "pids"
    script = f"trap '' TERM; sleep 300 & echo $$ $! >{pids}; while :; do sleep 0.1; done"
    program = subprocess.Popen(
        [sys.executable, "-c", CRASHING, json.dumps(sshd.settings()), script], stdout=subprocess.PIPE
    )
    try:
        assert program.stdout is not None
        tokens = program.stdout.readline().decode().split()
        assert len(tokens) == 2
        deadline = time.monotonic() + 60
        while not (pids.exists() and pids.read_text().endswith("\n")):
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        program.kill()
        program.wait()
        program.stdout.close()
    deadline = time.monotonic() + 60
    while True:
        left = [str(path) for token in tokens for path in Path("/tmp").glob(f".anydeploy-{token}*")]
        shown = subprocess.run(["ps", "-eo", "stat=,args="], capture_output=True, text=True, check=True).stdout
        left += [line for line in shown.splitlines() if line[:1] != "Z" and any(token in line for token in tokens)]
        left += [line for line in shown.splitlines() if line[:1] != "Z" and str(pids) in line]
        if not left:
            return
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


# -- Ports -------------------------------------------------------------------------------------------------------------


async def test_a_port_is_reached_as_seen_from_the_host(ssh, own_sshd, tmp_path):
    """Also through two hosts; a connection that is refused is an OSError."""

    async def answer(stream):
        async with stream:
            await stream.send((await stream.receive())[::-1])

    async with deployed(ssh(own_sshd)) as outer:
        inner = SshConnector(deployment_name="i", config_dir=tmp_path, connector=outer, **own_sshd.settings())
        async with deployed(inner), await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
            port = listener.extra(anyio.abc.SocketAttribute.local_port)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(listener.serve, answer)
                for connector in (outer, inner, outer.at(location=own_sshd.node), outer.connector):
                    async with connector.forward("127.0.0.1", port) as stream:
                        await stream.send(b"\0\xffabc")
                        assert await stream.receive() == b"cba\xff\0"
                tasks.cancel_scope.cancel()
        with socket.create_server(("127.0.0.1", 0)) as free:
            closed = free.getsockname()[1]
        for connector in (outer, outer.connector):
            with pytest.raises(OSError, match=str(closed) if connector is outer else None):
                async with connector.forward("127.0.0.1", closed) as stream:
                    await stream.receive()


async def test_what_two_kills_have_left_is_removed_through_a_new_connection(ssh, tmp_path):
    """Neither anydeploy nor its script on the host could clean up; recovery reattaches, and finds it by its traces."""
    dead = ssh()
    with anyio.CancelScope():
        await dead.deploy(False)
        with suppress(ConnectionLostError):
            async with dead.start(["sh", "-c", "echo $$; exec sleep 300"]) as process:
                pid = int(await process.stdout.receive())
                # None of them sees another one go.
                for number in (signal.SIGSTOP, signal.SIGKILL):
                    signal_all(processes_of(dead.token), number)
                await process.wait()
        await dead.undeploy(False)
    assert alive(pid)
    assert len(sockets(dead)) == 2
    recovery = ssh()
    recovery.token = dead.token
    await recovery.reattach({})
    for _ in range(2):
        await recovery.remove_left(dead.traces(), {})
    await recovery.undeploy(True)
    assert not alive(pid)
    assert sockets(dead) == []


# -- The example -------------------------------------------------------------------------------------------------------


async def test_the_example_comes_up(sshd):
    """With this machine in place of its hosts, over a connection each."""
    path = Path(__file__).parents[2] / "examples" / "ssh.yml"
    definitions = load_file(path).values()
    reached = [attrs.evolve(each, config=sshd.settings()) if each.type == "ssh" else each for each in definitions]
    async with DefaultDeploymentManager(reached, config_dir=path.parent) as manager:
        await manager.deploy_all()
        assert {status.state for status in manager.status().values()} == {DeploymentState.LIVE}
        for name in ("login", "nodes"):
            done = await manager.get_connector(name).run(["sh", "-c", "echo $HOME"])
            assert done.stdout.decode() == f"{sshd.directory}/home\n"
