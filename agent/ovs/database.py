"""OVSDB on asyncio: a copy of the rows that the agent needs, and transactions that can be awaited.

ovsdbapp lives in one thread of its own. Two things cross to the event loop, both in one direction and in the
order in which they happened: copies of rows that changed, and results of transactions. Rows themselves are
live objects of the other thread and never leave it.

Three decisions, each because of what was measured with Open vSwitch 3.1:

- Transactions do not wait for ovs-vswitchd (ovsdbapp's own do, through ``next_cfg``): with vswitchd dead such
  a wait would block the one OVSDB thread, and with it whoever is about to restart vswitchd. Who needs what
  vswitchd writes (an ofport) waits for the row on the event loop.
- Only the columns in use are watched. ``statistics`` and ``status`` are rewritten every 5 s, and the library
  parses JSON in Python.
- A transaction may run twice (the server dies after the commit, before the reply), so every command states
  what must hold, and does nothing where it holds.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ovsdbapp.backend.ovs_idl import Backend, connection, idlutils, transaction
from ovsdbapp.backend.ovs_idl.command import BaseCommand
from ovsdbapp.exceptions import TimeoutException

from runtime import log
from runtime.backoff import Backoff

logger = log.get(__name__)

Row = dict[str, Any]
"""The watched columns of one row: sets are lists, maps are dicts, references are UUIDs, plus ``_uuid``."""

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "Open_vSwitch": ("bridges", "external_ids", "other_config", "ovs_version"),
    "Bridge": (
        "name",
        "ports",
        "datapath_id",
        "datapath_type",
        "fail_mode",
        "protocols",
        "external_ids",
        "other_config",
    ),
    "Port": ("name", "interfaces", "external_ids"),
    "Interface": (
        "name",
        "type",
        "options",
        "ofport",
        "ofport_request",
        "mac",
        "mac_in_use",
        "mtu_request",
        "error",
    ),
}

QUEUE_LIMIT = 256  # transactions waiting for the thread; more than that are refused


class DatabaseError(Exception):
    """A transaction that did not happen, or of which it is not known whether it did."""


class _Mirror(connection.OvsdbIdl):
    """The library's copy of the database, which publishes what changed after each batch of messages."""

    def __init__(self, remote: str, helper: Any, publish: Callable[[list[Any], list[Any]], None]) -> None:
        super().__init__(remote, helper, leader_only=False)
        self._publish = publish
        self._dirty: dict[tuple[str, uuid.UUID], None] = {}
        self._known: set[tuple[str, uuid.UUID]] = set()
        self._synced_session: int | None = None

    def notify(self, event: str, row: Any, updates: Any = None) -> None:
        self._dirty[row._table.name, row.uuid] = None

    def run(self) -> bool:
        changed = bool(super().run())
        if self.state != self.IDL_S_MONITORING:
            return changed
        session = self._last_seqno  # of the connection whose monitor reply has been read
        full = session != self._synced_session
        if full:  # a new connection: rows may have gone without a word
            self._synced_session = session
            present = {(name, key) for name, table in self.tables.items() for key in table.rows}
            self._dirty.update(dict.fromkeys(present | self._known))
        if self._dirty:
            self._flush()
        return changed

    def _flush(self) -> None:
        updated, gone = [], []
        for name, key in self._dirty:
            row = self.tables[name].rows.get(key)
            if row is None:
                self._known.discard((name, key))
                gone.append((name, key))
            else:
                self._known.add((name, key))
                updated.append((name, key, _copy(row, name)))
        self._dirty.clear()
        self._publish(updated, gone)


def _copy(row: Any, table: str) -> Row:
    values: Row = {"_uuid": row.uuid}
    for column in COLUMNS[table]:
        value = getattr(row, column, None)
        if isinstance(value, dict):
            value = dict(value)
        elif isinstance(value, list):
            value = [getattr(item, "uuid", item) for item in value]
        values[column] = value
    return values


class _Api(Backend):
    """What ovsdbapp's commands expect; the connection belongs to the object, not (as there) to the class."""

    schema = "Open_vSwitch"
    lookup_table = idlutils._LOOKUP_TABLE

    def __init__(self, conn: Any) -> None:
        self._conn = conn
        super().__init__(conn, start=False)

    @property
    def ovsdb_connection(self) -> Any:
        return self._conn

    @ovsdb_connection.setter
    def ovsdb_connection(self, conn: Any) -> None:
        self._conn = conn


class _Result:
    """Stands where ovsdbapp has a queue: the transaction's end goes to a future of the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any]) -> None:
        self._loop = loop
        self._future = future

    def put(self, value: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(self._set, value)
        except RuntimeError:  # the loop is closed: nobody waits any more
            pass

    def _set(self, value: Any) -> None:
        if not self._future.done():
            self._future.set_result(value)


def _describe(error: BaseException) -> str:
    """The text of an error of the library, some of which cannot be turned into text."""
    try:
        return str(error) or type(error).__name__
    except Exception:
        return type(error).__name__


Command = Callable[[_Api], BaseCommand]
"""A command that is given its API when it is put into a transaction."""


class Database:
    """The connection to ovsdb-server. ``connect`` before anything else, ``close`` at the end."""

    def __init__(self, run_dir: str | Path, *, timeout: float = 10.0) -> None:
        """``run_dir`` is where ovsdb-server has its ``db.sock``; ``timeout`` (s) is for a transaction."""
        self.run_dir = Path(run_dir)
        self.endpoint = f"unix:{self.run_dir / 'db.sock'}"
        self.timeout = timeout
        self._tables: dict[str, dict[uuid.UUID, Row]] = {name: {} for name in COLUMNS}
        self._conn: Any = None
        self._api: _Api | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listeners: list[Callable[[], None]] = []
        self._changed = asyncio.Event()
        self._closed = False

    async def connect(self, patience: float | None = None) -> None:
        """Connect and load, trying again until it works, at most for ``patience`` seconds (None: for ever).

        Raises DatabaseError when the patience is over. Later losses of the connection mend themselves.
        """
        self._loop = asyncio.get_running_loop()
        backoff = Backoff(initial=0.1, maximum=4.0)
        deadline = None if patience is None else self._loop.time() + patience
        while True:
            try:
                await asyncio.to_thread(self._connect_once)
            except Exception as error:  # the library raises bare Exception, OSError and its own
                if deadline is not None and self._loop.time() >= deadline:
                    raise DatabaseError(
                        f"ovsdb-server at {self.endpoint} did not answer within {patience:g} s "
                        f"({_describe(error)}): "
                        "is Open vSwitch running, and is ovsRunDir its run directory?"
                    ) from error
                logger.warning("ovsdb-server at %s does not answer yet: %s", self.endpoint, _describe(error))
                await backoff.wait()
                continue
            if not self._tables["Open_vSwitch"]:
                what = "its root row (ovs-vsctl init makes it)"
                await self.wait_for(what, lambda: bool(self._tables["Open_vSwitch"]), self.timeout)
            return

    def _connect_once(self) -> None:
        """Runs in a thread of its own: asks for the schema, loads the rows, starts the library's thread."""
        helper = idlutils.get_schema_helper(self.endpoint, "Open_vSwitch")
        for table, columns in COLUMNS.items():
            helper.register_columns(table, list(columns))
        conn = connection.Connection(_Mirror(self.endpoint, helper, self._publish), timeout=self.timeout)
        # The library's queue holds one transaction and blocks the caller on the second.
        conn.txns.close()
        conn.txns = connection.TransactionQueue(QUEUE_LIMIT)
        conn.start()
        self._api = _Api(conn)
        self._conn = conn

    async def close(self) -> None:
        """Stop the thread; a transaction under way is not waited for."""
        self._closed = True
        conn, self._conn = self._conn, None
        if conn is not None:
            await asyncio.to_thread(conn.stop, 1.0)

    # Reading: the event loop's own copy, never blocking, good also while OVS is dead.

    def rows(self, table: str) -> Iterable[Row]:
        return self._tables[table].values()

    def row(self, table: str, key: uuid.UUID) -> Row | None:
        return self._tables[table].get(key)

    def find(self, table: str, name: str) -> Row | None:
        """The row of that name: bridges, ports and interfaces have unique names."""
        return next((row for row in self._tables[table].values() if row["name"] == name), None)

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call ``listener`` after each batch of changes; the result ends the subscription."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    async def wait_for(self, what: str, condition: Callable[[], Any], timeout: float) -> Any:
        """The first true value of ``condition``, asked again after each change. Raises DatabaseError."""
        try:
            return await self._await_change(timeout, condition)
        except TimeoutError:
            raise DatabaseError(f"Open vSwitch did not report {what} within {timeout:g} s.") from None

    async def _await_change(self, timeout: float, condition: Callable[[], Any]) -> Any:
        async with asyncio.timeout(timeout):
            while True:
                changed = self._changed  # replaced at each change, so that none is missed
                if value := condition():
                    return value
                await changed.wait()

    def _publish(self, updated: list[Any], gone: list[Any]) -> None:
        """In the OVSDB thread."""
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(self._apply, updated, gone)
        except RuntimeError:
            pass  # the loop is closed

    def _apply(self, updated: list[Any], gone: list[Any]) -> None:
        for table, key, row in updated:
            self._tables[table][key] = row
        for table, key in gone:
            self._tables[table].pop(key, None)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        for listener in list(self._listeners):
            listener()

    # Writing.

    async def transact(self, *commands: Command, timeout: float | None = None) -> Sequence[Any]:
        """Run the commands in one transaction; their results in order. Raises DatabaseError.

        After a time-out the transaction may still happen: a caller that undoes it queues the undoing behind.
        """
        if self._conn is None or self._api is None:
            raise DatabaseError("The connection to ovsdb-server is closed.")
        loop = asyncio.get_running_loop()
        timeout = timeout or self.timeout
        conn = self._conn
        txn = transaction.Transaction(self._api, conn, timeout=timeout, check_error=True, log_errors=False)
        for command in commands:
            txn.add(command(self._api))
        future: asyncio.Future[Any] = loop.create_future()
        txn.results = _Result(loop, future)
        if conn.txns.qsize() >= QUEUE_LIMIT:
            raise DatabaseError(
                f"{QUEUE_LIMIT} transactions wait for ovsdb-server already: this one is refused."
            )
        conn.txns.put(txn)
        try:
            async with asyncio.timeout(timeout):
                result = await future
        except TimeoutError:
            raise DatabaseError(f"ovsdb-server did not answer a transaction within {timeout:g} s.") from None
        if isinstance(result, idlutils.ExceptionResult):
            if isinstance(result.ex, TimeoutException):
                raise DatabaseError(f"ovsdb-server did not answer a transaction within {timeout:g} s.")
            raise DatabaseError(f"A transaction failed: {_describe(result.ex)}") from result.ex
        return list(result or ())
