"""Explores all small scopes of a deployment manager, and tells the result."""

from __future__ import annotations

import multiprocessing
import platform
import time
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING

from attrs import evolve, frozen
from explorer import Exploration, ExplorationFailure

from anydeploy.testing import RULES, Rule, Subject, Violation

from .linearizability import Linearizability
from .report import OURS, to_subject, write
from .scopes import Scope, every_scope

if TYPE_CHECKING:
    from argparse import _SubParsersAction  # pyright: ignore[reportPrivateUsage] - it has no public name

#: The faults of a run: the number of callers that may be cancelled, and of operations that may fail.
FAULTS = {"nothing": (0, 0), "a cancellation": (1, 0), "a failure": (0, 1)}
_WATCHED: tuple[type[Rule], ...] = (*RULES, Linearizability)

_PAGE = """\
# The explored scopes of {name}

<!-- Written by `{command}`. -->

Every dependency graph of up to {deployments} deployments, with every choice of up to {callers} concurrent calls of
`deploy`, `undeploy` and `undeploy_all`: {scopes:,} scopes. Each is explored as a whole, with up to {most:,} schedules;
where that is not enough, with every order that deviates from the default one at most {bound} times. Python {python},
{jobs} at a time.

| event loop | fault | scopes | complete | up to {bound} deviations | given up | schedules | broken |
|---|---|--:|--:|--:|--:|--:|--:|
{table}

{total}
{sections}"""


@frozen
class Task:
    """One scope, to be explored with one kind of fault on one event loop.

    :ivar number: its place among the tasks of a survey
    :ivar most: the number of schedules after which the deviations are bounded
    :ivar bound: by how many
    :ivar last: the number of schedules after which a bounded exploration is given up
    :ivar callbacks: on asyncio, choose as well when callbacks run that are no step of a task
    :ivar unwatched: numbers of rules that are not to be watched
    """

    number: int
    subject: Subject
    scope: Scope
    backend: str
    fault: str
    bound: int
    most: int
    last: int
    callbacks: bool = False
    unwatched: frozenset[str] = frozenset()

    def explore(self) -> Result:
        found = self._explore(bound=None, most=self.most)
        schedules = found.schedules
        if not found.complete and found.failure is None:
            found = self._explore(bound=self.bound, most=self.last)
            schedules += found.schedules
        return Result.of(self, found, schedules)

    def _explore(self, *, bound: int | None, most: int) -> Exploration:
        cancellations, failures = FAULTS[self.fault]
        return self.scope.explore(
            self.subject,
            self._rules,
            backend=self.backend,
            cancellations=cancellations,
            failures=failures,
            bound=bound,
            most=most,
            callbacks=self.callbacks and self.backend == "asyncio",
        )

    def _rules(self) -> Iterable[Rule]:
        return [rule() for rule in _WATCHED if rule.number not in self.unwatched]


@frozen
class Result:
    """The result of a task.

    :ivar broken: the number of the rule that was broken, or the kind of another failure; None without one
    :ivar story: of the failed run, step by step
    """

    task: Task
    complete: bool
    bounded: bool
    schedules: int
    broken: str | None = None
    story: str = ""

    @classmethod
    def of(cls, task: Task, found: Exploration, schedules: int) -> Result:
        bounded = found.limits.bound is not None
        failure = found.failure
        kind = None if failure is None else _kind(failure)
        return cls(task, found.complete, bounded, schedules, kind, str(failure or ""))


def _kind(failure: ExplorationFailure) -> str:
    error = failure.error
    return error.rule if isinstance(error, Violation) else type(error).__name__


def survey(tasks: Sequence[Task], *, jobs: int) -> Iterator[Result]:
    """Explore all tasks, ``jobs`` at a time, in any order."""
    if jobs == 1:
        yield from map(Task.explore, tasks)
        return
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        yield from pool.imap_unordered(Task.explore, tasks)


def kinds(broken: Iterable[Result]) -> Iterator[Result]:
    """Yield of the broken scopes one of every kind: each rule is watched until it has been seen broken.

    Otherwise only the rule that is broken most often would be seen. With each kind of fault all are looked for anew.
    """
    seen: dict[str, set[str]] = {fault: set() for fault in FAULTS}
    for result in broken:
        known = seen[result.task.fault]
        while (found := evolve(result.task, unwatched=frozenset(known)).explore()).broken not in {None, *known}:
            assert found.broken is not None
            known.add(found.broken)
            yield found


# -- The command -------------------------------------------------------------------------------------------------------


def add_command(commands: _SubParsersAction[ArgumentParser]) -> None:
    """Add the command ``explore`` to a command line."""
    summary = "explore everything that a few callers can do to a few deployments, in every order"
    parser = commands.add_parser("explore", help=summary, description=f"{summary.capitalize()}.")
    parser.add_argument("subject", nargs="?", type=to_subject, default=OURS, metavar="module:Subject")
    parser.add_argument("--backend", action="append", choices=["asyncio", "trio"], help="default: all that it runs on")
    parser.add_argument("--fault", action="append", choices=list(FAULTS), help="default: each of them")
    parser.add_argument("--deployments", type=at_least(1), default=3, metavar="N", help="up to how many; default: 3")
    parser.add_argument("--callers", type=at_least(1), default=3, metavar="N", help="up to how many; default: 3")
    parser.add_argument(
        "--bound", type=at_least(0), default=3, metavar="N", help="deviations in what is too large; default: 3"
    )
    parser.add_argument(
        "--most", type=at_least(1), default=20_000, metavar="N", help="schedules until it is; default: 20000"
    )
    parser.add_argument(
        "--last", type=at_least(1), default=50_000, metavar="N", help="of what is given up; default: 50000"
    )
    parser.add_argument("--callbacks", action="store_true", help="on asyncio, choose when they run as well")
    parser.add_argument("--jobs", type=at_least(1), default=1, metavar="N", help="processes; default: 1")
    parser.set_defaults(run=_run)


def at_least(lowest: int) -> Callable[[str], int]:
    """Make a parser of arguments that are whole numbers, not too low."""

    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < lowest:
            raise ArgumentTypeError(f"{text}: expected a whole number, {lowest} or more")
        return int(text)

    return parse


def _run(options: Namespace) -> int:
    started = time.monotonic()
    tasks = list(_tasks(options))
    results = sorted(survey(tasks, jobs=options.jobs), key=lambda result: result.task.number)
    write(_page(options, results, time.monotonic() - started), options.output)
    return 1 if any(result.broken for result in results) else 0


def _tasks(options: Namespace) -> Iterator[Task]:
    subject: Subject = options.subject
    backends = options.backend or [name for name in ("asyncio", "trio") if name in subject.backends]
    scopes = every_scope(subject, deployments=options.deployments, callers=options.callers)
    limits = options.bound, options.most, options.last, options.callbacks
    for number, (scope, backend, fault) in enumerate(product(scopes, backends, options.fault or FAULTS)):
        yield Task(number, subject, scope, backend, fault, *limits)


def _page(options: Namespace, results: Sequence[Result], seconds: float) -> str:
    rows: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        rows.setdefault((result.task.backend, result.task.fault), []).append(result)
    broken = [result for result in results if result.broken]
    return _PAGE.format(
        name=options.subject.name,
        command=f"python -m proofs {options.command}",
        deployments=options.deployments,
        callers=options.callers,
        scopes=len({str(result.task.scope) for result in results}),
        most=options.most,
        bound=options.bound,
        python=platform.python_version(),
        jobs=options.jobs,
        table="\n".join(_row(rows[kind]) for kind in sorted(rows, key=_place)),
        total=_total(results, seconds),
        sections="".join(f"\n## {found.broken}, {found.task.fault}\n\n{_told(found)}" for found in kinds(broken)),
    )


def _total(results: Sequence[Result], seconds: float) -> str:
    schedules = sum(result.schedules for result in results)
    given_up = sum(not result.complete and not result.broken for result in results)
    broken = sorted({result.broken for result in results if result.broken})
    return (
        f"In all {schedules:,} schedules in {seconds:,.0f} s ({schedules / seconds:,.0f} a second). "
        f"{f'{given_up:,} scopes were given up' if given_up else 'Nothing was given up'}; "
        f"{'broken: ' + ', '.join(broken) if broken else 'no rule is broken'}."
    )


def _place(kind: tuple[str, str]) -> tuple[str, int]:
    backend, fault = kind
    return backend, list(FAULTS).index(fault)


def _row(results: Sequence[Result]) -> str:
    task = results[0].task
    counts: list[Callable[[Result], bool]] = [
        lambda result: result.complete and not result.bounded,
        lambda result: result.complete and result.bounded,
        lambda result: not result.complete and result.broken is None,
    ]
    figures = [
        len(results),
        *(sum(map(count, results)) for count in counts),
        sum(result.schedules for result in results),
        sum(result.broken is not None for result in results),
    ]
    return f"| {task.backend} | {task.fault} | " + " | ".join(f"{figure:,}" for figure in figures) + " |"


def _told(result: Result) -> str:
    return f"{result.task.scope}\n\n```text\n{result.story}\n```\n"
