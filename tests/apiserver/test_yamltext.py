"""YAML bodies: what they mean, and what is refused before it does harm."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from apiserver.yamltext import MAX_DEPTH, YAMLError, load


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 1\nb: [x, 2.5, true, null, ~]\n", {"a": 1, "b": ["x", 2.5, True, None, None]}),
        ("a: '1'\nb: \"true\"\nc: |\n  x\n", {"a": "1", "b": "true", "c": "x\n"}),
        ("a: yes\nb: off\nc: 0x1f\nd: 0755\n", {"a": True, "b": False, "c": 31, "d": 493}),
        ("e: 1_000\nf: 1e3\n", {"e": 1000, "f": 1000.0}),
        ("t: 2026-01-02T03:04:05Z\nd: 2026-01-02\n", {"t": "2026-01-02T03:04:05Z", "d": "2026-01-02"}),
        ("v: 1.2.3\n", {"v": "1.2.3"}),
        ("80: http\nyes: x\n0E0: y\n~: z\n", {"80": "http", "true": "x", "0E0": "y", "~": "z"}),
        ("a: &x {b: 1}\nc: *x\n", {"a": {"b": 1}, "c": {"b": 1}}),
        ("base: &b {x: 1, y: 2}\nz:\n  y: 3\n  <<: *b\n", {"base": {"x": 1, "y": 2}, "z": {"y": 3, "x": 1}}),
        ("a: !!str 5\n", {"a": "5"}),
        ("", None),
        ('{"json": ["is", {"yaml": 1}]}', {"json": ["is", {"yaml": 1}]}),
    ],
)
def test_values(text: str, value: Any) -> None:
    assert load(text.encode()) == value


LAUGHS = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)
)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 200_000,
        "{a: " * 100_000,
        "- " * 50_000,
        "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1),
        LAUGHS,
        "a: *missing",
        "a: !!python/object:os.system x",
        "a: 1\n---\nb: 2\n",
        "? [a]\n: b\n",
        "a: [b",
        "\x00",
        "a: " + "9" * 100,
    ],
    ids=lambda text: text[:12],
)
def test_refused(text: str) -> None:
    with pytest.raises(YAMLError):
        load(text.encode())


def test_aliases_share_nothing() -> None:
    loaded = load(b"a: &x {b: []}\nc: *x\n")
    loaded["a"]["b"].append(1)
    assert loaded["c"] == {"b": []}


# Without control characters and odd line ends, which YAML cannot carry through, and without digits: PyYAML
# writes "0E0" without quotes, but to Kubernetes that is a number.
texts = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp", "Nd"]), max_size=8)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts.filter(bool), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=100, deadline=None)
@given(plain)
def test_what_is_dumped_is_loaded(value: Any) -> None:
    assert load(yaml.safe_dump(value, allow_unicode=True).encode()) == value
    assert load(json.dumps({"a": value}).encode()) == {"a": value}


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=100))
def test_noise(raw: bytes) -> None:
    try:
        load(raw)
    except YAMLError:
        pass
