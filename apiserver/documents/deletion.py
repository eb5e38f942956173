"""How objects go away: at once, after a time that their kind asks for, or when the last finalizer is gone."""

from __future__ import annotations

import datetime

from apiserver.documents import clock
from apiserver.documents.kind import Kind, clone
from apiserver.documents.metadata import FOREGROUND, ORPHAN
from apiserver.documents.refusals import check_uid, check_version
from apiserver.resources import Object


def check_preconditions(kind: Kind, name: str, old: Object, version: int, options: Object) -> None:
    """Raises Conflict when the options are about another object or version."""
    wanted = options.get("preconditions") or {}
    check_uid(kind, name, wanted.get("uid"), old)
    check_version(kind, name, wanted.get("resourceVersion"), version)


def begun(kind: Kind, old: Object, options: Object) -> Object | None:
    """The object as it waits for its end after a DELETE, or None when nothing keeps it."""
    new: Object = clone(old)
    metadata = new["metadata"]
    _set_propagation(metadata, options)
    grace = max(0, kind.grace_seconds(old, options.get("gracePeriodSeconds")))
    if not grace and not metadata.get("finalizers") and kind.may_vanish(new):
        return None
    deleting = bool(metadata.get("deletionTimestamp"))
    if not deleting or grace < metadata.get("deletionGracePeriodSeconds", 0):
        until = clock.now() + datetime.timedelta(seconds=grace)
        metadata["deletionTimestamp"] = clock.stamp(until)
        metadata["deletionGracePeriodSeconds"] = grace
    if not deleting and metadata.get("generation"):
        metadata["generation"] += 1
    kind.mark_deleted(new)
    return new


def finished(kind: Kind, obj: Object) -> bool:
    """Whether a deleting object has nothing left to wait for."""
    metadata = obj["metadata"]
    if not metadata.get("deletionTimestamp") or metadata.get("finalizers"):
        return False
    return not metadata.get("deletionGracePeriodSeconds") and kind.may_vanish(obj)


def _set_propagation(metadata: Object, options: Object) -> None:
    """What is to become of dependents is said by finalizers, which the garbage collection works off."""
    policy = options.get("propagationPolicy")
    if policy is None and options.get("orphanDependents") is not None:
        policy = "Orphan" if options["orphanDependents"] else "Background"
    if policy is None:
        return
    finalizers = [f for f in metadata.get("finalizers", ()) if f not in (ORPHAN, FOREGROUND)]
    if policy == "Orphan":
        finalizers.append(ORPHAN)
    elif policy == "Foreground":
        finalizers.append(FOREGROUND)
    metadata["finalizers"] = finalizers
    if not finalizers:
        del metadata["finalizers"]
