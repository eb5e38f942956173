"""List and watch options: read from the query, checked as Kubernetes checks them."""

from __future__ import annotations

import base64
import binascii
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from apis import labels
from apis.fields import parse_fields
from apis.labels import SelectorError
from apiserver.errors import (
    FieldError,
    StatusError,
    bad_request,
    expired,
    forbidden_value,
    invalid,
    not_supported,
)
from apiserver.request import truthy
from apiserver.resources import Object, ResourceInfo
from apiserver.selection import FieldTest, Selection
from apiserver.versions import parse_version

MIN_WATCH_SECONDS = 7200


@dataclass(frozen=True, slots=True)
class ListOptions:
    """Checked options. ``version`` is None when none was given; ``position`` is a decoded continue token."""

    selection: Selection = field(default_factory=Selection)
    limit: int = 0
    position: Position | None = None
    version: int | None = None
    match: str = ""
    send_initial_events: bool | None = None
    bookmarks: bool = False
    timeout: float = 0.0


@dataclass(frozen=True, slots=True)
class Position:
    """Where a paginated list goes on: at its version, after a key."""

    version: int
    namespace: str
    name: str

    def token(self) -> str:
        raw = msgspec.json.encode(
            {"v": "meta.k8s.io/v1", "rv": self.version, "start": [self.namespace, self.name]}
        )
        return base64.urlsafe_b64encode(raw).decode().rstrip("=")


class _Token(msgspec.Struct):
    rv: int
    start: tuple[str, str]


def parse_token(token: str) -> Position:
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        decoded = msgspec.json.decode(raw, type=_Token)
    except (binascii.Error, msgspec.MsgspecError, ValueError) as error:
        why = "continue key is not valid"
        if not re.fullmatch(r"[A-Za-z0-9_-]*", token) or len(token) % 4 == 1:
            where = re.match(r"[A-Za-z0-9_-]*", token)
            at = where.end() if where and where.end() < len(token) else len(token) - len(token) % 4
            why += f": illegal base64 data at input byte {at}"
        raise bad_request(f"invalid continue token: {why}") from error
    return Position(decoded.rv, *decoded.start)


_LONG = 100  # characters that no number needs


def _integer(query: Mapping[str, str], name: str) -> int:
    text = query.get(name)
    if text is None:
        return 0
    try:
        if not text.lstrip("+-").isdigit() or not text.isascii():
            raise ValueError
        number = int(text) if len(text) < _LONG else 2**63
    except ValueError:
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None
    if not -(2**63) <= number < 2**63:
        raise bad_request(f'strconv.ParseInt: parsing "{text}": value out of range')
    return number


def _labels(query: Mapping[str, str]) -> labels.Selector | None:
    text = query.get("labelSelector", "")
    if not text.strip():
        return None
    try:
        return labels.parse(text)
    except SelectorError as error:
        raise bad_request(str(error)) from error


def _unknown_field(info: ResourceInfo, label: str) -> StatusError:
    if info.node_scoped:
        return bad_request(f"field label not supported: {label}")
    known = ", ".join(f'"{name}"' for name in ("metadata.name", "metadata.namespace", *info.field_labels))
    if info.field_labels:
        return bad_request(f"field label not supported: {label}")
    return bad_request(f'"{label}" is not a known field selector: only {known}')


def selection(info: ResourceInfo, query: Mapping[str, str], namespace: str, name: str = "") -> Selection:
    """The selection of a list or watch. Raises BadRequest for fields that cannot be selected."""
    try:
        terms = parse_fields(query.get("fieldSelector", "")).terms
    except SelectorError as error:
        raise bad_request(str(error)) from error
    tests: list[FieldTest] = []
    node = ""
    chosen: str | None = namespace or (None if info.namespaced else "")
    for term in terms:
        getter: Callable[[Object], str] | None = None
        if term.field == "metadata.name":
            if not term.negated:
                if name and name != term.value:
                    tests.append((_name_of, term.value, False))
                name = name or term.value
                continue
            getter = _name_of
        elif term.field == "metadata.namespace" and not info.node_scoped:
            getter = _namespace_of
        elif term.field == "nodeName" and info.node_scoped:
            if not term.negated:
                node = term.value
            continue
        else:
            getter = info.field_labels.get(term.field)
        if getter is None:
            raise _unknown_field(info, term.field)
        tests.append((getter, term.value, term.negated))
    return Selection(chosen, name, node, _labels(query), tuple(tests))


def _name_of(document: Object) -> str:
    return str(document["metadata"].get("name", ""))


def _namespace_of(document: Object) -> str:
    return str(document["metadata"].get("namespace", ""))


_MATCH = "resourceVersionMatch"


def read_options(
    info: ResourceInfo, query: Mapping[str, str], namespace: str, name: str = "", *, watch: bool
) -> ListOptions:
    """All options of a list or watch request. Raises BadRequest, Invalid or Expired."""
    limit, seconds = _integer(query, "limit"), _integer(query, "timeoutSeconds")
    version_text = query.get("resourceVersion", "")
    match = query.get("resourceVersionMatch", "")
    token = query.get("continue", "")
    initial = truthy(query, "sendInitialEvents") if "sendInitialEvents" in query else None
    bookmarks = truthy(query, "allowWatchBookmarks")
    if watch and initial is None and not match and version_text in ("", "0") and info.bookmark_always:
        initial, match = True, "NotOlderThan"
    chosen = selection(info, query, namespace, name)
    _check_combinations(version_text, match, token, initial, watch)

    version: int | None = None
    if version_text:
        version = parse_version(version_text)
        if version is None:
            if match or not info.bookmark_always:
                detail = f'Invalid value: "{version_text}": invalid syntax'
                raise invalid(
                    "ListOptions",
                    "meta.k8s.io",
                    "",
                    [FieldError("FieldValueInvalid", "resourceVersion", detail)],
                )
            # Not of this server, whatever it is: the client has to list again.
            raise expired(f"The resourceVersion for the provided {'watch' if watch else 'list'} is too old.")
    return ListOptions(
        chosen,
        max(0, limit),
        parse_token(token) if token and not watch else None,
        version,
        match,
        initial,
        bookmarks,
        _duration(seconds),
    )


def _duration(seconds: int) -> float:
    """How long a watch lasts; spread, so that the watches of a cluster do not all come back at once."""
    return float(seconds) if seconds > 0 else random.uniform(MIN_WATCH_SECONDS, 2 * MIN_WATCH_SECONDS)


_WRITE_OPTIONS = {"create": "CreateOptions", "update": "UpdateOptions", "patch": "PatchOptions"}
_VALIDATIONS = ("Ignore", "Strict", "Warn")


def check_write_options(verb: str, query: Mapping[str, str]) -> None:
    """Raises Invalid for values that dryRun and fieldValidation do not have."""
    found: list[FieldError] = []
    dry_run, validation = query.get("dryRun", ""), query.get("fieldValidation", "")
    if dry_run not in ("", "All"):
        found.append(not_supported("dryRun", [dry_run], ("All",)))
    if validation not in ("", *_VALIDATIONS):
        found.append(not_supported("fieldValidation", validation, ("", *_VALIDATIONS)))
    if found:
        raise invalid(_WRITE_OPTIONS.get(verb, "DeleteOptions"), "meta.k8s.io", "", found)


def watch_seconds(query: Mapping[str, str]) -> float:
    """The duration of a watch that is no list of a resource. Raises BadRequest."""
    return _duration(_integer(query, "timeoutSeconds"))


def _check_combinations(version: str, match: str, token: str, initial: bool | None, watch: bool) -> None:
    errors: list[FieldError] = []

    def forbid(field: str, detail: str) -> None:
        errors.append(forbidden_value(field, detail))

    def check_match(supported: Sequence[str]) -> None:
        if match not in supported:
            # In Kubernetes' order, which is not the sorted one.
            text = ", ".join(f'"{choice}"' for choice in supported)
            message = f'Unsupported value: "{match}": supported values: {text}'
            errors.append(FieldError("FieldValueNotSupported", _MATCH, message))

    if watch:
        if initial is not None and match != "NotOlderThan":
            forbid(_MATCH, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
        if match:
            if initial is None:
                forbid(_MATCH, f"{_MATCH} is forbidden for watch unless sendInitialEvents is provided")
            check_match(("NotOlderThan",))
            if token:
                forbid(_MATCH, f"{_MATCH} is forbidden when continue is provided")
    else:
        if match:
            if not version:
                forbid(_MATCH, f"{_MATCH} is forbidden unless resourceVersion is provided")
            if token:
                forbid(_MATCH, f"{_MATCH} is forbidden when continue is provided")
            check_match(("Exact", "NotOlderThan", ""))
            if match == "Exact" and version == "0":
                forbid(_MATCH, f'{_MATCH} "exact" is forbidden for resourceVersion "0"')
        if initial is not None:
            forbid("sendInitialEvents", "sendInitialEvents is forbidden for list")
    if errors:
        raise invalid("ListOptions", "meta.k8s.io", "", errors)
