"""A device's first sample of long ago: ``python -m benchmarks long_ago``.

50 substations and their plant speak for half an hour every 10 s; then one that had not spoken yet brings a
sample of 40 days ago, as of a clock that was wrong once. All its windows since are computed, and those of its
network that follow. The embedded runtime does so in turns, DuckDB behind it; with each
of its passes a record comes live, and how long one waits at most is shown, with the whole time and how much
of it was CPU.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from pathlib import Path
from typing import Final

from benchmarks.leap import DAY_MS, START_MS, frames
from benchmarks.machine import machine

SUBSTATIONS: Final = 50


def sample(device: str, at_ms: int) -> bytes:
    """A frame with one sample of a substation. [ms UTC]"""
    import pyarrow as pa

    from models.frame import Frame, FrameKind, telemetry_schema

    row = {"device": device, "boot": 1, "seq": 1, "pos": 0, "t": at_ms, "supply_c": 80.0}
    batch = pa.RecordBatch.from_pylist([row], schema=telemetry_schema("substation"))
    return Frame(FrameKind.TELEMETRY, "substation", batch).encode()


def measure(days: float, substations: int) -> dict[str, float]:
    """Run once, in this process: how long a pass took at most, the whole, its CPU, and rows."""
    from journal.protocol import Append
    from journal.sqlite import SqliteJournal
    from models.frame import Frame
    from simulator.unit import demo_plan
    from store import restate
    from store.duckdb_series import DuckdbSeries
    from streams.runtime.local import LocalRuntime
    from streams.runtime.sqlite_checkpoints import SqliteCheckpoints

    site = demo_plan(1, substations, 0, START_MS)
    late = [d.device for d in site.devices.values() if d.device_class == "substation"][-1]
    stream, told = frames(substations, late)
    with tempfile.TemporaryDirectory() as name:
        home, stop = Path(name), threading.Event()
        now_ms = told[-1][0]
        journal, store = SqliteJournal(home / "j", lambda: now_ms), DuckdbSeries(home / "s")
        runtime = LocalRuntime(
            journal,
            store,
            SqliteCheckpoints(home / "c"),
            answer=lambda request: restate.answer(store, request),
        )
        journal.append([Append(stream, frame, at) for at, frame in told])
        while runtime.pass_once(stop):
            pass
        rows = sum(store.counts().values())
        journal.append([Append(stream, sample(late, now_ms - round(days * DAY_MS)), now_ms)])
        waits: list[float] = []
        began, cpu, came = time.monotonic(), time.process_time(), time.monotonic()
        while runtime.pass_once(stop) or any(runtime.status.restating.values()):
            since = time.monotonic()
            waits.append(since - came)
            came, now_ms = since, told[-1][0] + round(1000 * (since - began))
            if any(runtime.status.restating.values()):
                journal.append([Append(stream, Frame.heartbeat().encode(), now_ms)])
        whole, spent = time.monotonic() - began, time.process_time() - cpu
        rows = sum(store.counts().values()) - rows
    return {"longest_s": max(waits), "seconds": whole, "cpu_s": spent, "passes": len(waits), "rows": rows}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.long_ago",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--days", type=float, default=40.0, help="how long ago the sample is")
    parser.add_argument("--substations", type=int, default=SUBSTATIONS, help="how many, with one plant")
    options = parser.parse_args()
    print(f"machine: {machine()}", flush=True)
    m = measure(options.days, options.substations)
    print(
        f"a sample of {options.days:g} days ago, {options.substations} substations: {m['rows']:,.0f} rows "
        f"after {m['seconds']:.1f} s, {m['cpu_s']:.1f} s of CPU; a live record waits for "
        f"{m['longest_s']:.2f} s at most ({m['passes']:.0f} passes)"
    )
    print(f"machine at the end: {machine()}")


if __name__ == "__main__":
    main()
