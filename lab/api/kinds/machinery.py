"""Leases, webhook configurations, APIServices: objects that concern the API itself."""

from __future__ import annotations

import base64
import datetime
import re
from typing import Any

from apiserver.documents import formats
from apiserver.documents.fielderrors import FieldErrors
from apiserver.documents.kind import Heading
from apiserver.resources import Object
from lab.api.kinds.builtin import BuiltIn
from lab.api.kinds.table import AGE, NAME, age


class Leases(BuiltIn):
    group, version, kind = "coordination.k8s.io", "v1", "Lease"
    plural, singular, namespaced = "leases", "lease", True
    type_name = "coordination.Lease"
    creates_on_update = True
    table = (NAME, Heading("Holder"), AGE)

    def validate(self, obj: Object, errors: FieldErrors) -> None:
        spec = obj.get("spec", {})
        seconds = spec.get("leaseDurationSeconds")
        if seconds is not None and seconds <= 0:
            errors.invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0")
        transitions = spec.get("leaseTransitions")
        if transitions is not None and transitions < 0:
            errors.invalid("spec.leaseTransitions", transitions, "must be greater than or equal to 0")

    def cells(self, obj: Object, now: datetime.datetime) -> list[Any]:
        return [obj["metadata"]["name"], obj.get("spec", {}).get("holderIdentity", ""), age(obj, now)]


class _Webhooks(BuiltIn):
    group, version, namespaced = "admissionregistration.k8s.io", "v1", False
    tracks_generation = True
    table = (NAME, Heading("Webhooks"), AGE)

    def generation_part(self, obj: Object) -> Any:
        return obj.get("webhooks")

    def default(self, obj: Object) -> None:
        for hook in obj.get("webhooks", ()):
            hook.setdefault("failurePolicy", "Fail")
            hook.setdefault("matchPolicy", "Equivalent")
            hook.setdefault("namespaceSelector", {})
            hook.setdefault("objectSelector", {})
            hook.setdefault("timeoutSeconds", 10)
            if self.kind.startswith("Mutating"):
                hook.setdefault("reinvocationPolicy", "Never")
            for rule in hook.get("rules", ()):
                rule.setdefault("scope", "*")
            service = hook.get("clientConfig", {}).get("service")
            if service is not None:
                service.setdefault("port", 443)

    def validate(self, obj: Object, errors: FieldErrors) -> None:
        for i, hook in enumerate(obj.get("webhooks", ())):
            path = f"webhooks[{i}]"
            name = hook.get("name", "")
            if not name:
                errors.required(f"{path}.name")
            elif name.count(".") < 2:
                errors.invalid(
                    f"{path}.name", name, "should be a domain with at least three segments separated by dots"
                )
            if hook.get("sideEffects") not in ("None", "NoneOnDryRun"):
                errors.not_supported(
                    f"{path}.sideEffects", hook.get("sideEffects", ""), ("None", "NoneOnDryRun")
                )
            if not hook.get("admissionReviewVersions"):
                errors.required(f"{path}.admissionReviewVersions", "must specify one of v1, v1beta1")
            config = hook.get("clientConfig", {})
            if ("url" in config) == ("service" in config):
                errors.required(f"{path}.clientConfig", "exactly one of url or service is required")
            timeout = hook.get("timeoutSeconds", 10)
            if not 1 <= timeout <= 30:
                words = "the timeout value must be between 1 and 30 seconds"
                errors.invalid(f"{path}.timeoutSeconds", timeout, words)

    def cells(self, obj: Object, now: datetime.datetime) -> list[Any]:
        return [obj["metadata"]["name"], len(obj.get("webhooks", ())), age(obj, now)]


class MutatingWebhooks(_Webhooks):
    kind, plural, singular = (
        "MutatingWebhookConfiguration",
        "mutatingwebhookconfigurations",
        "mutatingwebhookconfiguration",
    )
    type_name = "admissionregistration.MutatingWebhookConfiguration"
    categories = ("api-extensions",)


class ValidatingWebhooks(_Webhooks):
    kind, plural, singular = (
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
        "validatingwebhookconfiguration",
    )
    type_name = "admissionregistration.ValidatingWebhookConfiguration"
    categories = ("api-extensions",)


class APIServices(BuiltIn):
    group, version, kind = "apiregistration.k8s.io", "v1", "APIService"
    plural, singular, namespaced = "apiservices", "apiservice", False
    categories = ("api-extensions",)
    type_name = "apiregistration.APIService"
    has_status = True
    table = (NAME, Heading("Service"), Heading("Available"), AGE)

    def check_name(self, name: str) -> list[str]:
        return formats.path_segment(name)

    def default(self, obj: Object) -> None:
        service = obj.get("spec", {}).get("service")
        if service is not None:
            service.setdefault("port", 443)

    def prepare_create(self, obj: Object) -> None:
        obj.pop("status", None)

    def validate(self, obj: Object, errors: FieldErrors) -> None:
        spec = obj.get("spec", {})
        version, group = spec.get("version", ""), spec.get("group", "")
        wanted = f"{version}.{group}"
        name = obj["metadata"].get("name", "")
        if name != wanted:
            errors.invalid("metadata.name", name, f'must be `spec.version+"."+spec.group`: "{wanted}"')
        if group:
            errors.invalids("spec.group", group, formats.dns_subdomain(group))
        if not version:
            errors.required("spec.version")
        else:
            errors.invalids("spec.version", version, formats.dns1035_label(version))
        low = spec.get("groupPriorityMinimum", 0)
        if not 0 < low <= 20000:
            errors.invalid("spec.groupPriorityMinimum", low, "must be positive and less than 20000")
        priority = spec.get("versionPriority", 0)
        if not 0 < priority <= 1000:
            errors.invalid("spec.versionPriority", priority, "must be positive and less than 1000")
        service, bundle = spec.get("service"), spec.get("caBundle", "")
        if service is None:
            if bundle:
                errors.invalid(
                    "spec.caBundle", f"{len(bundle)} bytes", "local APIServices may not have a caBundle"
                )
            if spec.get("insecureSkipTLSVerify"):
                errors.invalid(
                    "spec.insecureSkipTLSVerify", True, "local APIServices may not have insecureSkipTLSVerify"
                )
            return
        for field in ("namespace", "name"):
            if not service.get(field):
                errors.required(f"spec.service.{field}")
        if not 1 <= service.get("port", 443) <= 65535:
            errors.invalid(
                "spec.service.port",
                service["port"],
                "port is not valid: must be between 1 and 65535, inclusive",
            )
        if spec.get("insecureSkipTLSVerify") and bundle:
            errors.invalid("spec.insecureSkipTLSVerify", True, "may not be true if caBundle is present")
        if bundle and not re.search(rb"-----BEGIN CERTIFICATE-----", base64.b64decode(bundle)):
            errors.invalid("spec.caBundle", "", "data does not contain any valid RSA or ECDSA certificates")

    def cells(self, obj: Object, now: datetime.datetime) -> list[Any]:
        service = obj.get("spec", {}).get("service")
        where = f"{service.get('namespace')}/{service.get('name')}" if service else "Local"
        condition: Object = next(
            (c for c in obj.get("status", {}).get("conditions", ()) if c.get("type") == "Available"), {}
        )
        state = condition.get("status") or "Unknown"
        if condition and state != "True":
            state = f"{state} ({condition.get('reason', '')})"
        return [obj["metadata"]["name"], where, state, age(obj, now)]
