"""Label selectors: spelling, matching, canonical text, refusals, as in Kubernetes."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apis.labels import (
    LabelSelector,
    Requirement,
    Selector,
    SelectorError,
    from_label_selector,
    parse,
)

# text, labels that match, labels that do not
MATCHING = [
    ("", [{}, {"a": "b"}], []),
    ("app=web", [{"app": "web"}], [{}, {"app": "db"}, {"App": "web"}]),
    ("app==web", [{"app": "web"}], [{"app": ""}]),
    ("app!=web", [{}, {"app": "db"}], [{"app": "web"}]),
    ("app in (web,db)", [{"app": "web"}, {"app": "db"}], [{}, {"app": "x"}]),
    ("app notin (web,db)", [{}, {"app": "x"}], [{"app": "web"}]),
    ("app", [{"app": ""}, {"app": "x"}], [{}]),
    ("!app", [{}], [{"app": ""}]),
    ("app=", [{"app": ""}], [{}, {"app": "x"}]),
    ("app in (,x)", [{"app": ""}, {"app": "x"}], [{}]),
    ("n>5", [{"n": "6"}], [{"n": "5"}, {"n": "x"}, {}]),
    ("n<5", [{"n": "-1"}], [{"n": "5"}, {"n": ""}]),
    ("a=1,b,!c", [{"a": "1", "b": "2"}], [{"a": "1"}, {"a": "1", "b": "", "c": ""}]),
    (" a = 1 , b in ( x , y ) ", [{"a": "1", "b": "x"}], [{"a": "1"}]),
    ("k8s.io/name=x", [{"k8s.io/name": "x"}], [{}]),
]


@pytest.mark.parametrize("text, yes, no", MATCHING, ids=[row[0] or "everything" for row in MATCHING])
def test_matching(text: str, yes: list[dict[str, str]], no: list[dict[str, str]]) -> None:
    selector = parse(text)
    assert [selector.matches(labels) for labels in yes] == [True] * len(yes)
    assert [selector.matches(labels) for labels in no] == [False] * len(no)


CANONICAL = [
    ("b=1,a", "a,b=1"),
    ("z notin (2,1), y, !x", "!x,y,z notin (1,2)"),
    ("app in (web,db,db)", "app in (db,db,web)"),
    ("a==1", "a==1"),
    ("a != 1", "a!=1"),
    ("n>5", "n>5"),
    ("", ""),
]


@pytest.mark.parametrize("text, canonical", CANONICAL)
def test_canonical_text(text: str, canonical: str) -> None:
    assert str(parse(text)) == canonical
    assert parse(canonical) == parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "a,",
        ",a",
        "a in",
        "a in ()x",
        "a in (b",
        "=b",
        "a=b=c",
        "!",
        "a b",
        "a>x",
        "a in b",
        "-a=b",
        "a=" + "v" * 64,
        "x/y/z=1",
        "UPPER/y",
        "a=b c",
        "a=!",
    ],
)
def test_text_that_is_no_selector(text: str) -> None:
    with pytest.raises(SelectorError):
        parse(text)


def test_struct_from_json() -> None:
    text = """{"matchLabels": {"tier": "fe", "app": "web"}, "matchExpressions": [
        {"key": "env", "operator": "In", "values": ["b", "a"]},
        {"key": "old", "operator": "DoesNotExist"}]}"""
    selector = from_label_selector(msgspec.json.decode(text, type=LabelSelector))
    assert str(selector) == "app=web,env in (a,b),!old,tier=fe"


def test_an_empty_struct_selects_everything_and_none_stays_none() -> None:
    assert from_label_selector(LabelSelector()) == Selector()
    assert from_label_selector(None) is None


REFUSED = [
    ({"matchLabels": {"": "x"}}, "s.matchLabels"),
    ({"matchLabels": {"a": "b c"}}, "s.matchLabels"),
    (
        {"matchExpressions": [{"key": "a", "operator": "in", "values": ["b"]}]},
        "s.matchExpressions[0].operator",
    ),
    ({"matchExpressions": [{"key": "a", "operator": "In"}]}, "s.matchExpressions[0]"),
    ({"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}, "s.matchExpressions[0]"),
]


@pytest.mark.parametrize("struct, field", REFUSED)
def test_structs_that_are_refused_name_their_field(struct: dict[str, object], field: str) -> None:
    with pytest.raises(SelectorError) as caught:
        from_label_selector(msgspec.convert(struct, LabelSelector), "s")
    assert caught.value.field == field


KEYS = st.sampled_from(["a", "b", "k8s.io/c"])
VALUES = st.sampled_from(["", "x", "y", "1"])
REQUIREMENTS = st.one_of(
    st.builds(Requirement, KEYS, st.sampled_from(["in", "notin"]), st.lists(VALUES, min_size=1, max_size=3)),
    st.builds(Requirement, KEYS, st.sampled_from(["!", "exists"])),
    st.builds(Requirement, KEYS, st.sampled_from(["=", "==", "!="]), VALUES.map(lambda value: [value])),
)


@given(st.lists(REQUIREMENTS, max_size=4), st.dictionaries(KEYS, VALUES))
def test_the_canonical_text_reads_back_as_the_same_selector(
    requirements: list[Requirement], labels: dict[str, str]
) -> None:
    selector = Selector(requirements)
    again = parse(str(selector))
    assert again == selector
    assert again.matches(labels) == selector.matches(labels) == all(r.matches(labels) for r in requirements)


@given(st.text(alphabet="ab=!<>(), \tin", max_size=12))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse(text)
    except SelectorError:
        pass
