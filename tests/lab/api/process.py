"""The API as a process, and a plain HTTP client for it: what the tests of this folder talk to."""

from __future__ import annotations

import http.client
import json
import os
import pathlib
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[3]
JSON = "application/json"


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    raw: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.raw)

    @property
    def warnings(self) -> list[str]:
        return self.headers.get_all("Warning") or []


@dataclass
class LabApi:
    """One process with its state directory; it can be killed and started again."""

    state: pathlib.Path
    arguments: list[str] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None
    url: str = ""
    token: str = ""

    def start(self) -> None:
        (self.state / "ready").unlink(missing_ok=True)
        self.state.mkdir(parents=True, exist_ok=True)
        log = (self.state / "log").open("ab")
        command = [sys.executable, "-m", "lab.api", "--state-dir", str(self.state), *self.arguments]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        self._wait_ready()
        config = yaml.safe_load((self.state / "kubeconfig").read_text())
        self.url = config["clusters"][0]["cluster"]["server"]
        self.token = config["users"][0]["user"]["token"]

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + 30
        while not (self.state / "ready").exists():
            assert self.process is not None
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError("the API did not start:\n" + (self.state / "log").read_text())
            time.sleep(0.01)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(10)

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.state / "pki" / "ca.crt"))

    def connect(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection("127.0.0.1", self.port, context=self.context(), timeout=20)

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        media: str = JSON,
        token: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        sent = {"Authorization": f"Bearer {self.token if token is None else token}", **(headers or {})}
        if token == "":
            del sent["Authorization"]
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        if data is not None:
            sent["Content-Type"] = media
        connection = self.connect()
        try:
            connection.request(method, path, data, sent)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def get(self, path: str, **options: Any) -> Answer:
        return self.request("GET", path, **options)

    def post(self, path: str, body: Any, **options: Any) -> Answer:
        return self.request("POST", path, body, **options)

    def put(self, path: str, body: Any, **options: Any) -> Answer:
        return self.request("PUT", path, body, **options)

    def delete(self, path: str, body: Any = None, **options: Any) -> Answer:
        return self.request("DELETE", path, body, **options)

    def merge(self, path: str, patch: Any, **options: Any) -> Answer:
        return self.request("PATCH", path, patch, media="application/merge-patch+json", **options)

    def create(self, path: str, body: Any) -> Any:
        """Creates and returns the object; anything but 201 fails the test."""
        answer = self.post(path, body)
        assert answer.status == 201, answer.raw
        return answer.json

    def namespace(self, name: str) -> str:
        """A fresh namespace, and the path under which its objects are."""
        self.create("/api/v1/namespaces", {"metadata": {"name": name}})
        return f"/api/v1/namespaces/{name}"

    def watch(self, path: str, count: int, **options: Any) -> list[tuple[str, Any]]:
        """The next ``count`` events."""
        return list(self.events(path, count, **options))

    def events(self, path: str, count: int) -> Iterator[tuple[str, Any]]:
        connection = self.connect()
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {self.token}"})
            response = connection.getresponse()
            assert response.status == 200, response.read()
            for _ in range(count):
                event = json.loads(response.readline())
                yield event["type"], event["object"]
        finally:
            connection.close()


def eventually(probe: Callable[[], Any], what: str = "", seconds: float = 10.0) -> Any:
    """Waits until the probe returns something true, and returns it."""
    deadline = time.monotonic() + seconds
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what or probe}")
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
