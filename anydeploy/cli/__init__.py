"""The command line. Each command imports what it needs when it runs, so that ``--help`` is quick."""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line: the console script. Return the exit status, or raise ``SystemExit``.

        main(["plan", "stack.yml", "--json"])

    :param argv: the arguments; None: those of this program
    """
    try:
        from .signals import exit_on_signals  # noqa: PLC0415 - a Ctrl-C before this line is caught below

        exit_on_signals()
        try:
            from .arguments import command  # noqa: PLC0415 - click may be missing
        except ModuleNotFoundError as exc:
            if exc.name is None or exc.name.partition(".")[0] != "click":
                raise
            sys.stderr.write("anydeploy: error: click is not installed: pip install 'anydeploy[cli]'\n")
            return 2
        command.main(args=None if argv is None else list(argv), prog_name="anydeploy")
    except KeyboardInterrupt:
        return 130
    return 0
