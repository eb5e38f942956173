"""What tlsMinVersion and tlsCipherSuites of antrea-agent.conf do to the local API."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from agent import config
from agent.localapi.server import LocalServer
from client.endpoint import Endpoint
from client.rest import RestClient

TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
AES128 = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"
AES256 = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"


async def handshake(port: int, version: ssl.TLSVersion, ciphers: str) -> str | None:
    """The version that client and server agree on, None where they do not."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    if ciphers:
        context.set_ciphers(ciphers)
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    except (ssl.SSLError, ConnectionError):
        return None
    agreed = writer.get_extra_info("ssl_object").version()
    writer.close()
    return str(agreed)


@pytest.mark.parametrize(
    ("text", "version", "ciphers", "agreed"),
    [
        ("", TLS12, "", "TLSv1.2"),
        ("tlsMinVersion: VersionTLS12", TLS12, "", "TLSv1.2"),
        ("tlsMinVersion: VersionTLS13", TLS12, "", None),
        ("tlsMinVersion: VersionTLS13", TLS13, "", "TLSv1.3"),
        (f"tlsCipherSuites: {AES256[0]}", TLS12, AES256[1], "TLSv1.2"),
        (f"tlsCipherSuites: {AES256[0]}", TLS12, AES128[1], None),
        (f"tlsCipherSuites: '{AES256[0]}, {AES128[0]}'", TLS12, AES128[1], "TLSv1.2"),
    ],
)
async def test_the_local_api_demands_what_the_configuration_says(
    tmp_path: Path, text: str, version: ssl.TLSVersion, ciphers: str, agreed: str | None
) -> None:
    path = tmp_path / "agent.conf"
    path.write_text(text)
    settings = config.load(str(path))
    assert settings.notes == (), "no key is without effect"
    async with RestClient(Endpoint("http://127.0.0.1:1")) as kube:
        server = LocalServer(kube, tmp_path / "token", settings.apply_tls)
        _, port = await server.listen("127.0.0.1", 0)
        try:
            assert await handshake(port, version, ciphers) == agreed
        finally:
            await server.close()
