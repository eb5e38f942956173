"""A list is cut into its objects wherever its bytes happen to end."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.listing import ListSplitter

_texts = st.sampled_from(["", "a", 'quo"te', "}]", '},{"metadata":{', "\\", "ü"])
_metadata = st.fixed_dictionaries({"name": _texts, "note": _texts})
_inner = st.fixed_dictionaries({"metadata": _metadata})  # begins as the objects of the list do
_objects = st.fixed_dictionaries({"metadata": _metadata, "nested": st.lists(_inner, max_size=3)})


def split(text: bytes, cuts: list[int], piece: int) -> tuple[list[Any], dict[str, str]]:
    splitter = ListSplitter(piece)
    found: list[msgspec.Raw] = []
    start = 0
    for cut in [*cuts, len(text)]:
        found += splitter.feed(text[start:cut])
        start = cut
    rest = splitter.finish()
    found += rest.items or []
    return [json.loads(bytes(item)) for item in found], {
        "version": rest.metadata.resource_version,
        "continue": rest.metadata.continue_,
    }


@settings(max_examples=150, deadline=None)
@given(
    objects=st.lists(_objects, max_size=6),
    data=st.data(),
    piece=st.integers(1, 120),
    metadata_last=st.booleans(),
    indent=st.sampled_from([None, 1]),
)
def test_every_object_comes_once_and_in_order(
    objects: list[Any], data: st.DataObject, piece: int, metadata_last: bool, indent: int | None
) -> None:
    parts: dict[str, Any] = {"metadata": {"resourceVersion": "7", "continue": "c"}, "items": objects}
    if metadata_last:
        parts = dict(reversed(parts.items()))
    separators = (",", ":") if indent is None else None
    text = json.dumps({"kind": "List", **parts}, indent=indent, separators=separators).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    assert split(text, cuts, piece) == (objects, {"version": "7", "continue": "c"})


def test_objects_are_handed_over_before_the_end() -> None:
    text = json.dumps({"items": [{"metadata": {"name": str(n)}} for n in range(100)]}, separators=(",", ":"))
    splitter = ListSplitter(1000)
    early = [item for at in range(0, len(text), 100) for item in splitter.feed(text[at : at + 100].encode())]
    assert len(early) > 50
    assert len(early) + len(splitter.finish().items or []) == 100


@pytest.mark.parametrize("text", [b"", b"[]", b'{"items":[{"metadata":{}},{"meta', b'{"items":3}', b"\xff"])
def test_what_is_no_list_is_refused(text: bytes) -> None:
    splitter = ListSplitter(4)
    splitter.feed(text)
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
        splitter.finish()


def test_no_objects() -> None:
    assert split(b'{"metadata":{"resourceVersion":"3"},"items":null}', [], 4)[0] == []
    assert split(b'{"metadata":{"resourceVersion":"3"},"items":[]}', [5], 1)[0] == []
    assert split(b"{}", [1], 1)[0] == []
