"""Collecting the controller's support bundle (system.antrea.io): asking for it, waiting, fetching it."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path
from typing import Any

from antctl.errors import CommandError
from antctl.output import decode
from antctl.session import Session, status_message

PATH = "/apis/system.antrea.io/v1beta1/supportbundles"
NAME = "controller"
SOON, PERIOD = 0.1, 0.5  # seconds between questions whether it is there: the first one, the others
PATIENCE = 600.0


def collect(session: Session, target: Path, since: str = "") -> None:
    """Write a new bundle to a file for its owner only. Raises CommandError."""
    body = {
        "apiVersion": "system.antrea.io/v1beta1",
        "kind": "SupportBundle",
        "metadata": {"name": NAME},
        **({"since": since} if since else {}),
    }
    _answer(session, PATH, body)
    made = _collected(session)
    part = target.with_name(f".{target.name}.part")
    try:
        with open(os.open(part, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), "w+b") as file:
            answer = session.request(f"{PATH}/{NAME}/download", accept="*/*", sink=file)
            if answer.status >= 400:
                raise CommandError(f"error when downloading the support bundle: {status_message(answer)}")
            file.seek(0)
            if hashlib.file_digest(file, "sha256").hexdigest() != made.get("sum"):
                raise CommandError("the support bundle arrived damaged, or was collected anew: try again")
        part.replace(target)
    except OSError as error:
        raise CommandError(f"{target} cannot be written: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)


def _collected(session: Session) -> dict[str, Any]:
    """The SupportBundle once it is there."""
    deadline = time.monotonic() + (session.timeout or PATIENCE)
    pause = SOON
    while time.monotonic() < deadline:
        time.sleep(pause)
        pause = PERIOD
        state = _answer(session, f"{PATH}/{NAME}")
        if state.get("status") == "Collected":
            return state
        if state.get("status") != "Collecting":
            raise CommandError("the controller could not collect its support bundle: its log says why")
    raise CommandError("the controller has not collected its support bundle in time; give it more with -t")


def _answer(session: Session, path: str, body: object = None) -> dict[str, Any]:
    answer = session.request(path, method="POST" if body is not None else "GET", body=body)
    if answer.status >= 400:
        raise CommandError(f"error when collecting the support bundle: {status_message(answer)}")
    value = decode(answer.body)
    return value if isinstance(value, dict) else {}
