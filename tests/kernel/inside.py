"""python -m tests.kernel.inside DIRECTORY: runs tests in the guest and writes a line for each that is done.

DIRECTORY/tests.json names the tests; reports.jsonl, pytest.log and, where a lab failed, its logs come back.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest


class Reporter:
    """One line of JSON for each test: nodeid, outcome, text (why, with what was captured), seconds."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "a")  # noqa: SIM115 - open as long as the process
        self._reports: list[pytest.TestReport] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._reports.append(report)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        reports, self._reports = self._reports, []
        outcomes = {report.outcome for report in reports}
        outcome = next(word for word in ("failed", "skipped", "passed") if word in outcomes)
        text = ""
        for report in reports:
            if report.outcome == outcome != "passed":
                text += report.longreprtext + "\n"
                if outcome == "failed":
                    text += "".join(f"--- {title}\n{content}\n" for title, content in report.sections)
        seconds = sum(report.duration for report in reports)
        line = {"nodeid": nodeid, "outcome": outcome, "text": text, "seconds": round(seconds, 2)}
        print(json.dumps(line), file=self._file, flush=True)
        os.fsync(self._file.fileno())  # else it stays in the guest's memory for a while


def main(directory: Path) -> int:
    tests = json.loads((directory / "tests.json").read_text())
    log = os.open(directory / "pytest.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    arguments = [
        "-p",
        "no:cacheprovider",
        "--durations=0",
        "-v",
        "-rP",
        f"--basetemp={directory / 'tmp'}",
        *tests,
    ]
    return int(pytest.main(arguments, plugins=[Reporter(directory / "reports.jsonl")]))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
