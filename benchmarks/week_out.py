"""A collector of 20 devices cut off for a week: ``python -m benchmarks.week_out``.

20 substations of 18 values every 10 s, a heating station's series (see `benchmarks.wire_bytes`), gathered for
ten minutes into a message, into an outbox that may hold 80 MB: once every sample, once by exception. Time is
compressed: samples go through the collector's own intake as fast as it takes them, a message of each device
in a transaction. Then the network is back, and the whole backlog goes to `hearthline up` through Mosquitto.
Shown are the size of the file, what was thinned, how long the delivery took and the server's ledger.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.load import site_texts
from benchmarks.machine import machine
from benchmarks.running import mosquitto, running
from benchmarks.wire_bytes import BANDS, EVERY_S, HEARTBEAT_S, station
from edge.config import DeviceConfig, MqttConfig, ReportConfig
from edge.driver import Reading
from edge.exceptions import Exceptions
from edge.outbox import OutboxFile
from edge.run import Fleet

GOAL_MB, ROOM_MB = 100.0, 80.0
LEDGER_S = 600.0  # the server has to restate a week; its ledger follows
DEVICES, GATHER = 20, 60
BATCH_S = GATHER * EVERY_S


class Ended:
    """A driver with nothing more to give."""

    exhausted = True

    def read(self, now_ms: int) -> list[Reading]:  # noqa: ARG002  a driver's signature
        """Nothing."""
        return []

    def close(self) -> None:
        """Nothing to release."""


def fill(directory: Path, days: float, *, by_exception: bool) -> tuple[int, int]:
    """Fill an outbox with what was taken in `days` up to now; samples taken, and kept in messages."""
    from ingest.clock import wall_clock

    now_ms = wall_clock()
    count = int(days * 86_400 / EVERY_S)
    first_ms = now_ms - count * EVERY_S * 1000
    file = OutboxFile(
        directory / "outbox.sqlite", boot_ms=first_ms, max_bytes=int(ROOM_MB * 1e6), say=lambda _line: None
    )
    report = ReportConfig(heartbeat_s=HEARTBEAT_S, dead_band=BANDS)
    selects = [Exceptions(report) for _ in range(DEVICES)]
    seeds = np.random.default_rng(7).spawn(DEVICES)
    kept, per_day = 0, int(86_400 / EVERY_S)
    for day in range(0, count, per_day):
        series = [station(rng, min(per_day, count - day)) for rng in seeds]
        for start in range(0, len(series[0]), GATHER):
            with file.group():
                for number, readings in enumerate(series):
                    part = readings[start : start + GATHER]
                    shift = first_ms + (day * EVERY_S * 1000) - series[0][0].t_ms
                    moved = [Reading(r.t_ms + shift, r.values) for r in part]
                    chosen = selects[number].select(moved) if by_exception else moved
                    kept += len(chosen)
                    if chosen:
                        file.outbox(f"d{number:05}").put([(r.t_ms, r.values) for r in chosen])
    file.close()
    return count * DEVICES, kept


def deliver(directory: Path, url: str) -> tuple[dict[str, Any], float]:
    """Send all of it; what every outbox held at the end, and how long it took. [s]"""
    devices = [
        DeviceConfig.model_validate({
            "id": f"d{n:05}", "region": "r", "unit": "load", "class": "substation", "interval_s": EVERY_S,
        })
        for n in range(DEVICES)
    ]  # fmt: skip
    fleet = Fleet(
        [(device, Ended()) for device in devices], MqttConfig(url=url), directory, say=lambda _line: None
    )
    began = time.monotonic()
    fleet.run(threading.Event())
    return fleet.final, time.monotonic() - began


def run(days: float, *, by_exception: bool) -> bool:
    with tempfile.TemporaryDirectory() as name, mosquitto() as broker:
        began = time.monotonic()
        taken, kept = fill(Path(name), days, by_exception=by_exception)
        size_mb = sum(f.stat().st_size for f in Path(name).glob("outbox.sqlite*")) / 1e6
        filled_s = time.monotonic() - began
        with running(site_texts(DEVICES), broker) as server:
            final, seconds = deliver(Path(name), broker.url)
            sent = sum(box["next_seq"] - 1 for box in final.values())
            deadline = time.monotonic() + LEDGER_S
            ledger: dict[str, int] = {"sent": -1}
            while time.monotonic() < deadline and (
                ledger["sent"] != sent or ledger["stored"] + ledger["thinned"] != sent
            ):
                time.sleep(2.0)
                ledger = server.get("/api/status")["ledger"]
    share = f"{100 * kept / taken:.0f} %" if by_exception else "every one"
    print(f"{days:g} days, {DEVICES} devices: {taken:,} samples taken, {share} reported")
    print(f"  outbox {size_mb:.1f} MB on disk, filled in {filled_s:.0f} s; goal below {GOAL_MB:.0f} MB")
    waiting = sum(len(box["waiting"]) for box in final.values())
    print(f"  delivered in {seconds:.0f} s, ranges still waiting {waiting}; ledger {json.dumps(ledger)}")
    whole = ledger["sent"] == sent and ledger["stored"] + ledger["thinned"] == sent
    return size_mb < GOAL_MB and whole and ledger["unaccounted"] == 0 and waiting == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--days", type=float, default=7.0)
    parser.add_argument("--only", choices=["exception", "every"], help="one of the two runs")
    options = parser.parse_args()
    print(f"machine: {machine()}", flush=True)
    runs = {"exception": True, "every": False}
    met = [
        run(options.days, by_exception=by_exception)
        for name, by_exception in runs.items()
        if options.only in (None, name)
    ]
    print(f"machine at the end: {machine()}")
    print("met" if all(met) else "MISSED")
    sys.exit(0 if all(met) else 1)


if __name__ == "__main__":
    main()
