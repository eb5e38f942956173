"""Subresources besides status: what each answers.

What needs a kubelet (exec, logs, port-forward) answers with the command that does it in a lab.
"""

from __future__ import annotations

import datetime

from aiohttp import web

from apiserver import errors
from apiserver.documents import clock
from apiserver.documents.endpoint import DocumentEndpoint, SubHandler
from apiserver.documents.refusals import info_for
from apiserver.documents.registry import Registry
from apiserver.errors import StatusError
from apiserver.request import Context
from apiserver.resources import Object, Subresource
from lab.api.access.tokens import ISSUER, TokenSigner
from lab.api.controllers.nodes import bind

STREAMS = ("exec", "attach", "log", "portforward", "proxy")
_MIN_TOKEN_SECONDS = 600

POD = (
    Subresource("binding", "Binding", ("create",), "", "v1"),
    Subresource("eviction", "Eviction", ("create",), "policy", "v1"),
    Subresource("attach", "PodAttachOptions", ("create", "get")),
    Subresource("exec", "PodExecOptions", ("create", "get")),
    Subresource("log", "Pod", ("get",)),
    Subresource("portforward", "PodPortForwardOptions", ("create", "get")),
    Subresource("proxy", "PodProxyOptions", ("create", "delete", "get", "patch", "update")),
)
SERVICE_ACCOUNT = (Subresource("token", "TokenRequest", ("create",), "authentication.k8s.io", "v1"),)
NAMESPACE = (Subresource("finalize", "Namespace", ("update",)),)


class PodEndpoint(DocumentEndpoint):
    async def serve_subresource(self, ctx: Context) -> web.StreamResponse:
        if ctx.info.subresource in STREAMS:
            raise _not_here(self.registry, ctx)
        return await super().serve_subresource(ctx)


def _not_here(registry: Registry, ctx: Context) -> StatusError:
    namespace, name = ctx.info.namespace, ctx.info.name
    if registry.get("pods", namespace, name) is None:
        return errors.not_found(info_for(registry.kinds["pods"]), name)
    run = f"run: antrea-lab exec {namespace}/{name} -- COMMAND"
    hints = {
        "exec": run,
        "attach": run,
        "log": f"the lab's pods write no logs; to look inside {run}",
        "portforward": f"to reach the pod {run}, or antrea-lab probe",
        "proxy": f"to reach the pod {run}, or antrea-lab probe",
    }
    sub = ctx.info.subresource
    message = f"pods/{sub} is not served: a lab has no kubelet that could; {hints[sub]}"
    return StatusError(405, "MethodNotAllowed", message, {"name": name, "kind": "pods"})


def pod_handlers(registry: Registry) -> dict[str, SubHandler]:
    async def binding(ctx: Context, namespace: str, name: str, body: Object | None) -> Object:
        target = (body or {}).get("target", {})
        if target.get("kind", "Node") not in ("", "Node") or not target.get("name"):
            wrong = errors.required("target.name")
            raise errors.invalid("Binding", "", name, [wrong])
        bind(registry, namespace, name, target["name"])
        return _success(201)

    async def eviction(ctx: Context, namespace: str, name: str, body: Object | None) -> Object:
        options = (body or {}).get("deleteOptions") or {}
        registry.delete(registry.kinds["pods"], namespace, name, options)
        return _success(201)

    return {"binding": binding, "eviction": eviction}


def _success(code: int) -> Object:
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": code}


def token_handler(registry: Registry, signer: TokenSigner) -> SubHandler:
    async def token(ctx: Context, namespace: str, name: str, body: Object | None) -> Object:
        account = registry.get("serviceaccounts", namespace, name)
        if account is None:
            raise errors.not_found(info_for(registry.kinds["serviceaccounts"]), name)
        spec = (body or {}).get("spec") or {}
        seconds = spec.get("expirationSeconds") or 3600
        if seconds < _MIN_TOKEN_SECONDS:
            words = "may not specify a duration less than 10 minutes"
            wrong = errors.invalid_value("spec.expirationSeconds", seconds, words)
            raise errors.invalid("TokenRequest", "authentication.k8s.io", "", [wrong])
        audiences = spec.get("audiences") or [ISSUER]
        reference, bound = spec.get("boundObjectRef"), None
        if reference:
            resource = {"Pod": "pods", "Secret": "secrets"}.get(reference.get("kind", ""))
            target = registry.get(resource, namespace, reference.get("name", "")) if resource else None
            if target is None:
                raise errors.bad_request(f"cannot bind token to the object {reference}: it is not here")
            bound = {"kind": reference["kind"], "name": reference["name"], "uid": target["metadata"]["uid"]}
        issued = signer.issue(namespace, name, account["metadata"]["uid"], audiences, seconds, bound)
        until = clock.stamp(clock.now() + datetime.timedelta(seconds=seconds))
        return {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {"name": name, "namespace": namespace, "creationTimestamp": clock.stamp()},
            "spec": {**spec, "audiences": audiences, "expirationSeconds": seconds},
            "status": {"token": issued, "expirationTimestamp": until},
        }

    return token


def finalize_handler(registry: Registry) -> SubHandler:
    async def finalize(ctx: Context, _namespace: str, name: str, body: Object | None) -> Object:
        wanted = ((body or {}).get("spec") or {}).get("finalizers") or []

        def change(obj: Object, _version: int) -> Object:
            obj["spec"] = {"finalizers": wanted} if wanted else {}
            given = (body or {}).get("metadata", {}).get("resourceVersion")
            if given:
                obj["metadata"]["resourceVersion"] = given
            return obj

        kind = registry.kinds["namespaces"]
        document, version = registry.update(
            kind, "", name, change, subresource="finalize", unconditional=True
        )
        metadata = {**document["metadata"], "resourceVersion": str(version)}
        return {"kind": "Namespace", "apiVersion": "v1", **document, "metadata": metadata}

    return finalize
