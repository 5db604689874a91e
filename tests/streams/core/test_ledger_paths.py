"""The ledger through whole pipelines: moved devices, numbers used again, events that repeat, births that claim."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ingest.decode import Decoder
from ingest.messages import ClockMode, Message
from models.frame import DELIVERIES, LETTER_ALLOWED, Frame, FrameKind, Record
from models.site_files import parse_site
from store.duckdb_series import DuckdbSeries
from store.protocol import Select
from streams.core import deliveries
from streams.core.deliveries import Arrival, Deliveries
from streams.core.pipeline import Pipeline
from tests.support.payloads import BOOT, NOW, TEXTS, state, telemetry, topic

SECOND = 1000


class Streams:
    """Pipelines of every stream and a store, fed through the decoder as a server feeds them."""

    def __init__(self, store: DuckdbSeries) -> None:
        self.pipelines: dict[str, Pipeline] = {}
        self.offsets: Counter[str] = Counter()
        self.store = store
        self.forwards: list[tuple[str, bytes]] = []
        self.now = NOW

    def register(self, devices: str) -> None:
        texts = {**TEXTS, "devices.csv": devices}
        self.decoder = Decoder(parse_site(texts)[0])
        row = {"device": "", "kind": "registry", "payload": json.dumps(texts)}
        for stream in sorted({*self.pipelines, *parse_site(texts)[0].streams}):
            self.step(stream, Frame.events([row], FrameKind.REGISTRY).encode())

    def step(self, stream: str, frame: bytes) -> None:
        pipeline = self.pipelines.setdefault(stream, Pipeline(stream))
        outputs = pipeline.step(Record(stream, self.offsets[stream], self.now, frame))
        self.offsets[stream] += 1
        self.forwards += outputs.forwards
        self.store.write([outputs])

    def take(self, *messages: Message) -> None:
        self.now += SECOND
        for placed in self.decoder.decode(messages, mode=ClockMode.WALL, wall_ms=self.now, now_ms={}).placed:
            self.step(placed.stream, placed.frame.encode())

    def tell(self) -> None:
        """Give streams what they told each other."""
        forwards, self.forwards = self.forwards, []
        for stream, frame in forwards:
            self.step(stream, frame)

    def restart(self) -> None:
        self.pipelines = {s: Pipeline.restore(p.checkpoint()) for s, p in self.pipelines.items()}

    def act(self, stream: str, device: str, kind: str, **about: object) -> None:
        row = {"device": device, "kind": kind, "payload": json.dumps(about)}
        self.step(stream, Frame.events([row], FrameKind.ACTION).encode())

    def ledger(self, device: str) -> dict[str, int]:
        self.now += 11 * SECOND
        for stream in self.pipelines:
            self.step(stream, Frame.heartbeat().encode())
        newest = max(self.rows("ledger", device), key=lambda row: row["window_start"])
        names = ("sent", "stored", "dead_lettered", "unaccounted", "duplicate", "repeat")
        return {name: newest[name] for name in names if newest[name]}

    def rows(self, measurement: str, *keys: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.store.select(Select(measurement, keys=keys)).to_pylist()
        return rows

    def reasons(self) -> list[str]:
        return sorted(row["reason"] for row in self.rows("dead_letter"))


@pytest.fixture
def streams(tmp_path: Path) -> Iterator[Streams]:
    store = DuckdbSeries(tmp_path / "series.duckdb")
    streams = Streams(store)
    streams.register(TEXTS["devices.csv"])
    yield streams
    store.close()


def numbered(seq: int, device: str = "sub-1") -> Message:
    return telemetry(device, seq, [{"t": NOW + seq * 10, "supply_c": 90.0}])


MOVED = TEXTS["devices.csv"].replace("sub-1,substation,u1,,10", "sub-1,substation,u1,u2,10")


@pytest.mark.parametrize("restart", [False, True], ids=["at once", "restarted between"])
def test_a_device_that_moves_to_another_stream_takes_its_numbers_along(
    streams: Streams, restart: bool
) -> None:
    streams.take(*(numbered(seq) for seq in range(1, 8)), telemetry("sub-1", 8, supply_c=None))
    streams.take(numbered(3), numbered(4))
    assert streams.ledger("sub-1") == {"sent": 8, "stored": 7, "dead_lettered": 1, "duplicate": 2}
    streams.register(MOVED)
    if restart:
        streams.restart()
    streams.take(state("sub-1", next_seq=12), numbered(9), numbered(7))  # 7 again: the new stream cannot know
    streams.tell()
    streams.take(numbered(10), numbered(11), numbered(5))
    if restart:
        streams.restart()
    assert streams.ledger("sub-1") == {"sent": 11, "stored": 10, "dead_lettered": 1, "duplicate": 4}
    assert sorted(r["seq"] for r in streams.rows("reading")) == [*range(1, 8), 9, 10, 11]
    streams.register(TEXTS["devices.csv"])
    streams.tell()
    streams.take(numbered(12), numbered(1))
    assert streams.ledger("sub-1") == {"sent": 12, "stored": 11, "dead_lettered": 1, "duplicate": 5}


def test_a_registry_that_comes_again_gives_nothing_away_of_a_device_that_stays(streams: Streams) -> None:
    streams.take(numbered(1), numbered(2))
    streams.register(TEXTS["devices.csv"])  # of other streams' devices this one has never heard
    assert not streams.forwards
    streams.take(numbered(3), numbered(2))
    assert streams.ledger("sub-1") == {"sent": 3, "stored": 3, "duplicate": 1}


def test_what_a_stream_gives_away_is_taken_once_however_often_it_is_told(streams: Streams) -> None:
    streams.take(numbered(1), numbered(2), numbered(2))
    streams.register(MOVED)
    told = [f for f in streams.forwards if Frame.decode(f[1]).batch.column("kind")[0].as_py() == DELIVERIES]
    assert [stream for stream, _ in told] == ["u2"]
    streams.forwards = told * 3
    streams.tell()
    assert streams.ledger("sub-1") == {"sent": 2, "stored": 2, "duplicate": 1}


def test_a_moved_device_that_never_spoke_is_awaited_no_longer_than_the_word_takes(streams: Streams) -> None:
    streams.register(MOVED)
    streams.take(numbered(1))
    streams.tell()
    streams.take(numbered(2))
    assert streams.ledger("sub-1") == {"sent": 2, "stored": 2}
    assert not streams.pipelines["u2"]._state.book.awaited


def again(seq: int, t: int) -> Message:
    return telemetry("sub-1", seq, [{"t": t, "supply_c": 70.0}])


def test_a_number_used_again_is_refused_once_and_taken_in_when_a_person_says_so(streams: Streams) -> None:
    streams.take(*(numbered(seq) for seq in range(1, 5)))
    later = NOW + 3600 * SECOND
    streams.now = later
    streams.take(again(2, later))
    streams.take(again(2, later), again(2, later + 10))
    assert streams.reasons() == ["seq_reused", "seq_reused"], (
        "the same message has one letter, another its own"
    )
    streams.take(again(5, later + 20))  # the device has come to numbers that are new
    before = streams.ledger("sub-1")
    assert before == {"sent": 5, "stored": 5, "duplicate": 1}
    for t in (later, later + 10):
        streams.act("u1", "sub-1", LETTER_ALLOWED, boot=BOOT, seq=2, oldest_t=t)
        streams.restart()
        streams.take(again(2, t))
    streams.take(again(2, later))
    assert streams.ledger("sub-1") == {"sent": 7, "stored": 7, "duplicate": 2}
    taken = [(r["window_start"], r["boot"], r["seq"]) for r in streams.rows("reading") if r["supply_c"] == 70]
    assert taken == [(later, 0, 1), (later + 10, 0, 2), (later + 20, BOOT, 5)]
    assert len(streams.reasons()) == 2


def weighing(seq: int, ticket: str, step: str = "gross", **values: object) -> Message:
    t = NOW + seq * SECOND
    return telemetry(
        "bridge-1", seq, [{"t": t, "ticket": ticket, "step": step, "mass_kg": 40_000.0, **values}]
    )


def test_events_that_come_again_in_another_message_are_repeats(streams: Streams) -> None:
    streams.take(weighing(1, "A"), weighing(2, "A", "tare"), weighing(3, "B"), weighing(3, "B"))
    streams.restart()
    streams.take(weighing(4, "A"), weighing(5, "B", mass_kg=1.0), weighing(6, "C"))
    nameless = [
        {"t": NOW, "mass_kg": 1.0},
        {"t": NOW, "mass_kg": 1.0},
        {"t": NOW, "mass_kg": 2.0, "ticket": "A"},
    ]
    streams.take(telemetry("bridge-1", 7, nameless), telemetry("bridge-1", 8, nameless))
    assert streams.ledger("bridge-1") == {"sent": 8, "stored": 8, "duplicate": 1, "repeat": 2}
    assert len(streams.rows("reading_repeat")) == 2
    assert len(streams.rows("reading")) == 4 + 6


def test_a_birth_cannot_keep_the_windows_of_a_stream_open_for_a_week(streams: Streams) -> None:
    devices = TEXTS["devices.csv"].replace("meter-1,meter,u1,,600", "meter-1,meter,u1,,")
    streams.register(devices)
    open_for = {}
    for interval_s in (900, 3600, 604_800):
        birth = {"boot": BOOT, "at": NOW, "class": "meter", "interval_s": interval_s}
        streams.take(Message(topic("meter-1", "birth"), json.dumps(birth).encode()))
        streams.take(telemetry("meter-1", 1, energy_gj=1.0))
        open_for[interval_s] = streams.pipelines["u1"]._state.site.longest_lateness_ms({"meter"})
    assert open_for == {900: 1_350_000, 3600: 5_400_000, 604_800: 5_400_000}


def test_a_report_from_a_clock_far_ahead_does_not_silence_the_next_ones(streams: Streams) -> None:
    ahead = {"boot": BOOT, "at": 2**63 - 1, "next_seq": 5, "waiting": [[1, 4]]}
    streams.take(Message(topic("sub-1", "state"), json.dumps(ahead).encode()))
    assert "unaccounted" not in streams.ledger("sub-1")
    streams.now += 601 * SECOND
    right = {"boot": BOOT, "at": streams.now, "next_seq": 5, "waiting": []}
    streams.take(Message(topic("sub-1", "state"), json.dumps(right).encode()))
    assert streams.ledger("sub-1") == {"sent": 4, "unaccounted": 4}


def test_ranges_of_thinned_numbers_are_believed_up_to_a_bound_and_beyond_it_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(deliveries, "_MOST_THINNED", 3)
    device = Deliveries()
    device.report(1, 1, 21, [], [(2 * n, 2 * n) for n in range(1, 6)])
    assert (device.counts().thinned, device.counts().unaccounted) == (3, 17)
    device.report(1, 2, 21, [], [(2, 20)])  # what joins ranges that are known is believed
    assert device.counts().thinned == 19


def test_only_the_newest_reused_numbers_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliveries, "_MOST_REUSED", 2)
    device = Deliveries()
    for seq in (1, 2, 3):
        device.arrive(1, seq, seq, seq)
    verdicts = [device.arrive(1, seq, 100 + seq, 100 + seq) for seq in (1, 2, 3, 3, 1)]
    assert verdicts == [Arrival.REUSED] * 3 + [Arrival.DUPLICATE, Arrival.REUSED]
