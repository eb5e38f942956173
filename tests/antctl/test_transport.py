"""How antctl reaches a server: straight, or through the proxy that the kubeconfig names."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from antctl import main
from runtime.version import FULL
from tests.antctl.server import FixedServer

INFO = {"kind": "AntreaControllerInfo", "version": FULL}


class ConnectProxy(socketserver.ThreadingTCPServer):
    """Answers CONNECT by passing bytes on to one server, whatever is asked for."""

    def __init__(self, target: int) -> None:
        self.asked: list[str] = []
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                import socket

                outer.asked.append(self.rfile.readline().decode().strip())
                while self.rfile.readline().strip():
                    pass
                self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                with socket.create_connection(("127.0.0.1", target)) as onward:
                    onward.sendall(self.connection.recv(1 << 16))
                    while piece := onward.recv(1 << 16):
                        self.wfile.write(piece)

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


@pytest.fixture
def server() -> Iterator[FixedServer]:
    server = FixedServer(lambda path, query: (200, json.dumps(INFO).encode()))
    yield server
    server.close()


def run(path: Path, proxy: str, monkeypatch: pytest.MonkeyPatch) -> int:
    document = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "http://cluster.invalid:80", "proxy-url": proxy}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    path.write_text(json.dumps(document))
    monkeypatch.delenv("POD_NAME", raising=False)
    monkeypatch.setenv("KUBECONFIG", str(path))
    return main.run(["antctl", "version"])


def test_the_kubeconfigs_proxy_is_used(
    server: FixedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with ConnectProxy(int(server.url.rpartition(":")[2])) as proxy:
        code = run(tmp_path / "k", f"http://127.0.0.1:{proxy.server_address[1]}", monkeypatch)
        proxy.shutdown()
    assert (code, capsys.readouterr().err) == (0, "")
    assert proxy.asked[0].startswith("CONNECT cluster.invalid:80 ")


def test_a_proxy_of_another_kind_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path / "k", "socks5://127.0.0.1:1", monkeypatch) == 1
    assert "the proxy-url socks5://127.0.0.1:1 cannot be used" in capsys.readouterr().err
