"""How fast and how small the computation is, on the six clusters of upstream's start-up tests.

    python -m benchmarks.computation [--only ROW] [--json FILE] [--repeat N]

- **compute**: seconds from decoded objects in memory to every group and policy computed and every watch event
  encoded as protobuf, in its envelope and frame, as a watch that selects everything gets them.
- **start**: seconds from the raw JSON lists to the same point. The lists come page by page, as a client asks
  kube-apiserver for them; reading a page from its file is not counted.
- **peak RSS**: of the process that does *start*, with everything imported that antrea-controller imports.
- **events**: ADDED events of address groups, applied-to groups and policies.

Each measurement is a fresh process; of several the median is shown. The last row changes one pod (its
address, and back) against the full state of the first shape, until the events are encoded.

The rows of *steps* drive the middle of the controller (benchmarks.steps) with 1,000 nodes watching: for each
event the longest step of the event loop, the longest turn (what a timer may have to wait), both in CPU time,
and the seconds until everything has settled. The row of *connect* lets 1,000 nodes open three watches each.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks import common, shapes, steps

LAST_ROW = "one pod changes, against the first shape"
STEPS = {
    f"steps, {name}: {event}": (shape, event)
    for name, shape in zip(("25k namespaces", "100 namespaces"), shapes.SHAPES, strict=False)
    for event in steps.EVENTS
}
CONNECT = "connect: 1,000 nodes, three watches each, first shape"
ROWS = [*shapes.SHAPES, LAST_ROW, *STEPS, CONNECT]
COLUMNS = [
    "shape",
    "compute s",
    "start s",
    "peak RSS MB",
    "address groups",
    "applied-to groups",
    "policies",
    "p50 ms",
    "p99 ms",
    "longest step ms",
    "p99 step ms",
    "longest turn ms",
    "seconds",
    "sent MB",
    "growth MB",
    "note",
]


# --- inside the measured process ------------------------------------------------------------------------


def import_everything() -> None:
    """Everything that antrea-controller imports, so that memory means the controller's."""
    importlib.import_module("controller.main")


def peak_rss() -> float:
    """MB. Not getrusage: its maximum survives exec and would include the parent's."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/self/status has no VmHWM line")


class Encoder:
    """Encodes every change as the stores do for a watch that selects everything, and counts."""

    def __init__(self) -> None:
        from apis import envelope
        from apis.record import Media

        self._watch_frame = envelope.watch_frame
        self._wrap = envelope.wrap_typed
        self._protobuf = Media.PROTOBUF
        kinds = {
            "addressgroups": "AddressGroup",
            "appliedtogroups": "AppliedToGroup",
            "networkpolicies": "NetworkPolicy",
        }
        self._prefixes = {
            resource: envelope.type_meta("controlplane.antrea.io/v1beta2", kind)
            for resource, kind in kinds.items()
        }
        self.events = dict.fromkeys(kinds, 0)
        self.modified = 0
        self.bytes = 0

    def encode(self, changes: Iterable[Any]) -> None:
        version = 1 << 32
        for change in changes:
            version += 1
            if change.new is not None:
                event = "ADDED" if change.old is None else "MODIFIED"
                body = change.new.encode(self._protobuf, None, str(version))
                self.modified += change.old is not None
            else:
                event = "DELETED"
                body = change.old.tombstone(self._protobuf, str(version))
            frame = self._watch_frame(event, self._wrap(self._prefixes[change.resource], body))
            self.bytes += len(frame)
            self.events[change.resource] += 1


def measure_compute(directory: Path) -> dict[str, Any]:
    from apis.kubernetes.codec import NAMESPACES, NETWORK_POLICIES, PODS
    from computation.graph import Graph

    decoded: list[tuple[Any, list[Any]]] = []
    graph, encoder = Graph(), Encoder()
    for kind, codec, upsert in (
        ("namespaces", NAMESPACES, graph.upsert_namespace),
        ("pods", PODS, graph.upsert_pod),
        ("networkpolicies", NETWORK_POLICIES, graph.upsert_network_policy),
    ):
        objects: list[Any] = []
        for page in shapes.pages(directory, kind):
            objects.extend(codec.page(page)[1])
        decoded.append((upsert, objects))
    gc.collect()
    gc.freeze()
    gc.disable()  # as the controller does while it loads
    started = time.perf_counter()
    for upsert, objects in decoded:
        for each in objects:
            upsert(each)
    encoder.encode(graph.flush())
    return {"compute s": time.perf_counter() - started}


def load(directory: Path) -> tuple[Any, Encoder, float]:
    """The start of a controller: the graph, the encoder and the seconds it took."""
    from apis.kubernetes.codec import NAMESPACES, NETWORK_POLICIES, PODS
    from computation.graph import Graph

    graph, encoder = Graph(), Encoder()
    gc.collect()
    gc.freeze()
    gc.disable()
    seconds = 0.0
    kinds: list[tuple[str, Any, Any]] = [
        ("namespaces", NAMESPACES, graph.upsert_namespace),
        ("pods", PODS, graph.upsert_pod),
        ("networkpolicies", NETWORK_POLICIES, graph.upsert_network_policy),
    ]
    for kind, codec, upsert in kinds:
        for page in shapes.pages(directory, kind):
            started = time.perf_counter()
            for each in codec.page(page)[1]:
                upsert(each)
            seconds += time.perf_counter() - started
    started = time.perf_counter()
    encoder.encode(graph.flush())
    seconds += time.perf_counter() - started
    return graph, encoder, seconds


def measure_start(directory: Path) -> dict[str, Any]:
    _, encoder, seconds = load(directory)
    return {
        "start s": seconds,
        "peak RSS MB": peak_rss(),
        "address groups": encoder.events["addressgroups"],
        "applied-to groups": encoder.events["appliedtogroups"],
        "policies": encoder.events["networkpolicies"],
    }


def measure_change(directory: Path) -> dict[str, Any]:
    """Milliseconds from a decoded pod with another address to its events encoded."""
    import msgspec

    from apis.kubernetes.codec import PODS
    from apis.kubernetes.core import PodIP

    graph, encoder, _ = load(directory)
    gc.collect()
    gc.freeze()
    gc.enable()
    page = next(iter(shapes.pages(directory, "pods")))
    pods = PODS.page(page)[1]
    times = []
    for number in range(4000):
        pod = pods[number % len(pods)]
        address = f"192.0.2.{number // len(pods) + 1}"  # another one each time the pod has its turn
        moved = msgspec.structs.replace(pod.status, pod_ips=(PodIP(address),))
        changed = msgspec.structs.replace(pod, status=moved)
        started = time.perf_counter()
        graph.upsert_pod(changed)
        encoder.encode(graph.flush())
        times.append((time.perf_counter() - started) * 1000)
    assert encoder.modified == len(times), "each change of a pod has to change one address group"
    cuts = statistics.quantiles(times, n=100)
    return {"p50 ms": round(cuts[49], 4), "p99 ms": round(cuts[98], 4)}


MEASURES = {
    "compute": measure_compute,
    "start": measure_start,
    "change": measure_change,
    "steps": steps.measure_steps,
    "connect": steps.measure_connect,
}


# --- outside --------------------------------------------------------------------------------------------


def fresh_process(measure: str, directory: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.computation", "--measure", measure, "--data", str(directory)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def repeated(measure: str, directory: Path, times: int) -> dict[str, Any]:
    return _medians([fresh_process(measure, directory) for _ in range(times)])


def _medians(results: list[dict[str, Any]]) -> dict[str, Any]:
    return {key: statistics.median(result[key] for result in results) for key in results[0]}


class Bench:
    def __init__(self, data: Path, times: int) -> None:
        self._data = data
        self._times = times
        self._steps: dict[str, dict[str, dict[str, Any]]] = {}  # by shape and event

    def _steps_of(self, shape: str, progress: common.Progress) -> dict[str, dict[str, Any]]:
        """All events of a shape are measured one after the other in one process."""
        if shape not in self._steps:
            directory = self._directory(shape, progress)
            progress(f"  all events of this shape, {self._times} times")
            runs = [fresh_process("steps", directory)["rows"] for _ in range(self._times)]
            self._steps[shape] = {
                same[0]["event"]: _medians([{k: v for k, v in row.items() if k != "event"} for row in same])
                for same in zip(*runs, strict=True)
            }
        return self._steps[shape]

    def _directory(self, shape: str, progress: common.Progress) -> Path:
        directory = self._data / str(list(shapes.SHAPES).index(shape))
        if not directory.exists():
            progress("  generating its JSON lists (not measured)")
            # In a process of its own: what generates must not be in the memory of what is measured.
            command = [sys.executable, "-m", "benchmarks.computation", "--generate", shape]
            subprocess.run([*command, "--data", str(directory)], check=True)
        return directory

    def measure(self, row: str, progress: common.Progress) -> Mapping[str, Any]:
        if row in STEPS:
            shape, event = STEPS[row]
            return self._steps_of(shape, progress)[event]
        shape = next(iter(shapes.SHAPES)) if row in (LAST_ROW, CONNECT) else row
        if shapes.SHAPES[shape] is None:
            note = "waits for external entities, which are not built yet"
            progress("  " + note)
            return {"note": note}
        directory = self._directory(shape, progress)
        if row == LAST_ROW:
            progress("  loading, then changing one pod 4,000 times")
            return repeated("change", directory, self._times)
        if row == CONNECT:
            progress("  loading, then connecting")
            return repeated("connect", directory, self._times)
        result: dict[str, Any] = {}
        for measure in ("compute", "start"):
            progress(f"  {measure}, {self._times} times")
            result.update(repeated(measure, directory, self._times))
        return result


def main() -> None:
    parser = common.parser("The computation on upstream's start-up shapes.", ROWS)
    parser.add_argument("--repeat", type=int, default=3, help="processes per measurement (default 3)")
    parser.add_argument("--data", type=Path, help="keep the generated lists in this directory")
    parser.add_argument("--measure", choices=MEASURES, help=argparse.SUPPRESS)
    parser.add_argument("--generate", choices=shapes.SHAPES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.generate:
        shape = shapes.SHAPES[arguments.generate]
        assert shape is not None
        shapes.write(shape, arguments.data)
        return
    if arguments.measure:
        import_everything()
        print(json.dumps(MEASURES[arguments.measure](arguments.data)))
        return
    title = f"Computation; median of {arguments.repeat} processes each"
    with tempfile.TemporaryDirectory(prefix="antrea-benchmark-") as temporary:
        bench = Bench(arguments.data or Path(temporary), arguments.repeat)
        common.run(title, COLUMNS, ROWS, bench.measure, arguments)


if __name__ == "__main__":
    main()
