"""A replay knows of a contract's month what a server would that heard the same messages at the same times."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest

from hearthline.replaying import replay
from hearthline.site_dir import open_site
from tests.support.road import HOUR_MS, ROAD_TEXTS, trips
from tests.support.telemetry import T0

DAY_MS = 24 * HOUR_MS
DAYS = 12.0
BEGIN_MS = T0 + 6 * DAY_MS
TRUCKS = ("P1", "P2")
UNITS = {"bridge-m": "h1", "bridge-p": "u1", "desk": "h1"}
SILENT = "C3,Seller C,Buyer,u1,mine,plant-yard,5500,2026-01,1000,600,23,h1\n"
"""A contract of which no paper ever comes."""


@pytest.fixture
def told(tmp_path):
    site = tmp_path / "site"
    site.mkdir()
    for name, text in (ROAD_TEXTS | {"contracts.csv": ROAD_TEXTS["contracts.csv"] + SILENT}).items():
        (site / name).write_text(text, encoding="utf-8")

    def told(name, *recordings):
        """Settled days by contract, of messages with the times at which they came, None for none."""
        files = []
        for n, messages in enumerate(recordings):
            lines = []
            for event, came_ms in messages:
                topic = f"hearthline/v1/r1/{UNITS[event.device]}/{event.device}/telemetry"
                sample = {"t": event.t, **event.values}
                line = {"topic": topic, "payload": {"boot": T0 - 5, "seq": event.seq, "samples": [sample]}}
                lines.append(line if came_ms is None else {**line, "received_ms": came_ms})
            if messages[-1][1] is not None:
                end_ms = T0 + 40 * DAY_MS
                lines.append({"topic": "", "payload": {"heartbeat": "h1"}, "received_ms": end_ms})
            files.append(tmp_path / f"{name}-{n}.jsonl")
            files[-1].write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        replay(files, open_site(site), tmp_path / name)
        found = {}
        for row in pq.read_table(tmp_path / name / "fulfilment.parquet").to_pylist():
            if row["status"] != "provisional":
                days = found.setdefault(row["contract"], {})
                days[row["window_start"]] = {n: v for n, v in row.items() if n != "revision"}
        return found

    return told


def reasons(days):
    return {row["reason"] for row in days.values()}


def test_tickets_that_are_brought_in_make_a_month_known_that_was_begun_amid(told):
    events = sorted(trips(5, DAYS, TRUCKS), key=lambda e: e.t)
    live = [(e, e.t + 500) for e in events if e.t >= BEGIN_MS]
    first = [(e, BEGIN_MS) for e in events if e.t < BEGIN_MS]
    later = [(e, live[-1][1] + 500) for e, _ in first]
    amid = told("amid", live)
    assert [reasons(amid[name]) for name in ("C1", "C2", "C3")] == [{"begun_later"}] * 3
    always = told("always", [(e, e.t + 500) for e in events])
    assert reasons(always["C1"]) == {None}
    assert reasons(always["C3"]) == {None}, "it was there, and nothing came"
    for name, messages in (("first", [*first, *live]), ("later", [*live, *later])):
        known = told(name, messages)
        assert {name: known[name] for name in ("C1", "C2")} == {name: always[name] for name in ("C1", "C2")}
        assert reasons(known["C3"]) == {"begun_later"}, "nobody brought in a ticket of it"


def test_files_without_times_begin_with_their_oldest_sample_whichever_is_read_first(told):
    events = sorted(trips(5, DAYS, TRUCKS), key=lambda e: e.t)
    parts = [[(e, None) for e in events if (e.t >= BEGIN_MS) is late] for late in (True, False)]
    assert told("late-first", *parts) == told("early-first", *parts[::-1])
    assert {reason for days in told("late-first", *parts).values() for reason in reasons(days)} == {None}


def test_a_recording_without_times_begins_with_its_oldest_sample(told):
    """All of it is read at once: what was first is not what came days before the stream began."""
    events = sorted(trips(5, DAYS, TRUCKS), key=lambda e: e.t)
    amid = told("amid", [(e, None) for e in events if e.t >= BEGIN_MS])
    assert {reason for days in amid.values() for reason in reasons(days)} == {"begun_later"}
    always = told("always", [(e, None) for e in events])
    assert {reason for days in always.values() for reason in reasons(days)} == {None}
