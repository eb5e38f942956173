"""Who a client is by its certificate: a user of the client CA, a front proxy, or nobody."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from apiserver import handshake
from apiserver.auth import User
from apiserver.authentication import StaticTokens
from apiserver.certificates import KeyPair, ServingTLS, create_authority, issue, self_signed, write_private
from apiserver.clientcertificates import AuthorityPool, ClientCertificates, RequestHeaders
from apiserver.listener import Listener
from tests.apiserver.conftest import bare_server


@dataclass
class Proxied:
    """A TLS server that knows a client CA and a front-proxy CA, and a token."""

    url: str
    serving: ServingTLS
    clients: KeyPair
    front: KeyPair
    folder: Path

    def context(self, pair: KeyPair | None) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=self.serving.pair.certificate.decode())
        if pair is not None:
            for name, data in (("c.crt", pair.certificate), ("c.key", pair.key)):
                write_private(self.folder / name, data)
            context.load_cert_chain(self.folder / "c.crt", self.folder / "c.key")
        return context

    async def ask(self, pair: KeyPair | None, headers: list[tuple[str, str]] = ()) -> list[object]:  # type: ignore[assignment]
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.url}/whoami", ssl=self.context(pair), headers=headers) as response,
        ):
            return await response.json()


@pytest.fixture
async def proxied(tmp_path: Path) -> AsyncIterator[Proxied]:
    clients, front = create_authority("clients"), create_authority("front")
    serving = ServingTLS(self_signed("server", ["127.0.0.1"]), clients.certificate + front.certificate)
    server = bare_server(
        authenticators=[
            RequestHeaders(AuthorityPool(front.certificate), ["front-proxy-client"]),
            ClientCertificates(AuthorityPool(clients.certificate)),
            StaticTokens({"secret": User("carol")}),
        ]
    )
    listener = Listener(server)
    host, port = await listener.listen("127.0.0.1", 0, tls=serving.context)
    yield Proxied(f"https://{host}:{port}", serving, clients, front, tmp_path)
    await listener.close(grace=1)


REMOTE = [
    ("X-Remote-User", "bob"),
    ("X-Remote-Group", "a"),
    ("X-Remote-Group", "b"),
    ("X-Remote-Extra-Scopes", "x"),
]
AS_ADMIN = [("X-Remote-User", "admin"), ("X-Remote-Group", "system:masters")]
TOKEN = ("Authorization", "Bearer secret")
ANONYMOUS = ["system:anonymous", ["system:unauthenticated"], {}]


def made(
    issuer: KeyPair, name: str, *, authority: bool = False, starts: float = -1, ends: float = 24
) -> KeyPair:
    """A certificate without any usage, by a CA or an intermediate one; hours from now."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    signing_key = serialization.load_pem_private_key(issuer.key, None)
    assert isinstance(signing_key, ec.EllipticCurvePrivateKey)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)] if name else []))
        .issuer_name(issuer.leaf.subject)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(hours=starts))
        .not_valid_after(now + timedelta(hours=ends))
        .public_key(key.public_key())
    )
    if authority:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    pem = builder.sign(signing_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    form = serialization.PrivateFormat.PKCS8
    private = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    return KeyPair(pem + issuer.certificate, private)


async def test_client_certificates(proxied: Proxied) -> None:
    alice = issue(proxied.clients, "alice", organizations=["dev", "ops"], client=True)
    assert await proxied.ask(alice) == ["alice", ["dev", "ops", "system:authenticated"], {}]
    assert await proxied.ask(None) == ANONYMOUS
    # A certificate of the proxies' CA makes nobody a user.
    assert await proxied.ask(issue(proxied.front, "alice", client=True)) == ANONYMOUS


async def test_a_chain_with_an_intermediate_authority(proxied: Proxied) -> None:
    between = made(proxied.clients, "between", authority=True)
    assert (await proxied.ask(made(between, "dave")))[0] == "dave"
    alone = made(between, "dave")
    alone = KeyPair(alone.leaf.public_bytes(serialization.Encoding.PEM), alone.key)
    assert await proxied.ask(alone) == ANONYMOUS
    # Whoever has an ordinary certificate of the CA is no authority.
    assert await proxied.ask(made(made(proxied.clients, "user"), "dave")) == ANONYMOUS


Make = Callable[[Proxied], KeyPair]
WORTHLESS: dict[str, Make] = {
    "of an unrelated authority": lambda _: issue(create_authority("clients"), "alice", client=True),
    "expired": lambda p: issue(p.clients, "alice", client=True, lifetime=timedelta(minutes=30)),
    "not valid yet": lambda p: made(p.clients, "alice", starts=1),
    "for servers": lambda p: issue(p.clients, "alice", names=["alice.example"]),
    "of an expired authority": lambda p: issue(
        create_authority("clients", timedelta(minutes=30)), "alice", client=True
    ),
    "without a name": lambda p: made(p.clients, ""),
}


@pytest.mark.parametrize("make", WORTHLESS.values(), ids=list(WORTHLESS))
async def test_a_worthless_certificate_is_no_credential_and_no_obstacle(proxied: Proxied, make: Make) -> None:
    pair = make(proxied)
    assert await proxied.ask(pair) == ANONYMOUS
    assert await proxied.ask(pair, AS_ADMIN) == ANONYMOUS
    assert (await proxied.ask(pair, [TOKEN, *AS_ADMIN]))[0] == "carol"


async def test_request_headers_count_only_from_the_front_proxy(proxied: Proxied) -> None:
    front = issue(proxied.front, "front-proxy-client", client=True)
    expected = ["bob", ["a", "b", "system:authenticated"], {"scopes": ["x"]}]
    assert await proxied.ask(front, REMOTE) == expected
    assert await proxied.ask(issue(proxied.front, "somebody", client=True), REMOTE) == ANONYMOUS
    alice = issue(proxied.clients, "alice", client=True)
    assert (await proxied.ask(alice, REMOTE))[0] == "alice"
    assert await proxied.ask(None, REMOTE) == ANONYMOUS
    assert (await proxied.ask(None, [TOKEN, *REMOTE]))[0] == "carol"


async def test_a_client_named_as_the_front_proxy_does_not_become_admin(proxied: Proxied) -> None:
    impostor = issue(proxied.clients, "front-proxy-client", client=True)
    answer = await proxied.ask(impostor, AS_ADMIN)
    assert answer == ["front-proxy-client", ["system:authenticated"], {}]


async def test_where_handshakes_verify_worthless_certificates_end_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshake, "_KNOWN", False)
    clients = create_authority("clients")
    serving = ServingTLS(self_signed("server", ["127.0.0.1"]), clients.certificate, ask_clients=True)
    assert not serving.takes_any
    server = bare_server(authenticators=[ClientCertificates(AuthorityPool(clients.certificate))])
    listener = Listener(server)
    host, port = await listener.listen("127.0.0.1", 0, tls=serving.context)
    strict = Proxied(f"https://{host}:{port}", serving, clients, clients, tmp_path)
    try:
        assert (await strict.ask(issue(clients, "alice", client=True)))[0] == "alice"
        assert await strict.ask(None) == ANONYMOUS
        with pytest.raises(aiohttp.ClientError):
            await strict.ask(issue(create_authority("clients"), "alice", client=True))
    finally:
        await listener.close(grace=1)


async def test_while_front_proxies_are_unknown_they_are_asked_to_come_again(tmp_path: Path) -> None:
    front = create_authority("front")
    pool = AuthorityPool()
    headers = RequestHeaders(pool, known=False)
    serving = ServingTLS(self_signed("server", ["127.0.0.1"]), ask_clients=True)
    listener = Listener(bare_server(authenticators=[headers]))
    host, port = await listener.listen("127.0.0.1", 0, tls=serving.context)
    server = Proxied(f"https://{host}:{port}", serving, front, front, tmp_path)
    proxy = issue(front, "front-proxy-client", client=True)
    try:
        assert (await server.ask(proxy, REMOTE))["code"] == 503  # type: ignore[call-overload]
        assert await server.ask(None, REMOTE) == ANONYMOUS
        pool.replace(front.certificate)
        headers.known = True
        assert (await server.ask(proxy, REMOTE))[0] == "bob"
        # With another authority the same certificate is worth nothing any more.
        pool.replace(create_authority("front").certificate)
        assert await server.ask(proxy, REMOTE) == ANONYMOUS
        pool.replace(b"-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
        assert "cannot be read" in pool.problem
        assert await server.ask(proxy, REMOTE) == ANONYMOUS
    finally:
        await listener.close(grace=1)


async def test_a_certificate_is_replaced_while_serving(proxied: Proxied) -> None:
    old = proxied.serving.pair
    proxied.serving.reload(self_signed("server", ["127.0.0.1"]))
    assert await proxied.ask(None) == ANONYMOUS
    stale = ssl.create_default_context(cadata=old.certificate.decode())
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await session.get(f"{proxied.url}/whoami", ssl=stale)
    current = proxied.serving.pair
    with pytest.raises(ssl.SSLError):
        proxied.serving.reload(KeyPair(current.certificate, old.key))
    assert proxied.serving.pair is current
