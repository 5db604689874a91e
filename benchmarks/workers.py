"""A Kafka filled with frames of a recording, and workers on it, for benchmarks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq
from confluent_kafka import KafkaException

from benchmarks.load import cpu_s, values
from hearthline.site_dir import open_site
from ingest.decode import Decoder
from ingest.history import read_history
from ingest.service import registry_frame
from journal.kafka import BEGINNING_MS
from journal.replay_files import read_recordings
from streams.runtime.faust_settings import WorkerSettings
from streams.runtime.faust_topics import create_topics
from tests.support.influxd import Influxd
from tests.support.real_kafka import RealKafka
from tests.support.system import Program

__all__ = [
    "TOPIC", "Workers", "append", "fill", "framed", "influxd_in", "kafka_in", "recorded", "register", "until",
]  # fmt: skip

TOPIC: Final = "frames"
_T0: Final = 1_767_225_600_000
_STEP_MS: Final = 10_000


def kafka_in(home: Path, stack: ExitStack, *, append_time: bool = False) -> RealKafka:
    """A broker with the topics of frames."""
    (home / "kafka").mkdir()
    kafka = RealKafka(home / "kafka")
    stack.callback(kafka.close)
    create_topics(WorkerSettings(kafka.bootstrap, partitions=kafka.partitions), append_time=append_time)
    return kafka


def influxd_in(home: Path, stack: ExitStack) -> tuple[Influxd, list[object]]:
    """An empty InfluxDB, and what a worker is told to use it."""
    (home / "influxd").mkdir()
    influxd = stack.enter_context(Influxd(home / "influxd"))
    (home / "token").write_text(Influxd.token)
    (home / "c.toml").write_text(
        f'influx_org = "{Influxd.org}"\ninflux_bucket = "{Influxd.bucket}"\n'
        f'influx_token_file = "{home / "token"}"\n'
    )
    return influxd, ["--influx", influxd.url, "--config", home / "c.toml"]


def recorded(home: Path, units: int, devices: int, steps: int, prefix: str = "u") -> tuple[Path, Path]:
    """A site and a recording of it: every device each ten seconds; `prefix` begins the units' names."""
    site = home / "site"
    site.mkdir(parents=True)
    text = '[site]\nid = "load"\nname = "load"\ntimezone = "Asia/Shanghai"\nlateness_s = 900\n'
    text += '[[region]]\nid = "r"\nname = "r"\n'
    text += "".join(
        f'[[unit]]\nid = "{prefix}{u}"\nregion = "r"\nname = "{prefix}{u}"\n' for u in range(units)
    )
    (site / "site.toml").write_text(text)
    names = [(f"{prefix}{u}", f"{prefix}{u}d{d}") for u in range(units) for d in range(devices)]
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
    register(kafka, site)
    frames = framed(site, recording)
    append(kafka, frames)
    return len(frames)


def register(kafka: RealKafka, site: Path) -> list[str]:
    """Tell each stream of the site what devices there are; gives the streams."""
    opened = open_site(site)
    append(kafka, [(stream, registry_frame(opened).encode(), BEGINNING_MS) for stream in opened.streams])
    return list(opened.streams)


def framed(site: Path, recording: Path) -> list[tuple[str, bytes, int]]:
    """Stream, frame and time of each record that ingest would make of the recording. [ms UTC]"""
    chapters = read_history(read_recordings([recording]), Decoder(open_site(site)))
    return [(p.stream, p.frame.encode(), p.timestamp_ms) for chapter in chapters for p in chapter.placed]


def append(kafka: RealKafka, frames: Iterable[tuple[str, bytes, int]]) -> None:
    """Have Kafka keep frames."""
    for stream, frame, at_ms in frames:
        kafka.append(TOPIC, stream, frame, at_ms)
    kafka.flush()


class Workers:
    """Workers of a group of their own, and the processor time that they took."""

    def __init__(self, home: Path, kafka: RealKafka, group: str, *, clock: str = "data"):
        self._home, self._kafka, self.group, self._clock = home, kafka, group, clock
        settings = WorkerSettings(kafka.bootstrap, partitions=kafka.partitions, group=group)
        create_topics(settings, append_time=False)
        self.programs: list[Program] = []

    def start(self, name: str, *store: object) -> None:
        """Start one more."""
        words = ["--kafka", self._kafka.bootstrap, "--partitions", self._kafka.partitions]
        words += ["--clock", self._clock, "--group", self.group, "--checkpoint-s", 2, *store]
        self.programs.append(Program(self._home / f"{self.group}-{name}", "worker", *words))

    def ready(self) -> None:
        """Wait until one has taken a record in."""
        until(lambda: any("goes on after" in p.err for p in self.programs))

    def done(self) -> None:
        """Wait until every record that is there now is under a checkpoint."""
        ends = self._kafka.ends(TOPIC)
        until(lambda: self._caught_up(ends))

    def cpu_s(self) -> float:
        """Processor seconds that they took so far."""
        return sum(self.each_cpu_s())

    def each_cpu_s(self) -> list[float]:
        """The same, worker by worker."""
        return [cpu_s(program.process.pid) for program in self.programs]

    def _caught_up(self, ends: dict[int, int]) -> bool:
        try:
            done = self._kafka.committed(self.group, TOPIC)
            return all(done.get(partition, 0) >= end for partition, end in ends.items())
        except KafkaException:
            return False  # a broker that has just made the group does not answer yet

    def kill(self) -> None:
        """End them as a power cut would."""
        for program in self.programs:
            program.kill()
        self.programs = []


def until(condition: Callable[[], bool], seconds: float = 600.0) -> None:
    """Wait for a condition; SystemExit when it does not come."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"not within {seconds} s")
        time.sleep(0.1)
