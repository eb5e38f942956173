"""The transactions' building blocks: each states what must hold in OVSDB and can be run twice.

They run in the OVSDB thread, against the library's rows, which are there by then up to date.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ovsdbapp.backend.ovs_idl.command import BaseCommand

_UNSET = object()  # a row that this transaction inserts has no attribute for a column not set yet


class _Function(BaseCommand):
    """A command made of a function of (api, txn); what it returns is the result."""

    def __init__(self, api: Any, function: Callable[[Any, Any], Any]) -> None:
        super().__init__(api)
        self.function = function

    def run_idl(self, txn: Any) -> None:
        self.result = self.function(self.api, txn)


def _command(function: Callable[[Any, Any], Any]) -> Callable[[Any], BaseCommand]:
    return lambda api: _Function(api, function)


def _find(api: Any, table: str, name: str) -> Any:
    return next((row for row in api.tables[table].rows.values() if row.name == name), None)


def _set(row: Any, columns: Mapping[str, Any]) -> None:
    for column, value in columns.items():
        if getattr(row, column, _UNSET) != value:
            setattr(row, column, value)


def _set_keys(row: Any, column: str, wanted: Mapping[str, str | None]) -> None:
    """Set keys of a map column, None removes; other keys are somebody else's and stay."""
    present = dict(getattr(row, column))
    for key, value in wanted.items():
        if value is None:
            present.pop(key, None)
        else:
            present[key] = value
    if present != getattr(row, column):
        setattr(row, column, present)


def ensure_bridge(name: str, columns: Mapping[str, Any]) -> Callable[[Any], BaseCommand]:
    """The bridge exists and has these columns. external_ids and other_config are left alone."""

    def run(api: Any, txn: Any) -> None:
        bridge = _find(api, "Bridge", name)
        if bridge is None:
            bridge = txn.insert(api.tables["Bridge"])
            bridge.name = name
            root = next(iter(api.tables["Open_vSwitch"].rows.values()))
            root.addvalue("bridges", bridge)
        _set(bridge, columns)

    return _command(run)


def delete_bridge(name: str) -> Callable[[Any], BaseCommand]:
    def run(api: Any, txn: Any) -> None:
        bridge = _find(api, "Bridge", name)
        if bridge is not None:
            for root in api.tables["Open_vSwitch"].rows.values():
                root.delvalue("bridges", bridge)

    return _command(run)


def set_bridge_external_ids(name: str, wanted: Mapping[str, str | None]) -> Callable[[Any], BaseCommand]:
    def run(api: Any, txn: Any) -> None:
        bridge = _find(api, "Bridge", name)
        if bridge is None:
            raise LookupError(f"there is no bridge {name}")
        _set_keys(bridge, "external_ids", wanted)

    return _command(run)


def set_other_config(wanted: Mapping[str, str | None]) -> Callable[[Any], BaseCommand]:
    """Keys of Open_vSwitch.other_config, the settings of the whole vswitchd."""

    def run(api: Any, txn: Any) -> None:
        for root in api.tables["Open_vSwitch"].rows.values():
            _set_keys(root, "other_config", wanted)

    return _command(run)


def ensure_port(
    bridge_name: str, name: str, interface_columns: Mapping[str, Any], external_ids: Mapping[str, str]
) -> Callable[[Any], BaseCommand]:
    """A port with one interface of the same name hangs on the bridge, with these columns and external_ids.

    A port of that name on another bridge is an error: it is not ours to move.
    """

    def run(api: Any, txn: Any) -> None:
        bridge = _find(api, "Bridge", bridge_name)
        if bridge is None:
            raise LookupError(f"there is no bridge {bridge_name}")
        port = _find(api, "Port", name)
        if port is None:
            interface = txn.insert(api.tables["Interface"])
            interface.name = name
            port = txn.insert(api.tables["Port"])
            port.name = name
            port.interfaces = [interface]
            bridge.addvalue("ports", port)
        elif port not in bridge.ports:
            raise LookupError(f"the port {name} belongs to another bridge than {bridge_name}")
        else:
            interface = port.interfaces[0]
        _set(interface, interface_columns)
        if getattr(port, "external_ids", _UNSET) != dict(external_ids):
            port.external_ids = dict(external_ids)

    return _command(run)


def set_interface(name: str, columns: Mapping[str, Any]) -> Callable[[Any], BaseCommand]:
    def run(api: Any, txn: Any) -> None:
        interface = _find(api, "Interface", name)
        if interface is None:
            raise LookupError(f"there is no interface {name}")
        _set(interface, columns)

    return _command(run)


def delete_port(bridge_name: str, name: str) -> Callable[[Any], BaseCommand]:
    """The bridge has no such port; the interface row goes with it, because nothing refers to it any more."""

    def run(api: Any, txn: Any) -> None:
        bridge = _find(api, "Bridge", bridge_name)
        port = _find(api, "Port", name)
        if bridge is not None and port is not None and port in bridge.ports:
            bridge.delvalue("ports", port)

    return _command(run)
