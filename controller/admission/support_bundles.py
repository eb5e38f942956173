"""SupportBundleCollection: what has started stays as it is, and the requester may read the Secret used."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Annotated, Final

import msgspec

from apis.gojson import Int32, Named, marshal, unmarshal
from apis.gojson.base64text import decode_base64
from apiserver.admission import ALLOWED, AdmissionRequest, Verdict, refused
from client.resources import SUPPORT_BUNDLE_COLLECTIONS
from controller.admission import ssh_keys
from controller.admission.known import Metadata, Table
from controller.admission.objects import LabelSelector, NamespacedName, ObjectMeta, V1Alpha1
from controller.admission.secret_access import Purpose, SecretAccess

PURPOSE: Final = Purpose("authSecret", "referenced in spec.authentication.authSecret")


class BundleNodes(V1Alpha1):
    node_names: list[str] | None = None
    node_selector: LabelSelector | None = None


class BundleExternalNodes(V1Alpha1):
    namespace: str | None = None
    node_names: list[str] | None = None
    node_selector: LabelSelector | None = None


class BundleFileServer(V1Alpha1):
    url: str | None = None
    host_public_key: Annotated[str | None, Named("[]uint8")] = None


class BundleServerAuthConfiguration(V1Alpha1):
    auth_type: Annotated[str | None, Named("v1alpha1.BundleServerAuthType")] = None
    auth_secret: Annotated[NamespacedName | None, Named("v1.SecretReference")] = None


class SupportBundleCollectionSpec(V1Alpha1):
    nodes: BundleNodes | None = None
    external_nodes: BundleExternalNodes | None = None
    expiration_minutes: Int32 | None = None
    since_time: str | None = None
    file_server: BundleFileServer | None = None
    authentication: BundleServerAuthConfiguration | None = None

    @property
    def host_public_key(self) -> bytes:
        """Raises GoJSONError."""
        return decode_base64((self.file_server.host_public_key if self.file_server else None) or "")

    @property
    def secret(self) -> NamespacedName | None:
        return self.authentication.auth_secret if self.authentication else None

    @property
    def server(self) -> tuple[str, str]:
        """Where the bundle goes and as whom: to change it is to use the Secret."""
        return (
            marshal(self.authentication or BundleServerAuthConfiguration()),
            marshal(self.file_server or BundleFileServer()),
        )


class SupportBundleCollectionCondition(V1Alpha1):
    type: Annotated[str | None, Named("v1alpha1.SupportBundleCollectionConditionType")] = None
    status: Annotated[str | None, Named("v1.ConditionStatus")] = None


class SupportBundleCollectionStatus(V1Alpha1):
    conditions: list[SupportBundleCollectionCondition] | None = None


class SupportBundleCollection(V1Alpha1):
    metadata: ObjectMeta | None = None
    spec: SupportBundleCollectionSpec | None = None
    status: SupportBundleCollectionStatus | None = None

    @property
    def name(self) -> str:
        return (self.metadata.name or "") if self.metadata else ""

    @property
    def phases(self) -> frozenset[str]:
        """The conditions that are true."""
        conditions: Sequence[SupportBundleCollectionCondition] = (
            self.status.conditions if self.status else None
        ) or ()
        return frozenset(item.type or "" for item in conditions if item.status == "True")


class _Condition(msgspec.Struct):
    type: str = ""
    status: str = ""


class _Status(msgspec.Struct):
    conditions: list[_Condition] | None = None


class _Listed(msgspec.Struct):
    metadata: Metadata
    status: _Status | None = None


class SupportBundleCollections(Table[bool]):
    """Whether each collection is under way: it has started, and has not come to its end."""

    def __init__(self) -> None:
        super().__init__(SUPPORT_BUNDLE_COLLECTIONS, "SupportBundleCollection", _Listed, _under_way)

    def under_way(self, name: str) -> bool:
        return self.objects.get(("", name), False)


def _under_way(collection: _Listed) -> bool:
    conditions = (collection.status.conditions if collection.status else None) or ()
    true = {condition.type for condition in conditions if condition.status == "True"}
    return "Started" in true and "Completed" not in true


class SupportBundleRules:
    def __init__(self, collections: SupportBundleCollections, access: SecretAccess) -> None:
        self._collections = collections
        self._access = access

    def __call__(self, request: AdmissionRequest) -> Verdict | Awaitable[Verdict]:
        if request.operation not in ("CREATE", "UPDATE"):
            return ALLOWED
        new, old = _decoded(request.object), _decoded(request.old)
        spec, before = _spec(new), _spec(old)
        update = request.operation == "UPDATE"
        refusal = (self._change_refusal(new, old) if update else None) or _refusal(spec)
        if refusal:
            return refused(refusal)
        if spec.secret is None or (update and spec.server == before.server):
            return ALLOWED
        return self._access.verdict(
            request.user, spec.secret.namespace or "", spec.secret.name or "", PURPOSE
        )

    def _change_refusal(self, new: SupportBundleCollection, old: SupportBundleCollection) -> str | None:
        if "Completed" in old.phases:
            return f"SupportBundleCollection {new.name} is completed, cannot be updated"
        started = "Started" in old.phases or self._collections.under_way(new.name)
        if started and marshal(_spec(new)) != marshal(_spec(old)):
            return f"SupportBundleCollection {new.name} is started, cannot be updated"
        return None


def _decoded(text: msgspec.Raw | None) -> SupportBundleCollection:
    """Raises GoJSONError."""
    collection = SupportBundleCollection() if text is None else unmarshal(text, SupportBundleCollection)
    _ = _spec(collection).host_public_key
    return collection


def _spec(collection: SupportBundleCollection) -> SupportBundleCollectionSpec:
    return collection.spec or SupportBundleCollectionSpec()


def _refusal(spec: SupportBundleCollectionSpec) -> str | None:
    if spec.host_public_key:
        try:
            ssh_keys.check(spec.host_public_key)
        except ssh_keys.KeyRefused as error:
            return f"invalid host public key: {error}"
    if spec.secret is not None and not (spec.secret.name and spec.secret.namespace):
        return "spec.authentication.authSecret must specify both name and namespace"
    return None
