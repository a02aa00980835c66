"""Copies between environments: a packer and an unpacker joined by a pipe, and a second step that puts it in place.

No byte passes through Python. The unpacker writes beside the target, under a name decided beforehand, and the copy is
moved only if both have ended with 0. So a copy is complete or absent.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, ExitStack
from pathlib import PurePosixPath
from subprocess import CompletedProcess
from typing import Any, Final, Protocol

from anyio import CancelScope, move_on_after
from anyio.abc import Process

from .exceptions import CommandError, WorkflowExecutionException
from .streams import CUT_OFF, Completed, communicate_all, last_lines

#: Seconds in which the remains of a copy that failed have to be removed.
_CLEANING: Final = 10.0

#: Arguments: a directory, what to pack in it, and ``whole`` or nothing. A line of input says what the unpacker reads.
_PACK: Final = """
read -r reads
cd -- "$1" || exit
if [ "$3" != whole ]; then
    special=$(find "./$2" ! -type f ! -type d ! -type l) || exit
    if [ -n "$special" ]; then echo "neither a file, nor a directory, nor a link: $special" >&2; exit 1; fi
fi
case $reads$(tar --version 2>/dev/null) in holes*GNU*) sparse=-S ;; *) sparse= ;; esac
exec tar $sparse -cf - -- "./$2"
"""

#: Arguments: the target, its parent, a name for a new directory, and ``whole`` or nothing. First it tells the packer
#: whether its tar reads files with holes: that of busybox does not.
_UNPACK: Final = """
case $(tar --version 2>/dev/null) in *GNU* | *bsdtar*) echo holes ;; *) echo none ;; esac
exec >/dev/null
mkdir -p -- "$2" || exit
if [ -d "$1" ]; then echo "the directory $1 exists already" >&2; exit 1; fi
mkdir -m 700 -- "$3" || exit
if [ "$4" = whole ]; then exec tar -C "$3" -xpf -; fi
tar -C "$3" -xopf - && chmod -R u-s,g-s -- "$3"
"""

#: Arguments: the copy, the target, the new directory.
_PUT: Final = """
if [ -d "$2" ]; then echo "the directory $2 exists already" >&2; exit 1; fi
mv -f -- "$1" "$2" || exit
if [ -d "$3" ]; then rmdir -- "$3"; fi
"""


class Environment(Protocol):
    """The calls of a connector that a copy needs."""

    @property
    def token(self) -> str: ...

    def start(
        self, argv: Sequence[str], *, stdin: Any = ..., stdout: Any = ...
    ) -> AbstractAsyncContextManager[Process]: ...

    async def run(self, argv: Sequence[str], *, check: bool = ...) -> CompletedProcess[bytes]: ...


async def copy(origin: Environment, source: str, destination: Environment, target: str, *, whole: bool = False) -> None:
    """Copy a file or a directory tree from one environment to another, or within one.

    :param whole: keep owners and set-user-id bits, and copy devices, FIFOs and sockets
    :raises ValueError: if a path is empty
    :raises CommandError: if either side fails, or if ``target`` is an existing directory

    If it fails or is cancelled, what was written so far is removed before that goes on.
    """
    for name, value in (("source", source), ("target", target)):
        if not value:
            raise ValueError(f"the {name} of a copy is an empty path")
    directory, member = _split(source)
    path = PurePosixPath(target)
    new = str(path.parent / f".anydeploy-{destination.token}-{secrets.token_hex(4)}")
    kind = "whole" if whole else ""
    pack = ("sh", "-c", _PACK, "copy", directory, member, kind)
    unpack = ("sh", "-c", _UNPACK, "copy", _path(path), _path(path.parent), _path(new), kind)
    put = ("sh", "-c", _PUT, "copy", _path(new if member == "." else f"{new}/{member}"), _path(path), _path(new))
    try:
        packed, unpacked = await _transfer(origin, pack, destination, unpack)
        # Each takes the other one with it when it fails. A packer that could not write to its end is not to blame.
        cut_off = unpacked.returncode != 0 and packed.returncode in CUT_OFF
        for done in (unpacked,) if cut_off else (packed, unpacked):
            _check(done, source, target)
        _check(await destination.run(put, check=False), source, target)
    except BaseException:
        with CancelScope(shield=True), move_on_after(_CLEANING):
            await _remove(destination, _path(new))
        raise


async def _transfer(
    origin: Environment, pack: Sequence[str], destination: Environment, unpack: Sequence[str]
) -> Sequence[Completed]:
    """Return how the packer and the unpacker have ended."""
    with ExitStack() as ends:
        reader, writer = _pipe(ends)
        answer, answering = _pipe(ends)
        async with (
            origin.start(pack, stdin=answer, stdout=writer) as packer,
            destination.start(unpack, stdin=reader, stdout=answering) as unpacker,
        ):
            # Otherwise neither side would notice that the other one has ended.
            ends.close()
            return await communicate_all([packer, unpacker])


def _pipe(ends: ExitStack) -> tuple[int, int]:
    """Return both ends of a pipe, to be closed with a stack."""
    pipe = os.pipe()
    for end in pipe:
        ends.callback(os.close, end)
    return pipe


def _check(done: Completed | CompletedProcess[bytes], source: str, target: str) -> None:
    if done.returncode != 0:
        raise CommandError(("copy", source, target), done.returncode, last_lines(done.stderr or b""))


async def _remove(destination: Environment, new: str) -> None:
    try:
        await destination.run(("rm", "-rf", "--", new))
    except WorkflowExecutionException:
        # The environment is lost, or was invalidated: nothing more can be done there, and the first error says why.
        return


def _split(source: str) -> tuple[str, str]:
    """Return the directory to pack in, and the name of what is packed there."""
    path = PurePosixPath(source)
    if path.name in ("", ".."):
        return _path(path), "."
    return _path(path.parent), path.name


def _path(path: PurePosixPath | str) -> str:
    """Return a path that no program takes for an option, and no shell for the directory before (``-``)."""
    text = str(path)
    return text if text.startswith("/") else f"./{text}"
