"""Clocks that step, and days that are longer or shorter: now never goes back, nothing waits for a time again."""

from __future__ import annotations

import ast
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.config import DeviceConfig, MqttConfig
from edge.driver import Reading
from edge.run import Fleet, wall_ms
from hearthline.server_health import ServerHealth
from ingest import clock as clocks
from ingest.clock import SimulatedClock
from ingest.service import Ingest
from journal.protocol import Append
from journal.sqlite import SqliteJournal
from models.frame import Record
from store.protocol import Select
from streams.core.local_days import day_bounds_ms
from streams.core.pipeline import Pipeline
from streams.runtime.runtime_state import RuntimeState
from tests.support.asked_store import WrittenWhenAsked
from tests.support.examples import law
from tests.support.mosquitto import free_port
from tests.support.payloads import NOW, site, telemetry
from tests.support.restating import REWRITTEN_MS
from tests.support.telemetry import SITE_TEXTS, Message, registry_frame, telemetry_frames
from tests.support.waiting import until

ROOT = Path(__file__).parents[2]
HOUR = 3_600_000
# Europe with summer time, China without (since 1991), clocks that change at midnight, by half an hour, by a day.
ZONES = [
    "Europe/Berlin", "Asia/Shanghai", "America/Sao_Paulo", "Asia/Beirut", "Africa/Cairo",
    "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kathmandu", "America/St_Johns", "UTC",
]  # fmt: skip


class Stepping:
    """The machine's clock, set wrong by `by_ms`."""

    def __init__(self):
        self.by_ms = 0

    def __call__(self):
        return wall_ms() + self.by_ms


class Counting:
    """A driver that notes when it was read."""

    exhausted = False

    def __init__(self):
        self.read_at = []

    def read(self, now_ms):
        self.read_at.append(time.monotonic())
        return [Reading(now_ms, {"supply_c": float(len(self.read_at))})]

    def close(self):
        pass


@pytest.mark.parametrize("step_ms", [-HOUR, HOUR, -24 * HOUR])
def test_a_collector_reads_on_when_its_clock_is_set(tmp_path, step_ms):
    clock, driver = Stepping(), Counting()
    given = {"id": "a", "region": "r1", "unit": "u1", "class": "substation", "interval_s": 0.1}
    mqtt = MqttConfig(url=f"mqtt://127.0.0.1:{free_port()}")  # nobody there: all of it waits in the outbox
    unit = (DeviceConfig.model_validate(given), driver)
    fleet = Fleet([unit], mqtt, tmp_path, clock=clock, say=lambda _: None)
    fleet.start()
    try:
        for _ in range(2):
            before = len(driver.read_at)
            until(lambda before=before: len(driver.read_at) >= before + 10, "it reads on")
            clock.by_ms = step_ms
    finally:
        fleet.stop()
    times = [int(t) for t in _times(tmp_path)]
    assert len(times) == len(driver.read_at), "each reading is kept, under a number of its own"
    assert max(abs(b - a) for a, b in pairwise(times)) > abs(step_ms) / 2, "the step is in t"


def _times(directory: Path) -> list[int]:
    from edge.outbox import OutboxFile

    file = OutboxFile(directory / "outbox.sqlite", boot_ms=1, max_bytes=10**9)
    times = [m.t_ms for m in file.outbox("a").after(0, 10_000)]
    file.close()
    return times


@law(gate=15, soak=100, steps=st.lists(st.integers(-HOUR, HOUR), min_size=1, max_size=12))
def test_a_streams_now_never_goes_back(tmp_path_factory, steps):
    journal = SqliteJournal(tmp_path_factory.mktemp("j") / "j.sqlite3", lambda: now)
    now = NOW
    ingest = Ingest(journal, site(), None, lambda: now)
    try:
        for number, step in enumerate(steps, 1):
            now += step
            ingest.submit([telemetry("sub-1", number, [{"t": now, "supply_c": 90.0}])])
            ingest._written.clear()  # a second has passed by the clock that does not step
            ingest._beat()
        records = journal.read("u1", -1)
        times = [r.timestamp_ms for r in records]
        assert times == sorted(times)
        assert [r.offset for r in records] == list(range(len(records)))
        pipeline = Pipeline("u1")
        for record in records:
            before = pipeline.now_ms
            pipeline.step(record)
            assert before is None or pipeline.now_ms >= before
    finally:
        journal.close()


def test_a_journal_without_a_given_time_never_goes_back(tmp_path):
    times = iter([NOW, NOW + HOUR, NOW - HOUR, NOW + HOUR + 1])
    journal = SqliteJournal(tmp_path / "j.sqlite3", lambda: next(times))
    given_ms = [journal.append([Append("a", b"x")])[0].timestamp_ms for _ in range(4)]
    assert given_ms == [NOW, NOW + HOUR, NOW + HOUR, NOW + HOUR + 1]
    journal.close()


def streams_part(now_ms: int, clock_ms: int, *, wall: bool = True):
    runtime = SimpleNamespace(status=RuntimeState(state="ok", now_ms={"u1": now_ms}))
    source = SimpleNamespace(
        runtime=runtime, wall_clock=wall, clock=lambda: clock_ms, failure=str,
        sink=SimpleNamespace(writing_s=0.0), store=SimpleNamespace(counts=dict), broker=None,
    )  # fmt: skip
    lag = {"stepped": {"messages": 0, "records": 0, "seconds": 0.0}}
    return ServerHealth(source, lambda: clock_ms)._streams(lag)


def test_a_clock_that_was_set_back_is_told():
    part = streams_part(NOW + HOUR, NOW)
    assert part.state == "degraded"
    assert part.detail == "this machine's clock is behind the newest record: now stands still; 60 min"
    assert "set the clock right" in part.advice
    assert streams_part(NOW + 1000, NOW).state == "ok"
    assert streams_part(NOW + HOUR, NOW, wall=False).state == "ok", "recorded data is of any time"


def test_a_simulated_clock_goes_on_steadily(monkeypatch):
    wall = Stepping()
    monkeypatch.setattr(clocks, "wall_clock", wall)
    clock = SimulatedClock(NOW, 60.0)
    before = clock()
    wall.by_ms = HOUR
    assert 0 <= clock() - before < HOUR
    wall.by_ms = -HOUR
    assert clock() >= before


@given(st.sampled_from(ZONES), st.datetimes(datetime(1995, 1, 1), datetime(2035, 1, 1)))  # noqa: DTZ001
def test_local_days_meet_and_begin_at_midnight(zone, at):
    at_ms = int(at.replace(tzinfo=UTC).timestamp() * 1000)
    start, end = day_bounds_ms(at_ms, zone)
    assert start <= at_ms < end
    assert day_bounds_ms(start, zone) == day_bounds_ms(end - 1, zone) == (start, end)
    assert day_bounds_ms(end, zone)[0] == end, "no time between two days"
    assert day_bounds_ms(start - 1, zone)[1] == start
    first = datetime.fromtimestamp(start / 1000, ZoneInfo(zone))
    before = datetime.fromtimestamp(start / 1000 - 1, ZoneInfo(zone))
    assert before.date() < first.date() == datetime.fromtimestamp(at_ms / 1000, ZoneInfo(zone)).date()


@pytest.mark.parametrize(
    ("zone", "hours"), [("Europe/Berlin", {23: 1, 24: 363, 25: 1}), ("Asia/Shanghai", {24: 365})]
)
def test_days_of_23_and_25_hours(zone, hours):
    found: dict = {}
    at = datetime(2026, 1, 1, 12, tzinfo=ZoneInfo(zone))
    while at.year == 2026:
        start, end = day_bounds_ms(int(at.timestamp() * 1000), zone)
        found[(end - start) // HOUR] = found.get((end - start) // HOUR, 0) + 1
        at += timedelta(days=1)
    assert found == hours


@pytest.mark.parametrize(("day", "hours"), [((2026, 10, 25), 25), ((2026, 3, 29), 23)])
def test_heat_of_the_day_on_which_clocks_change(tmp_path, day, hours):
    """Storage is UTC: quarters of an hour follow each other without gap or overlap; the ledger's day is local."""
    texts = {**SITE_TEXTS, "site.toml": SITE_TEXTS["site.toml"].replace("Asia/Shanghai", "Europe/Berlin")}
    start = int(datetime(*day, tzinfo=ZoneInfo("Europe/Berlin")).timestamp() * 1000)
    end = start + hours * HOUR
    store, pipeline = (
        WrittenWhenAsked(tmp_path / "s.duckdb"),
        Pipeline("u1", provisional_every_ms=REWRITTEN_MS),
    )
    store.write([pipeline.step(Record("u1", 0, start - HOUR, registry_frame(texts).encode()))])
    samples = [
        (t, {"energy_gj": (t - start) / HOUR, "supply_c": 90.0, "return_c": 50.0})
        for t in range(start - HOUR, end + HOUR, 60_000)
    ]
    offset = 0
    for seq, first in enumerate(range(0, len(samples), 60), 1):
        part = tuple(samples[first : first + 60])
        for frame in telemetry_frames([Message("sub-1", 1, seq, part)]):
            offset += 1
            store.write([pipeline.step(Record("u1", offset, part[-1][0], frame.encode()))])
    rows = store.select(Select("device_heat", from_ms=start, to_ms=end)).sort_by("window_start").to_pylist()
    assert [r["window_start"] for r in rows] == list(range(start, end, 900_000))
    assert len(rows) == 4 * hours
    assert sum(r["heat_gj"] for r in rows) == pytest.approx(hours)
    ledger = store.select(Select("ledger")).to_pylist()
    assert (start, end - start) in {(r["window_start"], r["window_ms"]) for r in ledger}
    store.close()


def test_only_two_places_read_the_machines_clock():
    """Durations are of the monotonic clock; what needs the time of day is given it."""
    readers = set()
    for room in (
        "edge",
        "hearthline",
        "ingest",
        "journal",
        "store",
        "streams",
        "dashboards",
        "alerts",
        "models",
    ):
        for file in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Attribute) and node.attr in {"time_ns", "utcnow", "now", "today"}:
                    of = getattr(node.value, "id", "")
                    if of in {"time", "datetime", "date"}:
                        readers.add(str(file.relative_to(ROOT)))
                if (
                    isinstance(node, ast.Attribute)
                    and node.attr == "time"
                    and getattr(node.value, "id", "") == "time"
                ):
                    readers.add(str(file.relative_to(ROOT)))
    devices = {name for name in readers if name.startswith("edge/simulators/")}  # a device has its own
    assert readers - devices == {"edge/clock.py", "ingest/clock.py"}
