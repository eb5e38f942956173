"""Namespaces carry their name as a label, so that selectors can name them; edits of the label are undone.

Kubernetes has ``kubernetes.io/metadata.name`` for that since 1.21; this is Antrea's own, for clusters whose
policies use it. The webhook is optional."""

from __future__ import annotations

from typing import Final

from apis.gojson import GoStruct, unmarshal
from apiserver.admission import ALLOWED, AdmissionRequest, Verdict
from controller.admission.objects import ObjectMeta

LABEL: Final = "antrea.io/metadata.name"


class Namespace(GoStruct):
    metadata: ObjectMeta | None = None


def mutate(request: AdmissionRequest) -> Verdict:
    if request.object is None:
        return ALLOWED
    metadata = unmarshal(request.object, Namespace).metadata or ObjectMeta()
    labels, name = metadata.labels or {}, metadata.name or ""
    if labels.get(LABEL) == name:
        return ALLOWED
    value = {**labels, LABEL: name}
    return Verdict(True, patch=[{"op": "replace", "path": "/metadata/labels", "value": value}])
