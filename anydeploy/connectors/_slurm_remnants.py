"""Jobs of other processes: those that one which was killed has left, and allocations that exist already."""

from __future__ import annotations

from typing import Final

from ..exceptions import WorkflowExecutionException
from ..operations import Operations

#: Variables: LABEL, the beginning of the comments of the jobs, and of the names of directories; BASE, where these are;
#: KEEP, the name of a directory that is in use.
_REMOVE: Final = r"""
list() {
    squeue --me -h -t "$1" -o '%k|%i' | while IFS='|' read -r comment id; do
        case $comment in "$KEEP".*) ;; "$LABEL"-*) echo "$id" ;; esac
    done
}
squeue --me -h >/dev/null || exit
ids=$(list PD,R,CG,S,CF)
[ -z "$ids" ] || scancel $ids
n=0
while [ -n "$(list PD,R,CG,S,CF)" ]; do
    [ "$n" -lt 120 ] || { echo "jobs are left: $ids" >&2; exit 1; }
    n=$((n + 1))
    sleep 0.5
    [ "$n" -ne 10 ] || scancel --signal=KILL --full $ids
done
for d in "${BASE:-$HOME}/$LABEL"-*; do
    case ${d##*/} in "$KEEP") continue ;; esac
    # A file that is made meanwhile would keep the directory.
    n=0
    until rm -rf -- "$d"; do
        [ "$n" -lt 10 ] || exit
        n=$((n + 1))
        sleep 0.5
    done
done
"""


async def remove_jobs(environment: Operations, label: str, directory: str | None, keep: str | None) -> None:
    """Cancel jobs, and remove the directories of their queues.

    :param label: the beginning of the comments of the jobs, and of the names of the directories
    :param directory: the one of these directories; None: the home directory
    :param keep: the name of the queue that is in use
    :raises CommandError: if Slurm does not answer, or jobs are left
    """
    variables = {"LABEL": label, "BASE": directory or "", "KEEP": keep or "none"}
    await environment.run(["sh", "-c", _REMOVE, "anydeploy"], environment=variables)


async def find_job(environment: Operations, name: str) -> tuple[str, str | None]:
    """Return the id and the first node of the one job of this user that runs and has a name.

    :raises WorkflowExecutionException: if there is none, or if there are several
    """
    argv = ["squeue", "--me", "--noheader", "--states=RUNNING", f"--name={name}", "--format=%i %B"]
    found = (await environment.run(argv)).stdout.decode().splitlines()
    if len(found) != 1:
        raise WorkflowExecutionException(f"{len(found) or 'no'} jobs named '{name}' run; expected one")
    job, _, node = found[0].partition(" ")
    return job, node or None
