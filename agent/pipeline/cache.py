"""Makes the userspace datapath forget what it has cached, each time flows have changed.

That datapath answers most packets from a cache of its own (megaflows), which vswitchd's revalidators bring
up to date after a change. With Open vSwitch 3.1 some entries are not: seconds after a policy came or went,
single pairs of pods kept the old verdict for as long as packets kept the entry alive, in both directions,
some three times in a hundred changes that random policy sets made; ``revalidator/purge`` mended each.
Upstream met the same with its end-to-end suite on this datapath. So here a change of flows ends with a purge,
and with one more a moment later, because a purge leaves out the entries that a revalidator holds just then.
The kernel datapath needs none of this.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from agent.pipeline import unixctl
from runtime import log as logging

log = logging.get(__name__)

AGAIN = 0.3  # seconds after the last change
TIMEOUT = 2.0  # seconds; vswitchd may be about to die


class DatapathCache:
    """``control`` finds vswitchd's control socket. ``stop`` ends the second purge."""

    def __init__(self, control: Callable[[], Path]) -> None:
        self._control = control
        self._again: asyncio.Task[None] | None = None

    async def forget(self) -> None:
        """After a change: what is answered from now on follows from the flows as they are."""
        if self._again is not None:
            self._again.cancel()
        await self._purge()
        self._again = asyncio.create_task(self._purge_again(), name="datapath-cache")

    async def stop(self) -> None:
        if self._again is not None:
            self._again.cancel()
            await asyncio.gather(self._again, return_exceptions=True)
            self._again = None

    async def _purge_again(self) -> None:
        await asyncio.sleep(AGAIN)
        await self._purge()

    async def _purge(self) -> None:
        try:
            await unixctl.call(self._control(), "revalidator/purge", timeout=TIMEOUT)
        except unixctl.UnixctlError as error:
            # A vswitchd that has died has no cache any more; one that hangs is seen by the connection.
            log.warning("The datapath's cache could not be cleared after a change of flows: %s", error)
