"""Objects to which the controller publishes its CA."""

from __future__ import annotations

from typing import Any

LABELS = {"app": "antrea", "served-by": "antrea-controller"}


def webhook(name: str, labels: dict[str, str]) -> dict[str, Any]:
    rule = {
        "operations": ["CREATE"],
        "apiGroups": ["example.com"],
        "apiVersions": ["v1"],
        "resources": ["none"],
    }
    service = {"name": "antrea", "namespace": "kube-system", "path": "/validate/nothing"}
    hooks = [
        {
            "name": f"{number}.{name}.antrea.io",
            "clientConfig": {"service": service},
            "rules": [rule],
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        }
        for number in ("one", "two")
    ]
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": name, "labels": labels},
        "webhooks": hooks,
    }
