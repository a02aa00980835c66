"""The exception for an engine that breaks a rule."""

from __future__ import annotations


class Violation(Exception):
    """A rule is broken, or the engine disagrees with itself.

    :ivar rule: the rule of DESIGN, or "engine" for what only the engine promises itself
    """

    def __init__(self, rule: str, problem: str) -> None:
        super().__init__(f"{rule}: {problem}")
        self.rule = rule
        self.problem = problem

    def __reduce__(self) -> tuple[object, ...]:
        return Violation, (self.rule, self.problem)


def require(holds: bool, rule: str, problem: str) -> None:
    if not holds:
        raise Violation(rule, problem)
