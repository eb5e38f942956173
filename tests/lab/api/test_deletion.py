"""How things go away: finalizers, grace, owners, namespaces with all that is in them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.lab.api.process import LabApi, eventually

HOLD = "example.com/hold"


def pod(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "x"}], **spec}}


def test_finalizers_hold_an_object(api: LabApi) -> None:
    path = api.namespace("finalizers") + "/configmaps"
    api.create(path, {"metadata": {"name": "c", "finalizers": [HOLD]}})
    answer = api.delete(f"{path}/c")
    assert answer.json["metadata"]["deletionTimestamp"]
    assert api.get(f"{path}/c").status == 200
    assert (
        "no new finalizers can be added"
        in api.merge(f"{path}/c", {"metadata": {"finalizers": [HOLD, "example.com/more"]}}).json["message"]
    )
    assert api.merge(f"{path}/c", {"metadata": {"finalizers": None}}).status == 200
    assert api.get(f"{path}/c").status == 404


def test_what_a_deletion_answers(api: LabApi) -> None:
    path = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies"
    made = api.create(path, {"metadata": {"name": "gone"}, "spec": {"podSelector": {}}})
    assert api.delete(f"{path}/gone").json == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {
            "name": "gone",
            "group": "networking.k8s.io",
            "kind": "networkpolicies",
            "uid": made["metadata"]["uid"],
        },
    }
    assert api.delete(f"{path}/gone").status == 404


def test_a_pod_on_a_node_is_removed_by_its_kubelet(api: LabApi) -> None:
    path = api.namespace("graceful") + "/pods"
    api.create(path, pod("p", nodeName="n1", terminationGracePeriodSeconds=20))
    deleted = api.delete(f"{path}/p").json["metadata"]
    assert deleted["deletionGracePeriodSeconds"] == 20
    assert api.get(f"{path}/p").json["metadata"]["deletionTimestamp"] == deleted["deletionTimestamp"]
    # a shorter grace moves the time forward, a longer one is ignored
    assert api.delete(f"{path}/p?gracePeriodSeconds=5").json["metadata"]["deletionGracePeriodSeconds"] == 5
    assert api.delete(f"{path}/p?gracePeriodSeconds=50").json["metadata"]["deletionGracePeriodSeconds"] == 5
    api.delete(f"{path}/p", {"gracePeriodSeconds": 0})
    assert api.get(f"{path}/p").status == 404


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_pod_that_has_ended_goes_at_once(api: LabApi, phase: str) -> None:
    path = api.namespace(f"ended-{phase.lower()}") + "/pods"
    api.create(path, pod("p", nodeName="n1"))
    api.merge(f"{path}/p/status", {"status": {"phase": phase}})
    api.delete(f"{path}/p")
    assert api.get(f"{path}/p").status == 404


def test_a_pod_without_a_node_goes_at_once(api: LabApi) -> None:
    path = api.namespace("unbound") + "/pods"
    api.create(path, pod("p", schedulerName="nobody"))
    assert api.delete(f"{path}/p").status == 200
    assert api.get(f"{path}/p").status == 404


def test_eviction(api: LabApi) -> None:
    path = api.namespace("evicted") + "/pods"
    api.create(path, pod("p", schedulerName="nobody"))
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
    assert api.post(f"{path}/p/eviction", body).status == 201
    assert api.get(f"{path}/p").status == 404


def test_deletecollection_keeps_to_its_selection(api: LabApi) -> None:
    path = api.namespace("collection") + "/configmaps"
    for name, label in (("a", "x"), ("b", "x"), ("c", "y")):
        api.create(path, {"metadata": {"name": name, "labels": {"l": label}}})
    assert api.delete(f"{path}?labelSelector=l%3Dx").status == 200
    assert {i["metadata"]["name"] for i in api.get(path).json["items"]} == {"c", "kube-root-ca.crt"}


# --- owners ---


def owned(
    name: str, *owners: dict[str, Any], block: bool = False, finalizers: tuple[str, ...] = ()
) -> dict[str, Any]:
    references = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"],
            "blockOwnerDeletion": block,
        }
        for owner in owners
    ]
    return {"metadata": {"name": name, "ownerReferences": references, "finalizers": list(finalizers)}}


def test_dependents_go_with_their_last_owner(api: LabApi) -> None:
    path = api.namespace("background") + "/configmaps"
    first, second = (api.create(path, {"metadata": {"name": name}}) for name in ("first", "second"))
    child = api.create(path, owned("child", first, second))
    api.create(path, owned("grandchild", child))
    api.delete(f"{path}/first")
    eventually(lambda: len(api.get(f"{path}/child").json["metadata"]["ownerReferences"]) == 1)
    api.delete(f"{path}/second")
    eventually(lambda: api.get(f"{path}/child").status == 404)
    eventually(lambda: api.get(f"{path}/grandchild").status == 404)


def test_foreground_waits_for_the_dependents(api: LabApi) -> None:
    path = api.namespace("foreground") + "/configmaps"
    owner = api.create(path, {"metadata": {"name": "owner"}})
    api.create(path, owned("child", owner, block=True, finalizers=(HOLD,)))
    api.delete(f"{path}/owner", {"propagationPolicy": "Foreground"})
    eventually(lambda: api.get(f"{path}/child").json["metadata"].get("deletionTimestamp"))
    assert api.get(f"{path}/owner").json["metadata"]["finalizers"] == ["foregroundDeletion"]
    api.merge(f"{path}/child", {"metadata": {"finalizers": None}})
    eventually(lambda: api.get(f"{path}/owner").status == 404)


def test_orphans_stay(api: LabApi) -> None:
    path = api.namespace("orphans") + "/configmaps"
    owner = api.create(path, {"metadata": {"name": "owner"}})
    api.create(path, owned("child", owner))
    api.delete(f"{path}/owner?propagationPolicy=Orphan")
    eventually(lambda: api.get(f"{path}/owner").status == 404)
    assert "ownerReferences" not in api.get(f"{path}/child").json["metadata"]


def test_an_owner_that_never_was(api: LabApi) -> None:
    path = api.namespace("absent-owner") + "/configmaps"
    ghost = {"metadata": {"name": "ghost", "uid": "00000000-0000-0000-0000-000000000000"}}
    api.create(path, owned("child", ghost))
    eventually(lambda: api.get(f"{path}/child").status == 404)


def test_a_bad_propagation_policy(api: LabApi) -> None:
    answer = api.delete("/api/v1/namespaces/default/configmaps/kube-root-ca.crt?propagationPolicy=Sideways")
    assert answer.status == 422


# --- namespaces ---


def test_a_namespace_has_its_furniture(api: LabApi) -> None:
    path = api.namespace("furnished")
    namespace = api.get(path).json
    assert namespace["metadata"]["labels"] == {"kubernetes.io/metadata.name": "furnished"}
    assert (namespace["spec"], namespace["status"]) == ({"finalizers": ["kubernetes"]}, {"phase": "Active"})
    account = eventually(lambda: api.get(f"{path}/serviceaccounts/default").json.get("metadata"))
    assert account["namespace"] == "furnished"
    root = api.get(f"{path}/configmaps/kube-root-ca.crt").json["data"]["ca.crt"]
    assert root == (api.state / "pki" / "ca.crt").read_text()
    # both come back
    api.delete(f"{path}/serviceaccounts/default")
    eventually(lambda: api.get(f"{path}/serviceaccounts/default").status == 200)
    api.delete(f"{path}/configmaps/kube-root-ca.crt")
    eventually(lambda: api.get(f"{path}/configmaps/kube-root-ca.crt").status == 200)


def test_the_name_label_cannot_be_taken_off(api: LabApi) -> None:
    path = api.namespace("named")
    for value in (None, "other"):
        answer = api.merge(path, {"metadata": {"labels": {"kubernetes.io/metadata.name": value}}})
        assert answer.json["metadata"]["labels"]["kubernetes.io/metadata.name"] == "named"


def test_a_namespace_ends_with_its_contents(api: LabApi) -> None:
    path = api.namespace("ending")
    api.create(f"{path}/configmaps", {"metadata": {"name": "held", "finalizers": [HOLD]}})
    api.create(f"{path}/pods", pod("running", nodeName="n1"))
    policies = "/apis/networking.k8s.io/v1/namespaces/ending/networkpolicies"
    api.create(policies, {"metadata": {"name": "p"}, "spec": {"podSelector": {}}})
    assert api.delete(path).json["status"]["phase"] == "Terminating"

    eventually(lambda: api.get(f"{policies}/p").status == 404)
    refused = api.post(f"{path}/configmaps", {"metadata": {"name": "late"}})
    assert refused.status == 403
    assert "because it is being terminated" in refused.json["message"]
    assert refused.json["details"]["causes"][0]["reason"] == "NamespaceTerminating"

    conditions = {c["type"]: c for c in api.get(path).json["status"]["conditions"]}
    assert "pods has 1 resource instances" in conditions["NamespaceContentRemaining"]["message"]
    assert HOLD in conditions["NamespaceFinalizersRemaining"]["message"]

    api.delete(f"{path}/pods/running", {"gracePeriodSeconds": 0})
    assert api.get(path).status == 200
    api.merge(f"{path}/configmaps/held", {"metadata": {"finalizers": None}})
    eventually(lambda: api.get(path).status == 404)


@pytest.mark.parametrize("name", ["default", "kube-system", "kube-public"])
def test_protected_namespaces(api: LabApi, name: str) -> None:
    answer = api.delete(f"/api/v1/namespaces/{name}")
    assert answer.status == 403
    assert answer.json["message"] == f'namespaces "{name}" is forbidden: this namespace may not be deleted'
