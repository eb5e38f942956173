"""The pair of versions, and the kinds in which they differ by name only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from apiserver.conversion import Converter, unexpected_versions
from apiserver.resources import Object

OLD: Final = "crd.antrea.io/v1alpha2"
NEW: Final = "crd.antrea.io/v1beta1"

Change = Callable[[Object], None]


def between(upgrade: Change, downgrade: Change) -> Converter:
    """A converter of two functions that change an object of v1alpha2 into v1beta1, and back."""

    def convert(item: Object, wanted: str) -> Object:
        source = item.get("apiVersion") or ""
        if (source, wanted) == (OLD, NEW):
            upgrade(item)
        elif (source, wanted) == (NEW, OLD):
            downgrade(item)
        else:
            raise unexpected_versions(source, wanted)
        return item

    return convert


def _same(item: Object) -> None:
    """All that one version says, the other says in the same way."""


egress: Final = between(_same, _same)
