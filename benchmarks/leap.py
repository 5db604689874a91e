"""Now leaps over days of silence in one record: ``python -m benchmarks leap``.

50 substations and their plant speak for half an hour every 10 s, then nobody does for 1, 7 or 30 days, and
one record after that has every window between fall due: 96 quarters of an hour a day, of every operator.
The embedded runtime steps and stores it, DuckDB behind it, in a process of its own for each run; once in
slices, and once in a single one, as if nothing were handed out before the record's end. Shown are the longest
pass, in which nothing else of the runtime goes on, the whole time, how much of it was CPU, and by how much
the process's highest resident memory grew.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.machine import machine

DAYS: Final = (1.0, 7.0, 30.0)
GOAL_S: Final = 0.5
SUBSTATIONS: Final = 50
MINUTES: Final = 30
START_MS: Final = 1_767_996_000_000
DAY_MS: Final = 86_400_000


def frames(substations: int, silent: str = "") -> tuple[str, list[tuple[int, bytes]]]:
    """The stream, and its registry and half an hour of samples with the times of their records. [ms UTC]

    Of all devices but `silent`.
    """
    import pyarrow as pa

    from models.frame import Frame, FrameKind, telemetry_schema
    from simulator.unit import demo_plan, texts

    site = demo_plan(1, substations, 0, START_MS)
    heat = [d for d in site.devices.values() if d.device_class in {"plant", "substation"}]
    row = {"device": "", "kind": "registry", "payload": json.dumps(texts(site))}
    found = [(START_MS, Frame.events([row], FrameKind.REGISTRY).encode())]
    rng = np.random.default_rng(1)
    for minute in range(MINUTES):
        for device_class in ("plant", "substation"):
            rows = [
                {
                    "device": d.device, "boot": START_MS - 1, "seq": minute + 1, "pos": pos,
                    "t": START_MS + 60_000 * minute + 10_000 * pos, **values(rng, minute * 6 + pos),
                }
                for d in heat if d.device_class == device_class and d.device != silent
                for pos in range(6)
            ]  # fmt: skip
            batch = pa.RecordBatch.from_pylist(rows, schema=telemetry_schema(device_class))
            frame = Frame(FrameKind.TELEMETRY, device_class, batch)
            found.append((START_MS + 60_000 * (minute + 1), frame.encode()))
    return heat[0].stream, found


def values(rng: np.random.Generator, step: int) -> dict[str, float]:
    """A sample of a heat meter, `step` times 10 s after the first."""
    flow, supply, back = 10.0 + rng.random(), 90.0 + rng.random(), 48.0 + rng.random()
    return {
        "flow_m3_h": flow, "supply_c": supply, "return_c": back,
        "energy_gj": 100.0 + 0.005 * step, "volume_m3": 1000.0 + step / 36.0,
    }  # fmt: skip


def peak_mb() -> float:
    """Highest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(days: float, substations: int, *, sliced: bool) -> dict[str, float]:
    """Run once, in this process."""
    from journal.protocol import Append
    from journal.sqlite import SqliteJournal
    from models.frame import Frame
    from store.duckdb_series import DuckdbSeries
    from streams.core.leap import SLICE_S
    from streams.runtime.local import LocalRuntime
    from streams.runtime.sqlite_checkpoints import SqliteCheckpoints

    stream, told = frames(substations)
    with tempfile.TemporaryDirectory() as name:
        home, stop = Path(name), threading.Event()
        journal, store = SqliteJournal(home / "j", lambda: START_MS), DuckdbSeries(home / "s")
        slice_s = SLICE_S if sliced else math.inf
        runtime = LocalRuntime(journal, store, SqliteCheckpoints(home / "c"), slice_s=slice_s)
        journal.append([Append(stream, frame, at) for at, frame in told])
        while runtime.pass_once(stop):
            pass
        before, rows = peak_mb(), sum(store.counts().values())
        leap = Append(stream, Frame.heartbeat().encode(), told[-1][0] + round(days * DAY_MS))
        journal.append([leap])
        passes: list[float] = []
        began, cpu = time.monotonic(), time.process_time()
        while True:
            since = time.monotonic()
            if not runtime.pass_once(stop):
                break
            passes.append(time.monotonic() - since)
        taken, spent = time.monotonic() - began, time.process_time() - cpu
        rows = sum(store.counts().values()) - rows
        return {
            "longest_s": max(passes), "seconds": taken, "cpu_s": spent, "mb": peak_mb() - before,
            "slices": len(passes), "rows": rows,
        }  # fmt: skip


def run(days: float, way: str, substations: int) -> dict[str, Any]:
    """Measure in a process of its own."""
    words = [sys.executable, "-m", "benchmarks.leap", "--days", str(days), "--inside", way]
    words += ["--substations", str(substations)]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.leap",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--days", type=float, nargs="+", default=DAYS, help="how long nobody speaks")
    parser.add_argument("--substations", type=int, default=SUBSTATIONS, help="how many, with one plant")
    parser.add_argument("--only", choices=["once", "sliced"], help="one of the two ways")
    parser.add_argument("--inside", choices=["once", "sliced"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        print(json.dumps(measure(options.days[0], options.substations, sliced=options.inside == "sliced")))
        return
    print(f"machine: {machine()}", flush=True)
    print("| days | way | longest pass, s | whole, s | CPU, s | memory grew by, MB | passes | rows |")
    print("|---:|---|---:|---:|---:|---:|---:|---:|", flush=True)
    got: dict[str, dict[float, dict[str, Any]]] = {"once": {}, "sliced": {}}
    for days in options.days:
        for way in got if options.only is None else [options.only]:
            m = got[way][days] = run(days, way, options.substations)
            print(f"| {days:g} | {way} | {m['longest_s']:.2f} | {m['seconds']:.1f} | {m['cpu_s']:.1f} "
                  f"| {m['mb']:.0f} | {m['slices']:.0f} | {m['rows']:,} |", flush=True)  # fmt: skip
    print(f"machine at the end: {machine()}")
    sliced = got["sliced"].values()
    longest_s = max((m["longest_s"] for m in sliced), default=0.0)
    verdict = "met" if longest_s <= GOAL_S else "MISSED"
    print(f"longest pass in slices {longest_s:.2f} s (goal {GOAL_S} s): {verdict}")
    sys.exit(0 if longest_s <= GOAL_S else 1)


if __name__ == "__main__":
    main()
