"""How lists merge: by a key, as sets of plain values, or not at all.

For built-in kinds the answer is in the table of their fields (``patchStrategy`` and ``patchMergeKey`` of
Kubernetes' Go types); a few kinds that the table does not have are added here. A list that is named nowhere
is atomic: a patch replaces it as a whole.
"""

from __future__ import annotations

from apis.meta.builtin_schema import list_strategy

SET = ""
"""The key of lists of plain values that merge as sets."""

_EVERY_KIND: dict[tuple[str, ...], str] = {
    ("metadata", "finalizers"): SET,
    ("metadata", "ownerReferences"): "uid",
}
_KINDS: dict[str, dict[tuple[str, ...], str]] = {
    "MutatingWebhookConfiguration": {("webhooks",): "name"},
    "ValidatingWebhookConfiguration": {("webhooks",): "name"},
    "APIService": {("status", "conditions"): "type"},
}


def merge_key(kind: str, path: tuple[str, ...]) -> str | None:
    """The key of the list at ``path`` (field names from the top), SET, or None for an atomic list."""
    for table in (_EVERY_KIND, list_strategy(kind), _KINDS.get(kind, {})):
        if path in table:
            return table[path]
    return None
