"""What the conversions of all kinds have in common."""

from __future__ import annotations

from typing import Any

import pytest

from apiserver.conversion import ConversionError, Converter
from controller.conversions.external_ip_pools import external_ip_pool
from controller.conversions.ip_pools import ip_pool
from controller.conversions.versions import NEW, OLD, egress

EGRESS = {
    "apiVersion": OLD,
    "kind": "Egress",
    "metadata": {"name": "e", "annotations": {"a": "b"}},
    "spec": {"appliedTo": {"podSelector": {}}, "egressIP": "10.0.0.1", "externalIPPool": "p"},
    "status": {"egressNode": "n", "conditions": [{"type": "IPAssigned"}]},
}


def test_an_egress_says_the_same_in_both_versions() -> None:
    assert egress(dict(EGRESS), NEW) == EGRESS
    assert egress({**EGRESS, "apiVersion": NEW}, OLD) == {**EGRESS, "apiVersion": NEW}


@pytest.mark.parametrize("convert", [egress, external_ip_pool, ip_pool])
@pytest.mark.parametrize(
    ("source", "target"), [(OLD, "crd.antrea.io/v1"), ("crd.antrea.io/v1", NEW), ("", NEW)]
)
def test_other_versions_are_refused(convert: Converter, source: str, target: str) -> None:
    with pytest.raises(ConversionError) as refused:
        convert({**EGRESS, "apiVersion": source}, target)
    assert str(refused.value) == f'unexpected conversion fromVersion "{source}" to toVersion "{target}"'


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, {"ipRanges": None, "subnetInfo": None}),
        ({"ipVersion": 4, "ipRanges": []}, {"ipRanges": [], "subnetInfo": None}),
    ],
)
def test_an_ip_pool_without_ranges_has_no_subnet(given: Any, expected: Any) -> None:
    """The rules for writes then refuse it; the conversion itself succeeds."""
    item = {"apiVersion": OLD, "kind": "IPPool", "metadata": {"name": "p"}}
    if given is not None:
        item["spec"] = given
    assert ip_pool(item, NEW)["spec"] == expected
