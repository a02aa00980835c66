"""``python -m search --output PAGE``: searches all small graphs, and some larger ones, and writes a page about it."""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.pool import Pool
from pathlib import Path
from typing import TypeVar

from attrs import frozen

from .explore import CALLS, FAULTS, Found, Result, Search, Total
from .graphs import Graph, graphs
from .resting import Compared, Comparison

#: All graphs up to this size are searched completely; of the next size there is a sample.
LARGEST = 3
SEED = 10

_Answer = TypeVar("_Answer")


@frozen
class Job:
    """A search of one graph."""

    graph: Graph
    calls: int
    faults: int
    cancellations_are_faults: bool = True

    @property
    def weight(self) -> tuple[int, int]:
        """How long it may take, compared to others: renewals and edges make for the most states."""
        graph = self.graph
        return sum(option.restarts for option in graph.options), sum(map(len, graph.below))


def search(job: Job) -> Result | Found:
    try:
        return Search(job.graph, job.calls, job.faults, cancellations_are_faults=job.cancellations_are_faults).run()
    except Found as found:
        return found


def compare(job: Job) -> Compared | Found:
    try:
        return Comparison(job.graph, job.faults).run()
    except Found as found:
        return found


class Report:
    """A page about searches that are made in processes of their own."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.lines = ["# The search of the engine's states", ""]
        self.found: list[Found] = []
        self.total = Total()

    def write(self, line: str = "") -> None:
        self.lines.append(line)
        print(line, flush=True)

    def search(self, title: str, jobs: list[Job]) -> None:
        """Search graphs, and write a row."""
        begun = time.monotonic()
        total = Total()
        for result in self._done(search, jobs):
            total.add(result)
        self.total.include(total)
        seconds = time.monotonic() - begun
        self.write(f"| {title} | {len(jobs)} | {total.states:,} | {total.transitions:,} | {seconds:.0f} |")

    def compare(self, title: str, jobs: list[Job]) -> None:
        """Compare graphs with the sequential model, and write a row."""
        begun = time.monotonic()
        rests = calls = 0
        for compared in self._done(compare, jobs):
            rests += compared.rests
            calls += compared.calls
        self.write(f"| {title} | {len(jobs)} | {rests:,} | {calls:,} | {time.monotonic() - begun:.0f} |")

    def _done(self, work: Callable[[Job], _Answer | Found], jobs: Iterable[Job]) -> Iterator[_Answer]:
        for answer in self._pool.imap_unordered(work, sorted(jobs, key=lambda job: job.weight, reverse=True)):
            if isinstance(answer, Found):
                self.found.append(answer)
                print(answer, file=sys.stderr, flush=True)
            else:
                print(answer, file=sys.stderr, flush=True)
                yield answer


def write_page(report: Report, sample: int, *, everywhere: bool) -> None:
    write = report.write
    largest = graphs(LARGEST, everywhere=everywhere)
    write("Every state of the engine that calls and faults can lead to is visited; every move out of it is checked.")
    write("Each graph is searched plain, with each option in each place, and with a limit of one.")
    if not everywhere:
        write(f"In those of {LARGEST} deployments each option is in one place, which differs from graph to graph.")
    write()
    write(f"All with {CALLS} calls:")
    write()
    write("| deployments | graphs | states | transitions | seconds |")
    write("|---|---|---|---|---|")
    for size in range(1, LARGEST):
        jobs = [Job(graph, CALLS, FAULTS, cancellations_are_faults=False) for graph in graphs(size)]
        report.search(f"{size}, {FAULTS} faults, and any number of cancellations", jobs)
    jobs = [Job(graph, CALLS, FAULTS) for graph in largest]
    report.search(f"{LARGEST}, {FAULTS} faults, cancellations among them", jobs)
    larger = graphs(LARGEST + 1)
    chosen = random.Random(SEED).sample(larger, sample)
    title = f"{LARGEST + 1}, 1 fault or cancellation: {sample} of {len(larger):,} graphs, chosen with the seed {SEED}"
    report.search(title, [Job(graph, CALLS, 1) for graph in chosen])
    write()
    write("Compared with the sequential model: each call that is made at rest, and all that it may lead to.")
    write()
    write("| deployments | graphs | states of rest | calls | seconds |")
    write("|---|---|---|---|---|")
    for size in range(1, LARGEST + 1):
        jobs = [Job(graph, CALLS, FAULTS) for graph in (largest if size == LARGEST else graphs(size))]
        report.compare(f"{size}, {FAULTS} faults, cancellations among them", jobs)
    write()
    missing = report.total.rows_not_taken()
    rows = len(report.total.rows)
    write(f"{rows} rows of the table of transitions were taken; not taken: {', '.join(missing) or 'none'}.")
    for found in report.found:
        write()
        write(f"**{found.problem}** in {found.graph}: {'; '.join(found.trace)}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="search", description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="where to write the page")
    parser.add_argument("--jobs", type=int, default=2, help="how many processes search")
    parser.add_argument("--sample", type=int, default=12, help="how many graphs of the size that is not complete")
    parser.add_argument("--everywhere", action="store_true", help="each option in each place of the largest graphs")
    arguments = parser.parse_args()
    with Pool(arguments.jobs) as pool:
        report = Report(pool)
        write_page(report, arguments.sample, everywhere=arguments.everywhere)
    arguments.output.write_text("\n".join(report.lines) + "\n")
    return 1 if report.found or report.total.rows_not_taken() else 0


if __name__ == "__main__":
    sys.exit(main())
