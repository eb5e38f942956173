"""JSON in Go's words. The texts are those of Go 1.24's encoding/json."""

from __future__ import annotations

import json
from typing import Annotated, Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apis.gojson import GoJSONError, GoStruct, Int32, Int64, IntOrString, Named, marshal, quote, unmarshal
from apis.gojson.syntax import problem


class Inner(GoStruct):
    package: ClassVar[str] = "v9"
    count: Int32 | None = None
    large: Int64 | None = None
    share: float | None = None
    on: bool | None = None
    kind: Annotated[str | None, Named("v9.Kind")] = None
    port: IntOrString | None = None


class Outer(GoStruct):
    package: ClassVar[str] = "v9"
    name: str | None = None
    inner: Inner | None = None
    many: list[Inner] | None = None
    texts: dict[str, list[str]] | None = None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "unexpected end of JSON input"),
        ("  ", "unexpected end of JSON input"),
        ('{"a"', "unexpected end of JSON input"),
        ("hello", "invalid character 'h' looking for beginning of value"),
        ("not", "invalid character 'o' in literal null (expecting 'u')"),
        ("tru]", "invalid character ']' in literal true (expecting 'e')"),
        ("{a", "invalid character 'a' looking for beginning of object key string"),
        ('{"a";', "invalid character ';' after object key"),
        ('{"a":1 "b"', "invalid character '\"' after object key:value pair"),
        ("[1 2", "invalid character '2' after array element"),
        ("[1,]", "invalid character ']' looking for beginning of value"),
        ("1 2", "invalid character '2' after top-level value"),
        ("'a'", "invalid character '\\'' looking for beginning of value"),
        ("-x", "invalid character 'x' in numeric literal"),
        ("1.x", "invalid character 'x' after decimal point in numeric literal"),
        ("1e+x", "invalid character 'x' in exponent of numeric literal"),
        ("01", "invalid character '1' after top-level value"),
        ('"\n"', "invalid character '\\n' in string literal"),
        ('"\\x"', "invalid character 'x' in string escape code"),
        ('"\\u12g4"', "invalid character 'g' in \\u hexadecimal character escape"),
        ("\x01", "invalid character '\\x01' looking for beginning of value"),
    ],
)
def test_what_is_no_json(text: str, message: str) -> None:
    assert problem(text.encode()) == message
    with pytest.raises(GoJSONError) as caught:
        unmarshal(text.encode(), Outer)
    assert str(caught.value) == message


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(_VALUES, st.data())
@settings(max_examples=150, deadline=None)
def test_a_text_has_a_problem_exactly_when_it_is_no_json(value: Any, data: st.DataObject) -> None:
    text = json.dumps(value, ensure_ascii=data.draw(st.booleans()))
    assert problem(text.encode("utf-8", "replace")) is None
    place = data.draw(st.integers(0, len(text)))
    broken = text[:place] + data.draw(st.sampled_from(list('{}[]",:\\x0-.e \n'))) + text[place:]
    try:
        json.loads(broken)
        valid = True
    except ValueError:
        valid = False
    assert (problem(broken.encode("utf-8", "replace")) is None) == valid


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "array into Go value of type v9.Outer"),
        ({"name": 5}, "number into Go struct field Outer.name of type string"),
        ({"name": 5.5}, "number into Go struct field Outer.name of type string"),
        ({"name": {}}, "object into Go struct field Outer.name of type string"),
        ({"inner": "x"}, "string into Go struct field Outer.inner of type v9.Inner"),
        ({"inner": {"count": True}}, "bool into Go struct field Inner.inner.count of type int32"),
        (
            {"inner": {"count": 2**31}},
            "number 2147483648 into Go struct field Inner.inner.count of type int32",
        ),
        ({"inner": {"count": 1.5}}, "number 1.5 into Go struct field Inner.inner.count of type int32"),
        ({"inner": {"large": "1"}}, "string into Go struct field Inner.inner.large of type int64"),
        ({"inner": {"share": "x"}}, "string into Go struct field Inner.inner.share of type float64"),
        ({"inner": {"on": 1}}, "number into Go struct field Inner.inner.on of type bool"),
        ({"inner": {"kind": []}}, "array into Go struct field Inner.inner.kind of type v9.Kind"),
        ({"inner": {"port": False}}, "bool into Go struct field Inner.inner.port of type int32"),
        ({"many": {}}, "object into Go struct field Outer.many of type []v9.Inner"),
        ({"many": [{}, {"count": "x"}]}, "string into Go struct field Inner.many.count of type int32"),
        ({"texts": []}, "array into Go struct field Outer.texts of type map[string][]string"),
        ({"texts": {"a": [1]}}, "number into Go struct field Outer.texts of type string"),
        # The first in the document, not the first in the struct.
        ({"many": 1, "name": 5}, "number into Go struct field Outer.many of type []v9.Inner"),
    ],
)
def test_what_does_not_fit_is_named_with_its_place_and_type(document: Any, message: str) -> None:
    with pytest.raises(GoJSONError) as caught:
        unmarshal(json.dumps(document).encode(), Outer)
    assert str(caught.value) == f"json: cannot unmarshal {message}"


def test_null_is_absence_and_unknown_fields_are_none_of_ours() -> None:
    found = unmarshal(b'{"name": null, "inner": {"port": "http", "new": 1}, "x": {}}', Outer)
    assert found.name is None
    assert found.inner is not None
    assert (found.inner.port, found.inner.count) == ("http", None)


def test_null_in_lists_and_maps_is_a_zero_value() -> None:
    found = unmarshal(b'{"many": [null, {"count": 1}], "texts": {"a": null, "b": [null]}}', Outer)
    assert found.many == [Inner(), Inner(count=1)]
    assert found.texts == {"a": [], "b": [""]}


def test_bytes_that_are_no_text_are_replaced() -> None:
    assert unmarshal(b'{"name": "a\xff"}', Outer).name == "a\ufffd"


@pytest.mark.parametrize(
    ("text", "decoded"),
    [
        ('{"x":[' + "[]," * 100_000 + '[]],"inner":{"count":"a"}}', False),  # many values and few bytes
        ('{"x":["' + "a" * 300_000 + '"],"inner":{"count":"a"}}', True),
        ('{"x":["' + "a" * 300_000 + '"],"inner":{"count":1}', False),  # no JSON
    ],
)
def test_a_long_text_is_read_twice_only_where_that_is_quick(text: str, decoded: bool) -> None:
    """Go names the field; without the second reading there is what msgspec says."""
    with pytest.raises(GoJSONError) as refused:
        unmarshal(text.encode(), Outer)
    assert ("Go struct field" in str(refused.value)) == decoded


def test_encoding_leaves_out_what_is_empty_and_comes_back() -> None:
    value = Outer(name="", inner=Inner(count=0, port="http"), many=[], texts={"b": ["<"], "a": []})
    text = marshal(value)
    assert text == '{"inner":{"port":"http"},"texts":{"a":[],"b":["\\u003c"]}}'
    assert unmarshal(text.encode(), Outer).texts == {"a": [], "b": ["<"]}


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("plain ü", '"plain ü"'),
        ('a"b\\c', '"a\\"b\\\\c"'),
        ("\t\n\x00\x7f", '"\\t\\n\\x00\\x7f"'),
        ("\u200b\U000e0001", '"\\u200b\\U000e0001"'),
    ],
)
def test_quoting(text: str, quoted: str) -> None:
    assert quote(text) == quoted
