"""``python -m anydeploy.testing``: what the kit can do without a test."""

from __future__ import annotations

import logging
import sys
from argparse import ArgumentParser
from collections.abc import Sequence

from . import report

_COMMANDS = (report,)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Returns the exit status."""
    parser = ArgumentParser(prog="python -m anydeploy.testing", description="The testing kit of anydeploy.")
    commands = parser.add_subparsers(required=True, metavar="command")
    for module in _COMMANDS:
        module.add_command(commands)
    options = parser.parse_args(arguments)
    # What managers say of failures that they were told to have is of no interest.
    before = logging.root.manager.disable
    logging.disable()
    try:
        return int(options.run(options))
    finally:
        logging.disable(before)


if __name__ == "__main__":
    sys.exit(main())
