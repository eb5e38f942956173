"""Words and flags in any order, durations, tables, YAML: what the command line is made of."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from antctl.cli import arrange, duration
from antctl.errors import CommandError
from antctl.mode import Mode, current
from antctl.output.table import render, summarize
from antctl.output.text import to_json, to_yaml

REMOTE = Mode("controller", False)


@pytest.mark.parametrize(
    ("given_words", "wanted"),
    [
        ("get networkpolicy x", "get networkpolicy x"),
        ("-oyaml get networkpolicies", "get networkpolicies -oyaml"),
        ("-o yaml get networkpolicies x", "get networkpolicies -o yaml x"),
        ("get -k file netpol", "get netpol -k file"),
        ("--server=https://h version", "version --server=https://h"),
        ("-v version", "version -v"),
        ("get ovsflows --table-names-only -p x", "get ovsflows --table-names-only -p x"),
        ("log-level -- -1", "log-level -- -1"),
    ],
)
def test_command_words_come_first(given_words: str, wanted: str) -> None:
    assert arrange(given_words.split(), REMOTE) == wanted.split()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("10s", 10), ("1m30s", 90), ("1.5h", 5400), ("250ms", 0.25), (".5s", 0.5), ("-2s", -2)],
)
def test_durations_are_gos(text: str, seconds: float) -> None:
    assert duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "word"), [("abc", "invalid"), ("5", "missing unit"), ("5 s", "invalid"), ("", "invalid")]
)
def test_what_is_no_duration_is_refused(text: str, word: str) -> None:
    with pytest.raises(CommandError, match=word):
        duration(text)


@pytest.mark.parametrize(
    ("pod", "letter"),
    [
        ("antrea-agent-abc", "A"),
        ("antrea-controller-0", "C"),
        ("flow-aggregator-1", "F"),
        ("web-0", "R"),
        ("", "R"),
    ],
)
def test_the_mode_follows_from_the_pods_name(pod: str, letter: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POD_NAME", pod)
    assert current().letter == letter


@pytest.mark.parametrize(
    ("items", "cell"),
    [
        ([], ""),
        (["b", "a"], "a,b"),
        (["32ef631b-6817-5a18-86eb-93f4abf0467c", "880db7e8-fc2a-4030-aefe-09afc5f341ad"],
         "32ef631b-6817-5a18-86eb-93f4abf0467c + 1 more..."),
        # The count is of what did not fit at first: upstream's tables have it so.
        ([f"10.10.0.{n}" for n in range(1, 12)], "10.10.0.1,10.10.0.10,10.10.0.11 + 7 more..."),
    ],
)  # fmt: skip
def test_lists_in_cells_are_summarized(items: list[str], cell: str) -> None:
    assert summarize(items) == cell


def test_tables_pad_every_cell_and_name_what_is_empty() -> None:
    assert render(("A", "LONG"), [("x", ""), ("yy", "z")]) == "A  LONG  \nx  <NONE>\nyy z     \n"
    assert render(("",), [("flow 1",), ("f",)]) == "\nflow 1\nf\n"
    assert render(("A", "B"), [("2", "x"), ("10", "y")], sort=True).splitlines()[1:] == ["10 y", "2  x"]


def test_json_is_escaped_and_numbers_are_short() -> None:
    assert to_json({"a": 5.0, "b": 5.5, "c": "<&>"}) == (
        '{\n  "a": 5,\n  "b": 5.5,\n  "c": "\\u003c\\u0026\\u003e"\n}\n'
    )


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(st.characters(exclude_categories=["Cs", "Cc"])),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abcxyz01-._", min_size=1), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None)
@given(JSON)
@example({"0_.": None, "-0x1": None, ".1_0": None})
def test_yaml_reads_back_as_what_was_written(value: object) -> None:
    assert yaml.safe_load(to_yaml(value)) == value


def test_yaml_keys_are_in_natural_order_and_blocks_indented() -> None:
    value = {"t10": 1, "t2": [{"a": []}, "x"], "text": "one\ntwo\n", "yes": "no"}
    assert to_yaml(value) == 't2:\n  - a: []\n  - x\nt10: 1\ntext: |\n  one\n  two\n"yes": "no"\n'
