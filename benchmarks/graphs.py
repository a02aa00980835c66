"""Graphs to measure with: for each deployment, by number, those that it depends on. Dependencies come first."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import TypeAlias

from anydeploy import DeploymentConfig

Graph: TypeAlias = list[list[int]]


def wide(n: int) -> Graph:
    return [[] for _ in range(n)]


def star(n: int) -> Graph:
    return [[0] if i else [] for i in range(n)]


def chain(n: int) -> Graph:
    return [[i - 1] if i else [] for i in range(n)]


def forest(n: int) -> Graph:
    """Binary trees of 15."""
    return [[i - i % 15 + (i % 15 - 1) // 2] if i % 15 else [] for i in range(n)]


def dag(n: int) -> Graph:
    """Up to three dependencies each, anywhere below."""
    rng = random.Random(n)
    return [sorted({rng.randrange(i) for _ in range(3)}) if i else [] for i in range(n)]


SHAPES: Mapping[str, Callable[[int], Graph]] = {
    "wide": wide,
    "star": star,
    "chain": chain,
    "forest": forest,
    "random DAG": dag,
}


def names(graph: Graph) -> dict[str, list[str]]:
    return {f"d{i}": [f"d{j}" for j in below] for i, below in enumerate(graph)}


def definitions(graph: Graph, type_: str = "nothing") -> list[DeploymentConfig]:
    return [DeploymentConfig(name, type_, depends_on=below) for name, below in names(graph).items()]
