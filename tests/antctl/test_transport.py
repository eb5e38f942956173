"""How antctl reaches a server: straight, or through the proxy that the kubeconfig names."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from antctl import main
from antctl.errors import CommandError
from antctl.session import _with_plugins
from antctl.transport import finish
from runtime.version import FULL
from tests.antctl.server import FixedServer, write_kubeconfig

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
    more: dict[str, Any] = {"proxy-url": proxy}
    write_kubeconfig(path, "http://cluster.invalid:80", **more)
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


PLUGIN = """\
#!/bin/sh
echo x >> {count}
test -e {broken} && exit 3
n=$(wc -l < {count} | tr -d ' ')
echo '{{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{{"token":"t'$n'"}}}}'
"""


def test_a_plugin_of_the_kubeconfig_is_run_again_when_its_token_is_old(tmp_path: Path) -> None:
    plugin, count, broken = tmp_path / "plugin", tmp_path / "count", tmp_path / "broken"
    plugin.write_text(PLUGIN.format(count=count, broken=broken))
    plugin.chmod(0o755)
    spec: dict[str, Any] = {
        "apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin), "args": [],
        "interactiveMode": "Never",
    }  # fmt: skip
    path = write_kubeconfig(tmp_path / "k", "http://cluster.invalid", {"exec": spec})

    fresh = _with_plugins(str(path), None, reload_seconds=3600)
    assert [finish(fresh.headers()) for _ in range(3)] == [{"Authorization": "Bearer t1"}] * 3
    old = _with_plugins(str(path), None, reload_seconds=0)
    assert finish(old.headers()) == {"Authorization": "Bearer t3"}
    broken.touch()
    with pytest.raises(CommandError, match="cannot be renewed"):
        finish(old.headers())


def test_a_proxy_of_another_kind_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path / "k", "socks5://127.0.0.1:1", monkeypatch) == 1
    assert "the proxy-url socks5://127.0.0.1:1 cannot be used" in capsys.readouterr().err
