"""Checks of labels and address blocks, the same for policies and groups."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from apis.addresses import CIDR, AddressError, parse_cidr
from apis.labels import problem_with_key, problem_with_value
from apiserver.documents.formats import label_value, qualified_name
from controller.admission.objects import IPBlock, LabelSelector

_LONGEST_CIDR: Final = 64  # characters; what is longer is none, and is not kept
_LENGTH: Final = re.compile(r"(no more than \d+) characters")


def labels_refusal(selectors: Iterable[LabelSelector | None]) -> str | None:
    """The first label in ``matchLabels`` that cannot be one."""
    for selector in selectors:
        if selector is None or not selector.match_labels:
            continue
        for key, value in selector.match_labels.items():
            if problem_with_key(key) is not None:
                return f"Invalid label key: {key}: {'; '.join(map(_reworded, qualified_name(key)))}"
            if problem_with_value(value) is not None:
                return f"Invalid label value: {value}: {'; '.join(map(_reworded, label_value(value)))}"
    return None


def _reworded(problem: str) -> str:
    # Antrea v2.7 is built with a later release of Kubernetes' libraries than the one that formats speaks for.
    return _LENGTH.sub(r"\1 bytes", problem).replace("a qualified name must", "a valid label key must")


def cidr(text: str) -> CIDR | None:
    """The CIDR as written, None if it is none."""
    return _cidr(text) if len(text) <= _LONGEST_CIDR else None


@lru_cache(maxsize=4096)
def _cidr(text: str) -> CIDR | None:
    try:
        return parse_cidr(text)
    except AddressError:
        return None


def block_refusal(block: IPBlock) -> str | None:
    if not block.cidr:
        return "field 'cidr' is required in an ipBlock"
    whole = cidr(block.cidr)
    if whole is None:
        return f"invalid CIDR address: {block.cidr}"
    for text in block.except_ or ():
        part = cidr(text)
        if part is None:
            return f"invalid except CIDR value: invalid CIDR address: {text}"
        if not _strictly_inside(part, text, whole, block.cidr):
            return f"except CIDR {text} is not a strict subset of CIDR {block.cidr}"
    return None


def _strictly_inside(part: CIDR, part_text: str, whole: CIDR, whole_text: str) -> bool:
    if (":" in part_text) != (":" in whole_text) or part.prefix_length <= whole.prefix_length:
        return False
    shift = (128 if ":" in whole_text else 32) - whole.prefix_length
    return int.from_bytes(part.address) >> shift == int.from_bytes(whole.address) >> shift


def is_multicast(block: CIDR) -> bool:
    """Whether the address as written (before the mask) is a multicast address."""
    address = block.address
    if address.startswith(bytes(10) + b"\xff\xff"):
        return address[12] & 0xF0 == 0xE0
    return address[0] == 0xFF
