"""Workers over a real Kafka beside the embedded mode: ``python -m benchmarks distributed``.

The same recording is replayed embedded, then computed from Kafka with all operators: by one worker into
DuckDB, by one into InfluxDB, by two into a DuckDB each. A sample has 18 values. Beside it: `worker_chain`
(from Mosquitto on), `worker_pair` (two where one is too slow), `worker_recovery` (restart by size of state).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.load import cpu_s
from benchmarks.machine import machine
from benchmarks.workers import Workers, fill, influxd_in, kafka_in, recorded
from tests.support.system import run


def timed(workers: Workers, stores: list[list[object]]) -> tuple[float, float]:
    """Seconds from the first record to the last checkpoint, others' joining included; of CPU too."""
    for number, store in enumerate(stores):
        workers.start(f"w{number}", *store)
    workers.ready()
    began, before = time.monotonic(), workers.cpu_s()
    workers.done()
    return time.monotonic() - began, workers.cpu_s() - before


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--units", type=int, default=8)
    parser.add_argument("--devices", type=int, default=100, help="of each unit")
    parser.add_argument("--steps", type=int, default=100, help="samples of each device")
    options = parser.parse_args()
    print(f"machine: {machine()}")
    samples = options.units * options.devices * options.steps
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        site, recording = recorded(home, options.units, options.devices, options.steps)
        done = run("replay", recording, "--site", site, "--out", home / "replayed", "--json", timeout=600)
        embedded_s = json.loads(done.stdout)["seconds"]
        report("embedded replay", samples, embedded_s, None, embedded_s)
        kafka = kafka_in(home, stack)
        print(f"{fill(kafka, site, recording)} frames in Kafka")
        first = Workers(home, kafka, "one")
        stack.callback(first.kill)
        report("one worker, DuckDB", samples, *timed(first, [["--duckdb", home / "one.db"]]), embedded_s)
        first.kill()
        two = Workers(home, kafka, "two")
        stack.callback(two.kill)
        stores: list[list[object]] = [["--duckdb", home / "a.db"], ["--duckdb", home / "b.db"]]
        report("two workers, a DuckDB each", samples, *timed(two, stores), embedded_s)
        two.kill()
        influxd, words = influxd_in(home, stack)
        third = Workers(home, kafka, "influx")
        stack.callback(third.kill)
        server = influxd.pid
        before = cpu_s(server)
        report("one worker, InfluxDB", samples, *timed(third, [words]), embedded_s)
        print(f"InfluxDB: {(cpu_s(server) - before) / samples * 1e6:.1f} µs of its CPU a sample")


def report(what: str, samples: int, seconds: float, cpu: float | None, embedded_s: float) -> None:
    """One line."""
    told = "" if cpu is None else f", {cpu / samples * 1e6:.1f} µs of their CPU a sample"
    print(
        f"{what}: {samples:,} samples in {seconds:.1f} s from the first record: {samples / seconds:,.0f}"
        f" samples/s, {18 * samples / seconds:,.0f} values/s{told}; {embedded_s / seconds:.2f} of embedded",
        flush=True,
    )


if __name__ == "__main__":
    main()
