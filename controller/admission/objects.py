"""Structs that several kinds share: what every object has, selectors, address blocks."""

from __future__ import annotations

from typing import Annotated, ClassVar

from apis.gojson import ALWAYS, GoStruct, Named


class ObjectMeta(GoStruct):
    """The part of the metadata that rules ask for."""

    name: str | None = None
    namespace: str | None = None
    labels: dict[str, str] | None = None


class LabelSelectorRequirement(GoStruct):
    key: Annotated[str | None, ALWAYS] = None
    operator: Annotated[str | None, Named("v1.LabelSelectorOperator"), ALWAYS] = None
    values: list[str] | None = None


class LabelSelector(GoStruct):
    match_labels: dict[str, str] | None = None
    match_expressions: list[LabelSelectorRequirement] | None = None


class V1Beta1(GoStruct):
    package: ClassVar[str] = "v1beta1"


class V1Alpha1(GoStruct):
    package: ClassVar[str] = "v1alpha1"


class NamespacedName(V1Beta1):
    name: str | None = None
    namespace: str | None = None


class IPBlock(V1Beta1):
    cidr: Annotated[str | None, ALWAYS] = None
    except_: list[str] | None = None


def is_set(value: object) -> bool:
    """Whether a field counts as set where a rule counts fields: ``{}`` and ``[]`` do, null and "" do not."""
    return value is not None and value != ""


def fields_set(struct: GoStruct) -> list[str]:
    """The names of the fields that are set."""
    return [name for name in struct.__struct_fields__ if is_set(getattr(struct, name))]
