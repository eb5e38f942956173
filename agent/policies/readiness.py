"""A pod gets its network once the policies that apply to it are in the datapath.

The controller ends everything that follows from a Pod with a marker that carries the Pod's uid. CNI ADD
registers the pod's interface, waits here, and only then opens the pod's own flows. The wait is over when the
marker has come and all that came before it is realized.

Without a controller nobody can know more than what is on the disk: then that decides. Upstream's controller
sends no markers: there the wait is for everything that has been received.
"""

from __future__ import annotations

import asyncio
import enum
import time
from collections import OrderedDict
from collections.abc import Callable

from runtime import log

logger = log.get(__name__)

MAX_MARKERS = 16384  # uids remembered; a node has some hundreds of pods, each comes and goes


class Readiness(enum.Enum):
    REALIZED = "realized"  # the policies of the pod are in the datapath
    TIMED_OUT = "timed out"  # a controller is there, but it has not answered for this pod: try again later
    FROM_DISK = "from disk"  # no controller: what this node knew before is in the datapath


class PolicyReadiness:
    """Told by the policy controller what it receives and realizes; asked by CNI ADD."""

    def __init__(self, is_connected: Callable[[], bool], has_markers: Callable[[], bool]) -> None:
        self._is_connected = is_connected
        self._has_markers = has_markers
        self._markers: OrderedDict[str, int] = OrderedDict()  # uid → what had been received by then
        self._received = 0
        self._realized = -1
        self._synced = False
        self._disconnected_since = time.monotonic()
        self._changed = asyncio.Event()
        self.unconfirmed = 0  # pods that were let in without a controller

    # --- told by the policy controller ---

    @property
    def received(self) -> int:
        return self._received

    def note_received(self) -> None:
        """Something has come in that has to be realized."""
        self._received += 1

    def note_marker(self, uid: str) -> None:
        self._markers[uid] = self._received
        self._markers.move_to_end(uid)
        while len(self._markers) > MAX_MARKERS:
            self._markers.popitem(last=False)
        self._wake()

    def note_synced(self) -> None:
        """The full state has been received from a controller."""
        self._synced = True
        self._wake()

    def note_realized(self, received: int) -> None:
        """Everything up to ``received`` is in the datapath."""
        if received > self._realized:
            self._realized = received
            self._wake()

    def note_connection(self, connected: bool) -> None:
        if not connected:
            self._disconnected_since = time.monotonic()
        self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    # --- asked by CNI ADD ---

    async def wait(self, pod_uid: str, timeout: float) -> Readiness:
        """Wait until the pod's policies are realized, at most ``timeout`` seconds. Does not raise.

        Call it once the pod's interface is in the interface store. Without a uid (a runtime that tells none)
        the wait is for what has been received so far. A controller that has been away for longer than
        ``timeout`` is not waited for.
        """
        deadline = time.monotonic() + timeout
        floor = self._received
        while True:
            now = time.monotonic()
            if self._is_connected():
                if self._synced and self._is_realized(pod_uid, floor):
                    return Readiness.REALIZED
            elif now - self._disconnected_since > timeout and self._realized >= floor:
                return self._from_disk(pod_uid)
            if now >= deadline:
                break
            changed = self._changed
            try:
                await asyncio.wait_for(changed.wait(), deadline - now)
            except TimeoutError:
                continue
        if not self._is_connected() and self._realized >= floor:
            return self._from_disk(pod_uid)
        return Readiness.TIMED_OUT

    def _is_realized(self, uid: str, floor: int) -> bool:
        if uid and self._has_markers():
            marker = self._markers.get(uid)
            return marker is not None and self._realized >= max(marker, floor)
        return self._realized >= floor

    def _from_disk(self, pod_uid: str) -> Readiness:
        self.unconfirmed += 1
        logger.warning(
            "No controller is connected: the pod with uid %s gets the policies known before (%d pods so far)",
            pod_uid or "(unknown)",
            self.unconfirmed,
        )
        return Readiness.FROM_DISK
