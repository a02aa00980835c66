"""Mutation testing of the core: every small change of it is noticed by a test, or argued to make no difference.

``python -m mutation``, with this directory's parent on the path, tries every mutant but those that ``equivalent.toml``
argues about, and ends with the score. It fails if one survives that is not argued about, or if an argument is about
none that there is (with ``--argued``: about none that survives).
"""

from __future__ import annotations

import argparse
import itertools
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


def main() -> int:
    arguments = _arguments()
    begun = time.monotonic()
    argued = _argued(arguments.modules)
    total: Counter[str] = Counter()
    confirmed: set[Key] = set()

    def try_all(trials: Trials) -> None:
        for file, mutants in itertools.groupby(_mutants(arguments.modules, arguments.sample), lambda each: each.file):
            score = Counter(outcome(trials, mutant) for mutant in mutants)
            print(f"{file}: {_counts(score)}", flush=True)
            total.update(score)

    def outcome(trials: Trials, mutant: Mutant) -> str:
        is_tried = arguments.argued or mutant.key not in argued
        if is_tried and trials.killer(mutant) is not None:
            return "killed"
        if mutant.key in argued:
            confirmed.add(mutant.key)
            return "argued"
        print(f"survives:\n{_as_toml(mutant)}", flush=True)
        return "surviving"

    hold_trials(try_all)
    in_vain = sorted(argued - confirmed) if arguments.sample is None else []
    for file, where, was, becomes in in_vain:
        print(f"argued about in vain: {file}, {where}: {was} -> {becomes}")
    print(f"{total.total()} mutants in {time.monotonic() - begun:.0f} s: {_counts(total)}")
    return 1 if in_vain or total["surviving"] or not total["killed"] else 0


def _counts(score: Counter[str]) -> str:
    return ", ".join(f"{score[outcome]} {outcome}" for outcome in ("killed", "argued", "surviving"))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="mutation")
    parser.add_argument("modules", nargs="*", default=MODULES, metavar="module", help="default: all of the core")
    parser.add_argument("--sample", type=int, metavar="N", help="change only N places, each time the same")
    parser.add_argument("--argued", action="store_true", help="try also those that are argued about")
    return parser.parse_args()


def _argued(modules: list[str]) -> set[Key]:
    """The keys of those about which the list argues."""
    listed = tomllib.loads((Path(__file__).parent / "equivalent.toml").read_text())["mutant"]
    assert all(entry["why"] for entry in listed)
    return {
        (entry["file"], entry["where"], entry["was"], becomes)
        for entry in listed
        for becomes in entry["becomes"]
        if entry["file"].removesuffix(".py") in modules
    }


def _mutants(modules: list[str], sample: int | None) -> Iterator[Mutant]:
    places = [site for module in modules for site in sites(module)]
    if sample is not None:
        places = sorted(random.Random(0).sample(places, sample), key=places.index)
    seen: set[int] = set()
    return (mutant for site in places if (mutant := site.mutant(seen)) is not None)


def _as_toml(mutant: Mutant) -> str:
    """As an entry of the list that has no argument yet."""
    was, becomes = (json.dumps(text, ensure_ascii=False) for text in (mutant.was, mutant.becomes))
    return (
        f'[[mutant]]\nfile = "{mutant.file}"\nwhere = "{mutant.where}"\nwas = {was}\nbecomes = [{becomes}]\nwhy = ""\n'
    )


if __name__ == "__main__":
    sys.exit(main())
