"""What is remembered on disk: conjunction ids by rule, round numbers by layout of tables."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.pipeline.cookies import Category, category_of, cookie, load_round
from agent.pipeline.ids import FIRST, ConjunctionIds


def test_ids_survive_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "run" / "ids"
    ids = ConjunctionIds(path)
    assert [ids.get(rule) for rule in ("a", "b with spaces", "c")] == [2, 3, 4]
    ids.release("b with spaces")
    ids.close()
    again = ConjunctionIds(path)
    assert [again.get(rule) for rule in ("c", "a", "new", "newer")] == [4, 2, 3, 5]


def test_what_was_not_saved_is_forgotten(tmp_path: Path) -> None:
    ids = ConjunctionIds(tmp_path / "ids")
    ids.get("a")
    ids.save()
    ids.get("b")
    assert "b" not in ConjunctionIds(tmp_path / "ids")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"+2 a\n+3 b",
        b"+2 a\n+3",
        b"+2 a\n\xff\xfe\n",
        b"rubbish\n+2 a\n",
        b"-9\n+2 a\n",
        b"+1 zero\n+2 a\n",
        b"+2 a\n+9999999999 z\n",
    ],
)
def test_a_damaged_file_costs_at_most_its_bad_lines(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ids"
    path.write_bytes(content)
    ids = ConjunctionIds(path)
    if b"+2 a\n" in content:
        assert ids.get("a") == 2
    fresh = ids.get("fresh")
    assert fresh >= FIRST
    assert fresh != ids.get("a")
    ids.close()
    assert ConjunctionIds(path).get("fresh") == fresh


def test_retain_releases_the_others(tmp_path: Path) -> None:
    ids = ConjunctionIds(tmp_path / "ids")
    for rule in "abc":
        ids.get(rule)
    ids.retain({"b"})
    assert [rule in ids for rule in "abc"] == [False, True, False]
    assert ids.rule(3) == "b"
    assert ids.rule(2) is None


def test_the_journal_does_not_grow_without_end(tmp_path: Path) -> None:
    path = tmp_path / "ids"
    ids = ConjunctionIds(path)
    for _ in range(3000):
        ids.get("comes and goes")
        ids.release("comes and goes")
        ids.save()
    ids.close()
    assert path.stat().st_size < 40_000


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abcdef"))))
def test_ids_are_unique_and_stable(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[bool, str]]
) -> None:
    path = tmp_path_factory.mktemp("ids") / "ids"
    ids, expected = ConjunctionIds(path), {}
    for get, rule in steps:
        if get:
            number = ids.get(rule)
            assert expected.setdefault(rule, number) == number
            assert sorted(expected.values()) == sorted(set(expected.values()))
        else:
            ids.release(rule)
            expected.pop(rule, None)
    ids.close()
    again = ConjunctionIds(path)
    assert {rule: again.get(rule) for rule in expected} == expected


def test_the_round_changes_only_with_the_tables(tmp_path: Path) -> None:
    path = tmp_path / "round.json"
    rounds = [load_round(path, layout) for layout in ("x", "x", "y", "y", "x")]
    assert rounds == [1, 1, 2, 2, 3]
    path.write_text("{not json")
    assert load_round(path, "x") == 1


def test_the_round_begins_again_after_65535(tmp_path: Path) -> None:
    path = tmp_path / "round.json"
    path.write_text('{"round": 65535, "layout": "x"}')
    assert load_round(path, "y") == 1


def test_cookies() -> None:
    assert cookie(2, Category.NETWORK_POLICY) == 0x2020000000000
    assert cookie(1, Category.SERVICE, 5) == 0x1030000000005
    assert category_of(cookie(7, Category.EGRESS)) == Category.EGRESS
