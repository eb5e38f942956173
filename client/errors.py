"""What a request to a Kubernetes-style API can end with."""

from __future__ import annotations

import msgspec


class Status(msgspec.Struct, rename="camel"):
    """The fields of a metav1.Status that callers decide by."""

    message: str = ""
    reason: str = ""
    code: int = 0


class ApiError(Exception):
    """The server answered with an error (4xx, 5xx). ``message`` is the server's, or the body's beginning."""

    def __init__(self, status: int, reason: str, message: str, body: bytes = b"", url: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.reason = (
            reason  # Kubernetes' reason, such as NotFound or Conflict; empty if the body is no Status
        )
        self.message = message
        self.body = body
        self.url = url

    @classmethod
    def from_body(cls, status: int, phrase: str, body: bytes, url: str) -> ApiError:
        try:
            parsed = msgspec.json.decode(body, type=Status)
        except (msgspec.DecodeError, UnicodeDecodeError):
            parsed = Status()
        text = parsed.message or phrase
        if not parsed.message and not body.startswith(b"{"):  # a proxy's or a plain handler's own words
            text = body[:500].decode("utf-8", "replace").strip() or phrase
        return cls(status, parsed.reason, text, body, url)

    @property
    def gone(self) -> bool:
        """The version asked for is no longer in the server's history: list again."""
        return self.status == 410

    def __str__(self) -> str:
        return f"{self.message} (HTTP {self.status} from {self.url})" if self.url else self.message


class ConnectionFailed(Exception):
    """No answer: the server could not be reached, TLS failed, the connection broke or a time-out passed."""


class Silent(ConnectionFailed):
    """A stream on which nothing came for longer than its reader was willing to wait."""
