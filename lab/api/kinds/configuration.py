"""ConfigMaps, Secrets, ServiceAccounts: data that other objects refer to."""

from __future__ import annotations

import base64
import datetime
from typing import Any

from apiserver.documents import formats
from apiserver.documents.fielderrors import FieldErrors
from apiserver.documents.kind import Heading
from apiserver.resources import Object
from lab.api.kinds.builtin import BuiltIn
from lab.api.kinds.table import AGE, NAME, age

_MAX_SIZE = 1024 * 1024
_TYPE_KEYS = {  # keys that a secret of the type must have
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
}
_IMMUTABLE = "field is immutable when `immutable` is set"


class ConfigMaps(BuiltIn):
    group, version, kind = "", "v1", "ConfigMap"
    plural, singular, namespaced = "configmaps", "configmap", True
    short_names = ("cm",)
    type_name = "core.ConfigMap"
    table = (NAME, Heading("Data"), AGE)

    def validate(self, obj: Object, errors: FieldErrors) -> None:
        data, binary = obj.get("data", {}), obj.get("binaryData", {})
        size = 0
        for key, value in data.items():
            errors.invalids(f"data[{key}]", key, formats.config_key(key))
            if key in binary:
                errors.invalid(f"data[{key}]", key, "duplicate of key present in binaryData")
            size += len(value.encode())
        for key, value in binary.items():
            errors.invalids(f"binaryData[{key}]", key, formats.config_key(key))
            size += len(value) * 3 // 4
        if size > _MAX_SIZE:
            errors.too_long("", _MAX_SIZE)

    def validate_update(self, new: Object, old: Object, errors: FieldErrors) -> None:
        _validate_immutable(new, old, ("data", "binaryData"), errors)
        self.validate(new, errors)

    def cells(self, obj: Object, now: datetime.datetime) -> list[Any]:
        return [
            obj["metadata"]["name"],
            len(obj.get("data", {})) + len(obj.get("binaryData", {})),
            age(obj, now),
        ]


class Secrets(BuiltIn):
    group, version, kind = "", "v1", "Secret"
    plural, singular, namespaced = "secrets", "secret", True
    type_name = "core.Secret"
    table = (NAME, Heading("Type"), Heading("Data"), AGE)

    def default(self, obj: Object) -> None:
        obj.setdefault("type", "Opaque")
        plain = obj.pop("stringData", None)
        if plain:
            data = obj.setdefault("data", {})
            for key, value in plain.items():
                data[key] = base64.b64encode(value.encode()).decode()

    def validate(self, obj: Object, errors: FieldErrors) -> None:
        size = 0
        data = obj.get("data", {})
        for key, value in data.items():
            errors.invalids(f"data[{key}]", key, formats.config_key(key))
            size += len(value) * 3 // 4
        if size > _MAX_SIZE:
            errors.too_long("data", _MAX_SIZE)
        type_ = obj.get("type", "")
        for key in _TYPE_KEYS.get(type_, ()):
            if key not in data:
                errors.required(f"data[{key}]")
        if type_ == "kubernetes.io/service-account-token":
            annotations = obj["metadata"].get("annotations", {})
            if not annotations.get("kubernetes.io/service-account.name"):
                errors.required("metadata.annotations[kubernetes.io/service-account.name]")

    def validate_update(self, new: Object, old: Object, errors: FieldErrors) -> None:
        errors.immutable("type", new.get("type"), old.get("type"))
        _validate_immutable(new, old, ("data",), errors)
        self.validate(new, errors)

    def fields(self, obj: Object) -> dict[str, str]:
        return {"type": obj.get("type", "")}

    def cells(self, obj: Object, now: datetime.datetime) -> list[Any]:
        return [obj["metadata"]["name"], obj.get("type", ""), len(obj.get("data", {})), age(obj, now)]


def _validate_immutable(new: Object, old: Object, names: tuple[str, ...], errors: FieldErrors) -> None:
    if old.get("immutable"):
        if not new.get("immutable"):
            errors.forbidden("immutable", _IMMUTABLE)
        for name in names:
            if new.get(name, {}) != old.get(name, {}):
                errors.forbidden(name, _IMMUTABLE)


class ServiceAccounts(BuiltIn):
    group, version, kind = "", "v1", "ServiceAccount"
    plural, singular, namespaced = "serviceaccounts", "serviceaccount", True
    returns_deleted = True
    short_names = ("sa",)
    type_name = "core.ServiceAccount"
    table = (NAME, Heading("Secrets"), AGE)

    def cells(self, obj: Object, now: datetime.datetime) -> list[Any]:
        return [obj["metadata"]["name"], len(obj.get("secrets", ())), age(obj, now)]
