"""The rules that a deployment manager keeps and those that it breaks, as a page of Markdown."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from anydeploy.exceptions import describe
from anydeploy.testing import Feature, Subject, Violation, run_virtual
from anydeploy.testing.scenarios import Scenario, every_scenario, play

if TYPE_CHECKING:
    from argparse import _SubParsersAction  # pyright: ignore[reportPrivateUsage] - it has no public name

#: Our own manager.
OURS = "anydeploy.testing.subject:AnydeploySubject"
_PAGE = """\
# The rules that {name} keeps

<!-- Written by `{command}`. -->

Each rule of anydeploy is tried in short scenarios, on {backend}, with connectors that do as they are told.
A scenario that needs a feature which the manager does not claim to have is not tried: {lacking}.

{summary}

| rule | scenarios | kept | verdict |
|---|--:|--:|---|
{table}
{sections}"""


@frozen
class Finding:
    """The outcome of one scenario.

    :ivar lacking: features that the manager would have to have to be tried
    :ivar violation: the rule that was broken, if one was
    """

    scenario: Scenario
    lacking: Sequence[Feature] = ()
    violation: AssertionError | None = None

    @property
    def verdict(self) -> str:
        return "not tried" if self.lacking else "breaks" if self.violation else "keeps"


def find(subject: Subject) -> list[Finding]:
    """Play every scenario with a manager, in virtual time, on the first of its backends."""
    return [_find(scenario, subject) for scenario in every_scenario()]


def _find(scenario: Scenario, subject: Subject) -> Finding:
    lacking = scenario.lacking(subject)
    if lacking:
        return Finding(scenario, lacking)
    try:
        run_virtual(subject.backends[0], partial(play, scenario, subject))
    except AssertionError as exc:
        return Finding(scenario, violation=exc)
    except (RuntimeError, SystemExit) as exc:
        # Its end cannot be reached, or it has ended the event loop.
        return Finding(scenario, violation=Violation(scenario.rule, describe(exc)))
    return Finding(scenario)


def markdown(subject: Subject, findings: Sequence[Finding], command: str) -> str:
    """Make the page.

    :param command: the one that it was written by
    """
    # The scenarios of one rule stand in several modules.
    rules: dict[str, list[Finding]] = {}
    for finding in findings:
        rules.setdefault(finding.scenario.rule, []).append(finding)
    verdicts = {rule: _verdict(found) for rule, found in rules.items()}
    counts = {each: sum(verdict == each for verdict in verdicts.values()) for each in ("keeps", "breaks", "not tried")}
    return _PAGE.format(
        name=subject.name,
        command=command,
        backend=subject.backends[0],
        lacking=", ".join(sorted({feature for finding in findings for feature in finding.lacking})) or "nothing",
        summary=f"It keeps {counts['keeps']} of {len(rules)} rules, breaks {counts['breaks']}, "
        f"and was not tried on {counts['not tried']}.",
        table="\n".join(_row(rule, found, verdicts[rule]) for rule, found in rules.items()),
        sections="".join(_section(rule, found) for rule, found in rules.items()),
    )


def _verdict(found: Iterable[Finding]) -> str:
    verdicts = {finding.verdict for finding in found}
    return "breaks" if "breaks" in verdicts else "keeps" if "keeps" in verdicts else "not tried"


def _row(rule: str, found: Sequence[Finding], verdict: str) -> str:
    tried = [finding for finding in found if not finding.lacking]
    kept = sum(finding.violation is None for finding in tried)
    return f"| {rule} | {len(tried)} | {kept} | {verdict} |"


def _section(rule: str, found: Iterable[Finding]) -> str:
    return f"\n## {rule}\n\n" + "\n".join(line for finding in found for line in _lines(finding)) + "\n"


def _lines(finding: Finding) -> Iterator[str]:
    lacking = f" ({', '.join(finding.lacking)})" if finding.lacking else ""
    yield f"- **{finding.verdict}**{lacking}: {finding.scenario.title}"
    if isinstance(finding.violation, Violation):
        story = f"{finding.violation.story}\n\n{finding.violation.told}"
        yield from ("", "  ```text", *(f"  {line}".rstrip() for line in story.splitlines()), "  ```", "")


# -- The command -------------------------------------------------------------------------------------------------------


def add_command(commands: _SubParsersAction[ArgumentParser]) -> None:
    """Add the command ``report`` to a command line."""
    summary = "tell the rules that a deployment manager keeps and those that it breaks, as Markdown"
    parser = commands.add_parser("report", help=summary, description=f"{summary.capitalize()}.")
    parser.add_argument("subject", nargs="?", type=to_subject, default=OURS, metavar="module:Subject")
    parser.set_defaults(run=_run)


def to_file(where: str) -> Path:
    """Return a file that can be written, which is better known before everything has been tried than after it.

    :raises ArgumentTypeError: if it cannot be written
    """
    try:
        Path(where).open("a").close()
    except OSError as exc:
        raise ArgumentTypeError(f"{where} cannot be written: {exc.strerror}") from None
    return Path(where)


def to_subject(where: str) -> Subject:
    """Return the subject that ``module:Class`` names.

    :raises ArgumentTypeError: if there is none
    """
    module, _, name = where.partition(":")
    if not (module and name):
        raise ArgumentTypeError(f"{where}: expected module:Class")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as exc:
        raise ArgumentTypeError(f"{where}: {exc}") from None
    if not (isinstance(found, type) and issubclass(found, Subject)):
        raise ArgumentTypeError(f"{where} is not a subclass of {Subject.__module__}:{Subject.__name__}")
    return found()


def _run(options: Namespace) -> int:
    write(markdown(options.subject, find(options.subject), f"python -m proofs {options.command}"), options.output)
    return 0


def write(page: str, output: Path | None) -> None:
    """Print a page, and write it to a file as well."""
    print(page, end="")
    if output is not None:
        output.write_text(page)
