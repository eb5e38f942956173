"""How writes of documents are refused: errors about objects of a kind."""

from __future__ import annotations

from apiserver import errors
from apiserver.documents.fielderrors import FieldErrors
from apiserver.documents.kind import Kind
from apiserver.errors import StatusError
from apiserver.resources import Object, ResourceInfo


def info_for(kind: Kind) -> ResourceInfo:
    """Just enough for error messages."""
    return ResourceInfo(kind.group, kind.version, kind.plural, kind.kind, namespaced=kind.namespaced)


def refuse(kind: Kind, name: str, problems: FieldErrors) -> StatusError:
    """422 with one cause for each field."""
    return errors.invalid(kind.kind, kind.group, name, problems)


def check_uid(kind: Kind, name: str, given: str | None, old: Object) -> None:
    """Raises Conflict when the writer means another object of that name."""
    present = old["metadata"].get("uid", "")
    if given is not None and given != present:
        words = f"Precondition failed: UID in precondition: {given}, UID in object meta: {present}"
        raise errors.conflict(info_for(kind), name, words)


def check_version(kind: Kind, name: str, given: str | None, version: int) -> None:
    """Raises Conflict when the object is not at the version that a deletion demands."""
    if given is not None and given != str(version):
        words = (
            f"Precondition failed: ResourceVersion in precondition: {given}, "
            f"ResourceVersion in object meta: {version}"
        )
        raise errors.conflict(info_for(kind), name, words)
