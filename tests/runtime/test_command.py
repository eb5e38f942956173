"""The command line of a daemon: what it reads, says and returns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from runtime import command, version
from runtime.config import Loaded
from runtime.errors import ConfigurationError
from runtime.features import FeatureGates
from runtime.settings import DaemonConfig, check_address, notes
from runtime.tasks import Supervisor


@dataclass(frozen=True)
class Read:
    source: str
    notes: tuple[str, ...] = ("the moon is full",)


def load(path: str) -> Read:
    if path == "bad":
        raise ConfigurationError("bad is no configuration.")
    return Read(path or "the defaults")


async def serve(supervisor: Supervisor, settings: Read) -> None:
    supervisor.request_stop()
    if settings.source == "broken.conf":
        raise ConfigurationError("broken.conf cannot be served.")


DAEMON = command.daemon("moond", "Watches the moon.", load, serve)


@pytest.mark.parametrize(("path", "status"), [("", 0), ("some.conf", 0), ("broken.conf", 1), ("bad", 1)])
def test_the_status_says_how_it_went(path: str, status: int, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.run(DAEMON, ["--config", path])
    assert ended.value.code == status
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("moond: ")]
    wanted = {"bad": "moond: bad is no configuration.", "broken.conf": "moond: broken.conf cannot be served."}
    assert told == ([wanted[path]] if status else [])


def test_help_and_version() -> None:
    helped = CliRunner().invoke(DAEMON, ["-h"]).output
    assert "Watches the moon." in helped
    assert "moond.conf" in helped
    assert CliRunner().invoke(DAEMON, ["--version"]).output == f"moond {version.FULL}\n"


def test_log_files_as_manifests_ask_for_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = [
        "--logtostderr=false",
        f"--log_dir={tmp_path}",
        "--log_file_max_size=100",
        "--log_file_max_num=4",
    ]
    for also in ([], ["--alsologtostderr"]):
        with pytest.raises(SystemExit):
            command.run(DAEMON, [*flags, *also])
        assert ("the moon is full" in capsys.readouterr().err) is bool(also)
    assert (tmp_path / "moond.log").read_text().count("the moon is full") == 2


def test_a_log_directory_that_cannot_be_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit) as ended:
        command.run(DAEMON, ["--logtostderr=false", f"--log_dir={tmp_path}/file/logs"])
    assert ended.value.code == 1
    assert "--log_dir" in capsys.readouterr().err


def test_what_is_set_and_ignored_is_told() -> None:
    gates = FeatureGates("A", {"Multicast": True}, "a.conf")
    loaded = Loaded(DaemonConfig(), ["wireGuard"])
    first, second = notes(loaded, gates, (), "a.conf", "moond")
    assert first.endswith("wireGuard.")
    assert second == "a.conf sets feature gates that have no effect in moond: Multicast."
    assert notes(Loaded(DaemonConfig(), []), gates, ("Multicast",), "a.conf", "moond") == ()


def test_addresses_are_checked() -> None:
    for value in ("127.0.0.1", "::1"):
        check_address(value, "apiAddress", "a.conf")
    with pytest.raises(ConfigurationError, match=r"apiAddress in a\.conf is 'localhost'"):
        check_address("localhost", "apiAddress", "a.conf")
