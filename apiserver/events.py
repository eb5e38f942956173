"""Watch events as bytes: what a change looks like on each kind of stream.

A frame depends on the change, the encoding, the form of the event and, for groups, the node whose view it is.
It is made when the first watch needs it, kept with the history entry, and the same bytes go to all.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, Protocol

import msgspec

from apis.envelope import (
    field,
    type_meta,
    watch_event_type,
    watch_frame,
    watch_frame_typed,
    watch_line,
    wrap,
)
from apis.meta import v1 as meta
from apis.record import Media, Record
from apiserver import table
from apiserver.documents.record import full_object
from apiserver.history import Entry
from apiserver.negotiation import JSON, PROTOBUF, Form
from apiserver.request import truthy
from apiserver.resources import Object, ResourceInfo
from apiserver.selection import metadata_of, object_of
from apiserver.slices import Long, Steps, steps_of
from apiserver.snapshot import SharedFrames, Stored
from apiserver.watcher import ADDED, BOOKMARK, DELETED, MARKER, MODIFIED, Marker

_encode = msgspec.json.Encoder().encode
_EVENT_TYPES = {event: watch_event_type(event) for event in (ADDED, MODIFIED, DELETED, BOOKMARK, MARKER)}
LONG_TEXT = 64 * 1024
INITIAL_EVENTS_END = {"k8s.io/initial-events-end": "true"}


class EventEncoder(Protocol):
    """Encodes the events of one stream. ``node`` is the one that the watch selects, or empty."""

    content_type: str

    def initial(self, store: str, stored: Stored) -> bytes: ...

    def change(self, event: str, entry: Entry) -> bytes:
        """The frame, or nothing when no event is due in this stream's view."""

    def long_initial(self, store: str, stored: Stored) -> Long | None:
        """What `initial` would take too long for, or None: call that."""

    def long_change(self, event: str, entry: Entry) -> Long | None:
        """What `change` would take too long for, or None: call that."""

    def bookmark(self, version: int, annotated: bool) -> bytes: ...

    def marker(self, marker: Marker) -> bytes: ...

    def error(self, status: Object) -> bytes: ...


class BodyEncoder:
    """Whole objects, or patches where something has changed, in JSON or protobuf.

    ``infos`` maps store names to the resource in the version that is watched; a multiplexed watch has
    several. Patches are what agents expect of a watch of their node.
    """

    def __init__(
        self,
        media: Media,
        infos: Mapping[str, ResourceInfo],
        node: str,
        shared: SharedFrames | None = None,
        *,
        patches: bool = True,
    ) -> None:
        self.content_type = JSON if media is Media.JSON else PROTOBUF + ";stream=watch"
        self._media = media
        self._infos = infos
        self._node = node
        self._patches = patches and bool(node)
        self._first = next(iter(infos.values()))
        self._shared = shared  # initial frames that other streams may want as well
        self._prefixes: dict[str, bytes] = {}

    def _frame(self, event: str, info: ResourceInfo, kind: str, body: bytes) -> bytes:
        if self._media is Media.PROTOBUF:
            prefix = self._prefixes.get(kind)
            if prefix is None:
                prefix = self._prefixes[kind] = type_meta(info.api_version, kind)
            return watch_frame_typed(_EVENT_TYPES[event], prefix, body)
        head = f'{{"kind":"{kind}","apiVersion":"{info.api_version}"'.encode()
        if len(body) > LONG_TEXT:  # copied once only
            start = b"".join((b'{"type":"', event.encode(), b'","object":', head, b","))
            return b"".join((start, memoryview(body)[1:], b"}\n"))
        return watch_line(event, head + (b"}" if body == b"{}" else b"," + body[1:]))

    def _view(self, record: Record) -> str | None:
        return self._node if self._node and record.has_views else None

    def initial(self, store: str, stored: Stored) -> bytes:
        info = self._infos[store]
        record = stored.record
        view = self._view(record)
        if view is not None or self._shared is None:
            return self._frame(ADDED, info, info.kind, record.encode(self._media, view, str(stored.version)))
        key = (self._media.value, info.api_version, store, stored.version)
        frame = self._shared.get(key)
        if frame is None:
            body = record.encode(self._media, None, str(stored.version))
            frame = self._frame(ADDED, info, info.kind, body)
            if record.span is None or len(record.span) > 1:
                self._shared.keep(key, frame)
        return frame

    def long_initial(self, store: str, stored: Stored) -> Long | None:
        record = stored.record
        view = self._view(record)
        if self._media is Media.PROTOBUF or view is not None or self._shared is None:
            return None
        info, shared, media = self._infos[store], self._shared, self._media
        key = (media.value, info.api_version, store, stored.version)
        if shared.get(key) is not None or (steps := steps_of(record, media, None, stored.version)) is None:
            return None
        made = self._long_frame(steps, ADDED, info, info.kind, lambda frame: shared.keep(key, frame))
        return Long(key, lambda: shared.get(key), lambda: made)

    def _long_frame(
        self, steps: Steps, event: str, info: ResourceInfo, kind: str, keep: Callable[[bytes], bytes]
    ) -> Steps:
        body = yield from steps
        yield
        frame = keep(self._frame(event, info, kind, body))
        yield
        return frame

    def long_change(self, event: str, entry: Entry) -> Long | None:
        if event == DELETED or (self._media is Media.PROTOBUF and not entry.takes_steps):
            return None
        record = entry.new
        assert record is not None
        view = self._view(record)
        patch = event == MODIFIED and entry.delta is not None and self._patches
        if not patch and self._media is Media.PROTOBUF:
            return None
        info, media = self._infos[entry.resource], self._media
        key = _change_key(media, info, event, view, patch)
        if key in entry.frames:
            return None
        if not patch and event == MODIFIED and _silent(entry, media, view):
            return None
        source: Any = entry.delta if patch else record
        steps = steps_of(source, media, view, entry.version)
        if steps is None:
            return None
        kind = source.kind if patch else info.kind
        made = self._long_frame(steps, event, info, kind, lambda frame: entry.keep(key, frame))
        return Long((entry.version, key), lambda: entry.frames.get(key), lambda: made)

    def change(self, event: str, entry: Entry) -> bytes:
        info = self._infos[entry.resource]
        record = entry.old if event == DELETED else entry.new
        assert record is not None
        view = None if event == DELETED else self._view(record)
        patch = event == MODIFIED and entry.delta is not None and self._patches
        cache_key = _change_key(self._media, info, event, view, patch)
        frame = entry.frames.get(cache_key)
        if frame is None:
            frame = entry.keep(cache_key, self._encode_change(event, entry, info, record, view, patch))
        return frame

    def _encode_change(
        self, event: str, entry: Entry, info: ResourceInfo, record: Record, view: str | None, patch: bool
    ) -> bytes:
        version = str(entry.version)
        if event == DELETED:
            return self._frame(event, info, info.kind, record.tombstone(self._media, version))
        if patch:
            assert entry.delta is not None
            body = entry.delta.encode(self._media, view, version)
            return b"" if body is None else self._frame(event, info, entry.delta.kind, body)
        if event == MODIFIED and _silent(entry, self._media, view):
            return b""
        return self._frame(event, info, info.kind, record.encode(self._media, view, version))

    def bookmark(self, version: int, annotated: bool) -> bytes:
        info = self._first
        metadata: Object = {"resourceVersion": str(version)}
        if annotated:
            metadata["annotations"] = INITIAL_EVENTS_END
        if self._media is Media.PROTOBUF:
            body = field(1, meta.encode_object_meta(metadata))
        else:
            body = _encode(_empty_object(info, metadata))
        return self._frame(BOOKMARK, info, info.kind, body)

    def marker(self, marker: Marker) -> bytes:
        metadata = {"name": marker.name, "namespace": marker.namespace, "uid": marker.uid}
        document = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}
        if self._media is Media.PROTOBUF:
            message = meta.encode_kind("PartialObjectMetadata", document)
            return watch_frame(MARKER, wrap("meta.k8s.io/v1", "PartialObjectMetadata", message))
        return watch_line(MARKER, _encode(document))

    def error(self, status: Object) -> bytes:
        if self._media is Media.PROTOBUF:
            return watch_frame("ERROR", meta.encode_status(status))
        return watch_line("ERROR", _encode(status))


def _silent(entry: Entry, media: Media, view: str | None) -> bool:
    """Whether a change means nothing in this view. One that takes steps to encode is something."""
    delta: Any = entry.delta
    if delta is None or steps_of(delta, media, view, entry.version) is not None:
        return False
    return delta.encode(media, view, "") is None


def _change_key(media: Media, info: ResourceInfo, event: str, view: str | None, patch: bool) -> Hashable:
    # Of plain values only, so that Python's garbage collector does not have to look at a hundred thousand.
    return (media.value, info.api_version, event, view, patch)


def _empty_object(info: ResourceInfo, metadata: Object) -> Object:
    """Nothing but metadata, and the fields that the kind's JSON shows even when they are empty."""
    if info.codec is None:
        return {"metadata": metadata}
    return info.codec.decode(info.kind, info.codec.encode(info.kind, {"metadata": metadata}))


class TransformEncoder:
    """Events as one-row Tables or PartialObjectMetadata. Patches are shown by the object that they patch."""

    def __init__(self, form: Form, info: ResourceInfo, node: str, include: str) -> None:
        self._protobuf = form.media == PROTOBUF
        self.content_type = PROTOBUF + ";stream=watch" if self._protobuf else JSON
        self._form = form
        self._info = info
        self._node = node
        self._include = include
        self._with_columns = True
        rows = form.transform == "Table" and (info.columns is not None or include == "Object")
        self._read = object_of if rows else metadata_of

    def initial(self, store: str, stored: Stored) -> bytes:
        return self._event(ADDED, full_object(self._info, self._read(stored.record), stored.version))

    def long_initial(self, store: str, stored: Stored) -> Long | None:
        return None

    def long_change(self, event: str, entry: Entry) -> Long | None:
        return None

    def change(self, event: str, entry: Entry) -> bytes:
        record = entry.old if event == DELETED else entry.new
        assert record is not None
        if event == MODIFIED and entry.delta is not None:
            view = self._node if self._node and record.has_views else None
            if _silent(entry, Media.JSON, view):
                return b""
        return self._event(event, full_object(self._info, self._read(record), entry.version))

    def _event(self, event: str, document: Object) -> bytes:
        version = self._form.transform_version
        if self._form.transform == "Table":
            metadata = {"resourceVersion": document["metadata"].get("resourceVersion", "")}
            made: Object = table.table(
                self._info, [document], self._include, metadata, version, self._with_columns
            )
            self._with_columns = False
        else:
            made = {**table.partial(document), "apiVersion": f"meta.k8s.io/{version}"}
        if self._protobuf:
            return watch_frame(
                event, wrap(made["apiVersion"], made["kind"], meta.encode_kind(made["kind"], made))
            )
        return watch_line(event, _encode(made))

    def bookmark(self, version: int, annotated: bool) -> bytes:
        metadata: Object = {"resourceVersion": str(version)}
        if annotated:
            metadata["annotations"] = INITIAL_EVENTS_END
        document: Object = {
            "kind": self._info.kind,
            "apiVersion": self._info.api_version,
            "metadata": metadata,
        }
        return self._event(BOOKMARK, document)

    def marker(self, marker: Marker) -> bytes:
        return b""

    def error(self, status: Object) -> bytes:
        if self._protobuf:
            return watch_frame("ERROR", meta.encode_status(status))
        return watch_line("ERROR", _encode(status))


def encoder_for(
    form: Form,
    info: ResourceInfo,
    node: str,
    query: Mapping[str, str],
    shared: SharedFrames | None = None,
) -> Any:
    """The encoder of a watch of one resource."""
    if form.transform:
        return TransformEncoder(form, info, node, table.include_object(query.get("includeObject", "")))
    media = Media.PROTOBUF if form.media == PROTOBUF else Media.JSON
    # Upstream's agents ask for no bookmarks; whoever does keeps whole objects and knows no patches.
    whole = truthy(query, "allowWatchBookmarks")
    return BodyEncoder(media, {info.store: info}, node, shared, patches=not whole)
