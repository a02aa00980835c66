"""The command lines of OpenSSH's client, and what its errors mean."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import attrs
from attrs import field, frozen

from ..exceptions import did_you_mean
from ..quoting import expand, join
from ..typecheck import expected, is_mapping
from ._settings import to_flag, to_text

#: A peer that is frozen or cut off is given up after three of these intervals.
ALIVE_INTERVAL: Final = 3
#: The variable that tells the clients of a host and of its tunnels apart: how many tunnels are before it.
HOP: Final = "ANYDEPLOY_HOP"
#: An address with colons stands in brackets if there is a port.
_HOSTNAME: Final = re.compile(
    r"(?P<name>\[[^\[\]\s]+\]|[^:@\[\]\s]+|[0-9a-f]*:[0-9a-f.]*:[0-9a-f:.]*(%\w+)?)(:(?P<port>[0-9]+))?", re.IGNORECASE
)
_LAST_PORT: Final = 65535
#: The settings of a deployment that its tunnels have too.
_OF_TUNNELS: Final = ("username", "sshKey", "sshKeyPassphraseFile", "passwordFile")


def to_hostname(value: object) -> str:
    """The name or address of a host, with a port if it is not the usual one."""
    text = to_text(value)
    if "@" in text:
        raise ValueError(f"expected a host without a user, not {text!r}: a user is the setting `username`")
    found = _HOSTNAME.fullmatch(text)
    if found is None or text.startswith("-"):
        raise ValueError(expected("a host: a name, an alias of ssh's configuration or an address, and `:port`", value))
    if found["port"] is not None and not 1 <= int(found["port"]) <= _LAST_PORT:
        raise ValueError(f"expected a port from 1 to {_LAST_PORT}, not {found['port']}")
    return text


def to_tunnel(value: object) -> Connection | None:
    """Return a connection through which others go, if there is one."""
    return None if value is None else to_connection(value)


@frozen
class Connection:
    """The settings of a connection to one host; None: those of ssh's own configuration.

    :ivar hostname: a name, an alias or an address, and ``:port`` if it is not the usual one
    :ivar ssh_key: the path of the private key; without one, those of the agent and of ssh's configuration are tried
    :ivar tunnel: the connection through which this one goes
    """

    hostname: str = field(converter=to_hostname)
    username: str | None = field(default=None, converter=attrs.converters.optional(to_text))
    ssh_key: str | None = field(default=None, alias="sshKey", converter=attrs.converters.optional(to_text))
    passphrase_file: str | None = field(
        default=None, alias="sshKeyPassphraseFile", converter=attrs.converters.optional(to_text)
    )
    password_file: str | None = field(default=None, alias="passwordFile", converter=attrs.converters.optional(to_text))
    check_host_key: bool = field(default=True, alias="checkHostKey", converter=to_flag)
    tunnel: Connection | None = field(default=None, converter=to_tunnel)

    @property
    def host(self) -> str:
        return self._parsed()["name"].strip("[]")

    @property
    def port(self) -> str | None:
        return self._parsed()["port"]

    def _parsed(self) -> re.Match[str]:
        found = _HOSTNAME.fullmatch(self.hostname)
        assert found is not None  # noqa: S101 - the converter has seen to that
        return found

    @property
    def files(self) -> Sequence[str]:
        """The files with secrets that its own client is told, not that of its tunnel."""
        return [path for path in (self.passphrase_file, self.password_file) if path is not None]

    @property
    def hops(self) -> Sequence[Connection]:
        """Itself, its tunnel, the tunnel of that, and so on."""
        return [self, *(self.tunnel.hops if self.tunnel is not None else ())]


_SETTINGS: Final = tuple(str(attribute.alias) for attribute in attrs.fields(Connection))


def to_connection(value: object, **inherited: Any) -> Connection:
    """Return a connection that is written as a host, or as a mapping.

    :param inherited: the settings that it has where it does not say otherwise; its tunnel has those of them that tell
        who connects, and no other: that a host key is not checked is said of each host itself
    """
    if isinstance(value, str):
        value = {"hostname": value}
    if isinstance(value, Connection):
        return value
    if not is_mapping(value):
        raise TypeError(expected("a host, or a mapping with a `hostname`", value))
    for name in value:
        if name not in _SETTINGS:
            raise ValueError(f"unknown setting '{name}' of a connection{did_you_mean(str(name), _SETTINGS)}")
    if "hostname" not in value:
        raise ValueError("a connection needs a `hostname`")
    settings = {**inherited, **value}
    if settings.get("tunnel") is not None:
        of_tunnel = {name: setting for name, setting in inherited.items() if name in _OF_TUNNELS}
        settings["tunnel"] = to_connection(settings["tunnel"], **of_tunnel)
    return Connection(**settings)


#: Settings of a configuration under which there is no session. Only an ssh that has them (8.7 or later) knows them.
_NEWER: Final = {"SessionType": "default", "StdinNull": "no", "ForkAfterAuthentication": "no"}


@frozen
class Client:
    """The command lines of one ssh.

    :ivar config: the configuration file in place of the user's
    :ivar timeout: seconds to reach a host
    :ivar is_new: whether it is 8.7 or later
    """

    config: str | None
    timeout: int
    is_new: bool = True

    def options(self, connection: Connection, hop: int = 0) -> Iterator[str]:
        """Yield the options of a new connection to a host, all but the host itself.

        :param hop: its place among the hops of the connection that goes through it
        """
        if connection.port is not None:
            yield from ("-p", connection.port)
        if connection.username is not None:
            yield from ("-l", connection.username)
        if connection.ssh_key is not None:
            yield from ("-i", connection.ssh_key, "-o", "IdentitiesOnly=yes")
        given = {
            "BatchMode": "no" if connection.files else "yes",
            "NumberOfPasswordPrompts": "1",
            "StrictHostKeyChecking": "yes" if connection.check_host_key else "no",
            "ConnectTimeout": str(self.timeout),
            "ServerAliveInterval": str(ALIVE_INTERVAL),
            "ServerAliveCountMax": "3",
            "ClearAllForwardings": "yes",
            "PermitLocalCommand": "no",
            "LogLevel": "INFO",
        }
        if not connection.check_host_key:
            given |= {"UserKnownHostsFile": "/dev/null", "GlobalKnownHostsFile": "/dev/null"}
        if connection.tunnel is not None:
            client = ("env", f"{HOP}={hop + 1}", *self._call(), *self.options(connection.tunnel, hop + 1))
            words = join((*client, "-o", "ControlPath=none")).replace("%", "%%")
            # ssh itself puts an `exec` before it.
            given["ProxyCommand"] = f"{words} -W '[%h]:%p' -- {join([connection.tunnel.host]).replace('%', '%%')}"
            given["ProxyUseFdpass"] = "no"
        yield from _settings(given)

    def master(self, connection: Connection, socket: str, argv: Sequence[str]) -> list[str]:
        """Return the command that opens a connection, and runs a command there while others share it."""
        shared = ("-M", "-S", socket, "-o", "ControlPersist=no")
        return [*self._call(), *self.options(connection), *shared, "--", connection.host, f"exec {join(argv)}"]

    def beside(self, connection: Connection, socket: str, argv: Sequence[str]) -> list[str]:
        """Return the command that runs a command over a connection that is open."""
        clear = ("-o", "ClearAllForwardings=yes")
        return [*self._sharing(socket), *clear, "--", connection.host, f"exec {join(argv)}"]

    def forward(self, connection: Connection, socket: str, host: str, port: int) -> list[str]:
        """Return the command that joins its input and output with a port as the host sees it."""
        return [*self._sharing(socket), "-W", f"[{host}]:{port}", "--", connection.host]

    def evaluation(self, connection: Connection) -> list[str]:
        """Return the command that prints what ssh makes of its configuration for a host."""
        return [*self._call(), "-G", *self.options(connection), "--", connection.host]

    def _call(self) -> Iterator[str]:
        """Yield the beginning of a call that only passes bytes on, whatever is configured."""
        if self.config is not None and self.config.startswith("~"):
            # Of all its files, ssh itself does not look for this one in a home directory.
            yield from ("sh", "-c", f'exec ssh -F {expand(self.config)} "$@"', "ssh")
        else:
            yield from ("ssh", "-F", self.config) if self.config is not None else ("ssh",)
        yield from ("-T", *_settings({"RemoteCommand": "none", **(_NEWER if self.is_new else {})}))

    def _sharing(self, socket: str) -> list[str]:
        """Return a client that uses a connection that is open.

        Without one it would silently open another one; its proxy, which always fails, does not let it.
        """
        given = {"ControlMaster": "no", "ProxyCommand": "false", "LogLevel": "ERROR"}
        return [*self._call(), "-S", socket, *_settings(given)]


def _settings(given: Mapping[str, str]) -> Iterator[str]:
    for name, setting in given.items():
        yield from ("-o", f"{name}={setting}")


# -- Its errors --------------------------------------------------------------------------------------------------------

#: From what says most to what says least.
_REASONS: Final = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"identity file .* not accessible",
        r"no such identity",
        r"load key .*: (?!error in libcrypto)",
        r"host key for .* has changed",
        r"host identification has changed",
        r"no .* host key is known",
        r"host key verification failed",
        r"could not resolve hostname",
        r"connect to host",
        r"permission denied",
        r"too many authentication failures",
        r"bad configuration option|bad owner or permissions|can't open user config",
        r"not responding",
    )
)
_REFUSED: Final = re.compile(r"session open refused|open failed|mux_client_request_session", re.IGNORECASE)
_UNKNOWN: Final = re.compile(rf"bad configuration option: ({'|'.join(_NEWER)})", re.IGNORECASE)
#: A server that has too many connections which are not authenticated yet drops some.
_DROPPED: Final = re.compile(
    r"kex_exchange_identification|connection (closed|reset) by|ssh_exchange_identification", re.IGNORECASE
)


#: The one complaint about its arguments that it writes in another way than all others.
_OF_ARGUMENTS: Final = "Warning: Identity file "


def _complaints(output: str) -> str:
    """Return the lines that come from ssh itself: it ends each as terminals want it, with a carriage return.

    Others are those of the banner of a server, of login files there, and of programs such as a shell that finds no ssh.
    """
    lines = [line for line in output.split("\n") if line.endswith("\r") or line.startswith(_OF_ARGUMENTS)]
    return "\n".join(lines)


def reason(output: str) -> str:
    """Return the line of an ssh client's errors that tells why it has failed."""
    complaints = _complaints(output)
    for pattern in _REASONS:
        # A banner may have such ends of lines as well, and then ssh has the last word.
        for line in reversed(_tidied(complaints)):
            if pattern.search(line):
                return line
    lines = _tidied(complaints) or _tidied(output)
    return lines[-1] if lines else "the connection was closed"


def _tidied(output: str) -> list[str]:
    lines = [line.strip().removeprefix("ssh: ").removeprefix("Warning: ") for line in output.splitlines()]
    return [line.rstrip(".") for line in lines if line and not line.startswith("@@")]


def is_refused(output: str) -> bool:
    """Return whether a connection takes no more sessions."""
    return _REFUSED.search(output) is not None


def is_unknown(output: str) -> bool:
    """Return whether an ssh does not know a setting that only newer ones have."""
    return _UNKNOWN.search(output) is not None


def is_dropped(output: str) -> bool:
    """Return whether a server has dropped a connection before it looked at it, and may take it a little later."""
    complaints = _complaints(output)
    return _DROPPED.search(complaints) is not None and not any(pattern.search(complaints) for pattern in _REASONS)
