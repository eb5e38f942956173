"""The file ``clusterinfo`` of a support bundle: Antrea's objects in the cluster, and its Nodes, as YAML."""

from __future__ import annotations

from antctl.errors import CommandError
from antctl.lookup import fetch
from antctl.output.text import to_yaml
from antctl.session import Session

_ANTREA = {"labelSelector": "app=antrea"}
_NAMESPACE = "/namespaces/kube-system"
# A title, and whose answers stand below it.
SECTIONS: tuple[tuple[str, tuple[tuple[str, dict[str, str]], ...]], ...] = (
    ("pods", (("/api/v1/pods", _ANTREA),)),
    ("nodes", (("/api/v1/nodes", {}),)),
    ("deployments", (("/apis/apps/v1/deployments", _ANTREA),)),
    ("replicas", (("/apis/apps/v1/replicasets", _ANTREA),)),
    ("daemonsets", (("/apis/apps/v1/daemonsets", _ANTREA),)),
    (
        "configs",
        (
            (f"/api/v1{_NAMESPACE}/configmaps/antrea-config", {}),
            (f"/api/v1{_NAMESPACE}/configmaps/antrea-ca", {}),
        ),
    ),
)


def document(session: Session) -> tuple[str, list[str]]:
    """The text, and sentences about what could not be read (they stand in it as well)."""
    parts: list[str] = []
    problems: list[str] = []
    for title, sources in SECTIONS:
        parts.append(f"#{title}\n")
        for path, query in sources:
            try:
                parts.append(to_yaml(fetch(session, path, f"clusterinfo: {path}", query)))
            except CommandError as error:
                problems.append(str(error))
                parts.append(f"# {error}\n".replace("\n", " ").rstrip() + "\n")
            parts.append("---\n")
    return "".join(parts), problems
