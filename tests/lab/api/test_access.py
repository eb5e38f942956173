"""Who may what: RBAC evaluation, the roles from the start, tokens, certificates, reviews, impersonation."""

from __future__ import annotations

import base64
import ssl
from typing import Any

import pytest
import yaml

from lab.api import credentials
from lab.api.access.rbac import Ask, Rbac, Who, covers, rule_allows
from tests.lab.api.process import LabApi, eventually

RBAC = "/apis/rbac.authorization.k8s.io/v1"


def rule(verbs: str, groups: str, resources: str, names: str = "") -> dict[str, Any]:
    made = {"verbs": verbs.split(), "apiGroups": ["" if g == "core" else g for g in groups.split()]}
    made["resources"] = resources.split()
    if names:
        made["resourceNames"] = names.split()
    return made


# rule, request, allowed?
RULES: list[tuple[dict[str, Any], Ask, bool]] = [
    (rule("get", "core", "pods"), Ask("get", "", "pods"), True),
    (rule("get", "core", "pods"), Ask("list", "", "pods"), False),
    (rule("get", "core", "pods"), Ask("get", "apps", "pods"), False),
    (rule("get", "core", "pods"), Ask("get", "", "pods", "status"), False),
    (rule("get", "core", "pods/status"), Ask("get", "", "pods", "status"), True),
    (rule("get", "core", "*/status"), Ask("get", "", "pods", "status"), True),
    (rule("get", "core", "*/status"), Ask("get", "", "pods"), False),
    (rule("*", "*", "*"), Ask("delete", "x.y", "things", "sub"), True),
    (rule("get", "core", "configmaps", "a b"), Ask("get", "", "configmaps", name="b"), True),
    (rule("get", "core", "configmaps", "a b"), Ask("get", "", "configmaps", name="c"), False),
    (rule("list", "core", "configmaps", "a"), Ask("list", "", "configmaps"), False),
    ({"verbs": ["get"], "nonResourceURLs": ["/healthz"]}, Ask("get", path="/healthz"), True),
    ({"verbs": ["get"], "nonResourceURLs": ["/healthz"]}, Ask("get", path="/healthz/x"), False),
    ({"verbs": ["get"], "nonResourceURLs": ["/apis/*"]}, Ask("get", path="/apis/x/y"), True),
    ({"verbs": ["get"], "nonResourceURLs": ["*"]}, Ask("post", path="/"), False),
    (rule("*", "*", "*"), Ask("get", path="/metrics"), False),
]


@pytest.mark.parametrize(("given", "ask", "allowed"), RULES)
def test_one_rule(given: dict[str, Any], ask: Ask, allowed: bool) -> None:
    assert rule_allows(given, ask) is allowed


@pytest.mark.parametrize(
    ("owned", "wanted", "covered"),
    [
        ([rule("*", "*", "*")], rule("get list", "core apps", "pods deployments"), True),
        ([rule("get", "core", "pods"), rule("list", "core", "pods")], rule("get list", "core", "pods"), True),
        ([rule("get", "core", "pods")], rule("get list", "core", "pods"), False),
        ([rule("get", "core", "pods", "a")], rule("get", "core", "pods"), False),
        ([rule("get", "core", "pods")], rule("get", "core", "pods", "a"), True),
        ([rule("*", "*", "*")], {"verbs": ["get"], "nonResourceURLs": ["/x"]}, False),
    ],
)
def test_escalation(owned: list[dict[str, Any]], wanted: dict[str, Any], covered: bool) -> None:
    assert covers(owned, wanted) is covered


def test_bindings_hold_in_their_namespace_only() -> None:
    rbac = Rbac()
    rbac.role_changed("", "reader", {"rules": [rule("get", "core", "pods")]})
    rbac.role_changed("a", "writer", {"rules": [rule("create", "core", "pods")]})
    reference = {"kind": "ClusterRole", "name": "reader"}
    rbac.binding_changed("a", "b1", {"roleRef": reference, "subjects": [{"kind": "User", "name": "u"}]})
    account = {"kind": "ServiceAccount", "name": "s"}
    rbac.binding_changed("a", "b2", {"roleRef": {"kind": "Role", "name": "writer"}, "subjects": [account]})
    user, service = Who("u"), Who("system:serviceaccount:a:s")
    assert rbac.allowed(user, Ask("get", "", "pods", namespace="a"))
    assert not rbac.allowed(user, Ask("get", "", "pods", namespace="b"))
    assert not rbac.allowed(user, Ask("get", "", "pods"))
    assert rbac.allowed(service, Ask("create", "", "pods", namespace="a"))
    rbac.binding_changed("a", "b2", None)
    assert not rbac.allowed(service, Ask("create", "", "pods", namespace="a"))
    assert rbac.allowed(Who("anyone", ("system:masters",)), Ask("delete", "x", "y"))


# --- through the API ---


def account_token(api: LabApi, namespace: str, name: str = "default") -> str:
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}"
    eventually(lambda: api.get(path).status == 200)
    body = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": 3600},
    }
    answer = api.post(f"{path}/token", body)
    assert answer.status == 201, answer.raw
    return str(answer.json["status"]["token"])


def test_service_account_tokens(api: LabApi) -> None:
    path = api.namespace("tokens")
    token = account_token(api, "tokens")
    refused = api.get(f"{path}/pods", token=token)
    assert refused.status == 403
    assert refused.json["message"] == (
        'pods is forbidden: User "system:serviceaccount:tokens:default" cannot list resource "pods" '
        'in API group "" in the namespace "tokens"'
    )
    binding = {
        "metadata": {"name": "viewers"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "ServiceAccount", "name": "default"}],
    }
    binding["subjects"][0]["namespace"] = "tokens"  # type: ignore[index]
    api.create(f"{RBAC}/namespaces/tokens/rolebindings", binding)
    assert api.get(f"{path}/pods", token=token).status == 200
    assert api.get(f"{path}/secrets", token=token).status == 403
    assert api.get("/api/v1/namespaces/default/pods", token=token).status == 403

    review = {"spec": {"token": token}}
    status = api.post("/apis/authentication.k8s.io/v1/tokenreviews", review).json["status"]
    assert status["authenticated"] is True
    assert status["user"]["username"] == "system:serviceaccount:tokens:default"
    assert set(status["user"]["groups"]) == {
        "system:serviceaccounts",
        "system:serviceaccounts:tokens",
        "system:authenticated",
    }
    # a token dies with its account
    api.delete(f"{path}/serviceaccounts/default")
    assert api.get(f"{path}/pods", token=token).status == 401


@pytest.mark.parametrize("token", ["nonsense", "a.b.c", "e30.e30.e30", "é"])
def test_bad_tokens(api: LabApi, token: str) -> None:
    sent = token.encode().decode("latin-1")
    answer = api.get("/api/v1/pods", token=sent)
    assert (answer.status, answer.json["reason"]) == (401, "Unauthorized")
    status = api.post("/apis/authentication.k8s.io/v1/tokenreviews", {"spec": {"token": token}}).json[
        "status"
    ]
    assert not status.get("authenticated")
    assert status["error"]


def test_a_forged_token(api: LabApi) -> None:
    head, body, signature = account_token(api, "default").split(".")
    forged = base64.urlsafe_b64encode(base64.urlsafe_b64decode(body + "===").replace(b"default", b"kube-sys"))
    assert api.get("/api/v1/pods", token=f"{head}.{forged.decode().rstrip('=')}.{signature}").status == 401


def test_anonymous_users_see_little(api: LabApi) -> None:
    assert api.get("/version", token="").status == 200
    assert api.get("/readyz", token="").status == 200
    assert api.get("/api/v1/pods", token="").status == 403
    assert api.get("/apis", token="").status == 403


def test_client_certificates(api: LabApi) -> None:
    path = api.state / "bob.kubeconfig"
    credentials.write_user(api.state, api.url, path, "bob", ["builders"])
    assert path.stat().st_mode & 0o777 == 0o600
    user = yaml.safe_load(path.read_text())["users"][0]["user"]
    context = api.context()
    pair = api.state / "bob.pem"
    pair.write_bytes(
        base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"])
    )
    context.load_cert_chain(pair)
    who = _post_with(api, context, "/apis/authentication.k8s.io/v1/selfsubjectreviews", {})
    assert who["status"]["userInfo"] == {"username": "bob", "groups": ["builders", "system:authenticated"]}


def _post_with(api: LabApi, context: ssl.SSLContext, path: str, body: Any) -> Any:
    import http.client
    import json

    connection = http.client.HTTPSConnection("127.0.0.1", api.port, context=context, timeout=10)
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    return json.loads(connection.getresponse().read())


def test_kubeconfigs_are_private(api: LabApi) -> None:
    assert (api.state / "kubeconfig").stat().st_mode & 0o777 == 0o600
    for name in ("ca.key", "sa.key", "admin.token", "serving.key", "front-proxy-client.key"):
        assert (api.state / "pki" / name).stat().st_mode & 0o777 == 0o600


def test_a_service_account_kubeconfig(api: LabApi) -> None:
    account = eventually(
        lambda: api.get("/api/v1/namespaces/default/serviceaccounts/default").json.get("metadata")
    )
    path = api.state / "sa.kubeconfig"
    credentials.write_service_account(api.state, api.url, path, "default", "default", account["uid"])
    token = yaml.safe_load(path.read_text())["users"][0]["user"]["token"]
    answer = api.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", {}, token=token)
    assert answer.json["status"]["userInfo"]["username"] == "system:serviceaccount:default:default"


def review(api: LabApi, user: str, groups: tuple[str, ...] = (), **attributes: str) -> bool:
    spec = {"user": user, "groups": list(groups), "resourceAttributes": attributes}
    answer = api.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", {"spec": spec})
    assert answer.status == 201, answer.raw
    return bool(answer.json["status"]["allowed"])


def test_access_reviews(api: LabApi) -> None:
    assert review(api, "x", ("system:masters",), verb="delete", resource="nodes")
    assert not review(api, "x", verb="delete", resource="nodes")
    assert review(
        api, "system:node:n1", ("system:nodes",), verb="patch", resource="nodes", subresource="status"
    )
    empty = api.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", {"spec": {"user": "x"}})
    assert empty.status == 422


def test_aggregated_roles(api: LabApi) -> None:
    """edit includes view, admin includes edit; a role with the label joins at once."""
    rules = {name: api.get(f"{RBAC}/clusterroles/{name}").json["rules"] for name in ("view", "edit", "admin")}
    assert all(rule in rules["edit"] for rule in rules["view"])
    assert all(rule in rules["admin"] for rule in rules["edit"])
    label = {"rbac.authorization.k8s.io/aggregate-to-view": "true"}
    extra = rule("get", "example.com", "things")
    api.create(f"{RBAC}/clusterroles", {"metadata": {"name": "things", "labels": label}, "rules": [extra]})
    eventually(lambda: extra in api.get(f"{RBAC}/clusterroles/admin").json["rules"])
    api.delete(f"{RBAC}/clusterroles/things")
    eventually(lambda: extra not in api.get(f"{RBAC}/clusterroles/admin").json["rules"])


def test_impersonation(api: LabApi) -> None:
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    answer = api.post(path, {}, headers={"Impersonate-User": "eve", "Impersonate-Group": "g"})
    assert answer.json["status"]["userInfo"] == {"username": "eve", "groups": ["g", "system:authenticated"]}
    token = account_token(api, "default")
    refused = api.post(path, {}, token=token, headers={"Impersonate-User": "eve"})
    assert (refused.status, refused.json["reason"]) == (403, "Forbidden")


def test_nobody_grants_what_they_have_not(api: LabApi) -> None:
    api.namespace("granting")
    token = account_token(api, "granting")
    subjects = [{"kind": "ServiceAccount", "name": "default", "namespace": "granting"}]
    admin = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"}
    path = f"{RBAC}/namespaces/granting"
    api.create(f"{path}/rolebindings", {"metadata": {"name": "a"}, "roleRef": admin, "subjects": subjects})
    allowed = {"metadata": {"name": "ok"}, "rules": [rule("get", "core", "pods")]}
    assert api.post(f"{path}/roles", allowed, token=token).status == 201
    refused = api.post(
        f"{path}/roles", {"metadata": {"name": "no"}, "rules": [rule("*", "*", "*")]}, token=token
    )
    assert refused.status == 403
    assert "is attempting to grant RBAC permissions not currently held" in refused.json["message"]
    cluster_admin = {**admin, "name": "cluster-admin"}
    bound = {"metadata": {"name": "b"}, "roleRef": cluster_admin, "subjects": subjects}
    assert api.post(f"{path}/rolebindings", bound, token=token).status == 403
