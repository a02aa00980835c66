"""The values of a document: aliases, merge keys, and their limits (DESIGN section 6)."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from .files import load, load_deployments, problems_in


def test_values_are_those_of_yaml_1_2(file: Path) -> None:
    """DESIGN 6: as StreamFlow's safe loader reads them."""
    text = (
        "{a: yes, b: on, c: 010, d: 0o10, e: 1_000, f: 1e3, g: ~, h: 2020-01-01, i: '1', j: TRUE, k: !!str 5, 8: 1.5}"
    )
    (found,) = load_deployments(file, f"x: {{type: host, config: {{anything: {text}}}}}").values()
    expected = YAML(typ="safe", pure=True).load(text)
    assert found.config["anything"] == expected
    assert list(map(type, found.config["anything"].values())) == list(map(type, expected.values()))
    assert (expected["a"], expected["c"], expected["d"]) == ("yes", 10, 8)


@pytest.mark.parametrize(
    "text",
    [
        "{<<: {a: 1, b: 2}, b: 3}",
        "{<<: [{a: 1, b: 1}, {b: 2, c: 2}], d: 4}",
        "{b: 3, <<: {<<: {a: 1, b: 0}, c: 5}}",
        "{'<<': 1}",
        "[&x {a: 1}, {<<: *x, b: 2}, *x]",
        "{=: 1, b: =}",
    ],
)
def test_merge_keys_do_what_ruamel_yaml_does(file: Path, text: str) -> None:
    """DESIGN 6."""
    (found,) = load_deployments(file, f"x: {{type: host, config: {{anything: {text}}}}}").values()
    plain = text.replace("b: =", "b: '='")
    assert found.config == {"anything": YAML(typ="safe", pure=True).load(plain)}


def test_an_anchor_may_be_used_again(file: Path) -> None:
    """DESIGN 6: as YAML has it; there is no warning of the library's own."""
    (found,) = load_deployments(file, "a: {type: host, config: {anything: [&x 1, *x, &x 2, *x]}}").values()
    assert found.config == {"anything": [1, 1, 2, 2]}


def test_merging_the_same_mapping_again_and_again_is_bounded(file: Path) -> None:
    """DESIGN 6: linear time."""
    big = "{" + ", ".join(f"k{i}: 0" for i in range(2000)) + "}"
    lines = [f"x: &x {big}", f"y: {{<<: [{', '.join(['*x'] * 2000)}]}}"]
    (only,) = problems_in(
        file, "a:", "  type: host", "  config:", "    anything:", *(f"      {line}" for line in lines)
    )
    assert "too many values" in only


def _laughs(levels: int) -> list[str]:
    return ["x0: &x0 [1, 1]", *(f"x{i}: &x{i} [{', '.join([f'*x{i - 1}'] * 9)}]" for i in range(1, levels))]


def _merges(levels: int) -> list[str]:
    return ["x0: &x0 {k0: 0}", *(f"x{i}: &x{i} {{<<: *x{i - 1}, k{i}: 0}}" for i in range(1, levels))]


def _deep(levels: int) -> list[str]:
    return ["x0: &x0 [1]", *(f"x{i}: &x{i} [*x{i - 1}]" for i in range(1, levels))]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [(_laughs(40), "too many values"), (_merges(3000), "too many values"), (_deep(3000), "nested too deeply, through")],
    ids=["laughs", "merges", "deep"],
)
def test_aliases_cannot_blow_up(file: Path, lines: list[str], expected: str) -> None:
    """DESIGN 6: linear time and memory, and no recursion."""
    begin = time.process_time()
    (only,) = problems_in(
        file, "a:", "  type: host", "  config:", "    anything:", *(f"      {line}" for line in lines)
    )
    assert expected in only
    assert "deployment 'a'" in only
    assert time.process_time() - begin < 20


def test_a_chain_of_merges_outside_of_the_deployments_is_followed_without_recursion(file: Path) -> None:
    """DESIGN 4: no recursion."""
    chain = "\n".join(f"  x{i}: &x{i} {{<<: *x{i - 1}}}" for i in range(1, 1500))
    tail = "deployments: {<<: *x1499, b: {type: host, config: {}}}"
    text = f"version: v1.0\nworkflows:\n  x0: &x0 {{a: {{type: host, config: {{}}}}}}\n{chain}\n{tail}\n"
    assert sorted(load(file, text)) == ["a", "b"]


def test_the_same_alias_in_many_deployments_is_counted_every_time(file: Path) -> None:
    """DESIGN 6: what is done with the definitions is linear, too; the limit is reported once."""
    lines = [f"a: {{type: host, config: &c {{anything: [{', '.join('1' * 9_000)}]}}}}"]
    lines += [f"a{i}: {{type: host, config: *c}}" for i in range(200)]
    found = problems_in(file, *lines)
    assert len(found) == 1
    assert "too many values" in found[0]
