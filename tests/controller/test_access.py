"""Where the controller's trust in clients comes from: clientCAFile, and the cluster's ConfigMap."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from apiserver.certificates import create_authority
from client.endpoint import Endpoint
from client.rest import RestClient
from client.watch import WatchFrame
from controller import authentication
from controller.authentication import Access
from runtime.errors import ConfigurationError

OLD, NEW = create_authority("old").certificate, create_authority("new").certificate


def access(directory: Path, client_ca_file: Path | None = None) -> Access:
    client = RestClient(Endpoint("http://127.0.0.1:1"))  # nobody is there
    return Access(client, directory, str(client_ca_file or ""), lambda pem: None)


def config_map(**data: str) -> msgspec.Raw:
    renamed = {key.replace("_", "-"): value for key, value in data.items()}
    return msgspec.Raw(msgspec.json.encode({"data": renamed}))


async def until(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not check():
            await asyncio.sleep(0.01)


async def test_a_client_ca_file_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authentication, "FILE_SECONDS", 0.01)
    path = tmp_path / "ca.crt"
    path.write_bytes(OLD)
    made = access(tmp_path, path)
    task = asyncio.create_task(made.run())
    try:
        # It goes before what the cluster says of clients.
        await made.list_page([config_map(client_ca_file=NEW.decode())])
        assert made._clients.pem == OLD
        for useless in (b"nonsense", None, b"-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"):
            path.unlink(missing_ok=True)
            if useless is not None:
                path.write_bytes(useless)
            await asyncio.sleep(0.05)
            assert made._clients.pem == OLD
        path.write_bytes(NEW)
        await until(lambda: made._clients.pem == NEW)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("content", [None, b"nonsense"])
def test_a_client_ca_file_that_is_no_use_ends_the_start(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "ca.crt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=f"clientCAFile {path}"):
        access(tmp_path, path)


async def test_what_the_cluster_says_is_taken_over_and_stands(tmp_path: Path) -> None:
    made = access(tmp_path)
    headers = made._headers
    assert not headers.known
    said = config_map(
        requestheader_client_ca_file=OLD.decode(),
        requestheader_allowed_names='["front", "other"]',
        requestheader_username_headers='["X-User"]',
        requestheader_uid_headers='["X-Uid"]',
        client_ca_file=NEW.decode(),
    )
    await made.list_page([said])
    await made.list_finished()
    assert headers.known
    assert (made._proxies.pem, made._clients.pem) == (OLD, NEW)
    assert headers.allowed_names == {"front", "other"}
    assert (headers.user_headers, headers.uid_headers) == (("X-User",), ("X-Uid",))
    assert headers.group_headers == ("X-Remote-Group",)  # the default, in the place of what is not said
    # Deleted, or broken: what was said stands.
    await made.events([WatchFrame("DELETED", said), WatchFrame("MODIFIED", msgspec.Raw(b'{"data":7}'))])
    assert (made._proxies.pem, made._clients.pem) == (OLD, NEW)
    await made.events([WatchFrame("MODIFIED", config_map(client_ca_file=OLD.decode()))])
    assert (made._proxies.pem, made._clients.pem) == (b"", OLD)


@pytest.mark.parametrize("names", ["no list", '["front', "null", '{"front": 1}', "[1]"])
async def test_names_that_cannot_be_read_let_nobody_else_in(tmp_path: Path, names: str) -> None:
    """An empty list would mean anybody whom the proxies' CA has signed."""
    made = access(tmp_path)
    broken = config_map(requestheader_client_ca_file=NEW.decode(), requestheader_allowed_names=names)
    await made.list_page([broken])
    await made.list_finished()
    assert made._proxies.pem == b""
    good = config_map(requestheader_client_ca_file=OLD.decode(), requestheader_allowed_names='["front"]')
    await made.events([WatchFrame("MODIFIED", good), WatchFrame("MODIFIED", broken)])
    assert (made._proxies.pem, made._headers.allowed_names) == (OLD, {"front"})


async def test_a_cluster_that_says_nothing_has_no_front_proxies(tmp_path: Path) -> None:
    made = access(tmp_path)
    await made.list_started()
    await made.list_finished()
    assert made._headers.known
    assert made._proxies.pem == b""
