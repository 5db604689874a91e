"""The distributed mode as it is run: Mosquitto, ingest, Kafka, workers, InfluxDB; and what replay gives beside it."""

from __future__ import annotations

import contextlib
import json
import math
import re
import time
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Self

import paho.mqtt.client as mqtt
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from confluent_kafka import ConsumerGroupState, KafkaException
from confluent_kafka.admin import AdminClient
from paho.mqtt.enums import CallbackAPIVersion

from hearthline.parts_told import PART
from hearthline.site_dir import open_site
from models.frame import Frame
from store.influx_series import InfluxSeries
from store.protocol import Select, SeriesStore
from streams.runtime.faust_app import EXIT_RESTART
from streams.runtime.faust_settings import WorkerSettings
from streams.runtime.faust_topics import create_topics
from tests.support.chain_feed import GROUP, TOPIC, caught_up
from tests.support.influxd import Influxd
from tests.support.mosquitto import Mosquitto
from tests.support.real_kafka import RealKafka
from tests.support.simulated_cases import simulated
from tests.support.system import Program, run

__all__ = [
    "AFTER_MS",
    "BOTH",
    "Chain",
    "Day",
    "Rows",
    "differences",
    "replayed",
    "rows_of",
    "with_heartbeats",
]

Rows = dict[str, dict[tuple[str, int], dict[str, Any]]]
"""Rows by measurement, then by key and start (ms UTC)."""

_HOUR_MS: Final = 3_600_000
AFTER_MS: Final = (_HOUR_MS, 6 * _HOUR_MS, 25 * _HOUR_MS)
"""When after its last message a stream's now is moved on: past lateness, past a local day's end. [ms]"""
_OF_THE_WAY: Final = frozenset({"revision", "offset", "received_ms"})
"""Fields that tell by which way a row came about: how often rewritten, which record held it and when."""
_WENT_ON: Final = re.compile(r"partition (\d+): epoch \d+ goes on after record (-?\d+)")
_HISTORIES: Final = frozenset({"restatement", PART})  # how often it was said, and by which processes


class Chain:
    """All parts on loopback, empty at first; workers and ingests end with it."""

    def __init__(self, home: Path, site: Path):
        self.site, self.home = site, home
        self.kafka = RealKafka(_made(home / "kafka"))
        self._admin = AdminClient({"bootstrap.servers": self.kafka.bootstrap})
        settings = WorkerSettings(self.kafka.bootstrap, partitions=self.kafka.partitions)
        create_topics(settings, append_time=False)
        self.influxd = Influxd(_made(home / "influxd"))
        self.mosquitto = Mosquitto(persistence=True)
        (home / "token").write_text(Influxd.token)
        self._config = home / "hearthline.toml"
        self._config.write_text(
            f'influx_org = "{Influxd.org}"\ninflux_bucket = "{Influxd.bucket}"\n'
            f'influx_token_file = "{home / "token"}"\n'
        )
        self._ingests: dict[str, Program] = {}
        self._workers: dict[str, Program] = {}
        self._started: list[tuple[Program, dict[int, int]]] = []
        self._kept: dict[int, int] = {}
        self.left: list[str] = []

    def __enter__(self) -> Self:
        self.influxd.start()
        self.mosquitto.start()
        return self

    def __exit__(self, *_: object) -> None:
        for program in (*self._ingests.values(), *self._workers.values()):
            program.kill()
        self.mosquitto.__exit__()
        self.influxd.kill()
        self.kafka.close()

    def ingest(self, name: str = "i1") -> Program:
        """Start an ingest, or the killed one of that name again."""
        words = ["--site", self.site, "--mqtt", self.mosquitto.url, "--kafka", self.kafka.bootstrap]
        words += ["--clock", "data", "--group", "g", "--client-id", name]
        self._ingests[name] = Program(self.home / name, "ingest", *words)
        return self._ingests[name]

    def ingest_ready(self, name: str = "i1") -> None:
        """Wait until it listens."""
        self.until(lambda: "ok:" in self._ingests[name].out)

    def worker(self, name: str) -> Program:
        """Start a worker, or the one of that name again."""
        words = ["--kafka", self.kafka.bootstrap, "--influx", self.influxd.url, "--clock", "data"]
        words += ["--partitions", self.kafka.partitions, "--checkpoint-s", 0.5, "--config", self._config]
        kept = self._under_checkpoints()
        self._workers[name] = Program(self.home / name, "worker", *words)
        self._started.append((self._workers[name], kept))
        return self._workers[name]

    def _under_checkpoints(self) -> dict[int, int]:
        """The first record of each partition that no checkpoint has, as was last told."""
        with contextlib.suppress(KafkaException):  # away, or busy with the group: what is known still holds
            self._kept |= self.kafka.committed(GROUP, TOPIC)
        return dict(self._kept)

    def went_on(self) -> int:
        """How often a worker went on from a checkpoint; none that was there may have been passed over."""
        places = 0
        for program, kept in self._started:
            for partition, after in _WENT_ON.findall(program.err):
                first = kept.get(int(partition), 0)
                told = f"{program.process.args}: partition {partition} goes on after {after}"
                assert int(after) + 1 >= first, f"{told}, expected its checkpoint, {first - 1} at least"
                places += first > 0
        return places

    def kill_worker(self, name: str) -> None:
        """End it as a power cut would; nobody starts it again."""
        self._workers.pop(name).kill()

    def kill_and_start(self, victim: str, meanwhile: Sequence[tuple[str, bytes]]) -> None:
        """End `victim` as a power cut would, publish while it is away, and start it again."""
        if victim == "ingest":
            self._ingests["i1"].kill()
            self.publish(meanwhile)
            self.ingest()
        elif victim == "worker":
            self.until(self._under_checkpoints)  # one at least that the next has to go on from
            self.kill_worker("first")
            self.publish(meanwhile)
            self.worker("first")
        else:
            server = {"kafka": self.kafka, "influxd": self.influxd}[victim]
            server.kill()
            self.publish(meanwhile)
            server.start()

    def members(self) -> int:
        """Workers that Kafka has shared the partitions out among; 0 while it does so."""
        try:
            group = self._admin.describe_consumer_groups([GROUP])[GROUP].result(60)
        except (KafkaException, TimeoutError):
            return 0  # a broker that is busy with the group answers the next time
        return len(group.members) if group.state is ConsumerGroupState.STABLE else 0

    def said_by(self, worker: str) -> str:
        """What a worker has said since it was last started."""
        return self._workers[worker].err

    def supervise(self) -> None:
        """Start workers again that left as they may, keeping their last words; anything else is a fault."""
        for name, program in list(self._workers.items()):
            code = program.process.poll()
            if code is not None:
                telling = [x for x in program.err.splitlines() if "Connection refused" not in x]
                assert code == EXIT_RESTART, f"{name} ended with {code}:\n" + "\n".join(telling[-40:])
                self.left.append(program.err.strip().rpartition("\n")[2])
                self.worker(name)

    def until(self, condition: Any, seconds: float = 400) -> None:
        """Wait for `condition`, keeping workers up."""
        deadline = time.monotonic() + seconds
        while True:
            began = time.monotonic()
            if condition():
                return
            self.supervise()
            assert time.monotonic() < deadline, self.said()
            time.sleep(max(0.1, time.monotonic() - began))  # leaves half of a core to those waited for

    def signal(self, worker: str, number: int) -> None:
        """Send a worker a signal."""
        self._workers[worker].process.send_signal(number)

    def resident_mb(self) -> dict[str, float]:
        """Memory of each ingest and worker that is in use. [MB]"""
        programs = {**self._ingests, **self._workers}
        return {n: psutil.Process(p.process.pid).memory_info().rss / 1e6 for n, p in programs.items()}

    def said(self) -> str:
        """What the programs complained of."""
        programs = {**self._ingests, **self._workers}
        return "\n".join(f"{n}:\n{p.out[-500:]}\n{p.err[-2500:]}" for n, p in programs.items())

    def publish(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Publish in order at QoS 1, and wait until the broker has all."""
        client = mqtt.Client(CallbackAPIVersion.VERSION2)
        client.connect("127.0.0.1", self.mosquitto.port)
        client.loop_start()
        sent = [client.publish(topic, payload, qos=1) for topic, payload in messages]
        for one in sent:
            one.wait_for_publish(60)
            assert one.is_published()
        client.disconnect()
        client.loop_stop()

    def caught_up(self, messages: int, seconds: float = 400) -> None:
        """Wait until so many messages were journalled and every record is under a checkpoint."""
        self.until(lambda: self.journalled() >= messages, seconds)
        ends = None
        while ends != self.kafka.ends(TOPIC):  # workers add records of their own
            ends = self.kafka.ends(TOPIC)
            self.until(caught_up(self.kafka), seconds)
            time.sleep(1.5)  # a stream that falls quiet is told so after a second

    def journalled(self) -> int:
        """Different numbered messages in the topic."""
        seen: set[tuple[str, int, int]] = set()
        for kept in self.kafka.read(TOPIC):
            batch = Frame.decode(kept.value).batch
            if {"device", "boot", "seq"} <= set(batch.schema.names):
                seen.update(
                    zip(*(batch.column(n).to_pylist() for n in ("device", "boot", "seq")), strict=True)
                )
        return len(seen)

    def advance(self, streams: Iterable[str], end_ms: int) -> None:
        """Move each stream's now on as `with_heartbeats` does for a replay."""
        for after_ms in AFTER_MS:
            for stream in streams:
                self.kafka.append(TOPIC, stream, Frame.heartbeat().encode(), end_ms + after_ms)
            self.kafka.flush()
            self.caught_up(0)

    def rows(self) -> Rows:
        """Everything that InfluxDB holds, less what was withdrawn."""
        store = InfluxSeries(self.influxd.url, Influxd.org, Influxd.bucket, Influxd.token)
        try:
            return rows_of(store)
        finally:
            store.close()


STREAMS: Final = ("sim-haulage", "sim-unit-1")
BOTH: Final = frozenset({
    "device_heat", "device_water", "fuel_burnt", "fuel_heat", "fulfilment", "ledger", "network_heat",
    "network_water", "queue", "reading", "reconciled_heat", "track", "trip", "visit", "weighing",
})  # fmt: skip
"""Some of every kind of operator: windows, networks, learners, entities, of both streams."""


class Day:
    """A simulated unit with its haulage, and what a replay makes of its recording."""

    def __init__(self, out: Path, **options: Any):
        faults = options.pop("faults", ())
        simulated(out / "sim", *faults, **{"interval": 300, **options})
        self.site = out / "sim" / "site"
        telemetry = self.with_more(out / "sim" / "telemetry.parquet")
        self.streams = sorted(open_site(self.site).streams)
        assert set(STREAMS) <= set(self.streams)
        recording = out / "recording.parquet"
        self.messages, self.end_ms = with_heartbeats(telemetry, recording, self.streams)
        self.numbered = len({
            (topic, said["boot"], said["seq"])
            for topic, payload in self.messages
            if topic.endswith("/telemetry")
            for said in [json.loads(payload)]
        })  # fmt: skip
        self.rows = replayed(recording, self.site, out / "replayed")

    def with_more(self, telemetry: Path) -> Path:
        """The recording, with what else is to be in it; its devices go into `site`."""
        return telemetry

    def parts(self, count: int) -> list[list[tuple[str, bytes]]]:
        """Messages in `count` pieces, in order."""
        edges = [len(self.messages) * n // count for n in range(count + 1)]
        return [self.messages[a:b] for a, b in pairwise(edges)]

    def check(self, chain: Chain, names: frozenset[str] = BOTH) -> None:
        """Every row of every name equal; nothing unaccounted."""
        chain.caught_up(self.numbered)
        chain.advance(self.streams, self.end_ms)
        live = chain.rows()
        found = differences(self.rows, live)
        assert not found, f"{len(found)} differ:\n" + "\n".join(found[:20]) + chain.said()
        assert live.keys() >= names
        assert all(start > 0 for rows in live.values() for _, start in rows), "rows of the beginning of time"
        assert {row["unaccounted"] for row in live["ledger"].values()} == {0}
        assert sum(row["status"] == "provisional" for row in live["device_heat"].values()) == 0


def with_heartbeats(
    recording: Path, out: Path, streams: Iterable[str]
) -> tuple[list[tuple[str, bytes]], int]:
    """Write `recording` with heartbeats after its end; its messages in order, and its newest time (ms UTC)."""
    table = pq.read_table(recording, columns=["topic", "payload", "received_ms"])
    table = table.sort_by("received_ms") if table.num_rows else table
    end_ms = max(table["received_ms"].to_pylist())
    beats = [(json.dumps({"heartbeat": s}), end_ms + after) for after in AFTER_MS for s in streams]
    tail = {
        "topic": [""] * len(beats),
        "payload": [p for p, _ in beats],
        "received_ms": [t for _, t in beats],
    }
    plain = pa.schema([("topic", pa.string()), ("payload", pa.string()), ("received_ms", pa.int64())])
    pq.write_table(pa.concat_tables([table.cast(plain), pa.table(tail, schema=plain)]), out)
    topics, payloads = table["topic"].to_pylist(), table["payload"].to_pylist()
    return [
        (t, p.encode() if isinstance(p, str) else p) for t, p in zip(topics, payloads, strict=True)
    ], end_ms


def rows_of(store: SeriesStore) -> Rows:
    """Everything that `store` holds, less what was withdrawn."""
    return {name: _by_name(store.select(Select(name))) for name in store.counts()}


def replayed(recording: Path, site: Path, out: Path) -> Rows:
    """What the embedded mode's replay gives, less what was withdrawn."""
    run("replay", recording, "--site", site, "--out", out, timeout=600)
    tables = {path.stem: pq.read_table(path) for path in out.glob("*.parquet")}
    return {name: _by_name(table) for name, table in tables.items()}


def _by_name(table: pa.Table) -> dict[tuple[str, int], dict[str, Any]]:
    rows = {}
    for row in table.to_pylist():
        if row.get("status") != "withdrawn":
            # InfluxDB has no empty text and no null.
            rows[row["key"], row["window_start"]] = {
                n: v for n, v in row.items() if v not in (None, "") and n not in _OF_THE_WAY and not _nan(v)
            }
    return rows


def _nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def differences(settled: Rows, live: Rows) -> list[str]:
    """Every row and field in which `live` differs from what a replay `settled`, to the bit.

    A replay leaves out what is still provisional, and closes the open day of the ledger.
    """
    found = []
    for name in sorted((settled.keys() | live.keys()) - _HISTORIES):
        mine, theirs = settled.get(name, {}), live.get(name, {})
        for key in sorted(mine.keys() | theirs.keys()):
            a, b = mine.get(key), theirs.get(key)
            if a is None and b is not None and b["status"] == "provisional":
                continue
            if a is None or b is None:
                found.append(f"{name} {key}: only in {'the live' if a is None else 'the settled'}: {a or b}")
                continue
            open_day = name == "ledger" and b["status"] == "provisional"
            left_out = {"status"} if open_day else set()
            left_out |= {"late"} if name == "ledger" else set()  # hangs on when a message came
            fields = {
                n: (a.get(n), b.get(n)) for n in (a.keys() | b.keys()) - left_out if a.get(n) != b.get(n)
            }
            if fields:
                found.append(f"{name} {key}: {fields}")
    return found


def _made(path: Path) -> Path:
    path.mkdir(parents=True)
    return path
