"""The program that ssh asks for passwords and passphrases. It contains the paths of their files, no secrets.

A password is given to the host that it is for, by the name that ssh itself has for it. The clients of a host and of the
tunnel to it have the same program, to which a variable tells them apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from ..quoting import expand, quote
from ._ssh_command import HOP, Connection

#: Argument: a path. Its content is the variable SCRIPT.
_INSTALL: Final = 'umask 077 && printf %s "$SCRIPT" >"$1" && chmod 700 "$1"'


def destination(settings: str) -> str:
    """Return the user and the host as ssh writes them in its questions, from what ``ssh -G`` prints."""
    found: dict[str, str] = {}
    for line in settings.splitlines():
        name, _, value = line.partition(" ")
        found.setdefault(name, value)
    host = found.get("hostkeyalias") or found.get("hostname", "")
    return f"{found.get('user', '')}@{host.lower()}"


def askpass(connection: Connection, destinations: Sequence[str]) -> str:
    """Return the program.

    :param destinations: those of the connection, of its tunnel, and so on
    """
    cases: list[tuple[str, str]] = []
    for number, (hop, name) in enumerate(zip(connection.hops, destinations, strict=True)):
        if hop.passphrase_file is not None:
            cases.append((f"{number}:Enter passphrase for key '", hop.passphrase_file))
        if hop.password_file is not None:
            # What a server asks comes after its own name, so it cannot ask for the password of another one.
            cases += [(f"{number}:{name}'s password: ", hop.password_file), (f"{number}:({name}) ", hop.password_file)]
    lines = "".join(f"    {quote(question)}*) exec cat -- {expand(path)} ;;\n" for question, path in cases)
    return f"#!/bin/sh\ncase ${HOP}:$1 in\n{lines}esac\nexit 1\n"


def installer(connection: Connection) -> str:
    """Return a shell script that checks the files, and writes the variable SCRIPT to a program with the path ``$1``."""
    files = [path for hop in connection.hops for path in hop.files]
    return " && ".join([*(f"cat -- {expand(path)} >/dev/null" for path in files), _INSTALL])


def variables(path: str) -> Mapping[str, str]:
    """Return the variables that make ssh ask a program."""
    return {"SSH_ASKPASS": path, "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": "none", HOP: "0"}
