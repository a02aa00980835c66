"""A command, as connectors pass it on to each other."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from typing import IO, Any, TypeAlias

import attrs
from attrs import field, frozen

#: Seconds between the request to end and the kill, unless a connector or a caller says otherwise.
DEFAULT_GRACE = 5.0
#: Seconds that a relay has in any hurry: the longest that the script of a session takes to clean up.
RELAY_GRACE = DEFAULT_GRACE + 1.0

#: Changes to the directory that is its first argument, and becomes the program that the others are.
_IN_DIRECTORY = 'CDPATH= cd -- "$1" || exit; shift; exec "$@"'
#: Becomes a program whose name ``env`` would take for a variable, or some shells for an option of ``exec``.
_AS_IT_IS = 'anydeploy_program=$(command -v -- "$1") || exit 127; shift; exec "$anydeploy_program" "$@"'

Stdio: TypeAlias = int | IO[Any] | None


def _to_argv(value: Sequence[str]) -> tuple[str, ...]:
    if isinstance(value, str):
        raise TypeError(f"a command is a sequence of strings, the program and its arguments, not the string {value!r}")
    return tuple(value)


@frozen
class Command:
    """A command to be started in an environment.

    A wrapper transforms it into a command for the environment that it wraps::

        attrs.evolve(command, argv=["nice", *command.argv])

    :ivar argv: the program and its arguments; no shell interprets them
    :ivar environment: variables added to those of the environment; they are not shown with the command
    :ivar workdir: the directory to run in; None: the default of the environment
    :ivar stdin: ``subprocess.PIPE``, ``DEVNULL``, a file, or None to inherit that of this program
    :ivar stdout: likewise; ``stderr``: likewise, or ``subprocess.STDOUT``
    :ivar grace: seconds between the request to end and the kill when the command is stopped
    :ivar service: the service of the environment to run in; ``location``: the place. None: the connector's default
    :ivar relay: it passes on what happens in another environment, and ends by itself when its input does. When this
        program has been killed, an environment lets it do so before it ends it
    """

    argv: tuple[str, ...] = field(converter=_to_argv)
    environment: Mapping[str, str] = field(factory=dict[str, str], repr=False)
    workdir: str | None = None
    stdin: Stdio = subprocess.PIPE
    stdout: Stdio = subprocess.PIPE
    stderr: Stdio = subprocess.PIPE
    grace: float = DEFAULT_GRACE
    service: str | None = None
    location: str | None = None
    relay: bool = False

    @property
    def least_grace(self) -> float:
        """The seconds of its grace that no hurry takes away."""
        return min(self.grace, RELAY_GRACE) if self.relay else 0.0

    def inlined(self) -> Command:
        """Return the same command with environment and workdir in its argv, by means of ``env`` and ``sh``.

        For an environment that takes nothing but an argv. The values of variables can be read there by everybody who
        sees the processes, so a connector that can brings them in by another way.
        """
        argv: tuple[str, ...] = self.argv
        if self.environment:
            if argv and (argv[0].startswith("-") or "=" in argv[0]):
                argv = ("sh", "-c", _AS_IT_IS, "sh", *argv)
            argv = ("env", *(f"{name}={value}" for name, value in self.environment.items()), *argv)
        if self.workdir is not None:
            workdir = self.workdir if self.workdir.startswith("/") else f"./{self.workdir}"
            argv = ("sh", "-c", _IN_DIRECTORY, "sh", workdir, *argv)
        return attrs.evolve(self, argv=argv, environment={}, workdir=None)
