"""What an agent remembers of the controller, and what it does with a file that is spoilt."""

from __future__ import annotations

import json
import logging
import os
import stat
from pathlib import Path

import pytest

from agent.knowncontroller import KnownController
from apiserver.certificates import create_authority
from client.controller import Whereabouts

CA = create_authority("antrea-ca").certificate.decode()
KNOWN = Whereabouts(CA, ("10.0.0.1:10349", "[fd00::1]:10349"))


def test_what_was_saved_is_loaded_by_the_next_process(tmp_path: Path) -> None:
    path = tmp_path / "run" / "controller.json"
    assert KnownController(path, "kube-system").load() is None
    KnownController(path, "kube-system").save(KNOWN)
    assert KnownController(path, "kube-system").load() == KNOWN
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == ["controller.json"], "nothing is left beside it"
    assert KnownController(path, "elsewhere").load() is None


def document(**changes: object) -> bytes:
    return json.dumps({"namespace": "kube-system", "ca": CA, "addresses": ["10.0.0.1:1"], **changes}).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\xff" * 40,
        document()[:-30],
        document(ca="-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        document(ca=""),
        document(ca="é"),
        document(addresses=["evil.example/path:1"]),
        document(addresses=["10.0.0.1:0"]),
        document(addresses=["10.0.0.1"]),
        document(addresses=["10.0.0.1:1"] * 65),
        document(addresses="10.0.0.1:1"),
        document(more=1),
        b" " * ((1 << 20) + 1),
    ],
)
def test_a_spoilt_file_is_named_and_ignored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    path = tmp_path / "controller.json"
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert KnownController(path, "kube-system").load() is None
    assert str(path) in caplog.text
    KnownController(path, "kube-system").save(KNOWN)
    assert KnownController(path, "kube-system").load() == KNOWN


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    with caplog.at_level(logging.ERROR):
        KnownController(tmp_path / "file" / "controller.json", "kube-system").save(KNOWN)
    assert "cannot be written" in caplog.text
