"""The remains of sessions whose other end was killed, where not even the script could clean up."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ..operations import Operations

#: Variables: PREFIX, the beginning of the names; KEEP, the names of sessions that are in use; GRACE, seconds. They are
#: no arguments, here and of grep, so that what is found by its arguments is never this script.
#:
#: Names are patterns: as a fixed string, busybox's grep would not find one behind a null character.
#:
#: A script that still runs is told to end, and given the time that it takes. Processes count as those of a session only
#: by the name in their environment or arguments, never by a number.
_SCRIPT: Final = r"""
named() { printf '%s\n' "$2" | grep -ls -f - /proc/[0-9]*/"$1" | while IFS=/ read -r _ _ pid _; do echo "$pid"; done; }
signal() {
    for pid in $(named environ "ANYDEPLOY_COMMAND=$2-t"); do kill -s "$1" "$pid" 2>/dev/null; done
}
for base in "$TMPDIR" /tmp /var/tmp /dev/shm "$HOME"; do
    for d in "${base%/}/$PREFIX"-*; do
        [ -e "$d" ] || continue
        name=${d##*/}
        # The socket of a connection is named as its session is.
        name=${name%.ssh}
        name=${name%.askpass}
        case " $KEEP " in *" $name "*) continue ;; esac
        for pid in $(named cmdline "$name"); do kill -s TERM "$pid" 2>/dev/null; done
        signal TERM "$name"
        rest=$GRACE
        while [ -n "$(named cmdline "$name")$(named environ "ANYDEPLOY_COMMAND=$name-t")" ] && [ "$rest" -gt 0 ]; do
            sleep 1
            rest=$((rest - 1))
        done
        signal KILL "$name"
        # A file that is made meanwhile would keep the directory.
        rest=5
        until rm -rf -- "$d"; do
            [ "$rest" -gt 0 ] || exit
            sleep 1
            rest=$((rest - 1))
        done
    done
done
"""


async def remove_remnants(environment: Operations, prefix: str, *, keep: Iterable[str], grace: int) -> None:
    """End the processes of sessions, and remove their directories.

    :param prefix: the beginning of the names of the sessions
    :param keep: the names of those that are in use
    :param grace: seconds that processes have to end
    :raises CommandError: if a directory cannot be removed
    """
    variables = {"PREFIX": prefix, "KEEP": " ".join(keep), "GRACE": str(grace)}
    await environment.run(["sh", "-c", _SCRIPT, "anydeploy"], environment=variables)
