"""One question to a webhook: where it is, the call, and the failures in kube-apiserver's words."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import os
import re
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec
from yarl import URL

from apiserver.resources import Object
from lab.api.aggregation.backends import BackendError, Backends

_MAX_ANSWER = 8 * 1024 * 1024
_CALLED = re.compile(r"\('([0-9a-f:.]+)', (\d+)")
_encode = msgspec.json.Encoder().encode


class CallError(Exception):
    """The webhook gave no answer; the text is the reason, as Go's client puts it."""


class Caller:
    """Calls webhooks, by URL or by their Service as the aggregation finds it."""

    def __init__(self, backends: Backends) -> None:
        self._backends = backends
        self._contexts: dict[str, ssl.SSLContext] = {}

    async def ask(self, config: Object, question: Object, seconds: float, timed: bool = True) -> Any:
        """The decoded answer. ``timed``: the webhook is told how long it has. Raises CallError."""
        shown = self._shown(config)
        if timed:
            shown += ("&" if "?" in shown else "?") + f"timeout={seconds:g}s"
        try:
            async with asyncio.timeout(seconds):
                status, body = await self._post(config, shown, _encode(question))
        except TimeoutError:
            raise CallError(f'Post "{shown}": context deadline exceeded') from None
        except (aiohttp.ClientError, OSError, ValueError, BackendError, binascii.Error) as error:
            raise CallError(f'Post "{shown}": {_go_text(error)}') from None
        if not 200 <= status < 300:
            raise CallError(_unexpected(status, body))
        try:
            return msgspec.json.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise CallError(f"couldn't decode the answer of the webhook: {error}") from None

    @staticmethod
    def _shown(config: Object) -> str:
        service = config.get("service")
        if service is None:
            return str(config.get("url", ""))
        path = (service.get("path") or "").lstrip("/")
        return f"https://{service['name']}.{service['namespace']}.svc:{service.get('port', 443)}/{path}"

    async def _post(self, config: Object, shown: str, body: bytes) -> tuple[int, bytes]:
        parts = urlsplit(shown)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        url, name = shown, None
        service = config.get("service")
        if service is not None:
            host, port = self._address(service)
            name = parts.hostname
            url = f"https://{f'[{host}]' if ':' in host else host}:{port}{path}"
        headers = {"Host": parts.netloc, "Content-Type": "application/json"}
        headers |= {"Accept": "application/json, */*", "User-Agent": "kube-apiserver-admission"}
        async with self._backends.session.post(
            URL(url, encoded=True),
            data=body,
            ssl=self._context(config.get("caBundle", "")),
            server_hostname=name,
            headers=headers,
            allow_redirects=False,
        ) as response:
            answer = await response.content.read(_MAX_ANSWER + 1)
            while len(answer) <= _MAX_ANSWER and (more := await response.content.read(_MAX_ANSWER)):
                answer += more
            if len(answer) > _MAX_ANSWER:
                raise ValueError(f"the answer is longer than {_MAX_ANSWER} bytes")
            return response.status, answer

    def _address(self, service: Mapping[str, Any]) -> tuple[str, int]:
        return self._backends.address(service["namespace"], service["name"], service.get("port", 443))

    def _context(self, bundle: str) -> ssl.SSLContext:
        key = hashlib.sha256(bundle.encode()).hexdigest()
        context = self._contexts.get(key)
        if context is None:
            pem = base64.b64decode(bundle).decode()
            context = ssl.create_default_context(cadata=pem) if bundle else ssl.create_default_context()
            # An own bundle may name the server's certificate itself instead of its issuer.
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
            if len(self._contexts) > 64:
                self._contexts.clear()
            self._contexts[key] = context
        return context


def _go_text(error: Exception) -> str:
    if isinstance(error, BackendError):
        return error.service_text or str(error)
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"tls: failed to verify certificate: {_x509(error.certificate_error)}"
    if isinstance(error, aiohttp.ClientConnectorError) and error.errno and error.errno > 0:
        called = _CALLED.search(str(error.os_error))
        host, port = (called[1], called[2]) if called else (error.host, str(error.port))
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        return f"dial tcp {where}: connect: {os.strerror(error.errno).lower()}"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "EOF"
    return str(error) or type(error).__name__


def _x509(error: Exception) -> str:
    code = getattr(error, "verify_code", 0)
    if code in (2, 18, 19, 20, 21):
        return "x509: certificate signed by unknown authority"
    if code in (9, 10):
        return "x509: certificate has expired or is not yet valid"
    return f"x509: {getattr(error, 'verify_message', '') or error}"


def _unexpected(status: int, body: bytes) -> str:
    """What a client of Kubernetes makes of a status that it did not want."""
    text = body[:1024].decode("utf-8", "replace").strip()
    known = {
        400: "the server rejected our request for an unknown reason",
        401: "the server has asked for the client to provide credentials",
        403: "forbidden",
        404: "the server could not find the requested resource",
        405: "the server does not allow this method on the requested resource",
        415: "the media type used in this request is unsupported",
        429: "the server has received too many requests and has asked us to try again later",
        503: "the server is currently unable to handle the request",
        504: "the server was unable to return a response in the time allotted, but may still be processing "
        "the request",
    }
    if status in known:
        return known[status]
    if status >= 500:
        return f'an error on the server ("{text or "unknown"}") has prevented the request from succeeding'
    return f"the server responded with the status code {status} but did not return more information"
