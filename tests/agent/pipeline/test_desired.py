"""Owners want flows; what follows from that depends on what is wanted now, never on the way there."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.openflow.codec import actions as a
from agent.openflow.codec import match as m
from agent.openflow.codec.flow import Flow, conjunctions, join_conjunctions
from agent.pipeline.desired import Desired


def clause(port: int, number: int, clause_number: int = 1) -> Flow:
    return Flow.of(8, 200, m.tp_dst(6, port), a.apply(a.conjunction(number, clause_number, 3)))


def drop(port: int) -> Flow:
    return Flow.of(9, 200, m.reg(1, port))


def result(desired: Desired) -> dict[bytes, bytes]:
    flows = {key: desired.flow(key) for key in list(desired.keys())}
    return {key: flow.body for key, flow in flows.items() if flow is not None}


def test_clauses_of_several_rules_share_a_flow() -> None:
    desired = Desired()
    desired.want("one", [clause(80, 2)])
    desired.want("two", [clause(80, 3)])
    (body,) = result(desired).values()
    assert conjunctions(body) == [a.conjunction(2, 1, 3), a.conjunction(3, 1, 3)]
    desired.drop("one")
    assert list(result(desired).values()) == [a.apply(a.conjunction(3, 1, 3))]
    desired.drop("two")
    assert result(desired) == {}


def test_an_equal_flow_stays_until_its_last_owner_drops_it() -> None:
    desired = Desired()
    for owner in ("one", "two", "three"):
        desired.want(owner, [drop(1)])
    for owner in ("two", "one"):
        desired.drop(owner)
        assert len(result(desired)) == 1
    desired.drop("three")
    assert result(desired) == {}


def test_only_what_changed_is_dirty() -> None:
    desired = Desired()
    desired.want("one", [drop(1), drop(2)])
    desired.dirty.clear()
    desired.want("one", [drop(2), drop(3)])
    assert desired.dirty == {drop(1).key, drop(3).key}


def test_a_conflict_is_won_by_the_first_and_reported(caplog: object) -> None:
    desired = Desired()
    other = Flow(drop(1).key, 0, a.goto(12))
    desired.want("one", [drop(1)])
    desired.want("two", [other])
    assert desired.flow(drop(1).key) == drop(1)
    assert "want different flows" in caplog.text  # type: ignore[attr-defined]
    desired.drop("one")
    assert desired.flow(drop(1).key) == other


def test_unclaimed_flows_stay_until_they_are_given_up() -> None:
    desired = Desired()
    found = Flow(clause(80, 2).key, 0, join_conjunctions([a.conjunction(2, 1, 3), a.conjunction(9, 1, 3)]))
    desired.keep([found, drop(7)])
    desired.want("rule", [clause(80, 2)])
    assert result(desired) == {found.key: found.body, drop(7).key: b""}
    assert desired.give_up() == 2
    assert result(desired) == {found.key: clause(80, 2).body}
    assert drop(7).key in desired.dirty


def test_what_is_wanted_wins_over_what_was_found() -> None:
    desired = Desired()
    desired.keep([Flow(drop(1).key, 0, a.goto(12))])
    desired.want("one", [drop(1)])
    assert result(desired) == {drop(1).key: b""}


OWNERS = st.sampled_from(["one", "two", "three", "four"])
FLOWS = st.lists(
    st.one_of(st.builds(drop, st.integers(1, 3)), st.builds(clause, st.integers(80, 82), st.integers(2, 5))),
    max_size=5,
)


@settings(max_examples=100)
@given(st.lists(st.tuples(OWNERS, st.one_of(st.none(), FLOWS)), max_size=20))
def test_the_result_depends_only_on_what_is_wanted_now(steps: list[tuple[str, list[Flow] | None]]) -> None:
    desired, wanted, installed = Desired(), {}, {}
    for owner, flows in steps:
        if flows is None:
            desired.drop(owner)
            wanted.pop(owner, None)
        else:
            desired.want(owner, flows)
            wanted[owner] = {flow.key: flow for flow in flows}
        # what a programmer would do: follow the dirty keys only
        for key in desired.dirty:
            flow = desired.flow(key)
            installed.pop(key, None)
            if flow is not None:
                installed[key] = flow.body
        desired.dirty.clear()
        expected: dict[bytes, bytes] = {}
        for flows_of_owner in wanted.values():
            for key, flow in flows_of_owner.items():
                both = (conjunctions(expected.get(key, b"")) or []) + (conjunctions(flow.body) or [])
                expected[key] = join_conjunctions(sorted(set(both))) if both else flow.body
        assert installed == expected == result(desired)
