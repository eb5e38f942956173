"""Service-account tokens: JWTs signed with the cluster's own key, as TokenRequest gives them out.

A token names its ServiceAccount by uid, so one of a deleted account is worth nothing.
"""

from __future__ import annotations

import base64
import time
import uuid
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

ISSUER = "https://kubernetes.default.svc.cluster.local"
_SIZE = 32  # bytes of a P-256 coordinate


class TokenError(ValueError):
    """Why a token is not accepted."""


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class TokenSigner:
    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key
        self._seen: dict[str, dict[str, Any]] = {}  # verified tokens; bounded

    def issue(
        self,
        namespace: str,
        name: str,
        uid: str,
        audiences: list[str] | None = None,
        seconds: int = 3600,
        bound: dict[str, str] | None = None,
    ) -> str:
        """A token for the ServiceAccount. ``bound``: {kind, name, uid} of the object that it dies with."""
        now = int(time.time())
        private: dict[str, Any] = {"namespace": namespace, "serviceaccount": {"name": name, "uid": uid}}
        if bound is not None:
            private[bound["kind"].lower()] = {"name": bound["name"], "uid": bound["uid"]}
        claims = {
            "aud": audiences or [ISSUER],
            "exp": now + seconds,
            "iat": now,
            "iss": ISSUER,
            "jti": str(uuid.uuid4()),
            "kubernetes.io": private,
            "nbf": now,
            "sub": f"system:serviceaccount:{namespace}:{name}",
        }
        head = _encode(msgspec.json.encode({"alg": "ES256", "kid": "lab"}))
        body = _encode(msgspec.json.encode(claims))
        signature = self._key.sign(f"{head}.{body}".encode(), ec.ECDSA(hashes.SHA256()))
        r, s = decode_dss_signature(signature)
        return f"{head}.{body}.{_encode(r.to_bytes(_SIZE, 'big') + s.to_bytes(_SIZE, 'big'))}"

    def verify(self, token: str) -> dict[str, Any]:
        """The claims of a token of ours that has not expired. Raises TokenError."""
        claims = self._seen.get(token)
        if claims is None:
            claims = self._check_signature(token)
            if len(self._seen) > 4096:
                self._seen.clear()
            self._seen[token] = claims
        if claims.get("exp", 0) <= time.time():
            raise TokenError("the token has expired")
        return claims

    def _check_signature(self, token: str) -> dict[str, Any]:
        try:
            head, body, signature = token.split(".")
            raw = _decode(signature)
            if len(raw) != 2 * _SIZE:
                raise TokenError("the signature has the wrong length")
            der = encode_dss_signature(int.from_bytes(raw[:_SIZE], "big"), int.from_bytes(raw[_SIZE:], "big"))
            self._key.public_key().verify(der, f"{head}.{body}".encode(), ec.ECDSA(hashes.SHA256()))
            claims = msgspec.json.decode(_decode(body), type=dict[str, Any])
        except (InvalidSignature, msgspec.MsgspecError, ValueError) as error:
            raise TokenError("the token is not signed by this cluster") from error
        if claims.get("iss") != ISSUER:
            raise TokenError("the token is of another issuer")
        return claims
