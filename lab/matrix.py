"""Who reaches whom: one probe per pair of pods, all at once, as a table or as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from lab.inventory import LabPod, probe_between
from lab.probing import Outcome, Prober, Result
from lab.probing.prober import DEFAULT_TIMEOUT

_SIGNS = {
    Outcome.ALLOWED: ("●", "bold green"),
    Outcome.TIMEOUT: ("✗", "bold red"),
    Outcome.REFUSED: ("○", "yellow"),
    Outcome.UNREACHABLE: ("∅", "magenta"),
    Outcome.STRANGER: ("?", "bold magenta"),
    Outcome.MUTE: ("…", "bold magenta"),
    Outcome.FAILED: ("!", "bold magenta"),
}
LEGEND = {
    Outcome.ALLOWED: "reached",
    Outcome.TIMEOUT: "no answer (dropped)",
    Outcome.REFUSED: "nobody listens",
    Outcome.UNREACHABLE: "no route",
    Outcome.STRANGER: "another pod answered",
    Outcome.MUTE: "connected, no answer",
    Outcome.FAILED: "could not be probed",
}


@dataclass(frozen=True)
class Matrix:
    """``cells``[source][destination]; a pair without a common address family, or a destination without
    the named port, has no cell."""

    port: int | str
    protocol: str
    cells: Mapping[str, Mapping[str, Result]]
    seconds: float

    def allowed(self) -> dict[str, dict[str, bool]]:
        return {
            source: {destination: result.allowed for destination, result in row.items()}
            for source, row in self.cells.items()
        }

    def json(self) -> dict[str, Any]:
        port = int(self.port) if str(self.port).isdigit() else self.port
        return {"port": port, "protocol": self.protocol, "allowed": self.allowed()}

    def differences(self, expected: Mapping[str, Mapping[str, bool]]) -> list[str]:
        """A sentence for each cell that is not as expected, and for each that is missing."""
        found = []
        for source, row in expected.items():
            for destination, wanted in row.items():
                result = self.cells.get(source, {}).get(destination)
                if result is None:
                    found.append(f"{source} → {destination} was not probed")
                elif result.allowed != wanted:
                    want = "be reached" if wanted else "be denied"
                    found.append(f"{source} → {destination} should {want}, but: {result.outcome.value}")
        return found

    def table(self, expected: Mapping[str, Mapping[str, bool]] | None = None, title: str = "") -> Table:
        """Rows are sources, columns destinations; cells that are not as expected are marked."""
        names = list(dict.fromkeys([*self.cells, *(d for row in self.cells.values() for d in row)]))
        table = Table(title=title or None, title_justify="left", show_lines=False, pad_edge=False)
        table.add_column(f"from ↓  to → {self.protocol} {self.port}", style="cyan", no_wrap=True)
        for name in names:
            table.add_column(name.replace("/", "/\n"), justify="center", header_style="cyan")
        for source in names:
            if source not in self.cells:
                continue
            row = [self._cell(source, destination, expected) for destination in names]
            table.add_row(source, *row)
        return table

    def _cell(self, source: str, destination: str, expected: Mapping[str, Mapping[str, bool]] | None) -> Text:
        result = self.cells[source].get(destination)
        if result is None:
            return Text("·", style="dim")
        sign, style = _SIGNS[result.outcome]
        if source == destination:
            style = "dim"
        if (
            expected is not None
            and expected.get(source, {}).get(destination, result.allowed) != result.allowed
        ):
            return Text(f"{sign} wrong", style="bold white on red")
        return Text(sign, style=style)

    def legend(self) -> Text:
        used = [
            outcome
            for outcome in LEGEND
            if any(r.outcome is outcome for row in self.cells.values() for r in row.values())
        ]
        text = Text()
        for outcome in used:
            sign, style = _SIGNS[outcome]
            text.append(f"{sign} ", style=style)
            text.append(f"{LEGEND[outcome]}   ", style="dim")
        return text


def measure(
    prober: Prober,
    sources: Sequence[LabPod],
    destinations: Sequence[LabPod],
    port: int | str = 80,
    protocol: str = "TCP",
    version: int = 4,
    timeout: float = DEFAULT_TIMEOUT,
) -> Matrix:
    """Probe every pair, a pod with itself included."""
    pairs = []
    for source in sources:
        for destination in destinations:
            number = destination.port(port, protocol)
            probe = probe_between(source, destination, number, protocol, version) if number else None
            if probe:
                pairs.append((source.key, destination.key, probe))
    results = prober.probe_all([probe for _, _, probe in pairs], timeout)
    cells: dict[str, dict[str, Result]] = {}
    for (source_key, destination_key, _), result in zip(pairs, results, strict=True):
        cells.setdefault(source_key, {})[destination_key] = result
    seconds = max((r.ended_at for r in results), default=0.0) - min((r.sent_at for r in results), default=0.0)
    return Matrix(port, protocol, cells, seconds)
