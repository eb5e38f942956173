"""What is said of clients that speak no proper HTTP: one line now and then, whatever they send.

The HTTP library logs a traceback for each malformed request; whoever reaches the port could fill a disk with
them. Faults of our own keep their tracebacks.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_exceptions import HTTPException
from aiohttp.web_protocol import PayloadAccessError, RequestPayloadError

EVERY = 10.0  # seconds between two lines
_TEXT = 200  # characters of what a client has sent

_OF_CLIENTS = (HttpProcessingError, RequestPayloadError, PayloadAccessError, HTTPException, ConnectionError)


class Complaints(logging.LoggerAdapter[logging.Logger]):
    """The logger that the HTTP library gets."""

    def __init__(self, logger: logging.Logger, every: float = EVERY) -> None:
        super().__init__(logger, {})
        self._every = every
        self._last = float("-inf")
        self._unsaid = 0

    def exception(self, msg: object, *args: object, exc_info: Any = True, **more: Any) -> None:
        if not isinstance(exc_info, _OF_CLIENTS):
            super().exception(msg, *args, exc_info=exc_info, **more)
            return
        now = time.monotonic()
        if now - self._last < self._every:
            self._unsaid += 1
            return
        others = f" ({self._unsaid} more were refused since the last such line)" if self._unsaid else ""
        self._last, self._unsaid = now, 0
        peer = args[0] if args else "a client"
        reason = getattr(exc_info, "message", "") or str(exc_info) or type(exc_info).__name__
        # The first line only: the next ones repeat what the client has sent.
        text = ascii(str(reason).strip().partition("\n")[0].rstrip(": "))[1:-1][:_TEXT]
        self.logger.warning("Refused a malformed request from %s: %s%s", peer, text, others)
