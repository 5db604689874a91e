"""What is older than the retention goes, what is younger stays."""

from __future__ import annotations

from hearthline.housekeeping import Housekeeping
from journal.protocol import Append
from journal.sqlite import SqliteJournal
from models.frame import Frame
from store.duckdb_series import DuckdbSeries
from store.protocol import Select
from streams.core.operator import discovered
from streams.core.pipeline import Pipeline
from tests.support.telemetry import T0, Message, registry_frame, telemetry_frames

DAY = 86_400_000


def test_old_readings_and_records_go(tmp_path):
    journal = SqliteJournal(tmp_path / "j.sqlite3", lambda: T0)
    store = DuckdbSeries(tmp_path / "s.duckdb")
    # Ten silent days have a thousand windows: readings and one operator over them tell what is tidied.
    pipeline = Pipeline("u1", tuple(o for o in discovered() if o.name in {"reading", "device_heat"}))
    frames = [(registry_frame(), T0)]
    for day in (0, 5, 10):
        message = Message("sub-1", T0, day + 1, ((T0 + day * DAY, {"supply_c": 90.0}),))
        frames += [(frame, T0 + day * DAY) for frame in telemetry_frames([message])]
    frames.append((Frame.heartbeat(), T0 + 10 * DAY))
    records = journal.append([Append("u1", frame.encode(), at) for frame, at in frames])
    store.write([pipeline.step(record) for record in records])
    gone = Housekeeping(store, journal, 7, lambda: T0 + 10 * DAY).tidy()
    assert gone >= 2
    left = store.select(Select("reading")).column("window_start").to_pylist()
    assert left == [T0 + 5 * DAY, T0 + 10 * DAY]
    assert store.counts()["device_heat"] > 0
    kept = [r.offset for r in journal.read("u1", -1)]
    assert records[1].offset not in kept
    assert kept[-1] == records[-1].offset
