"""Quantities: what Kubernetes' parser reads, which is more than its message says."""

from __future__ import annotations

import pytest

from apis.quantity import FORMAT, SUFFIX, problem_with_quantity


@pytest.mark.parametrize(
    "text",
    ["0", "1", "500k", "10M", "1Gi", "1.5G", ".5", "1.", "+1", "-1", "1e3", "1E3", "1E", "1e-3", "007",
     "1n", "1u", "1m", "1Ki", "1Ei", "-", "+", ".", "1e+3", "1e000000000000000000000003", "9" * 50],
)  # fmt: skip
def test_quantities(text: str) -> None:
    assert problem_with_quantity(text) is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", FORMAT),
        ("fast", FORMAT),
        ("1Q", FORMAT),
        ("1 M", FORMAT),
        (" 1", FORMAT),
        ("1\n", FORMAT),
        ("1,5", FORMAT),
        ("1.5.5", FORMAT),
        ("1e3M", FORMAT),
        ("\u0661", FORMAT),
        ("--1", SUFFIX),
        ("1e", SUFFIX),
        ("1Mm", SUFFIX),
        ("1K", SUFFIX),
        ("1-", SUFFIX),
        ("1M5", SUFFIX),
        ("1e99999999999999999999", SUFFIX),
    ],
)
def test_what_is_none(text: str, problem: str) -> None:
    assert problem_with_quantity(text) == problem
