"""What the server knows of a resource: its names, verbs, table columns and encodings.

A ``ResourceInfo`` is data. What answers the requests is an *endpoint* (see apiserver.endpoints): stores that
somebody publishes into, documents that clients write, or functions of the program.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any, Protocol

from apis.record import Media
from apis.schemas import definition_name

Object = dict[str, Any]
"""An API object as JSON: a mapping with metadata and whatever the kind has."""

READ_VERBS = ("get", "list", "watch")
WRITE_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of ``kubectl get``. ``value`` makes the cell out of the object (JSON form)."""

    name: str
    value: Callable[[Object], Any]
    type: str = "string"  # string, integer, number, boolean, date
    format: str = ""  # "name" for the name column
    description: str = ""
    priority: int = 0  # 1: only with -o wide


class Codec(Protocol):
    """Translates between the JSON form of a kind and its protobuf message, for bodies that clients send and
    for answers that do not come from a store."""

    def decode(self, kind: str, message: bytes) -> Object:
        """The object; raises ValueError on bytes that are no such message."""

    def encode(self, kind: str, document: Object) -> bytes:
        """The message; raises ValueError when the object does not fit the kind."""


@dataclass(frozen=True, slots=True)
class Subresource:
    """Something below an object, such as ``status``. ``kind`` is the kind it takes and returns."""

    name: str
    kind: str
    verbs: tuple[str, ...]
    group: str = ""  # of the kind, when it differs from the resource's (Eviction, Scale)
    version: str = ""


@dataclass(frozen=True, slots=True)
class ResourceInfo:
    """Names and abilities of one resource in one version."""

    group: str  # empty for the core group
    version: str
    plural: str
    kind: str
    singular: str = ""
    list_kind: str = ""
    namespaced: bool = False
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = READ_VERBS
    columns: tuple[Column, ...] | None = None  # None: Name and Created At
    has_table: bool = True
    media: frozenset[Media] = frozenset({Media.JSON})
    store: str = ""  # the name under which changes are published; default: plural[.group]
    node_scoped: bool = False  # watches may select nodeName; objects have a span
    field_labels: Mapping[str, Callable[[Object], str]] = dataclass_field(default_factory=dict)
    subresources: tuple[Subresource, ...] = ()
    bookmark_always: bool = False  # a BOOKMARK ends the initial state even for clients that did not ask
    schema: Mapping[str, Any] | None = None  # OpenAPI v3 schema of the kind
    # OpenAPI v3 schemas by definition name, of this kind, of its subresources' kinds, and all they refer to
    definitions: Mapping[str, Mapping[str, Any]] = dataclass_field(default_factory=dict)
    codec: Codec | None = None
    items_typed: bool = False  # a custom resource: items of lists carry their kind, no strategic merge patch
    deprecation: str = ""  # a warning that every request for this version is answered with
    not_found_name: str = ""  # the resource's name in NotFound; upstream's control plane uses the singular

    def __post_init__(self) -> None:
        if not self.singular:
            object.__setattr__(self, "singular", self.kind.lower())
        if not self.list_kind:
            object.__setattr__(self, "list_kind", self.kind + "List")
        if not self.store:
            object.__setattr__(self, "store", f"{self.plural}.{self.group}" if self.group else self.plural)

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """``plural.group``, as error messages name a resource."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def definition_name(self, kind: str) -> str:
        """The name of a kind's schema, among those that come with the resource."""
        return definition_name(self.api_version, kind)

    def subresource(self, name: str) -> Subresource | None:
        return next((sub for sub in self.subresources if sub.name == name), None)


def sort_resources(infos: Sequence[ResourceInfo]) -> list[ResourceInfo]:
    """In the order of discovery documents: by plural name."""
    return sorted(infos, key=lambda info: info.plural)
