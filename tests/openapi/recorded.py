"""Requests that were put to kube-apiserver 1.34 with the definitions of Antrea v2.7, and what it answered.

tests/data/crd holds them (see ``load``); ``replay`` puts them to another API. Values that differ from run to
run are written UID, RV and TIME, and managedFields were removed.
"""

from __future__ import annotations

import http.client
import json
import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controller.admission.unbuilt import remark

DATA = Path(__file__).parents[1] / "data" / "crd"

JSON = "application/json"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"

_NOT_BUILT = re.compile(r'(, )?299 - "' + remark(r"\w+") + '"')

Case = dict[str, Any]
Object = dict[str, Any]


def load(name: str) -> list[Case]:
    """Each case: ``request``, ``status``, ``response``, and ``existing``, the objects that were there."""
    cases: list[Case] = json.loads((DATA / f"{name}.json").read_text())["cases"]
    return cases


def plain() -> Iterator[tuple[str, Case]]:
    """(subject, case) of all that an API server answers alone, each independent of the others."""
    for subject in SUBJECTS:
        if subject != SEQUENCE:
            yield from ((subject, case) for case in _plain(subject))


def server_side_apply() -> list[Case]:
    """Cases that went to one object, one after the other."""
    return list(_plain(SEQUENCE))


def _plain(subject: str) -> Iterator[Case]:
    for case in load(subject):
        if case["name"] not in NEEDS_CONTROLLER and case["name"] not in DIFFERENT:
            yield case


# The recorded kinds with their objects, Table and commands; the last entry has commands about all of them.
KINDS: list[Object] = json.loads((DATA / "tables.json").read_text())["kinds"]
TABLES = KINDS[:-1]
SEQUENCE = "server-side-apply"
SUBJECTS = sorted(path.stem for path in DATA.glob("*.json") if path.stem != "tables")

# Answers that include the work of the controller: they cannot come from an API server alone.
NEEDS_CONTROLLER = {
    **dict.fromkeys(
        (
            "ipp2-ok",
            "ipp2-different-subnets",
            "ipp2-vlan",
        ),
        "v1alpha2 is converted to the stored version by the webhook /convert/ippool",
    ),
    **dict.fromkeys(
        ("ipp2-outside-subnet", "ipp2-no-ranges"),
        "the webhooks /convert/ippool and /validate/ippool answer",
    ),
    **dict.fromkeys(
        ("ssa-acnp-create-mutated", "ssa-acnp-reapply-same", "ssa-acnp-change-action-renames"),
        "the webhook /mutate/acnp names rules and tier",
    ),
}

# Egress and ExternalIPPool are also served as v1alpha2 here: their tests say what is answered instead.
DIFFERENT = ("discovery /apis/crd.antrea.io/v1alpha2", "removed-version-egress-v1alpha2")


@dataclass
class Answer:
    status: int
    warnings: str
    raw: bytes

    def json(self) -> Any:
        return json.loads(self.raw)


class Api:
    """A Kubernetes API by plain HTTP, over one connection."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext, token: str = "") -> None:
        self._connection = http.client.HTTPSConnection(host, port, context=context, timeout=30)
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def request(
        self, method: str, path: str, body: Any = None, content_type: str = JSON, accept: str = JSON
    ) -> Answer:
        data = None if body is None else json.dumps(body).encode()
        headers = {**self._headers, "Accept": accept}
        if data is not None:
            headers["Content-Type"] = content_type
        self._connection.request(method, path, data, headers)
        response = self._connection.getresponse()
        warnings = ", ".join(response.headers.get_all("Warning") or ())
        return Answer(response.status, warnings, response.read())

    def resources(self, group_version: str) -> dict[str, Object]:
        """Kind to what discovery says of it."""
        prefix = "/api/v1" if group_version == "v1" else f"/apis/{group_version}"
        found = self.request("GET", prefix).json().get("resources", ())
        return {entry["kind"]: entry for entry in found if "/" not in entry["name"]}

    def path(self, document: Object) -> str:
        """The path of an object's collection."""
        entry = self.resources(document["apiVersion"])[document["kind"]]
        prefix = "/api" if document["apiVersion"] == "v1" else "/apis"
        namespace = document["metadata"].get("namespace", "default")
        inside = f"/namespaces/{namespace}" if entry["namespaced"] else ""
        return f"{prefix}/{document['apiVersion']}{inside}/{entry['name']}"

    def create(self, document: Object) -> str:
        """Creates an object, with its status if it has one; returns its path."""
        path = self.path(document)
        answer = self.request("POST", path, document)
        assert answer.status == 201, answer.raw
        path = f"{path}/{document['metadata']['name']}"
        if "status" in document:
            patch = {"status": document["status"]}
            answer = self.request("PATCH", f"{path}/status", patch, "application/merge-patch+json")
            assert answer.status == 200, answer.raw
        return path

    def delete(self, path: str) -> None:
        answer = self.request("DELETE", path)
        assert answer.status == 200, answer.raw

    def close(self) -> None:
        self._connection.close()


def put(api: Api, case: Case) -> Answer:
    """Puts a case to an API. What it creates is deleted afterwards."""
    request = case["request"]
    made = [api.create(document) for document in case.get("existing", ())]
    try:
        answer = api.request(request["method"], request["path"], request["body"], request["contentType"])
        if answer.status == 201 and request["method"] == "POST":
            made.append(f"{request['path'].partition('?')[0]}/{answer.json()['metadata']['name']}")
    finally:
        for path in made:
            api.delete(path)
    return answer


def check(case: Case, answer: Answer) -> None:
    """Fails unless the answer is the recorded one, but for the warning that a feature is not built."""
    if "responseBody" in case:
        assert (answer.status, answer.raw.decode()) == (case["status"], case["responseBody"])
        return
    given, expected = _settled(answer.json()), _settled(case["response"])
    if case.get("causesUnordered"):
        assert given["message"] == _message(given), "the message does not list the causes"
        given, expected = _unordered(given), _unordered(expected)
    assert given == expected
    assert answer.status == case["status"]
    assert _NOT_BUILT.sub("", answer.warnings) == case.get("warningHeader", "")


def check_table(api: Api, kind: Object) -> None:
    """Fails unless the Table of a kind's objects, which are there, is the recorded one but for the clock."""
    table = api.request("GET", api.path(kind["objects"][0]), accept=TABLE).json()
    for column in table["columnDefinitions"]:
        del column["description"]
    assert table["columnDefinitions"] == kind["table"]["columnDefinitions"]
    relative = [column["name"] in ("Age", "Last Heartbeat") for column in table["columnDefinitions"]]
    for row, expected in zip(table["rows"], kind["table"]["rows"], strict=True):
        cells = zip(relative, row["cells"], expected["cells"], strict=True)
        assert all(clock or cell == other for clock, cell, other in cells), row["cells"]


def replay(api: Api, case: Case) -> None:
    check(case, put(api, case))


def _settled(body: Object) -> Object:
    """The body without what differs from run to run."""
    if body.get("kind") == "APIResourceList":
        return body | {"resources": sorted(body["resources"], key=lambda entry: entry["name"])}
    metadata = dict(body.get("metadata") or {})
    for field, word in (("uid", "UID"), ("resourceVersion", "RV"), ("creationTimestamp", "TIME")):
        if field in metadata:
            metadata[field] = word
    metadata.pop("managedFields", None)
    return body | {"metadata": metadata}


def _parts(status: Object) -> Iterator[str]:
    for cause in status["details"]["causes"]:
        yield f"{cause['field']}: {cause['message']}"


def _message(status: Object) -> str:
    head, _, _ = status["message"].partition(" is invalid: ")
    parts = list(_parts(status))
    return f"{head} is invalid: " + (f"[{', '.join(parts)}]" if len(parts) > 1 else parts[0])


def _unordered(status: Object) -> Object:
    details = dict(status["details"])
    details["causes"] = sorted(details["causes"], key=lambda cause: (cause["field"], cause["message"]))
    return status | {"details": details, "message": status["message"].partition(" is invalid: ")[0]}
