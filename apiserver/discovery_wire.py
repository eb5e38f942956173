"""Discovery documents in protobuf, for clients that ask for nothing else (client-go built with protobuf).

The messages are few and flat, so they are written field by field: APIGroupList, APIGroup, APIResourceList and
APIVersions of meta/v1, and apidiscovery.k8s.io/v2.
"""

from __future__ import annotations

from apis.envelope import field, varint, wrap
from apis.meta import v1 as meta
from apiserver.resources import Object


def _text(number: int, value: str) -> bytes:
    return field(number, value.encode())


def _flag(number: int, value: bool) -> bytes:
    return varint(number << 3) + (b"\x01" if value else b"\x00")


def _texts(number: int, values: list[str]) -> bytes:
    return b"".join(_text(number, value) for value in values)


def _version_entry(entry: Object) -> bytes:
    return _text(1, entry["groupVersion"]) + _text(2, entry["version"])


def _addresses(number: int, document: Object) -> bytes:
    return b"".join(
        field(number, _text(1, entry["clientCIDR"]) + _text(2, entry["serverAddress"]))
        for entry in document.get("serverAddressByClientCIDRs", ())
    )


def _group(document: Object) -> bytes:
    parts = [_text(1, document["name"])]
    parts += [field(2, _version_entry(entry)) for entry in document["versions"]]
    parts.append(field(3, _version_entry(document["preferredVersion"])))
    parts.append(_addresses(4, document))
    return b"".join(parts)


def _resource(entry: Object) -> bytes:
    parts = [
        _text(1, entry["name"]),
        _flag(2, entry["namespaced"]),
        _text(3, entry["kind"]),
        field(4, _texts(1, entry["verbs"])),
        _texts(5, entry.get("shortNames", [])),
        _text(6, entry["singularName"]),
        _texts(7, entry.get("categories", [])),
        _text(8, entry.get("group", "")),
        _text(9, entry.get("version", "")),
        _text(10, ""),  # storageVersionHash
    ]
    return b"".join(parts)


def encode_legacy(document: Object) -> bytes:
    """A whole body for one of the old discovery documents."""
    kind = document["kind"]
    if kind == "APIGroupList":
        message = b"".join(field(1, _group(group)) for group in document["groups"])
    elif kind == "APIGroup":
        message = _group(document)
    elif kind == "APIVersions":
        message = _texts(1, document["versions"]) + _addresses(2, document)
    else:
        message = _text(1, document["groupVersion"])
        message += b"".join(field(2, _resource(entry)) for entry in document["resources"])
    return wrap(document.get("apiVersion", ""), kind, message)


def _kind(entry: Object) -> bytes:
    kind = entry["responseKind"]
    return _text(1, kind["group"]) + _text(2, kind["version"]) + _text(3, kind["kind"])


def _aggregated_subresource(entry: Object) -> bytes:
    return _text(1, entry["subresource"]) + field(2, _kind(entry)) + _texts(4, entry["verbs"])


def _aggregated_resource(entry: Object) -> bytes:
    parts = [
        _text(1, entry["resource"]),
        field(2, _kind(entry)),
        _text(3, entry["scope"]),
        _text(4, entry["singularResource"]),
        _texts(5, entry["verbs"]),
        _texts(6, entry.get("shortNames", [])),
        _texts(7, entry.get("categories", [])),
    ]
    parts += [field(8, _aggregated_subresource(sub)) for sub in entry.get("subresources", ())]
    return b"".join(parts)


def encode_discovery(document: Object) -> bytes:
    """A whole body for an APIGroupDiscoveryList (v2)."""
    parts = [field(1, meta.encode_list_meta(""))]
    for item in document["items"]:
        versions = b"".join(
            field(
                2,
                _text(1, version["version"])
                + b"".join(field(2, _aggregated_resource(entry)) for entry in version.get("resources", ()))
                + _text(3, version.get("freshness", "Current")),
            )
            for version in item["versions"]
        )
        parts.append(field(2, field(1, meta.encode_object_meta(item["metadata"])) + versions))
    return wrap("apidiscovery.k8s.io/v2", "APIGroupDiscoveryList", b"".join(parts))
