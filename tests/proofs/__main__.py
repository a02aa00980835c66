"""``python -m proofs``, with ``tests`` on the path: explorations and reports of deployment managers."""

from __future__ import annotations

import logging
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from shlex import join

from . import report, rules, survey
from .report import to_file

_COMMANDS = (report, rules, survey)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Returns the exit status."""
    parser = ArgumentParser(prog="python -m proofs", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    for module in _COMMANDS:
        module.add_command(commands)
    for command in commands.choices.values():
        command.add_argument("--output", type=to_file, metavar="FILE", help="write the page there as well")
    options = parser.parse_args(arguments)
    options.command = join(sys.argv[1:] if arguments is None else arguments)
    # Failures that managers were told to have are not to be logged.
    before = logging.root.manager.disable
    logging.disable()
    try:
        return int(options.run(options))
    finally:
        logging.disable(before)


if __name__ == "__main__":
    sys.exit(main())
