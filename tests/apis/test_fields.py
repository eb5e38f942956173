"""Field selectors: spelling, escapes, matching, refusals, as in Kubernetes."""

from __future__ import annotations

import pytest

from apis.fields import FieldTerm, parse_fields
from apis.labels import SelectorError

FIELDS = [
    ("metadata.name=x", {"metadata.name": "x"}, True),
    ("metadata.name==x", {"metadata.name": "y"}, False),
    ("metadata.name!=x", {"metadata.name": "y"}, True),
    ("a=1,b=2", {"a": "1", "b": "3"}, False),
    ("a=", {}, True),
    ("", {"a": "1"}, True),
    (r"a=x\,y\=z\\", {"a": r"x,y=z" + "\\"}, True),
    ("nodeName=ns/vm", {"nodeName": "ns/vm"}, True),
]


@pytest.mark.parametrize("text, fields, expected", FIELDS)
def test_field_selectors(text: str, fields: dict[str, str], expected: bool) -> None:
    assert parse_fields(text).matches(fields) is expected
    assert parse_fields(str(parse_fields(text))).terms == parse_fields(text).terms


def test_the_exact_value_of_a_field() -> None:
    assert parse_fields("nodeName=n,metadata.name!=x").exact("nodeName") == "n"
    assert parse_fields("nodeName!=n").exact("nodeName") is None
    assert parse_fields("a=b").terms == (FieldTerm("a", "b"),)


@pytest.mark.parametrize("text", ["nodeName", "a=b=c", r"a=\x", "a=b\\"])
def test_text_that_is_no_field_selector(text: str) -> None:
    with pytest.raises(SelectorError):
        parse_fields(text)
