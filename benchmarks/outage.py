"""A collector that was cut off for a day comes back: ``python -m benchmarks.outage``.

Its outbox holds a message for every 10 s of the last 24 hours, 8,640 of them, when the network between
it and the broker returns; meanwhile it goes on to take a sample each second. Measured by the times
of the journal's records: how late live samples are, and when the last of the backlog is in. Server,
broker and collector are processes; between collector and broker stands a proxy that cuts and delays.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from benchmarks.machine import machine

INTERVAL_S = 10
LIVE_S = 1.0
GOAL_LATE_S, GOAL_BACKLOG_S = 5.0, 60.0
CUT_S = 5.0
PATIENCE_S = 240.0
DEVICE, CLASS = "sub-1", "substation"
COLUMNS = (
    "broker", "latency, ms", "backlog, messages", "in the outbox, MB", "first message after, s",
    "live samples", "late at most, s", "median, s", "backlog in after, s", "messages/s", "sent twice",
)  # fmt: skip


def site_texts() -> dict[str, str]:
    """One substation."""
    return {
        "site.toml": (
            '[site]\nid = "s"\nname = "outage"\ntimezone = "Asia/Shanghai"\n'
            '[[region]]\nid = "r"\nname = "r"\n[[unit]]\nid = "u"\nregion = "r"\nname = "u"\n'
        ),
        "devices.csv": f"device,class,unit,interval_s\n{DEVICE},{CLASS},u,{INTERVAL_S}\n",
    }


def values(rng: np.random.Generator) -> dict[str, float]:
    """A sample of every measurement of a substation."""
    from models.measurements import of_class

    return {m.name: round(float(rng.uniform(1, 100)), 2) for m in of_class(CLASS)}


class Now:
    """A driver that measures now, whenever it is asked."""

    exhausted = False

    def __init__(self) -> None:
        self._rng = np.random.default_rng(2)

    def read(self, now_ms: int) -> Sequence[Any]:
        """One sample."""
        from edge.driver import Reading

        return [Reading(now_ms, values(self._rng))]

    def close(self) -> None:
        """Nothing to release."""


def fill(directory: Path, messages: int, first_ms: int) -> int:
    """An outbox as the outage left it; its size in bytes."""
    from edge.outbox import OutboxFile

    file = OutboxFile(directory / "outbox.sqlite", boot_ms=first_ms, max_bytes=64_000_000)
    outbox, rng = file.outbox(DEVICE), np.random.default_rng(1)
    with file.group():
        for number in range(messages):
            outbox.put([(first_ms + number * INTERVAL_S * 1000, values(rng))])
    size = file.bytes
    file.close()
    return size


def collect(url: str, directory: Path, stop: Any) -> None:
    """Be the collector until told to stop."""
    from edge.config import DeviceConfig, MqttConfig
    from edge.run import Fleet

    device = DeviceConfig.model_validate(
        {"id": DEVICE, "region": "r", "unit": "u", "class": CLASS, "interval_s": LIVE_S, "driver": "csv"}
    )
    done = threading.Event()

    def end_when_told() -> None:
        stop.wait()
        done.set()

    threading.Thread(target=end_when_told, daemon=True).start()
    fleet = Fleet([(device, Now())], MqttConfig(url=url), directory, say=lambda _line: None)
    fleet.run(done)


@dataclass(frozen=True)
class Measured:
    """One return.

    Attributes
    ----------
    back_s : float
        From the network's return until the first message is journalled. [s]
    late_s : ndarray
        By live sample taken since: how long until it was journalled. [s]
    backlog_s : float
        From the first message until the last of the backlog. [s]
    backlog, journalled : int
        Messages of the backlog; messages in the journal, duplicates among them.
    outbox_bytes : int
    """

    back_s: float
    late_s: np.ndarray
    backlog_s: float
    backlog: int
    journalled: int
    outbox_bytes: int


def samples(data: Path) -> tuple[np.ndarray, np.ndarray]:
    """Of every journalled sample its time and that of its record. [ms UTC]"""
    from ingest.clock import wall_clock
    from journal.sqlite import FILE_NAME, SqliteJournal
    from models.frame import Frame, FrameKind

    journal = SqliteJournal(data / FILE_NAME, wall_clock)
    taken, kept = [], []
    for record in journal.scan():
        frame = Frame.decode(record.frame)
        if frame.kind is FrameKind.TELEMETRY:
            times = frame.batch.column("t").to_numpy(zero_copy_only=False).astype(np.int64)
            taken.append(times)
            kept.append(np.full(len(times), record.timestamp_ms, dtype=np.int64))
    journal.close()
    return np.concatenate(taken), np.concatenate(kept)


def measure(*, inside: bool, hours: float, latency_s: float, live_s: float) -> Measured:
    """Cut off, come back, and read the journal."""
    from tests.support.fault_proxy import FaultProxy, Faults
    from tests.support.mosquitto import Mosquitto
    from tests.support.system import Server, write_site

    messages = round(hours * 3600 / INTERVAL_S)
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        site = write_site(home / "site", site_texts())
        broker = None if inside else stack.enter_context(Mosquitto()).url
        server = stack.enter_context(Server(home / "up", site, broker))
        server.ready_for_messages()
        proxy = stack.enter_context(FaultProxy(urlsplit(broker or server.broker).port or 1883))
        proxy.switch(Faults(refuse=True))
        size = fill(home / "outbox", messages, int(time.time() * 1000) - int(hours * 3_600_000) - 60_000)
        stop = multiprocessing.Event()
        collector = multiprocessing.Process(
            target=collect, args=(proxy.url, home / "outbox", stop), daemon=True
        )
        collector.start()
        stack.callback(collector.kill)
        time.sleep(CUT_S)
        began_ms = int(time.time() * 1000)
        proxy.switch(Faults(latency_s=latency_s))
        end = time.monotonic() + PATIENCE_S
        while server.status()["ledger"]["stored"] < messages and time.monotonic() < end:
            time.sleep(1.0)
        time.sleep(live_s)
        stop.set()
        collector.join(20)
        server.stop()
        taken, kept = samples(server.data)
    old = taken < began_ms - int(CUT_S * 1000) - 30_000
    back_ms = int(kept.min())
    live = taken >= back_ms
    distinct = len(np.unique(taken[old]))
    if distinct < messages:
        raise SystemExit(f"expected {messages} messages of the backlog in {PATIENCE_S:.0f} s, got {distinct}")
    _, first = np.unique(taken[old], return_index=True)
    return Measured(
        (back_ms - began_ms) / 1000,
        (kept[live] - taken[live]) / 1000,
        (int(kept[old][first].max()) - back_ms) / 1000,
        distinct, len(taken), size,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hours", type=float, default=24.0, help="how long it was cut off")
    parser.add_argument(
        "--latency", type=float, default=0.05, help="of the network, each way; also without [s]"
    )
    parser.add_argument("--live", type=float, default=10.0, help="how long to go on after the backlog [s]")
    options = parser.parse_args()
    print(machine())
    print(f"| {' | '.join(COLUMNS)} |\n|---|{'---:|' * (len(COLUMNS) - 1)}")
    reached = True
    for latency_s in dict.fromkeys((0.0, options.latency)):
        for inside in (False, True):
            got = measure(inside=inside, hours=options.hours, latency_s=latency_s, live_s=options.live)
            late_s = float(got.late_s.max())
            reached = reached and late_s < GOAL_LATE_S and got.backlog_s < GOAL_BACKLOG_S
            twice = got.journalled - got.backlog - len(got.late_s)
            print(f"| {'inside' if inside else 'Mosquitto'} | {1000 * latency_s:.0f} | {got.backlog:,} "
                  f"| {got.outbox_bytes / 1e6:.1f} | {got.back_s:.1f} | {len(got.late_s)} | {late_s:.2f} "
                  f"| {float(np.median(got.late_s)):.2f} | {got.backlog_s:.1f} "
                  f"| {got.backlog / got.backlog_s:,.0f} | {twice} |", flush=True)  # fmt: skip
    verdict = "reached" if reached else "missed"
    print(
        f"goal: live under {GOAL_LATE_S:.0f} s late, the backlog in within {GOAL_BACKLOG_S:.0f} s: {verdict}"
    )


if __name__ == "__main__":
    main()
