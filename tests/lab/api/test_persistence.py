"""A killed API comes back as it was: objects, versions, keys, tokens. And it ends in order when asked to."""

from __future__ import annotations

import os
import pathlib
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
from typing import Any

import pytest
import yaml

from lab.api.journal import Entry, Journal
from tests.lab.api.process import ROOT, LabApi, eventually

POLICIES = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies"


def policy(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"podSelector": {}}}


def test_everything_survives_sigkill(own_api: LabApi) -> None:
    api = own_api
    made = [api.create(POLICIES, policy(f"p{i}")) for i in range(5)]
    api.delete(f"{POLICIES}/p0")
    changed = api.merge(f"{POLICIES}/p1", {"spec": {"podSelector": {"matchLabels": {"a": "b"}}}}).json
    definition = {
        "metadata": {"name": "things.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Cluster",
            "names": {"plural": "things", "kind": "Thing"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {
                        "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
                    },
                }
            ],
        },
    }
    api.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
    eventually(lambda: api.get("/apis/example.com/v1/things").status == 200)
    thing = api.create("/apis/example.com/v1/things", {"metadata": {"name": "t"}, "a": 1})
    token, authority = api.token, (api.state / "pki" / "ca.crt").read_bytes()
    version = int(api.get(POLICIES).json["metadata"]["resourceVersion"])

    api.stop(signal.SIGKILL)
    api.start()
    assert (api.token, (api.state / "pki" / "ca.crt").read_bytes()) == (token, authority)
    assert api.get(f"{POLICIES}/p0").status == 404
    assert api.get(f"{POLICIES}/p1").json == changed
    assert [api.get(f"{POLICIES}/p{i}").json for i in (2, 3, 4)] == made[2:]
    assert api.get("/apis/example.com/v1/things/t").json == thing

    # versions go on upwards; a version from before is too old to watch from, but good for an update
    assert int(api.get(POLICIES).json["metadata"]["resourceVersion"]) > version
    assert int(api.create(POLICIES, policy("late"))["metadata"]["resourceVersion"]) > version
    assert api.get(f"{POLICIES}?watch=1&resourceVersion={version}").json["code"] == 410
    assert api.put(f"{POLICIES}/p2", {**made[2], "spec": {"podSelector": {}}}).status == 200


def test_what_was_answered_is_never_lost(own_api: LabApi) -> None:
    """Killed in the middle of writes, again and again: every acknowledged object is there afterwards."""
    api = own_api
    for turn in range(3):
        acknowledged: list[str] = []

        def write(turn: int = turn, acknowledged: list[str] = acknowledged) -> None:
            for i in range(10_000):
                try:
                    if api.post(POLICIES, policy(f"w{turn}-{i}")).status == 201:
                        acknowledged.append(f"w{turn}-{i}")
                except OSError:
                    return

        writer = threading.Thread(target=write)
        writer.start()
        eventually(lambda acknowledged=acknowledged: len(acknowledged) > 20)
        api.stop(signal.SIGKILL)
        writer.join(20)
        api.start()
        present = {item["metadata"]["name"] for item in api.get(POLICIES).json["items"]}
        assert not set(acknowledged) - present


# --- a disk that takes no more ---


def file_limit(api: LabApi, size: int) -> None:
    """No file of the process grows beyond the size: what a full disk does, without one."""
    assert api.process is not None
    resource.prlimit(api.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def test_a_change_that_the_disk_does_not_take_is_refused_and_nothing_is_lost(own_api: LabApi) -> None:
    api = own_api
    api.create(POLICIES, policy("before"))
    (journal,) = (api.state / "objects").glob("journal-*")
    file_limit(api, journal.stat().st_size + 4000)
    made, refused = [], None
    for i in range(100):
        answer = api.post(POLICIES, policy(f"p{i}"))
        if answer.status != 201:
            refused = answer
            break
        made.append(f"p{i}")
    assert made
    assert refused is not None
    assert refused.status == 500
    assert "could not be written to" in refused.json["message"]
    assert "it has not been made" in refused.json["message"]

    # what is there is served, and what was refused is not there
    assert api.get(f"{POLICIES}/before").status == 200
    assert api.get(f"{POLICIES}/p{len(made)}").status == 404
    file_limit(api, journal.stat().st_size)
    assert api.delete(f"{POLICIES}/before").status == 500
    assert api.get(f"{POLICIES}/before").status == 200
    assert api.get("/livez").status == 200
    readiness = api.get("/readyz?verbose")
    assert readiness.status == 500
    assert b"[-]journal failed: changes cannot be written" in readiness.raw

    resource.prlimit(api.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)  # type: ignore[union-attr]
    api.create(POLICIES, policy("after"))
    assert api.get("/readyz").status == 200
    # what the API's own controllers wanted to write meanwhile comes true as well
    api.namespace("later")
    eventually(lambda: api.get("/api/v1/namespaces/later/serviceaccounts/default").status == 200)
    api.stop(signal.SIGKILL)
    api.start()
    present = {item["metadata"]["name"] for item in api.get(POLICIES).json["items"]}
    assert present == {"before", *made, "after"}


def test_controllers_try_again_once_the_disk_has_room(own_api: LabApi) -> None:
    api = own_api
    (journal,) = (api.state / "objects").glob("journal-*")
    file_limit(api, journal.stat().st_size + 1500)  # room for the namespace, not for what belongs in it
    api.post("/api/v1/namespaces", {"metadata": {"name": "tight", "annotations": {"fill": "x" * 900}}})
    assert api.get("/readyz").status == 500
    resource.prlimit(api.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)  # type: ignore[union-attr]
    eventually(lambda: api.get("/api/v1/namespaces/tight/serviceaccounts/default").status == 200)
    eventually(lambda: api.get("/readyz").status == 200)


FULL = """
import pathlib, sys
from lab.api.journal import Entry, Journal, UnwrittenError
folder = pathlib.Path(sys.argv[1])
filler = folder / "filler"
filler.write_bytes(b"x" * 200_000)
def thing(i):
    return {"metadata": {"name": str(i)}, "data": "x" * 1000}
journal = Journal(folder / "objects")
journal.begin([])
kept = set()
for i in range(2000):
    try:
        journal.record("things", "", str(i), thing(i), i + 1)
    except UnwrittenError:
        break
    kept.add(str(i))
assert 100 < len(kept) < 2000, len(kept)
assert journal.problem
again = Journal(folder / "objects")          # a restart on the full disk
entries, highest = again.load()
assert {e.document["metadata"]["name"] for e in entries} == kept
again.begin(entries)                         # no room for a snapshot
filler.unlink()
again.record("things", "", "late", thing("late"), 5000)
entries, highest = Journal(folder / "objects").load()
assert {e.document["metadata"]["name"] for e in entries} == kept | {"late"}
assert highest == 5000
print("kept", len(kept))
"""


def test_on_a_disk_that_is_really_full(tmp_path: pathlib.Path) -> None:
    """A file system of 1 MiB in a mount namespace of its own, which ends with the process."""
    mount = f"mount -t tmpfs -o size=1m tmpfs {tmp_path} && exec "
    command = ["unshare", "-m", "sh", "-c", mount + '"$@"', "sh", sys.executable, "-c", FULL, str(tmp_path)]
    if os.geteuid() or shutil.which("unshare") is None:
        pytest.skip("needs root and util-linux's unshare, to mount a small file system")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    if "mount:" in done.stderr:
        pytest.skip(f"nothing may be mounted here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("kept ")


def test_sigterm_ends_it_within_five_seconds_and_streams_cleanly(own_api: LabApi) -> None:
    api = own_api
    events = api.events("/api/v1/namespaces?watch=1", 100)
    next(events)
    assert api.stop(signal.SIGTERM) == 0
    assert "Traceback" not in (api.state / "log").read_text()


def test_manifests_are_loaded_once_and_saved_at_the_end(tmp_path: pathlib.Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    (source / "all.yaml").write_text(
        yaml.safe_dump_all(
            [
                {
                    "apiVersion": "networking.k8s.io/v1",
                    "kind": "NetworkPolicy",
                    "metadata": {"name": "p", "namespace": "loaded"},
                    "spec": {"podSelector": {}},
                },
                {
                    "apiVersion": "v1",
                    "kind": "Namespace",
                    "metadata": {"name": "loaded", "labels": {"a": "b"}},
                },
                {
                    "apiVersion": "v1",
                    "kind": "List",
                    "items": [
                        {
                            "apiVersion": "v1",
                            "kind": "ConfigMap",
                            "metadata": {"name": "c"},
                            "data": {"k": "v"},
                        }
                    ],
                },
            ]
        )
    )
    api = LabApi(tmp_path / "state", ["--load", str(source), "--save", str(target)])
    api.start()
    assert api.get("/api/v1/namespaces/default/configmaps/c").json["data"] == {"k": "v"}
    api.delete("/api/v1/namespaces/default/configmaps/c")
    assert api.stop() == 0
    api.start()  # what was deleted stays deleted: manifests are for the first start
    assert api.get("/api/v1/namespaces/default/configmaps/c").status == 404
    assert api.stop() == 0

    second = LabApi(tmp_path / "second", ["--load", str(target)])
    second.start()
    found = second.get("/apis/networking.k8s.io/v1/namespaces/loaded/networkpolicies/p").json
    assert found["spec"] == {"podSelector": {}, "policyTypes": ["Ingress"]}
    assert second.get("/api/v1/namespaces/loaded").json["metadata"]["labels"]["a"] == "b"
    second.stop()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--listen", "nonsense"], "is no ADDRESS:PORT"),
        (["--cluster-cidr", "10.0.0.0/33"], "is no list of CIDRs"),
        (["--cluster-cidr", "10.0.0.0/8,11.0.0.0/8"], "more than one CIDR of an address family"),
        (["--listen-fd", "77"], "the parent has to pass an open socket"),
        (["--load", "/nowhere.yaml"], "--load /nowhere.yaml"),
        (["--listen", "192.0.2.1:1"], "--listen 192.0.2.1:1"),
    ],
)
def test_a_bad_command_line_is_refused_with_a_sentence(
    tmp_path: pathlib.Path, arguments: list[str], sentence: str
) -> None:
    command = [sys.executable, "-m", "lab.api", "--state-dir", str(tmp_path / "s"), *arguments]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert result.returncode != 0
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr


def test_an_inherited_socket(tmp_path: pathlib.Path) -> None:
    """The supervisor's socket outlives the process: connections wait while it is restarted."""
    listening = socket.create_server(("127.0.0.1", 0))
    listening.set_inheritable(True)
    state = tmp_path / "s"
    command = [
        sys.executable,
        "-m",
        "lab.api",
        "--state-dir",
        str(state),
        "--listen-fd",
        str(listening.fileno()),
    ]
    for _ in range(2):
        (state / "ready").unlink(missing_ok=True)
        process = subprocess.Popen(command, cwd=ROOT, pass_fds=[listening.fileno()])
        try:
            eventually((state / "ready").exists)
            port = listening.getsockname()[1]
            assert (state / "ready").read_text() == f"https://127.0.0.1:{port}\n"
            api = LabApi(state, process=process, url=f"https://127.0.0.1:{port}")  # type: ignore[arg-type]
            api.token = (state / "pki" / "admin.token").read_text()
            assert api.get("/readyz").status == 200
        finally:
            process.kill()
            process.wait()
    listening.close()


# --- the journal by itself ---


def entry(name: str, version: int, **data: str) -> Entry:
    return Entry("configmaps", version, {"metadata": {"name": name, "namespace": "n"}, "data": data})


def record(journal: Journal, item: Entry) -> None:
    journal.record(item.resource, "n", item.document["metadata"]["name"], item.document, item.version)


def test_a_line_that_was_cut_off_is_ignored(tmp_path: pathlib.Path) -> None:
    journal = Journal(tmp_path)
    journal.load()
    journal.begin([entry("a", 1)])
    record(journal, entry("b", 2))
    record(journal, entry("a", 3, k="v"))
    journal.record("configmaps", "n", "b", None, 4)
    journal.close()
    path = next(tmp_path.glob("journal-*"))
    path.write_bytes(path.read_bytes() + b'{"r":"configmaps","v":5,"o":{"meta')
    entries, highest = Journal(tmp_path).load()
    assert (entries, highest) == ([entry("a", 3, k="v")], 4)


def test_damaged_lines_are_skipped(tmp_path: pathlib.Path) -> None:
    journal = Journal(tmp_path)
    journal.load()
    journal.begin([])
    journal.close()
    path = next(tmp_path.glob("journal-*"))
    path.write_bytes(b"\x00\xff nonsense\n" + b'{"r":"configmaps","v":7,"o":{"metadata":{"name":"x"}}}\n')
    entries, highest = Journal(tmp_path).load()
    assert ([e.document["metadata"]["name"] for e in entries], highest) == (["x"], 7)


async def test_compaction_keeps_what_comes_meanwhile(tmp_path: pathlib.Path) -> None:
    journal = Journal(tmp_path)
    journal.load()
    journal.begin([])
    record(journal, entry("a", 1))
    journal.compact([entry("a", 1)])
    record(journal, entry("b", 2))
    assert journal._compacting is not None
    await journal._compacting
    journal.close()
    entries, _ = Journal(tmp_path).load()
    assert sorted(e.document["metadata"]["name"] for e in entries) == ["a", "b"]
    assert len(journal._numbers("journal") + journal._numbers("snapshot")) == 2
