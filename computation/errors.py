"""What the graph says about inputs that it cannot use."""

from __future__ import annotations


class MalformedObject(Exception):
    """An object that cannot be computed with. It was left out whole: the graph is as it was before.

    ``field`` is the path inside the object, for example ``spec.podSelector.matchExpressions[0].operator``.
    """

    def __init__(self, kind: str, namespace: str, name: str, field: str, problem: str) -> None:
        self.kind = kind
        self.namespace = namespace
        self.name = name
        self.field = field
        self.problem = problem
        where = "/".join(filter(None, (namespace, name))) or "without a name"
        super().__init__(f"{kind} {where} was left out: {field}: {problem}")
