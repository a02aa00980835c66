"""The shell scripts that run a command at a location of a StreamFlow connector: pure text.

Each command has a directory at the location, with its streams and two scripts. The streams are FIFOs; those of a job,
which runs on another machine, are files. ``command`` is the command itself; ``do`` runs it, and does everything that
goes with it. Some connectors hand the words of a command to a shell and others do not, so ``do`` is called with plain
words only. The scripts need a POSIX shell with ``cat``, ``dd`` and ``mkfifo``; and ``setsid``, without which signals
reach the command but not what it has started.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from shlex import quote
from subprocess import DEVNULL, STDOUT

from ...connector import Command

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

#: Runs the command, unless it was told to stop, or is being removed. On descriptor 3 it says that it has started, or
#: why not; a job, whose descriptor 3 is read by nothing, says that on its stderr as well. `end` makes `stop` and then
#: removes `do` before anything else, so that where `stop` is gone `do` is gone, too.
_COMMAND = """\
test ! -e stop || exit 125
test -e do || exit 125
cd -- "$3" || exit 125
{workdir}{exports}if ! command -v -- {program} >/dev/null 2>&1; then
    echo missing >&3
    test "$1" = attended || echo {program}: there is no such program >&2
    exit 127
fi
echo "started $$ $2" >&3
exec {argv} 3>&-
"""

_WORKDIR = """\
if ! cd -- {workdir} 2>/dev/null; then
    echo nowhere >&3
    test "$1" = attended || echo the workdir {workdir} does not exist, or cannot be used >&2
    exit 126
fi
"""

#: A terminal sends its signals to this script too, if the connector has started it here: they end the command alone,
#: which has a session of its own. The redirections are those of a subshell, because what a shell says of a killed
#: command is not output of the command. A reader or writer that waits for the other end of a FIFO when all is over is
#: released by opening both of its ends.
_DO = """\
origin=$PWD
cd "${{0%/*}}" || exit 1
case $1 in
start)
    trap : INT QUIT HUP TERM
    exec 3>&1 >/dev/null 2>&1 </dev/null
    if command -v setsid; then set -- setsid sh ./command attended group; else set -- sh ./command attended alone; fi
    set -- "$@" "$origin"
    (exec "$@" <{stdin} >{stdout} 2>{stderr})
    echo "ended $?" >&3
    ;;
job)
    exec </dev/null >/dev/null 2>&1
    if command -v setsid; then set -- setsid sh ./command queued group; else set -- sh ./command queued alone; fi
    set -- "$@" "$origin"
    while test -e do; do
        if mv signals signals.now; then
            read -r _ pid kind <started
            if test "$kind" = group; then pid="-$pid"; fi
            while read -r name; do kill "-$name" "$pid"; done <signals.now
        fi
        sleep 1
    done &
    (exec 3>started "$@" <{stdin} >{stdout} 2>{stderr})
    status=$?
    kill $!
    exit $status
    ;;
read)
    trap '' INT QUIT HUP TERM
    echo $$ >"pid.$2"
    exec cat "$2" 2>/dev/null
    ;;
write)
    trap '' INT QUIT HUP TERM
    echo $$ >pid.in
    exec dd bs=65536 of=in 2>/dev/null
    ;;
unread)
    kill -KILL "$(cat "pid.$2")"
    ;;
signal)
    echo "$2" >>signals
    ;;
alive)
    group=$2
    kill -0 "-$group" 2>/dev/null || exit 1
    test -r /proc/self/stat || exit 0
    for file in /proc/[0-9]*/stat; do
        read -r line 2>/dev/null <"$file" || continue
        set -- ${{line##*) }}
        test "$3" = "$group" || continue
        case $1 in [ZX]) ;; *) exit 0 ;; esac
    done
    exit 1
    ;;
stop)
    echo >stop
    ;;
end)
    echo >stop
    for fifo in in out err; do if test -p $fifo; then : <>$fifo; fi; done
    for file in pid.*; do if test -f "$file"; then kill -KILL "$(cat "$file")" 2>/dev/null; fi; done
    rm -f do
    rm -rf "$PWD"
    ;;
esac
"""

_SET_UP = """\
umask 077 && {cd}mkdir {directory} && cd {directory} && {streams} in out err && \
printf %b {command} >command && printf %b {do} >do && pwd -P\
"""


def set_up(directory: str, command: Command, *, job: bool = False) -> str:
    """Return the shell command that makes the directory of a command, with everything in it, and prints its path.

    :param directory: its path; for a job relative to the home directory, which has to be the same on all machines
    :param job: whether the command is a job of a queue
    :raises ValueError: if a variable has a name that no shell can export
    """
    stdin = "/dev/null" if command.stdin == DEVNULL else "in"
    stdout = "/dev/null" if command.stdout == DEVNULL else "out"
    stderr = {DEVNULL: "/dev/null", STDOUT: "&1"}.get(command.stderr if isinstance(command.stderr, int) else 0, "err")
    script = _SET_UP.format(
        cd="cd && " if job else "",
        directory=directory,
        streams="touch" if job else "mkfifo",
        command=quote(_escape(_command(command))),
        do=quote(_escape(_DO.format(stdin=stdin, stdout=stdout, stderr=stderr))),
    )
    return f"sh -c {quote(script)}"


def _escape(text: str) -> str:
    """Escape a text for ``printf %b``. Every shell on the way would quote a quotation mark once more."""
    return text.replace("\\", "\\\\").replace("'", "\\0047")


def _command(command: Command) -> str:
    return _COMMAND.format(
        workdir="" if command.workdir is None else _WORKDIR.format(workdir=quote(command.workdir)),
        exports=_exports(command.environment),
        program=quote(command.argv[0]),
        argv=" ".join(map(quote, command.argv)),
    )


def _exports(environment: Mapping[str, str]) -> str:
    for name in environment:
        if not _IDENTIFIER.fullmatch(name):
            raise ValueError(f"the variable {name!r} cannot be set by a shell")
    return "".join(f"export {name}={quote(value)}\n" for name, value in environment.items())
