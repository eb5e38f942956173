"""How address groups and applied-to groups are named, so that equal selections share one group everywhere.

A selection has a *normal form*, a line of text made of its selectors' canonical texts; the group's name and
uid are the version 5 UUID of that line in Antrea's own UUID namespace. Two controllers, or a controller and
upstream's tools, agree on the name without talking to each other (Antrea v2.7, controller/types/group.go).

The form shows selectors that are set and hides those that are not: ``namespace=a`` and
``namespace=a And podSelector=`` are two groups with equal members. A namespace selector hides the namespace.
"""

from __future__ import annotations

import uuid
from hashlib import sha1
from typing import Final

from apis.labels import LabelSelector, Selector, SelectorError, from_label_selector

UUID_NAMESPACE: Final = uuid.UUID("e4f24a48-ca1f-4d5b-819c-ea7632b22115")
_NAMESPACE_BYTES: Final = UUID_NAMESPACE.bytes
_SEPARATOR: Final = " And "
_VARIANT: Final = {f"{digit:x}": f"{digit & 0x3 | 0x8:x}" for digit in range(16)}

# Every pod carries this label in selections, made from spec.serviceAccountName.
SERVICE_ACCOUNT_LABEL: Final = "internal.antrea.io/service-account"


def normal_form(
    namespace: str = "",
    pod_selector: Selector | None = None,
    namespace_selector: Selector | None = None,
    external_entity_selector: Selector | None = None,
    node_selector: Selector | None = None,
) -> str:
    """The line that a selection's name is made of: its parts sorted as text and joined."""
    # What stands before the equals signs differs, so this order is the sorted one.
    parts = []
    if external_entity_selector is not None:
        parts.append(f"eeSelector={external_entity_selector.text}")
    if namespace_selector is not None:
        parts.append(f"namespaceSelector={namespace_selector.text}")
    elif namespace:
        parts.append(f"namespace={namespace}")
    if node_selector is not None:
        parts.append(f"nodeSelector={node_selector.text}")
    if pod_selector is not None:
        parts.append(f"podSelector={pod_selector.text}")
    return _SEPARATOR.join(parts)


def group_name(form: str) -> str:
    """The version 5 UUID of a normal form.

    The same as ``uuid.uuid5``, three times as fast: the start of a large cluster makes 100,000 of them.
    """
    text = sha1(_NAMESPACE_BYTES + form.encode(), usedforsecurity=False).hexdigest()
    # The version takes the place of the 13th digit, the variant the upper bits of the 17th.
    return f"{text[:8]}-{text[8:12]}-5{text[13:16]}-{_VARIANT[text[16]]}{text[17:20]}-{text[20:32]}"


def service_group_name(namespace: str, name: str) -> str:
    """The name of the applied-to group that stands for a NodePort Service."""
    return group_name(f"{namespace}/{name}")


def lenient_selector(selector: LabelSelector | None) -> Selector | None:
    """As upstream converts selectors for names: one that cannot be read counts as not set.

    Only for comparing names with upstream's. Computing with it would widen a broken selector to everything.
    """
    try:
        return from_label_selector(selector)
    except SelectorError:
        return None
