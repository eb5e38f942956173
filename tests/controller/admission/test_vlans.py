"""VLANs of AntreaNodeConfig, beside the recorded ones."""

from __future__ import annotations

import pytest

from controller.admission.vlans import vlan_refusal


@pytest.mark.parametrize("text", ["0", "7", " 7 ", "4094", "0-4094", "7-7", "\t1-2\n", "0007"])
def test_vlans(text: str) -> None:
    assert vlan_refusal(text) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("65535", "VLAN ID 65535 is greater than the maximum VLAN ID 4094"),
        ("65536", 'invalid VLAN ID "65536": strconv.ParseUint: parsing "65536": value out of range'),
        ("5000-1", "VLAN range start 5000 is greater than end 1"),
        ("5000-6000", "VLAN ID 6000 is greater than the maximum VLAN ID 4094"),
        (
            "99999-1",
            'invalid VLAN range start "99999": strconv.ParseUint: parsing "99999": value out of range',
        ),
        (
            "1-99999x",
            'invalid VLAN range end "99999x": strconv.ParseUint: parsing "99999x": value out of range',
        ),
        ("1 - 2", 'invalid VLAN range start "1 ": strconv.ParseUint: parsing "1 ": invalid syntax'),
        ("1-", 'invalid VLAN range end "": strconv.ParseUint: parsing "": invalid syntax'),
        ("-1", 'invalid VLAN range start "": strconv.ParseUint: parsing "": invalid syntax'),
        ("\u0661", 'invalid VLAN ID "\u0661": strconv.ParseUint: parsing "\u0661": invalid syntax'),
        ('"', r'invalid VLAN ID "\"": strconv.ParseUint: parsing "\"": invalid syntax'),
    ],
)
def test_what_is_none(text: str, message: str) -> None:
    assert vlan_refusal(text) == message
