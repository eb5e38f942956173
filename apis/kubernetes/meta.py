"""The parts of Kubernetes' object and list metadata that anything here reads.

All structs of this package decode *partially*: fields that nobody needs (managedFields, volumes,
tolerations …) are skipped by the parser and never become Python objects. Every field has a default, because
a sender may leave out what is empty, and may write null for it.
"""

from __future__ import annotations

import msgspec


class ObjectMeta(msgspec.Struct, gc=False, rename="camel", omit_defaults=True):
    """Identity, version and labels of an object."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    labels: dict[str, str] | None = None


class ListMeta(msgspec.Struct, gc=False, rename="camel", omit_defaults=True):
    """The version of a list, and the token that asks for its next page ("" on the last one)."""

    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")
    remaining_item_count: int | None = None
