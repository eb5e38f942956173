"""The kinds that only answer: TokenReview, the access reviews, SelfSubjectReview."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from apiserver import errors
from apiserver.documents.clock import stamp
from apiserver.documents.schema import DecodeError
from apiserver.endpoints import FunctionEndpoint, Functions
from apiserver.request import Context
from apiserver.resources import Object, ResourceInfo
from lab.api.access.authentication import Reviewer
from lab.api.access.authorization import who
from lab.api.access.rbac import Ask, Rbac, Who
from lab.api.access.tokens import TokenError
from lab.api.schema.decode import decode

_AUTHENTICATION, _AUTHORIZATION = "authentication.k8s.io", "authorization.k8s.io"
Handler = Callable[[Context, str, Object], Awaitable[Object]]


class Reviews:
    def __init__(self, reviewer: Reviewer, rbac: Rbac) -> None:
        self._reviewer = reviewer
        self._rbac = rbac

    def endpoints(self) -> list[FunctionEndpoint]:
        table: list[tuple[str, str, bool, Handler]] = [
            (_AUTHENTICATION, "TokenReview", False, self._token),
            (_AUTHENTICATION, "SelfSubjectReview", False, self._self),
            (_AUTHORIZATION, "SubjectAccessReview", False, self._subject_access),
            (_AUTHORIZATION, "LocalSubjectAccessReview", True, self._local_access),
            (_AUTHORIZATION, "SelfSubjectAccessReview", False, self._self_access),
            (_AUTHORIZATION, "SelfSubjectRulesReview", False, self._rules),
        ]
        return [self._endpoint(*row) for row in table]

    @staticmethod
    def _endpoint(group: str, kind: str, namespaced: bool, handler: Handler) -> FunctionEndpoint:
        info = ResourceInfo(
            group=group,
            version="v1",
            plural=kind.lower() + "s",
            kind=kind,
            namespaced=namespaced,
            verbs=("create",),
            has_table=False,
        )
        short = group.partition(".")[0]

        async def create(ctx: Context, namespace: str, document: Object) -> Object:
            try:
                body, _ = decode(f"{short}.{kind}", document)
            except DecodeError as error:
                words = f'{kind} in version "v1" cannot be handled as a {kind}: {error}'
                raise errors.bad_request(words) from None
            answer = await handler(ctx, namespace, body)
            return {"kind": kind, "apiVersion": f"{group}/v1", "metadata": body.get("metadata", {}), **answer}

        return FunctionEndpoint(info, Functions(create=create))

    async def _token(self, _ctx: Context, _namespace: str, body: Object) -> Object:
        spec = body.get("spec", {})
        token = spec.get("token", "")
        if not token:
            raise errors.bad_request("token is required for TokenReview in authentication")
        audiences = spec.get("audiences") or []
        try:
            user = self._reviewer.review(token, audiences).authenticated()
        except TokenError as error:
            return {"spec": spec, "status": {"user": {}, "error": str(error)}}
        found: Object = {"username": user.name, "groups": list(user.groups)}
        if user.uid:
            found["uid"] = user.uid
        if user.extra:
            found["extra"] = {key: list(values) for key, values in user.extra.items()}
        status: Object = {"authenticated": True, "user": found}
        if audiences:
            status["audiences"] = audiences
        return {"spec": spec, "status": status}

    async def _self(self, ctx: Context, _namespace: str, _body: Object) -> Object:
        user: Object = {"username": ctx.user.name, "groups": list(ctx.user.groups)}
        if ctx.user.uid:
            user["uid"] = ctx.user.uid
        if ctx.user.extra:
            user["extra"] = {key: list(values) for key, values in ctx.user.extra.items()}
        return {"metadata": {"creationTimestamp": stamp()}, "status": {"userInfo": user}}

    def _decide(self, subject: Who, spec: Object) -> Object:
        reason = self._rbac.allowed(subject, _ask(spec))
        return {"allowed": True, "reason": reason} if reason is not None else {"allowed": False}

    async def _subject_access(self, _ctx: Context, _namespace: str, body: Object) -> Object:
        spec = body.get("spec", {})
        _check_attributes("SubjectAccessReview", spec)
        if not spec.get("user") and not spec.get("groups"):
            missing = errors.invalid_value("spec.user", "", "at least one of user or group must be specified")
            raise errors.invalid("SubjectAccessReview", _AUTHORIZATION, "", [missing])
        subject = Who(spec.get("user", ""), tuple(spec.get("groups", ())), spec.get("uid", ""))
        return {"spec": spec, "status": self._decide(subject, spec)}

    async def _local_access(self, ctx: Context, namespace: str, body: Object) -> Object:
        attributes = body.get("spec", {}).get("resourceAttributes")
        if attributes is not None and attributes.get("namespace", namespace) != namespace:
            given = attributes.get("namespace")
            raise errors.bad_request(
                f"spec.resourceAttributes.namespace must match namespace: {given}, {namespace}"
            )
        return await self._subject_access(ctx, namespace, body)

    async def _self_access(self, ctx: Context, _namespace: str, body: Object) -> Object:
        spec = body.get("spec", {})
        _check_attributes("SelfSubjectAccessReview", spec)
        return {"spec": spec, "status": self._decide(who(ctx.user), spec)}

    async def _rules(self, ctx: Context, _namespace: str, body: Object) -> Object:
        namespace = body.get("spec", {}).get("namespace", "")
        if not namespace:
            raise errors.bad_request("no namespace on request")
        resources, paths = [], []
        for rule, _ in self._rbac.rules(who(ctx.user), namespace):
            if rule.get("nonResourceURLs"):
                paths.append({"verbs": rule["verbs"], "nonResourceURLs": rule["nonResourceURLs"]})
            else:
                keys = ("verbs", "apiGroups", "resources", "resourceNames")
                resources.append({key: rule[key] for key in keys if rule.get(key)})
        status = {"incomplete": False, "resourceRules": resources, "nonResourceRules": paths}
        return {"spec": body.get("spec", {}), "status": status}


def _check_attributes(kind: str, spec: Object) -> None:
    if ("resourceAttributes" in spec) == ("nonResourceAttributes" in spec):
        words = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        wrong = errors.invalid_value("spec.resourceAttributes", spec.get("resourceAttributes"), words)
        raise errors.invalid(kind, _AUTHORIZATION, "", [wrong])


def _ask(spec: Object) -> Ask:
    path = spec.get("nonResourceAttributes")
    if path is not None:
        return Ask(path.get("verb", ""), path=path.get("path", "") or "/")
    item = spec.get("resourceAttributes", {})
    return Ask(
        item.get("verb", ""),
        item.get("group", ""),
        item.get("resource", ""),
        item.get("subresource", ""),
        item.get("namespace", ""),
        item.get("name", ""),
    )
