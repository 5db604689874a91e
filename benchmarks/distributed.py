"""Workers over a real Kafka beside the embedded mode: ``python -m benchmarks distributed``.

The same recording is replayed embedded, then computed from Kafka with all operators: by one worker into
DuckDB, by one into InfluxDB, by two into a DuckDB each. Then a worker is killed and started again, and the
time to its next checkpoint is taken beside the size of its state. A sample has 18 values.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path
from typing import Final

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from confluent_kafka import KafkaException

from benchmarks.load import values
from benchmarks.machine import machine
from hearthline.site_dir import open_site
from ingest.decode import Decoder
from ingest.history import read_history
from ingest.service import registry_frame
from journal.kafka import BEGINNING_MS
from journal.replay_files import read_recordings
from models.frame import Frame
from streams.runtime.faust_settings import WorkerSettings
from streams.runtime.faust_topics import create_topics
from tests.support.influxd import Influxd
from tests.support.real_kafka import RealKafka
from tests.support.system import Program, run

_T0: Final = 1_767_225_600_000
_STEP_MS: Final = 10_000
_TOPIC: Final = "frames"


def recorded(home: Path, units: int, devices: int, steps: int) -> tuple[Path, Path]:
    """A site and a recording of it: every device each ten seconds."""
    site = home / "site"
    site.mkdir()
    text = '[site]\nid = "load"\nname = "load"\ntimezone = "Asia/Shanghai"\nlateness_s = 900\n'
    text += '[[region]]\nid = "r"\nname = "r"\n'
    text += "".join(f'[[unit]]\nid = "u{u}"\nregion = "r"\nname = "u{u}"\n' for u in range(units))
    (site / "site.toml").write_text(text)
    names = [(f"u{u}", f"u{u}d{d}") for u in range(units) for d in range(devices)]
    rows = "".join(f"{d},substation,{u},10\n" for u, d in names)
    (site / "devices.csv").write_text(f"device,class,unit,interval_s\n{rows}")
    bodies = cycle(values())
    topics, payloads, times = [], [], []
    for step in range(steps):
        t = _T0 + step * _STEP_MS
        for unit, device in names:
            topics.append(f"hearthline/v1/r/{unit}/{device}/telemetry")
            payloads.append(f'{{"boot":1,"seq":{step + 1},"samples":[{{"t":{t},{next(bodies)}}}]}}')
            times.append(t + 500)
    file = home / "recording.parquet"
    pq.write_table(pa.table({"topic": topics, "payload": payloads, "received_ms": times}), file)
    return site, file


def fill(kafka: RealKafka, site: Path, recording: Path) -> int:
    """Frames as ingest makes them when it catches up; how many."""
    opened, count = open_site(site), 0
    for stream in opened.streams:
        kafka.append(_TOPIC, stream, registry_frame(opened).encode(), BEGINNING_MS)
    for chapter in read_history(read_recordings([recording]), Decoder(opened)):
        for placed in chapter.placed:
            kafka.append(_TOPIC, placed.stream, placed.frame.encode(), placed.timestamp_ms)
            count += 1
    kafka.flush()
    return count


class Workers:
    """Workers of a group of their own, and the processor time that they took."""

    def __init__(self, home: Path, kafka: RealKafka, group: str):
        self._home, self._kafka, self.group = home, kafka, group
        settings = WorkerSettings(kafka.bootstrap, partitions=kafka.partitions, group=group)
        create_topics(settings, append_time=False)
        self.programs: list[Program] = []

    def start(self, name: str, *store: object) -> None:
        """Start one more."""
        words = ["--kafka", self._kafka.bootstrap, "--partitions", self._kafka.partitions, "--clock", "data"]
        words += ["--group", self.group, "--checkpoint-s", 2, *store]
        self.programs.append(Program(self._home / f"{self.group}-{name}", "worker", *words))

    def ready(self) -> None:
        """Wait until one has taken a record in."""
        _until(lambda: any("goes on after" in p.err for p in self.programs))

    def done(self) -> None:
        """Wait until every record is under a checkpoint."""
        _until(self._caught_up)

    def cpu_s(self) -> float:
        """Processor seconds that they took so far."""
        cpu = [psutil.Process(p.process.pid).cpu_times() for p in self.programs]
        return sum(c.user + c.system for c in cpu)

    def _caught_up(self) -> bool:
        try:
            return self._kafka.committed(self.group, _TOPIC) == self._kafka.ends(_TOPIC)
        except KafkaException:
            return False  # a broker that has just made the group does not answer yet

    def kill(self) -> None:
        """End them as a power cut would."""
        for program in self.programs:
            program.kill()
        self.programs = []


def _until(condition: Callable[[], bool], seconds: float = 600.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"not within {seconds} s")
        time.sleep(0.1)


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
        (home / "kafka").mkdir()
        kafka = RealKafka(home / "kafka")
        stack.callback(kafka.close)
        create_topics(WorkerSettings(kafka.bootstrap, partitions=kafka.partitions), append_time=False)
        print(f"{fill(kafka, site, recording)} frames in Kafka")
        first = Workers(home, kafka, "one")
        stack.callback(first.kill)
        report("one worker, DuckDB", samples, *timed(first, [["--duckdb", home / "one.db"]]), embedded_s)
        recovery(first, kafka, home)
        first.kill()
        two = Workers(home, kafka, "two")
        stack.callback(two.kill)
        stores: list[list[object]] = [["--duckdb", home / "a.db"], ["--duckdb", home / "b.db"]]
        report("two workers, a DuckDB each", samples, *timed(two, stores), embedded_s)
        two.kill()
        (home / "influxd").mkdir()
        influxd = stack.enter_context(Influxd(home / "influxd"))
        (home / "token").write_text(Influxd.token)
        (home / "c.toml").write_text(
            f'influx_org = "{Influxd.org}"\ninflux_bucket = "{Influxd.bucket}"\n'
            f'influx_token_file = "{home / "token"}"\n'
        )
        third = Workers(home, kafka, "influx")
        stack.callback(third.kill)
        words: list[object] = ["--influx", influxd.url, "--config", home / "c.toml"]
        report("one worker, InfluxDB", samples, *timed(third, [words]), embedded_s)


def recovery(workers: Workers, kafka: RealKafka, home: Path) -> None:
    """From a kill to the next checkpoint, and the state that was restored meanwhile."""
    workers.kill()
    changelog = f"{workers.group}-checkpoints-changelog"
    size = sum(len(kept.value or b"") for kept in kafka.read(changelog))
    kafka.append(_TOPIC, "u0", Frame.heartbeat().encode(), BEGINNING_MS)
    kafka.flush()
    began = time.monotonic()
    workers.start("again", "--duckdb", home / "one.db")
    workers.ready()
    first_s = time.monotonic() - began
    workers.done()
    print(
        f"killed and started again: {first_s:.1f} s to the first record, {time.monotonic() - began:.1f} s to"
        f" its checkpoint; {size / 1e6:.1f} MB of changelog"
    )


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
