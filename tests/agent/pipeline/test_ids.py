"""What is remembered on disk: conjunction ids by rule, round numbers by layout of tables."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.pipeline.cookies import Category, category_of, cookie, leave_round, load_round
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


def sealed(*changes: str) -> bytes:
    return "".join(f"{zlib.crc32(change.encode()):08x} {change}\n" for change in changes).encode()


A = sealed("+2 a")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        A + sealed("+3 b")[:-1],
        A + sealed("+3 b")[:-4],
        A + sealed("-2")[:-1],
        A + b"\xff\xfe\n",
        b"rubbish\n" + A,
        sealed("-9") + A,
        sealed("+1 zero") + A,
        A + sealed("+9999999999 z"),
        A + b"+2 a\n",
        A + sealed("+3 b").replace(b"+3", b"+2"),
    ],
)
def test_a_damaged_file_costs_at_most_its_bad_lines_and_all_trust(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ids"
    path.write_bytes(content)
    ids = ConjunctionIds(path)
    assert ids.trusted is (content == b"")
    if content:
        assert ids.get("a") == 2
    fresh = ids.get("fresh")
    assert fresh >= FIRST
    assert fresh != ids.get("a")
    ids.close()
    again = ConjunctionIds(path)
    assert again.trusted
    assert again.get("fresh") == fresh


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_no_single_damage_gives_an_id_another_meaning(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Given one byte changed, or an end cut off: ids stand for their rules or for none, or trust is gone."""
    path = tmp_path_factory.mktemp("ids") / "ids"
    ids = ConjunctionIds(path)
    for rule in ("first", "second", "third", "fourth"):
        ids.get(rule)
    ids.save()
    ids.release("second")
    ids.get("fifth")
    ids.close()
    meaning = {rule: ids.get(rule) for rule in ("first", "third", "fourth", "fifth")}
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        del content[place:]
    else:
        content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    again = ConjunctionIds(path)
    if again.trusted:
        # Cut between two lines: what was written later is not known to be missing, but it is not wrong.
        known = {rule: again.get(rule) for rule in meaning if rule in again}
        assert known.items() <= meaning.items()


def test_a_start_without_a_file_trusts_nothing_and_the_next_one_does(tmp_path: Path) -> None:
    path = tmp_path / "ids"
    assert not ConjunctionIds(path).trusted
    assert ConjunctionIds(path).trusted, "also where no rule has needed an id"


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


@pytest.mark.parametrize("content", ["{not json", "", "[]", '{"round": "x"}'])
def test_an_unreadable_round_is_followed_by_one_that_chance_chooses(tmp_path: Path, content: str) -> None:
    path = tmp_path / "round.json"
    rounds = set()
    for _ in range(5):
        path.write_text(content)
        rounds.add(load_round(path, "x"))
        assert load_round(path, "x") in rounds
    assert len(rounds) > 1
    assert all(0 < number <= 0xFFFF for number in rounds)


def test_where_the_file_says_nothing_another_record_counts(tmp_path: Path) -> None:
    path = tmp_path / "round.json"
    assert load_round(path, "x", 7) == 8
    assert load_round(path, "x", 7) == 8
    path.write_text("{not json")
    assert load_round(path, "x", 8) == 9
    path.unlink()
    assert load_round(path, "x", 0xFFFF) == 1


def test_a_round_that_was_left_does_not_come_back(tmp_path: Path) -> None:
    path = tmp_path / "round.json"
    leave_round(path)
    assert load_round(path, "x") == 1
    leave_round(path)
    assert load_round(path, "x") == 2
    path.write_text("{not json")
    leave_round(path)
    assert 0 < load_round(path, "x") <= 0xFFFF


def test_the_round_begins_again_after_65535(tmp_path: Path) -> None:
    path = tmp_path / "round.json"
    path.write_text('{"round": 65535, "layout": "x"}')
    assert load_round(path, "y") == 1


def test_cookies() -> None:
    assert cookie(2, Category.NETWORK_POLICY) == 0x2020000000000
    assert cookie(1, Category.SERVICE, 5) == 0x1030000000005
    assert category_of(cookie(7, Category.EGRESS)) == Category.EGRESS
