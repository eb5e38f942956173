"""networking.k8s.io/v1 NetworkPolicy."""

from __future__ import annotations

import datetime
from typing import Any

from apiserver.documents.fielderrors import FieldErrors
from apiserver.documents.kind import Heading
from apiserver.resources import Object
from lab.api.kinds.builtin import BuiltIn
from lab.api.kinds.table import AGE, NAME, age, selector_text
from lab.api.validation import networkpolicy


class NetworkPolicies(BuiltIn):
    group, version, kind = "networking.k8s.io", "v1", "NetworkPolicy"
    plural, singular, namespaced = "networkpolicies", "networkpolicy", True
    short_names = ("netpol",)
    type_name = "networking.NetworkPolicy"
    tracks_generation = True
    table = (NAME, Heading("Pod-Selector"), AGE)

    def default(self, obj: Object) -> None:
        networkpolicy.default(obj)

    def validate(self, obj: Object, errors: FieldErrors) -> None:
        networkpolicy.validate(obj, errors)

    def validate_update(self, new: Object, old: Object, errors: FieldErrors) -> None:
        networkpolicy.validate_update(new, old, errors)

    def warnings(self, obj: Object) -> list[str]:
        return networkpolicy.warnings(obj)

    def cells(self, obj: Object, now: datetime.datetime) -> list[Any]:
        return [obj["metadata"]["name"], selector_text(obj["spec"].get("podSelector")), age(obj, now)]
