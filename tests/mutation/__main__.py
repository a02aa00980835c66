"""Mutation testing of the core: every small change of it is noticed by a test, or argued to make no difference.

``python -m mutation``, with this directory's parent on the path, tries every mutant but those that ``equivalent.toml``
argues about, and ends with the score. It fails if one survives that is not argued about, or if an argument is about
none that there is.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

from mutation.mutants import MODULES, Mutant, sites
from mutation.trial import Trials, hold_trials

Key: TypeAlias = tuple[str, str, str, str]
_FAILURES = ("surviving", "wrongly argued")


def main() -> int:
    arguments = _arguments()
    begun = time.monotonic()
    argued = _argued()
    unmatched = {key for key in argued if key[0].removesuffix(".py") in arguments.modules}
    score: Counter[str] = Counter()

    def try_all(trials: Trials) -> None:
        for mutant in _mutants(arguments.modules, arguments.sample):
            unmatched.discard(mutant.key)
            is_argued = mutant.key in argued
            tried = arguments.argued or not is_argued
            outcome = _outcome(trials.killer(mutant) if tried else None, is_argued=is_argued)
            score[outcome] += 1
            if outcome in _FAILURES:
                print(f"{outcome}:\n{_as_toml(mutant)}", flush=True)

    hold_trials(try_all)
    if arguments.sample is not None:
        unmatched.clear()
    for file, where, was, becomes in sorted(unmatched):
        print(f"argued about, but not there: {file}, {where}: {was} -> {becomes}")
    counts = ", ".join(f"{score[outcome]} {outcome}" for outcome in ("killed", "argued", *_FAILURES))
    print(f"{score.total()} mutants in {time.monotonic() - begun:.0f} s: {counts}")
    return 1 if unmatched or any(score[outcome] for outcome in _FAILURES) or not score else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="mutation")
    parser.add_argument("modules", nargs="*", default=MODULES, metavar="module", help="default: all of the core")
    parser.add_argument("--sample", type=int, metavar="N", help="change only N places, each time the same")
    parser.add_argument("--argued", action="store_true", help="try also those that are argued about")
    return parser.parse_args()


def _argued() -> set[Key]:
    """The keys of those about which the list argues."""
    listed = tomllib.loads((Path(__file__).parent / "equivalent.toml").read_text())["mutant"]
    assert all(entry["why"] for entry in listed)
    return {(entry["file"], entry["where"], entry["was"], becomes) for entry in listed for becomes in entry["becomes"]}


def _mutants(modules: list[str], sample: int | None) -> Iterator[Mutant]:
    places = [site for module in modules for site in sites(module)]
    if sample is not None:
        places = random.Random(0).sample(places, sample)
    seen: set[int] = set()
    return (mutant for site in places if (mutant := site.mutant(seen)) is not None)


def _outcome(killer: str | None, *, is_argued: bool) -> str:
    if killer is None:
        return "argued" if is_argued else "surviving"
    return "wrongly argued" if is_argued else "killed"


def _as_toml(mutant: Mutant) -> str:
    """As an entry of the list that has no argument yet."""
    was, becomes = (json.dumps(text, ensure_ascii=False) for text in (mutant.was, mutant.becomes))
    return (
        f'[[mutant]]\nfile = "{mutant.file}"\nwhere = "{mutant.where}"\nwas = {was}\nbecomes = [{becomes}]\nwhy = ""\n'
    )


if __name__ == "__main__":
    sys.exit(main())
