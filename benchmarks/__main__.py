"""Run the benchmarks, print their tables, and keep them: short ones in README.md, full ones and plots in results/."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter

from . import report
from .measure import Effort, Section
from .plots import draw

#: The modules of the benchmarks, by the names of the command line.
BENCHMARKS: Mapping[str, str] = {
    "overhead": "overhead",
    "price": "price",
    "streamflow": "streamflow_manager",
    "shared": "shared_path",
    "cancellation": "cancellation",
    "memory": "memory",
    "startup": "startup",
    "graph": "graph_search",
    "makespan": "makespan",
    "sessions": "sessions",
}
README = Path(__file__).with_name("README.md")
RESULTS = README.with_name("results")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"all, or some of: {', '.join(BENCHMARKS)}")
    parser.add_argument("--quick", action="store_true", help="only show that everything runs; the figures mean nothing")
    parser.add_argument("--rounds", type=int, help="at most so many rounds of anything: sooner, and less certain")
    parser.add_argument("--largest", type=int, metavar="N", help="skip sizes above N, unless there are no smaller ones")
    parser.add_argument("--output", type=Path, help="another directory for the results; README.md stays")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    if arguments.rounds is not None and arguments.rounds < 1:
        parser.error("--rounds has to be at least 1")
    if not arguments.quick and arguments.output is None and find_spec("matplotlib") is None:
        parser.error("without matplotlib the plots would not belong to the tables: install it, or give --output")
    effort = Effort(arguments.quick, arguments.rounds, arguments.largest)
    for name in arguments.names or BENCHMARKS:
        began = perf_counter()
        # Each has a process of its own, which the imports and the memory of others do not slow down. Ctrl-C ends it
        # immediately and silently.
        default = (signal.SIGINT, signal.SIG_DFL)
        with ProcessPoolExecutor(1, get_context("spawn"), signal.signal, default) as pool:
            sections = pool.submit(_function(name), effort).result()
        tables = report.as_markdown(sections)
        print(tables, flush=True)
        print(f"{name} took {perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
        if arguments.output is not None:
            _write(name, sections, arguments.output)
        elif not arguments.quick:
            _write(name, sections, RESULTS)
            report.replace_in(README, name, report.as_summary(name, sections))


def _function(name: str) -> Callable[[Effort], list[Section]]:
    run: Callable[[Effort], list[Section]] = import_module(f".{BENCHMARKS[name]}", __package__).run
    return run


def _write(name: str, sections: list[Section], directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{name}.json").write_text(json.dumps(report.as_dict(sections), indent=1) + "\n")
    (directory / f"{name}.md").write_text(f"# {name}\n\n{report.as_markdown(sections)}")
    try:
        draw(directory)
    except ImportError as missing:
        print(f"no plots: {missing}", file=sys.stderr)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
