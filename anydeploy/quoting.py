"""Words for a POSIX shell: the one place where anything is quoted.

Words that pass through here reach the program as they are. A program in Python needs none of it: it passes an argv.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from shlex import join, quote
from typing import Final

__all__ = ["assignments", "becoming", "change_directory", "encode", "escape", "expand", "invocation", "join", "quote"]

_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_HOME: Final = re.compile(r"~[\w.-]*(?:/|$)", re.ASCII)

#: Variables that are read-only in some shells, or get values of their own there.
_READONLY: Final = frozenset(
    {
        *("BASHOPTS", "BASHPID", "BASH_ARGV0", "BASH_COMMAND", "BASH_SUBSHELL", "BASH_VERSINFO", "DIRSTACK"),
        *("EPOCHREALTIME", "EPOCHSECONDS", "EUID", "FUNCNAME", "GROUPS", "HISTCMD", "LINENO", "OPTIND", "PPID"),
        *("RANDOM", "SECONDS", "SHELLOPTS", "SRANDOM", "UID", "_"),
    }
)

#: Neither a blank, which ends a word of ``read``, nor a backslash, which begins an escape of ``printf %b``.
_PLAIN: Final = frozenset(range(0x21, 0x7F)) - {0x5C}
_ESCAPED: Final = tuple(bytes([byte]) if byte in _PLAIN else b"\\0%03o" % byte for byte in range(256))


def encode(text: str) -> bytes:
    """Return the bytes of a text, those that are no characters (``surrogateescape``) included.

    :raises ValueError: if it contains a null character, which no argument, variable or path can
    """
    if "\0" in text:
        raise ValueError("it contains a null character")
    return text.encode(errors="surrogateescape")


def escape(text: str) -> bytes:
    r"""Return a text as one word for ``read -r`` and ``printf %b``.

        escape("a b")  # b"a\0040b"

    :raises ValueError: if it contains a null character
    """
    return b"".join(map(_ESCAPED.__getitem__, encode(text)))


def assignments(environment: Mapping[str, str]) -> str:
    """Return the commands that export variables, a line each.

    :raises ValueError: if a shell cannot set a variable; its value is not in the text of the error
    """
    for name in environment:
        if not _IDENTIFIER.fullmatch(name) or name in _READONLY:
            raise ValueError(f"the variable {name!r} cannot be set by a shell")
    return "".join(f"export {name}={quote(value)}\n" for name, value in environment.items())


def becoming(argv: Sequence[str], environment: Mapping[str, str], workdir: str | None) -> bytes:
    """Return the text that makes a shell become a command, as one word (:func:`escape`).

        becoming(["env"], {"A": "a b"}, "/tmp")

    :raises ValueError: if an argument cannot be passed to a program, or a variable not be set by a shell
    """
    change = f"{change_directory(workdir)} || exit\n" if workdir is not None else ""
    return escape(f"{change}{assignments(environment)}{invocation(argv)}")


def change_directory(path: str) -> str:
    """Return the command that changes to a directory: never another one of ``CDPATH``, or the one before (``-``)."""
    return f"CDPATH= cd -- {quote(path if path.startswith('/') else f'./{path}')}"


def expand(path: str) -> str:
    """Return the word of a shell that is a path, which may begin with the home directory of a user (``~``)."""
    found = _HOME.match(path)
    home = found[0] if found is not None else ""
    return home + (quote(path[len(home) :]) if path != home else "")


def invocation(argv: Sequence[str], *, through: str = "") -> str:
    """Return the command that replaces the shell by a program, found in ``PATH``.

    A name that begins with a dash would be an option of ``exec`` in some shells, and ``--`` is a program in others.

    :param through: a program that becomes the one after its ``--``
    """
    program, *arguments = argv
    if through:
        return f"exec {quote(through)} -- {join(argv)}"
    if not program.startswith("-"):
        return f"exec {join(argv)}"
    found = f"anydeploy_program=$(command -v -- {quote(program)})"
    return f'{found} && exec "$anydeploy_program" {join(arguments)}'.rstrip()
