"""How soon a killed worker computes again, by size of state: ``python -m benchmarks worker_recovery``.

Devices with open windows are added until a worker holds the state of each number asked for. Then it is killed
and another started: the time until it has taken a record in, until it has restored every partition and
computed a record of each, and until those are under a checkpoint.
The dead one's session (6 s) is part of each.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from benchmarks.machine import machine
from benchmarks.workers import Workers, append, fill, kafka_in, recorded, until
from journal.kafka import BEGINNING_MS
from models.frame import Frame
from tests.support.real_kafka import RealKafka

_UNITS: Final = 2  # for each size


def live(kafka: RealKafka, group: str) -> tuple[int, int]:
    """Bytes of the checkpoints' topic as it is read back, and of what of it stands."""
    kept = kafka.read(f"{group}-checkpoints-changelog")
    newest = {record.key: len(record.value or b"") for record in kept}
    return sum(len(record.value or b"") for record in kept), sum(newest.values())


def restored(workers: Workers) -> set[str]:
    """Partitions that the last started worker has gone on with."""
    lines = workers.programs[-1].err.splitlines()
    return {line.split("partition ")[1].split(":")[0] for line in lines if "goes on after" in line}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--devices", type=int, nargs="+", default=[10, 100, 1_000, 5_000])
    parser.add_argument("--steps", type=int, default=20, help="samples of each device")
    options = parser.parse_args()
    print(f"machine: {machine()}", flush=True)
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        kafka = kafka_in(home, stack)
        workers = Workers(home, kafka, "again")
        stack.callback(workers.kill)
        store = ("--duckdb", home / "again.db")
        workers.start("first", *store)
        held = 0
        for size in options.devices:
            units = min(_UNITS, size)
            each = max(1, (size - held) // units)
            site, recording = recorded(home / str(size), units, each, options.steps, f"s{size}u")
            fill(kafka, site, recording)
            held += units * each
            workers.done()
            again(workers, kafka, held, store)


def again(workers: Workers, kafka: RealKafka, held: int, store: tuple[object, ...]) -> None:
    """Kill the worker, start another and print how soon after the kill it goes on."""
    read, size = live(kafka, workers.group)
    streams = {record.partition: record.key.decode() for record in kafka.read("frames")}
    beat = Frame.heartbeat().encode()
    workers.kill()
    began = time.monotonic()
    append(kafka, [(stream, beat, BEGINNING_MS) for stream in streams.values()])
    workers.start(f"w{held}", *store)
    until(lambda: bool(restored(workers)))
    first_s = time.monotonic() - began
    until(lambda: len(restored(workers)) == len(streams))
    all_s = time.monotonic() - began
    cpu = workers.cpu_s()
    workers.done()
    print(
        f"{held:,} devices, {size / 1e6:.2f} MB of checkpoints in {len(streams)} partitions"
        f" ({read / 1e6:.1f} MB of topic read): first record after {first_s:.1f} s,"
        f" all partitions after {all_s:.1f} s"
        f" ({cpu:.1f} s of CPU), checkpoint after {time.monotonic() - began:.1f} s",
        flush=True,
    )


if __name__ == "__main__":
    main()
