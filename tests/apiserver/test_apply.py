"""Server-side apply: what an applier sets, takes back, and may not take from others."""

from __future__ import annotations

from typing import Any

import aiohttp
import yaml

from tests.apiserver.cluster import CONFIGMAPS, PODS, make_cluster
from tests.apiserver.conftest import Serve
from tests.apiserver.test_documents import MERGE, call

APPLY = {"Content-Type": "application/apply-patch+yaml"}


async def apply(
    session: aiohttp.ClientSession, manager: str, data: Any, force: bool = False
) -> tuple[int, Any]:
    body = yaml.safe_dump({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": data})
    query = f"?fieldManager={manager}" + ("&force=true" if force else "")
    return await call(session, "PATCH", f"{CONFIGMAPS}/c{query}", body, headers=APPLY)


async def test_apply_creates_changes_and_takes_back(serve: Serve) -> None:
    server, _ = make_cluster()
    session = await serve(server)
    status, answer = await apply(session, "one", {"a": "1", "b": "2"})
    assert (status, answer["data"]) == (201, {"a": "1", "b": "2"})
    (entry,) = answer["metadata"]["managedFields"]
    assert (entry["manager"], entry["operation"]) == ("one", "Apply")
    assert entry["fieldsV1"] == {"f:data": {"f:a": {}, "f:b": {}}}
    status, answer = await apply(session, "one", {"a": "5"})
    assert (status, answer["data"]) == (200, {"a": "5"})
    version = server.stores.version
    assert (await apply(session, "one", {"a": "5"}))[1] == answer
    assert server.stores.version == version


async def test_fields_of_others_are_conflicts_unless_forced(serve: Serve) -> None:
    session = await serve(make_cluster()[0])
    await apply(session, "one", {"a": "1"})
    status, answer = await apply(session, "two", {"a": "2", "b": "2"})
    assert (status, answer["reason"]) == (409, "Conflict")
    assert answer["message"] == 'Apply failed with 1 conflict: conflict with "one": .data.a'
    assert answer["details"]["causes"][0]["reason"] == "FieldManagerConflict"
    assert (await apply(session, "two", {"a": "1", "b": "2"}))[0] == 200  # the same value is no conflict
    _, answer = await apply(session, "one", {})
    assert answer["data"] == {"a": "1", "b": "2"}  # two still wants it
    status, answer = await apply(session, "one", {"b": "3"}, force=True)
    assert (status, answer["data"]["b"]) == (200, "3")
    _, answer = await apply(session, "two", {})
    assert answer["data"] == {"b": "3"}


async def test_what_others_wrote_plainly_stays(serve: Serve) -> None:
    session = await serve(make_cluster()[0])
    await apply(session, "one", {"a": "1"})
    await call(session, "PATCH", f"{CONFIGMAPS}/c", {"data": {"z": "9"}}, headers=MERGE)
    _, answer = await apply(session, "one", {"b": "1"})
    assert answer["data"] == {"b": "1", "z": "9"}


async def test_lists_merge_by_their_keys(serve: Serve) -> None:
    session = await serve(make_cluster()[0])

    async def pod(*containers: dict[str, Any]) -> Any:
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "p"},
            "spec": {"containers": list(containers)},
        }
        status, answer = await call(
            session, "PATCH", f"{PODS}/p?fieldManager=m", yaml.safe_dump(body), headers=APPLY
        )
        assert status in (200, 201), answer
        return answer["spec"]["containers"]

    one = {"name": "one", "image": "i", "env": [{"name": "A", "value": "1"}]}
    assert await pod(one, {"name": "two", "image": "j"}) == [one, {"name": "two", "image": "j"}]
    assert await pod({"name": "one", "image": "k"}) == [{"name": "one", "image": "k"}]


async def test_what_apply_demands(serve: Serve) -> None:
    session = await serve(make_cluster()[0])
    body = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n"
    status, answer = await call(session, "PATCH", f"{CONFIGMAPS}/c", body, headers=APPLY)
    assert (status, answer["details"]["causes"][0]["field"]) == (422, "fieldManager")
    status, _ = await call(session, "PATCH", f"{CONFIGMAPS}/d?fieldManager=x", "a: [", headers=APPLY)
    assert status == 400
