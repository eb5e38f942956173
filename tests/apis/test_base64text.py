"""Base64 in JSON, and where Go says that it is broken."""

from __future__ import annotations

import base64
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apis.gojson import GoJSONError
from apis.gojson.base64text import decode_base64


@pytest.mark.parametrize(
    ("text", "data"), [("", b""), ("YQ==", b"a"), ("YWI=", b"ab"), ("YWJj", b"abc"), ("YW\r\nJj\n", b"abc"),
                       ("YQ=\n=\n", b"a"), ("YWI=\n", b"ab")]
)  # fmt: skip
def test_good_text(text: str, data: bytes) -> None:
    assert decode_base64(text) == data


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("***", 0),
        ("YWJ*", 3),
        ("Y", 0),
        ("YQ", 0),
        ("YWJjYQ", 4),
        ("=", 0),
        ("Y=", 1),
        ("YQ=", 3),
        ("YQ=a", 2),
        ("YQ==a", 4),
        ("YWI=YWI=", 4),
        ("YW-_", 2),
        ("YW\nJ", 1),
        ("\u00e4", 0),
        ("YQ==\u00e4", 4),
    ],
)
def test_broken_text(text: str, offset: int) -> None:
    with pytest.raises(GoJSONError) as refused:
        decode_base64(text)
    assert str(refused.value) == f"illegal base64 data at input byte {offset}"


@given(st.binary(max_size=40))
def test_whatever_was_encoded(data: bytes) -> None:
    assert decode_base64(base64.b64encode(data).decode()) == data


WELL_FORMED = re.compile("(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")  # RFC 4648


@settings(max_examples=1000)
@given(st.text(alphabet="Aa0+/=\r\n-\u00e4", max_size=12))
def test_what_is_well_formed_is_decoded_and_nothing_else(text: str) -> None:
    bare = text.replace("\r", "").replace("\n", "")
    if WELL_FORMED.fullmatch(bare):
        assert decode_base64(text) == base64.b64decode(bare)
    else:
        with pytest.raises(GoJSONError):
            decode_base64(text)
