"""Readiness probes: how a connector finds out that an environment can be used."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from shlex import join
from typing import cast
from urllib.parse import urlsplit

from anyio import EndOfStream, connect_tcp, move_on_after, sleep
from anyio.abc import ByteStream
from anyio.streams.buffered import BufferedByteReceiveStream
from attrs import define, frozen

from ..connector import Connector
from ..duration import to_positive_seconds
from ..exceptions import WorkflowExecutionException, did_you_mean
from ..streams import last_lines
from ..typecheck import expected, show
from ._settings import to_argv

DEFAULT_INTERVAL = 0.1
DEFAULT_TIMEOUT = 60.0

#: Seconds for one connection or one request.
_ATTEMPT = 5.0
_LONGEST_STATUS_LINE = 4096


class NotReadyError(WorkflowExecutionException):
    """An environment was started, or exists, but did not become ready in time.

    :ivar problem: the probe, its limit, and the last failure
    :ivar output: the last lines of its program's output, if it has a program
    """

    def __init__(self, problem: str, output: str = "") -> None:
        self.problem = problem
        self.output = output
        super().__init__(problem + (f"\nits last output:\n{output}" if output.strip() else ""))


class Probe(ABC):
    """One way to find out whether an environment can be used."""

    #: The host and port that it connects to; None if it connects to none.
    endpoint: tuple[str, int] | None = None

    @abstractmethod
    async def check(self, connector: Connector) -> str | None:
        """Check once. Return None if the environment is ready, or the reason why it is not.

        :param connector: runs the commands of a probe
        """


@frozen
class TcpProbe(Probe):
    """Ready when connections to ``host:port`` are accepted."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"tcp {_show_endpoint(self.host, self.port)}"

    @property
    def endpoint(self) -> tuple[str, int]:  # type: ignore[override]
        return self.host, self.port

    async def check(self, connector: Connector) -> str | None:  # noqa: ARG002
        return await try_connect(self.host, self.port)


@frozen
class HttpProbe(Probe):
    """Ready when a GET is answered with a status from 200 to 399. Proxies and redirects are ignored."""

    address: str

    def __str__(self) -> str:
        return f"http {self.address}"

    @property
    def endpoint(self) -> tuple[str, int]:  # type: ignore[override]
        parts = urlsplit(self.address)
        return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)

    async def check(self, connector: Connector) -> str | None:  # noqa: ARG002
        problem: str | None = f"no answer within {_ATTEMPT:g} s"
        with move_on_after(_ATTEMPT):
            try:
                problem = await self._get()
            except (OSError, EndOfStream) as exc:
                problem = _reason(exc)
            except Exception as exc:  # noqa: BLE001 - any other misbehaviour of a server, also in TLS: not ready
                problem = repr(exc)
        return problem

    async def _get(self) -> str | None:
        parts = urlsplit(self.address)
        host, port = self.endpoint
        stream: ByteStream
        if parts.scheme == "https":
            stream = await connect_tcp(host, port, tls=True, tls_standard_compatible=False)
        else:
            stream = await connect_tcp(host, port)
        async with stream:
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            at = parts.netloc.rpartition("@")[2]
            await stream.send(f"GET {target} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n".encode())
            line = await BufferedByteReceiveStream(stream).receive_until(b"\r\n", _LONGEST_STATUS_LINE)
        status = re.match(rb"HTTP/1\.[01] ([0-9]{3})", line)
        if status is None:
            return f"no HTTP: it answered {line[:80]!r}"
        return None if 200 <= int(status[1]) < 400 else f"it answered {line[9:].decode(errors='replace')}"


@frozen
class LogProbe(Probe):
    """Ready when a line of the program's output matches a regular expression: watched by the connector, not polled."""

    pattern: re.Pattern[str]

    def __str__(self) -> str:
        return f"log /{self.pattern.pattern}/"

    async def check(self, connector: Connector) -> str | None:  # noqa: ARG002
        return "its output cannot be seen"


@frozen
class CommandProbe(Probe):
    """Ready when a command ends with status 0."""

    argv: tuple[str, ...]

    def __str__(self) -> str:
        return f"command `{join(self.argv)}`"

    async def check(self, connector: Connector) -> str | None:
        completed = await connector.run(self.argv, check=False, grace=_ATTEMPT)
        if completed.returncode == 0:
            return None
        output = last_lines(completed.stderr or completed.stdout, 5)
        return f"it ended with status {completed.returncode}" + (f": {output}" if output else "")


@frozen
class Readiness:
    """A probe with its interval and timeout, in seconds; None for the default."""

    probe: Probe
    interval: float | None = None
    timeout: float | None = None


@define
class Wait:
    """A repeated check.

    :ivar last: the reason that the last check gave
    """

    last: str = "the first attempt has not ended"

    async def until(self, check: Callable[[], Awaitable[str | None]], interval: float) -> None:
        """Repeat a check, with a pause of ``interval`` seconds, until it returns None."""
        while (problem := await check()) is not None:
            self.last = problem
            await sleep(interval)


async def poll(probe: Probe, connector: Connector, *, interval: float, timeout: float) -> None:
    """Wait until a probe succeeds.

        await poll(TcpProbe("localhost", 5432), connector, interval=0.1, timeout=60)

    :raises NotReadyError: if that takes longer than ``timeout`` seconds
    """
    wait = Wait()
    with move_on_after(timeout):
        await wait.until(lambda: probe.check(connector), interval)
        return
    raise NotReadyError(f"not ready within {timeout:g} s: {probe}: {wait.last}")


async def try_connect(host: str, port: int) -> str | None:
    """Return None if a connection is accepted, or the reason why it is not."""
    problem: str | None = f"no answer within {_ATTEMPT:g} s"
    with move_on_after(_ATTEMPT):
        try:
            async with await connect_tcp(host, port):
                problem = None
        except OSError as exc:
            problem = _reason(exc)
    return problem


def to_readiness(value: object) -> Readiness:
    """Convert the setting ``ready``: a mapping with one probe, and optionally ``interval`` and ``timeout``.

    :raises TypeError: if the value, or that of its probe, is of a wrong type
    :raises ValueError: if it is wrong otherwise
    """
    kind = f"a mapping with exactly one of {', '.join(_PROBES)}, and optionally interval and timeout"
    if not isinstance(value, Mapping):
        raise TypeError(expected(kind, value))
    given = dict(cast("Mapping[object, object]", value))
    for name in given:
        if name not in (known := [*_PROBES, "interval", "timeout"]):
            raise ValueError(f"expected {kind}; unknown: {show(name)}{did_you_mean(str(name), known)}")
    probes = [name for name in _PROBES if name in given]
    if len(probes) != 1:
        raise ValueError(f"expected {kind}; got {' and '.join(probes) or 'none of them'}")
    limits = {name: to_positive_seconds(given[name]) for name in ("interval", "timeout") if name in given}
    return Readiness(_PROBES[probes[0]](given[probes[0]]), **limits)


def _to_tcp(value: object) -> Probe:
    host, _, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    valid = port.isascii() and port.isdecimal() and 0 < int(port) < 65536
    if not (host and valid and (bracketed or ":" not in host)):
        raise ValueError(f"tcp: {expected('host:port, such as localhost:8080 or [::1]:8080', value)}")
    return TcpProbe(host, int(port))


def _to_http(value: object) -> Probe:
    try:
        parts = urlsplit(value) if isinstance(value, str) else None
        valid = parts is not None and parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        valid = False
    if not (valid and isinstance(value, str) and value.isascii() and value.isprintable() and " " not in value):
        raise ValueError(f"http: {expected('an address, such as http://localhost:8080/health', value)}")
    return HttpProbe(value)


def _to_log(value: object) -> Probe:
    if not isinstance(value, str):
        raise TypeError(f"log: {expected('a regular expression', value)}")
    try:
        return LogProbe(re.compile(value))
    except re.error as exc:
        raise ValueError(f"log: {show(value)} is no regular expression: {exc}") from None


def _to_command(value: object) -> Probe:
    return CommandProbe(to_argv(value))


_PROBES: Mapping[str, Callable[[object], Probe]] = {
    "tcp": _to_tcp,
    "http": _to_http,
    "log": _to_log,
    "command": _to_command,
}


def _show_endpoint(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _reason(error: Exception) -> str:
    """Return the text of the innermost cause: anyio's own text is the same for every failure to connect."""
    cause: BaseException = error
    while cause.__cause__ is not None or isinstance(cause, BaseExceptionGroup):
        if isinstance(cause, BaseExceptionGroup):
            cause = cast("BaseExceptionGroup[BaseException]", cause).exceptions[0]
        elif cause.__cause__ is not None:
            cause = cause.__cause__
    if isinstance(cause, EndOfStream):
        return "the connection was closed without an answer"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return str(cause) or repr(cause)
