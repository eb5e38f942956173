"""The objects of a server and the rules of writing them.

Every write goes through here, whoever writes: a client over HTTP, a controller of this process, a manifest.
Programs of the process write synchronously: an operation reads, decides and publishes without giving way, so
two writers never see a half-done one. A client's write may wait between its steps (see `writes`), and begins
again when another one was faster. Observers are told of each change after it has been published; they must
not write at once but queue what follows, so that changes stay in order.

Stored documents have no kind, apiVersion and resourceVersion, and are never changed in place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from apis.record import Change
from apiserver.documents.kind import Kind
from apiserver.documents.operation import Admission, Observer, Operation, Result, Reviewer
from apiserver.documents.record import Document
from apiserver.documents.writes import Creation, Deletion, Update
from apiserver.resources import Object
from apiserver.stores import Stored, Stores


def document_of(stored: Stored) -> Object:
    """What is stored, not to be changed."""
    record = stored.record
    assert isinstance(record, Document)
    return record.document


class Registry:
    """``journal`` gets (resource, namespace, name, document or None, version) before the change happens; if
    it raises, the change does not."""

    def __init__(self, stores: Stores) -> None:
        self.stores = stores
        self.kinds: dict[str, Kind] = {}  # by resource name; several versions of a custom resource share one
        self.journal: Callable[[str, str, str, Object | None, int], None] = lambda *_: None
        self._observers: list[Observer] = []
        self.admissions: list[Admission] = []
        self.reviewer: Reviewer | None = None  # admission that others are asked for, over the network

    # --- composition ---

    def add_kind(self, kind: Kind) -> None:
        self.kinds[kind.resource] = kind
        self.stores.add(kind.resource)

    def remove_kind(self, resource: str) -> None:
        self.kinds.pop(resource, None)
        self.stores.drop(resource)

    def observe(self, observer: Observer) -> None:
        self._observers.append(observer)

    def admit(self, admission: Admission) -> None:
        self.admissions.append(admission)

    def kind_of(self, api_version: str, kind: str) -> Kind | None:
        group = api_version.rpartition("/")[0]
        for candidate in self.kinds.values():
            if candidate.kind == kind and candidate.group == group:
                return candidate
        return None

    # --- reading ---

    def stored(self, resource: str, namespace: str, name: str) -> Stored | None:
        return self.stores.get(resource, (namespace, name))

    def get(self, resource: str, namespace: str, name: str) -> Object | None:
        """The stored document, not to be changed, or None."""
        stored = self.stores.get(resource, (namespace, name))
        return document_of(stored) if stored is not None else None

    def items(self, resource: str, namespace: str | None = None) -> Iterator[Object]:
        for (where, _), stored in self.stores.items(resource):
            if namespace is None or where == namespace:
                yield document_of(stored)

    def restore(self, resource: str, document: Object, version: int) -> None:
        """Takes over an object of an earlier process, version included. Observers see it as created."""
        kind = self.kinds[resource]
        self.stores.restore(resource, Document(document), version)
        for observer in self._observers:
            observer(kind, None, document)

    # --- writing ---

    def create(
        self, kind: Kind, obj: Object, operation: Operation | None = None, status: Object | None = None
    ) -> Result:
        """Creates the decoded object (the registry owns it from now on). Raises StatusError.

        ``status`` is for those who bring a state along (manifests): clients write it in a second step.
        """
        return Creation(self, kind, obj, operation, status).run()

    def update(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        change: Callable[[Object, int], Object],
        *,
        subresource: str = "",
        unconditional: bool = False,
        operation: Operation | None = None,
    ) -> Result:
        """Replaces an object by what ``change(current, version)`` returns (``current`` is a copy to modify).

        The result's metadata.resourceVersion, if any, must be the current version (Conflict otherwise).
        """
        operation = operation or Operation("update", namespace, name, None, None, subresource)
        return Update(self, kind, operation, change, unconditional).run()

    def delete(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        options: Object | None = None,
        operation: Operation | None = None,
    ) -> tuple[Result, bool]:
        """Deletes or begins to; the flag says whether the object is gone. Raises StatusError."""
        operation = operation or Operation("delete", namespace, name, None, None)
        write = Deletion(self, kind, operation, options or {})
        return write.run(), write.gone

    def publish(self, kind: Kind, old: Object | None, new: Object | None) -> Result:
        document = new if new is not None else old
        assert document is not None
        metadata = document["metadata"]
        before = Document(old) if old is not None else None
        after = Document(new) if new is not None else None
        upcoming = self.stores.version + 1
        self.journal(kind.resource, metadata.get("namespace", ""), metadata["name"], new, upcoming)
        version = self.stores.publish([Change(kind.resource, before, after)])
        assert version == upcoming
        for observer in self._observers:
            observer(kind, old, new)
        return Result(document, version)
