"""From the raw JSON bytes of Kubernetes' lists and watch lines to structs, one codec per kind.

The whole list or line is decoded in one pass into the kind's partial struct. Where that fails, the items are
decoded one by one, so that one malformed object costs only itself: it comes back as `Malformed`, with its
name as far as that can be read.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Generic, TypeVar

import msgspec

from apis.kubernetes.core import Namespace, Node, Pod
from apis.kubernetes.meta import ListMeta
from apis.kubernetes.networking import NetworkPolicy

T = TypeVar("T")


class Malformed(msgspec.Struct, frozen=True):
    """An object that could not be decoded. ``problem`` names the field, as the decoder found it."""

    kind: str
    namespace: str
    name: str
    problem: str

    def __str__(self) -> str:
        where = "/".join(filter(None, (self.namespace, self.name))) or "without a readable name"
        return f"{self.kind} {where} is malformed and was left out: {self.problem}"


class Page(msgspec.Struct, Generic[T]):
    """One page of a list."""

    metadata: ListMeta = msgspec.field(default_factory=ListMeta)
    items: list[T] | None = None


class WatchStatus(msgspec.Struct, rename="camel"):
    """The Status that an ERROR event carries. 410: the version is no longer known, list again."""

    code: int = 0
    reason: str = ""
    message: str = ""


class WatchEvent(msgspec.Struct, Generic[T], gc=False):
    """One line of a watch. For BOOKMARK only the object's resourceVersion counts; for ERROR see `Codec`."""

    type: str
    object: T


_ERROR: Final = msgspec.json.Decoder(WatchEvent[WatchStatus])
_RAW_PAGE: Final = msgspec.json.Decoder(Page[msgspec.Raw])
_RAW_EVENT: Final = msgspec.json.Decoder(WatchEvent[msgspec.Raw])


class Codec(Generic[T]):
    """Decodes lists and watch lines of one kind."""

    def __init__(self, kind: str, struct: type[T]) -> None:
        self.kind = kind
        self._object = msgspec.json.Decoder(struct)
        # mypy has no types made at run time; these are Page[struct] and WatchEvent[struct].
        self._page: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Page[struct])  # type: ignore[valid-type]
        self._event: msgspec.json.Decoder[Any] = msgspec.json.Decoder(WatchEvent[struct])  # type: ignore[valid-type]

    def object(self, data: bytes | msgspec.Raw) -> T:
        """One object. Raises msgspec.DecodeError, msgspec.ValidationError."""
        return self._object.decode(data)

    def page(self, data: bytes) -> tuple[ListMeta, list[T], list[Malformed]]:
        """A list or one page of it, with what could not be decoded. Raises where it is not a list at all."""
        try:
            page: Page[T] = self._page.decode(data)
            return page.metadata, page.items or [], []
        except msgspec.ValidationError:
            raw = _RAW_PAGE.decode(data)
        items, malformed = self._each(raw.items or [])
        return raw.metadata, items, malformed

    def _each(self, raw_items: Iterable[msgspec.Raw]) -> tuple[list[T], list[Malformed]]:
        items: list[T] = []
        malformed: list[Malformed] = []
        for raw in raw_items:
            try:
                items.append(self._object.decode(raw))
            except (msgspec.ValidationError, UnicodeDecodeError) as error:
                malformed.append(self._malformed(raw, error))
        return items, malformed

    def event(self, line: bytes) -> WatchEvent[T] | WatchEvent[WatchStatus] | Malformed:
        """One line of a watch. An ERROR event carries a `WatchStatus`. Raises where it is no watch event."""
        try:
            event: WatchEvent[T] = self._event.decode(line)
        except msgspec.ValidationError as error:
            raw = _RAW_EVENT.decode(line)
            if raw.type == "ERROR":
                return _ERROR.decode(line)
            return self._malformed(raw.object, error)
        return event if event.type != "ERROR" else _ERROR.decode(line)

    def _malformed(self, raw: msgspec.Raw, error: Exception) -> Malformed:
        # Read without types: what is broken may stand right beside the name.
        document: Any = msgspec.json.decode(raw)
        metadata = document.get("metadata") if isinstance(document, dict) else None
        namespace, name = (
            str(metadata.get(key) or "") if isinstance(metadata, dict) else ""
            for key in ("namespace", "name")
        )
        return Malformed(self.kind, namespace, name, str(error))


PODS: Final = Codec("Pod", Pod)
NAMESPACES: Final = Codec("Namespace", Namespace)
NODES: Final = Codec("Node", Node)
NETWORK_POLICIES: Final = Codec("NetworkPolicy", NetworkPolicy)
