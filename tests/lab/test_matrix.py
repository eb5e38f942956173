"""The matrix of who reaches whom, as data and as a table."""

from __future__ import annotations

from rich.console import Console

from lab.matrix import Matrix
from lab.probing import Outcome, Probe, Result


def result(source: str, destination: str, outcome: Outcome) -> Result:
    return Result(Probe(source, "/none", "10.0.0.1", 80, "TCP", destination), outcome, 1.0, 1.5)


def matrix() -> Matrix:
    cells = {
        "x/a": {"x/a": Outcome.ALLOWED, "y/b": Outcome.TIMEOUT},
        "y/b": {"x/a": Outcome.REFUSED, "y/b": Outcome.ALLOWED},
    }
    results = {s: {d: result(s, d, outcome) for d, outcome in row.items()} for s, row in cells.items()}
    return Matrix("80", "TCP", results, 0.5)


def test_the_json_form() -> None:
    assert matrix().json() == {
        "port": 80,
        "protocol": "TCP",
        "allowed": {"x/a": {"x/a": True, "y/b": False}, "y/b": {"x/a": False, "y/b": True}},
    }


def test_cells_that_are_not_as_expected_are_named() -> None:
    expected = {"x/a": {"x/a": True, "y/b": True}, "y/b": {"x/a": False, "y/b": False, "z/c": True}}
    assert matrix().differences(expected) == [
        "x/a → y/b should be reached, but: timeout",
        "y/b → y/b should be denied, but: allowed",
        "y/b → z/c was not probed",
    ]
    assert matrix().differences(matrix().allowed()) == []


def test_the_table_shows_each_outcome_and_marks_what_is_wrong() -> None:
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(matrix().table({"x/a": {"y/b": True}}))
    console.print(matrix().legend())
    text = console.export_text()
    assert "✗ wrong" in text
    assert "nobody listens" in text
    assert "no route" not in text


def test_only_an_answer_of_the_right_pod_counts_as_allowed_and_anything_that_came_back_as_passed() -> None:
    outcomes = {outcome: result("a", "b", outcome) for outcome in Outcome}
    assert {o for o, r in outcomes.items() if r.allowed} == {Outcome.ALLOWED}
    assert {o for o, r in outcomes.items() if r.passed} == {Outcome.ALLOWED, Outcome.STRANGER, Outcome.MUTE}
