"""Group names against vectors verified with upstream v2.7.0."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apis.labels import LabelSelector, LabelSelectorRequirement
from apis.naming import UUID_NAMESPACE, group_name, lenient_selector, normal_form, service_group_name


def labels(**match: str) -> LabelSelector:
    return LabelSelector({key.replace("_", "."): value for key, value in match.items()})


def expressions(
    *rows: tuple[str, str, tuple[str, ...]], match: dict[str, str] | None = None
) -> LabelSelector:
    return LabelSelector(match, tuple(LabelSelectorRequirement(*row) for row in rows))


ALL = LabelSelector()
# namespace, pod selector, namespace selector, entity selector, node selector, normal form, name
VECTORS = [
    (
        "default",
        ALL,
        None,
        None,
        None,
        "namespace=default And podSelector=",
        "b72edd42-0f24-5ec4-a7a7-ecd0e323b822",
    ),
    (
        "default",
        labels(app="web"),
        None,
        None,
        None,
        "namespace=default And podSelector=app=web",
        "0f4789f6-6f28-5440-8ad4-46d8ac276643",
    ),
    (
        "default",
        labels(tier="fe", app="web"),
        None,
        None,
        None,
        "namespace=default And podSelector=app=web,tier=fe",
        "8ba32307-9564-56a6-bfdf-cbdc699d137f",
    ),
    ("default", None, ALL, None, None, "namespaceSelector=", "946d5846-ff34-5a8c-ab0b-2c6c271b0778"),
    (
        "default",
        ALL,
        ALL,
        None,
        None,
        "namespaceSelector= And podSelector=",
        "3531148b-82bf-5ed7-96d1-2b55af7949de",
    ),
    (
        "default",
        None,
        labels(env="prod"),
        None,
        None,
        "namespaceSelector=env=prod",
        "dc43a8ad-6866-5d27-bb3c-c7d48e23e5ce",
    ),
    (
        "default",
        labels(app="web"),
        labels(env="prod"),
        None,
        None,
        "namespaceSelector=env=prod And podSelector=app=web",
        "5608b68e-7116-52ee-afc9-e4c40617adfd",
    ),
    ("", labels(app="web"), None, None, None, "podSelector=app=web", "65631cf4-5651-5504-8751-1338a6a698b3"),
    ("", ALL, None, None, None, "podSelector=", "2725514e-08ec-5e12-b52b-52ac175bb363"),
    (
        "default",
        None,
        None,
        labels(ee="x"),
        None,
        "eeSelector=ee=x And namespace=default",
        "75587b81-2e11-5389-9f92-172603e3ea4f",
    ),
    (
        "default",
        None,
        ALL,
        labels(ee="x"),
        None,
        "eeSelector=ee=x And namespaceSelector=",
        "c9a672ca-81f1-5887-8795-4e7f50ee0495",
    ),
    (
        "",
        None,
        None,
        None,
        LabelSelector({"kubernetes.io/os": "linux"}),
        "nodeSelector=kubernetes.io/os=linux",
        "f35996bd-1192-5415-b013-98f442d4793f",
    ),
    (
        "ns1",
        LabelSelector({"internal.antrea.io/service-account": "sa1"}),
        None,
        None,
        None,
        "namespace=ns1 And podSelector=internal.antrea.io/service-account=sa1",
        "6b83e55f-ae93-54b0-b220-29f3fdc7dc22",
    ),
    (
        "default",
        expressions(("app", "In", ("b", "a"))),
        None,
        None,
        None,
        "namespace=default And podSelector=app in (a,b)",
        "196132dd-504b-51bb-9b84-474bbd9db623",
    ),
    (
        "default",
        expressions(("app", "In", ("a",))),
        None,
        None,
        None,
        "namespace=default And podSelector=app in (a)",
        "3f9173e4-5282-519a-b9c9-21ef38617036",
    ),
    (
        "default",
        expressions(("z", "NotIn", ("1", "2")), ("y", "Exists", ()), ("x", "DoesNotExist", ())),
        None,
        None,
        None,
        "namespace=default And podSelector=!x,y,z notin (1,2)",
        "b6103ed5-1499-548c-8662-2ff48f420c9f",
    ),
    (
        "default",
        expressions(("a", "Exists", ()), match={"b": "1"}),
        None,
        None,
        None,
        "namespace=default And podSelector=a,b=1",
        "c4bf56e3-26a2-5dc1-b958-b03af4bdc5c3",
    ),
    (
        "default",
        labels(app=""),
        None,
        None,
        None,
        "namespace=default And podSelector=app=",
        "5e4e2c37-49e7-5dde-af0a-0788284e3a1b",
    ),
    (
        "",
        expressions(("app", "In", ("web", "db", "db")), match={"app": "web"}),
        None,
        None,
        None,
        "podSelector=app=web,app in (db,db,web)",
        "7ff79fbc-055e-5a12-b612-7d7f38e9eaf5",
    ),
    ("default", None, None, None, None, "namespace=default", "727a455c-33c8-5e96-8d14-8e3242745847"),
    ("nsA", None, None, None, None, "namespace=nsA", "772a66ca-34b3-581f-b846-c93793f060f7"),
    (
        "default",
        expressions(("app", "Nonsense", ("a",))),
        None,
        None,
        None,
        "namespace=default",
        "727a455c-33c8-5e96-8d14-8e3242745847",
    ),
    ("", None, None, None, None, "", "31af5b53-f968-5320-bebf-b3f831eca2ab"),
]


@pytest.mark.parametrize(
    "namespace, pods, namespaces, entities, nodes, form, name",
    VECTORS,
    ids=[row[5] or "nothing" for row in VECTORS],
)
def test_vectors(
    namespace: str,
    pods: LabelSelector | None,
    namespaces: LabelSelector | None,
    entities: LabelSelector | None,
    nodes: LabelSelector | None,
    form: str,
    name: str,
) -> None:
    made = normal_form(namespace, *map(lenient_selector, (pods, namespaces, entities, nodes)))
    assert made == form
    assert group_name(made) == name


def test_the_group_of_a_service() -> None:
    assert service_group_name("default", "svc1") == "a5649617-2174-5f27-94f8-f31866f2cc8c"


@given(st.text())
def test_names_are_version_5_uuids(form: str) -> None:
    assert group_name(form) == str(uuid.uuid5(UUID_NAMESPACE, form))
