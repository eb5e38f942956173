"""What kubectl makes of the definitions: tables, short names, explanations, and manifests as people write."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
import yaml

from openapi.definitions import DEFINITIONS
from openapi.definitions.resource import Definition
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.definitions import CRDS, install
from tests.openapi.recorded import KINDS, TABLES, Api, Object, check_table

pytestmark = pytest.mark.kubernetes

SEEDS = sorted((Path(__file__).parents[1] / "data" / "seeds").glob("*.yaml"))
OLD_SEEDS = [path for path in SEEDS if "v1alpha2" in path.read_text()]
COMMANDS = KINDS[-1]["commands"]
AGE = re.compile(r"(?<!\S)(\d+[ydhms])+ *(?=\s)")  # and the blanks after it: it may be wider or narrower


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(shared_cluster: Cluster) -> AsyncIterator[Api]:
    opened = install(shared_cluster)
    yield opened
    opened.close()


def ageless(text: str) -> str:
    return AGE.sub("AGE ", text)


def said(cluster: Cluster, command: Object) -> tuple[int, str, str]:
    """What kubectl prints for a recorded command."""
    done = cluster.kubectl(*command["argv"][1:], check=False)
    return done.returncode, ageless(done.stdout), done.stderr


def recorded(command: Object) -> tuple[int, str, str]:
    return command["exitCode"], ageless(command["stdout"]), command["stderr"]


@pytest.fixture
def kind(api: Api, request: pytest.FixtureRequest) -> Iterator[Object]:
    """A recorded kind, with its objects in the cluster."""
    made = [api.create(document) for document in request.param["objects"]]
    yield request.param
    for path in made:
        api.delete(path)


@pytest.mark.parametrize("kind", TABLES, indirect=True, ids=lambda kind: kind["kind"])
def test_tables_are_as_recorded(shared_cluster: Cluster, api: Api, kind: Object) -> None:
    check_table(api, kind)
    for command in kind["commands"]:
        assert said(shared_cluster, command) == recorded(command), " ".join(command["argv"])


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command["argv"][1:]))
def test_kubectl_finds_the_kinds(shared_cluster: Cluster, api: Api, command: Object) -> None:
    if "api-versions" in command["argv"]:  # the cluster's own groups go with its version
        printed = shared_cluster.kubectl("api-versions").stdout.split()
        ours = [version for version in command["stdout"].split() if version.startswith("crd.antrea.io")]
        assert [version for version in printed if version.startswith("crd.antrea.io")] == ours
    else:
        assert said(shared_cluster, command) == recorded(command)


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda definition: definition.kind)
def test_kubectl_explains_every_field(shared_cluster: Cluster, api: Api, definition: Definition) -> None:
    for version in definition.versions:
        asked = ("explain", definition.plural, f"--api-version=crd.antrea.io/{version.name}")
        told = shared_cluster.kubectl(*asked).stdout
        assert f"KIND:       {definition.kind}\nVERSION:    {version.name}" in told
        fields = {name: field for name, field in version.schema["properties"].items() if name != "metadata"}
        unwrapped = " ".join(told.split())
        assert version.schema["description"] in unwrapped
        for name, field in fields.items():
            assert f" {name} <" in unwrapped
            assert field["description"] in unwrapped

        everything = shared_cluster.kubectl(*asked, "--recursive").stdout
        assert set(_names(version.schema)) <= set(re.findall(r"^ +(\S+)\t", everything, re.MULTILINE))


def _names(schema: Object) -> Iterator[str]:
    for name, field in schema.get("properties", {}).items():
        yield name
        yield from _names(field)
    for part in ("items", "additionalProperties"):
        if part in schema:
            yield from _names(schema[part])


def test_kubectl_explains_a_leaf(shared_cluster: Cluster, api: Api) -> None:
    told = shared_cluster.kubectl("explain", "acnp.spec.ingress.action").stdout
    assert "ENUM:\n    Allow\n    Drop\n    Reject\n    Pass" in told
    assert "What happens to the traffic." in told


def test_a_second_apply_changes_nothing(shared_cluster: Cluster, api: Api) -> None:
    lines = shared_cluster.kubectl("apply", "-k", str(CRDS)).stdout.splitlines()
    assert len(lines) == len(DEFINITIONS) + 6
    assert all(line.endswith(" unchanged") for line in lines), lines
    assert shared_cluster.kubectl("diff", "-k", str(CRDS)).stdout == ""


def test_the_openapi_documents_stay_valid(api: Api) -> None:
    """Every definition is in the merged documents that kubectl reads; none is dropped for a bad schema."""
    merged = api.request("GET", "/openapi/v2").json()["definitions"]
    for definition in DEFINITIONS:
        for version in definition.versions:
            assert f"io.antrea.crd.{version.name}.{definition.kind}" in merged
    for version in ("v1alpha1", "v1alpha2", "v1beta1"):
        document = api.request("GET", f"/openapi/v3/apis/crd.antrea.io/{version}").json()
        assert document["openapi"].startswith("3.")
    for definition in DEFINITIONS:
        name = f"{definition.plural}.crd.antrea.io"
        path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}"
        conditions = {c["type"]: c["status"] for c in api.request("GET", path).json()["status"]["conditions"]}
        assert conditions == {"NamesAccepted": "True", "Established": "True"}, "or NonStructuralSchema"


def _until_served(api: Api, documents: Iterable[Object]) -> None:
    """The API server takes a changed definition into use a moment after it has accepted it."""
    deadline = time.monotonic() + 60
    for document in documents:
        while api.request("POST", f"{api.path(document)}?dryRun=All", document).status != 201:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_manifests_that_people_apply_are_accepted(shared_cluster: Cluster, api: Api) -> None:
    """Word for word, with kubectl's strict validation. Those of v1alpha2 need the controller, which converts;
    here the API server only writes the other version's name into them."""
    assert OLD_SEEDS
    for name in ("egresses", "externalippools"):
        unconverted = '[{"op": "replace", "path": "/spec/conversion", "value": {"strategy": "None"}}]'
        shared_cluster.kubectl("patch", "crd", f"{name}.crd.antrea.io", "--type=json", "-p", unconverted)
    try:
        for manifest in OLD_SEEDS:
            _until_served(api, yaml.safe_load_all(manifest.read_text()))
        for manifest in SEEDS:
            done = shared_cluster.kubectl("apply", "-f", str(manifest))
            documents = list(yaml.safe_load_all(manifest.read_text()))
            assert len(done.stdout.splitlines()) == len(documents)
            assert all(line.endswith(" created") for line in done.stdout.splitlines())
            for document in documents:
                api.delete(f"{api.path(document)}/{document['metadata']['name']}")
    finally:
        shared_cluster.kubectl("apply", "-k", str(CRDS))
