"""What the rules must know of the cluster: a few facts of each object, fed from watches.

    tiers = Table(TIERS, "Tier", Tier, lambda tier: tier.spec.priority)
    known.add(tiers)
    tiers.objects[("", "emergency")]            # 50

Rules run in threads when the object is large, while the event loop goes on writing here: they may look a key
up, take a length, or copy (``list(table.objects.values())``), each of which is one step for Python.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import msgspec

from apiserver.errors import unavailable
from client.reflector import Reflector
from client.resources import Resource
from client.rest import RestClient
from controller.inputs import Input, Key, Operation, Queue
from runtime.backoff import Backoff

Value = TypeVar("Value")

# A resource that is not there (its definition may be installed later) is asked for again this often.
MISSING_SECONDS = 10.0


class Metadata(msgspec.Struct):
    """What the partial struct of a table has as ``metadata``."""

    name: str = ""
    namespace: str = ""


class _AtOnce(Queue):
    """Hands each operation on as it comes, instead of keeping it for a batch."""

    def __init__(self, apply: Callable[[Operation], None]) -> None:
        super().__init__()
        self._apply = apply

    def put(self, operation: Operation) -> None:
        self._apply(operation)


class Table(Generic[Value]):
    """The objects of one resource, each reduced to a value.

    ``shape`` is the partial struct (msgspec) that an object is decoded into; its ``metadata``
    is a Metadata. ``reduce`` takes from it what is kept. ``changed`` may be overridden to keep an index.
    """

    def __init__(
        self, resource: Resource, kind: str, shape: type[Any], reduce: Callable[[Any], Value]
    ) -> None:
        self.resource = resource
        self.kind = kind
        self.input = Input(
            resource.plural, kind, msgspec.json.Decoder(shape).decode, _AtOnce(self._operation)
        )
        self._reduce = reduce
        self._values: dict[Key, Value] = {}
        self._reflector: Reflector | None = None

    @property
    def listed(self) -> bool:
        """Everything that exists is known. A resource that the cluster does not have has no objects."""
        return self.input.listed or self._missing

    @property
    def _missing(self) -> bool:
        return self._reflector is not None and self._reflector.missing

    @property
    def objects(self) -> Mapping[Key, Value]:
        """By (namespace, name). Raises StatusError (503) while it is not known what exists."""
        self.require()
        return {} if self._missing else self._values

    def require(self) -> None:
        """Raises StatusError (503) while it is not known what exists: better no answer than a wrong one."""
        if not self.listed:
            raise unavailable(
                f"antrea-controller has not read the cluster's {self.resource.plural} yet; try again"
            )

    def follow(self, client: RestClient) -> Reflector:
        """What keeps the table up to date; the caller runs it."""
        self._reflector = Reflector(
            client,
            self.resource.path(),
            self.input,
            backoff=Backoff(initial=0.1, maximum=MISSING_SECONDS, reset_after=20),
        )
        return self._reflector

    def changed(self, key: Key, old: Value | None, new: Value | None) -> None:
        """An object came, changed or went (``new`` is None)."""

    def _operation(self, operation: Operation) -> None:
        new = None if operation.value is None else self._reduce(operation.value)
        old = self._values.get(operation.key)
        if new is None:
            self._values.pop(operation.key, None)
        else:
            self._values[operation.key] = new
        self.changed(operation.key, old, new)


class Known:
    """All tables, each followed by a watch of its own."""

    def __init__(self) -> None:
        self.tables: dict[str, Table[Any]] = {}

    def add(self, table: Table[Any]) -> None:
        self.tables[f"{table.resource.plural}.{table.resource.group}".rstrip(".")] = table

    def reflectors(self, client: RestClient) -> dict[str, Reflector]:
        return {name: table.follow(client) for name, table in self.tables.items()}
