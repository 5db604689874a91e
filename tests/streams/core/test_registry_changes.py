"""Devices that join, leave, move or change: rows that stand must not suffer from it."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from models.frame import Frame, FrameKind
from streams.core.checkpoint import Checkpoint
from streams.core.pipeline import Pipeline
from streams.runtime.sqlite_checkpoints import SqliteCheckpoints
from tests.support import telemetry as support
from tests.support.restating import REWRITTEN_MS
from tests.support.results import Row, Said
from tests.support.telemetry import SITE_TEXTS, T0, Log, Message, registry_frame, telemetry_frames

MINUTE = 60_000
VALUES = {"flow_m3_h": 6.0, "supply_c": 90.0, "return_c": 50.0}
DEVICES = SITE_TEXTS["devices.csv"]
HOURLY = "hourly,meter,u1,n1,3,3,3,return,3600\n"
MOST = 2**63 - 1


def texts(devices: str) -> dict[str, str]:
    return {**SITE_TEXTS, "devices.csv": devices}


class Stepped:
    """A pipeline over a log in memory, with everything that it said."""

    def __init__(self, devices: str = DEVICES, *, provisional_every_ms: int | None = REWRITTEN_MS) -> None:
        self.log = Log()
        self.pipeline = Pipeline("u1", provisional_every_ms=provisional_every_ms)
        self.said = Said()
        self.step(registry_frame(texts(devices)), T0)

    def step(self, frame: Frame, at: int) -> None:
        self.said.take([self.pipeline.step(self.log.append(frame, at))])

    def take(self, device: str, minute: int, seq: int | None = None, boot: int = 5) -> None:
        t = T0 + minute * MINUTE
        message = Message(device, boot, minute + 1 if seq is None else seq, ((t, VALUES),))
        for frame in telemetry_frames([message]):
            self.step(frame, t + 500)

    def heat(self, device: str) -> dict[int, Row]:
        """Rows by the minute at which their window starts."""
        rows = self.said.rows["device_heat"]
        return {(start - T0) // MINUTE: row for (key, start), row in rows.items() if key == device}


@pytest.fixture
def classes(monkeypatch: pytest.MonkeyPatch) -> Mapping[str, str]:
    known = {**support.CLASS_OF, "hourly": "meter"}
    monkeypatch.setattr(support, "CLASS_OF", known)
    return known


@pytest.mark.parametrize("provisional_every_ms", [REWRITTEN_MS, None])
@pytest.mark.parametrize("registered", [True, False], ids=["registered before", "registered later"])
def test_a_device_with_a_longer_interval_that_joins_late_takes_no_final_row_back(
    classes: Mapping[str, str], registered: bool, provisional_every_ms: int | None
) -> None:
    run = Stepped(DEVICES + HOURLY if registered else DEVICES, provisional_every_ms=provisional_every_ms)
    for minute in range(240):
        run.take("sub-2", minute)
        if minute == 119 and not registered:
            run.step(registry_frame(texts(DEVICES + HOURLY)), T0 + minute * MINUTE + 600)
        if minute >= 120 and minute % 60 == 0:
            run.take("hourly", minute, minute)
    rows = run.heat("sub-2")
    assert {m: rows[m]["status"] for m in range(0, 210, 15)} == dict.fromkeys(range(0, 210, 15), "final")
    assert {rows[m]["revision"] for m in range(0, 210, 15)} == {0}


def test_windows_that_a_shorter_lateness_passes_over_are_settled(classes: Mapping[str, str]) -> None:
    run = Stepped(DEVICES + HOURLY)
    for minute in range(0, 181, 60):
        run.take("hourly", minute)
    assert run.heat("hourly")[120]["status"] == "provisional"
    run.step(registry_frame(texts(DEVICES + HOURLY.replace("3600", "600"))), T0 + 181 * MINUTE)
    run.step(Frame.heartbeat(), T0 + 300 * MINUTE)
    assert {row["status"] for row in run.heat("hourly").values()} <= {"final", "unknown"}
    assert set(range(0, 270, 15)) <= set(run.heat("hourly"))


@pytest.mark.parametrize("after", ["sub-9,substation,u1", "sub-2,substation,u1,u2"], ids=["removed", "moved"])
def test_a_device_that_leaves_has_its_windows_settled_and_then_no_more_rows(after: str) -> None:
    run = Stepped()
    for minute in range(100):
        run.take("sub-2", minute)
    if after.endswith("u2"):
        head, *rows = DEVICES.splitlines()
        rows = [r.replace("u1,n1", "u1,u2," if r.startswith("sub-2") else "u1,,n1", 1) for r in rows]
        changed = "\n".join([head.replace("unit,", "unit,stream,", 1), *rows]) + "\n"
    else:
        changed = DEVICES.replace("sub-2,substation,u1", after)
    run.step(registry_frame(texts(changed)), T0 + 100 * MINUTE)
    run.step(Frame.heartbeat(), T0 + 3000 * MINUTE)
    rows = run.heat("sub-2")
    assert sorted(rows) == list(range(0, 105, 15))
    assert [rows[m]["status"] for m in sorted(rows)] == ["final"] * 6 + ["unknown"]
    assert {row["unit"] for row in rows.values()} == {"u1"}
    ledger = {k: row for k, row in run.said.rows["ledger"].items() if k[0] == "sub-2"}
    assert [(row["unit"], row["stored"], row["status"]) for row in ledger.values()] == [("u1", 100, "final")]


def test_a_dead_device_with_a_backlog_holds_nothing_once_it_is_out_of_the_registry() -> None:
    run = Stepped()
    for minute in range(30):
        run.take("sub-1", minute)
        run.take("sub-2", minute)
    told = {"boot": 5, "at": T0, "next_seq": 99, "waiting": [[40, 98]], "waiting_from": T0 + 20 * MINUTE}
    row = {"device": "sub-2", "kind": "state", "payload": json.dumps(told)}
    run.step(Frame.events([row], FrameKind.EVENT), T0 + 30 * MINUTE)
    for minute in range(30, 120):
        run.take("sub-1", minute)
    assert (run.heat("sub-2")[60]["status"], run.heat("sub-2")[60]["reason"]) == ("provisional", "backlog")
    assert run.heat("sub-1")[60]["status"] == "final"
    run.step(registry_frame(texts(DEVICES.replace("sub-2,", "sub-9,"))), T0 + 120 * MINUTE)
    run.step(Frame.heartbeat(), T0 + 121 * MINUTE)
    assert run.pipeline.settled_ms() == T0 + (120 + 15) * MINUTE
    assert {row["status"] for row in run.heat("sub-2").values()} <= {"final", "unknown"}
    assert min(run.pipeline._state.buffers["substation"].starts) >= T0 + 90 * MINUTE


def test_a_device_of_another_class_from_now_on_has_the_rows_of_that_class_alone(
    classes: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Stepped()
    for minute in range(90):
        run.take("sub-1", minute)
        run.take("sub-2", minute)
    changed = texts(DEVICES.replace("sub-2,substation", "sub-2,meter"))
    run.step(registry_frame(changed), T0 + 90 * MINUTE)
    monkeypatch.setitem(support.CLASS_OF, "sub-2", "meter")
    for minute in range(90, 180):
        run.take("sub-2", minute)
    rows = run.heat("sub-2")
    assert {m: rows[m]["status"] for m in range(0, 150, 15) if m != 75} == dict.fromkeys(
        [m for m in range(0, 150, 15) if m != 75], "final"
    )


def test_late_readings_of_a_device_that_is_of_another_class_now_do_not_stop_the_stream() -> None:
    run = Stepped()
    for minute in range(60):
        run.take("sub-2", minute)
    run.take("sub-1", 120)
    run.take("sub-2", 70, 900)
    assert run.pipeline.request is None, "it is asked for at the next rewriting"
    run.step(registry_frame(texts(DEVICES.replace("sub-2,substation", "sub-2,meter"))), T0 + 121 * MINUTE)
    run.step(Frame.heartbeat(), T0 + 122 * MINUTE)
    assert run.pipeline.request is None


def test_a_stream_computed_anew_keeps_its_own_segments_over_those_of_a_checkpoint_it_could_not_read(
    tmp_path,
) -> None:
    kept = SqliteCheckpoints(tmp_path / "checkpoints.sqlite3")
    before = Stepped()
    for minute in range(5):
        before.take("sub-2", minute)
    kept.save([before.pipeline.checkpoint()])
    anew = Pipeline("u1")
    for minute in range(5, 10):
        before.take("sub-2", minute)
    for record in before.log.records:
        anew.step(record)
    kept.save([anew.checkpoint()])
    restored = Pipeline.restore(kept.load()["u1"])
    kept.close()
    beat = before.log.append(Frame.heartbeat(), T0 + 60 * MINUTE)
    assert Said().take([restored.step(beat)]).rows == Said().take([anew.step(beat)]).rows
    assert isinstance(restored.checkpoint(), Checkpoint)


def test_what_a_restored_stream_says_after_late_readings_is_what_it_would_have_said() -> None:
    run = Stepped(provisional_every_ms=10_000)
    run.take("sub-1", 100)
    run.take("sub-2", 100)
    late = Message("meter-1", 5, 1, ((T0 + 5 * MINUTE, {"energy_gj": 1.0}),))
    for frame in telemetry_frames([late]):
        run.step(frame, T0 + 101 * MINUTE)
    restored = Pipeline.restore(run.pipeline.checkpoint())
    fresh = Message("meter-1", 5, 2, ((T0 + 101 * MINUTE + 1, {"energy_gj": 2.0}),))
    for frame in telemetry_frames([fresh]):
        record = run.log.append(frame, T0 + 102 * MINUTE)
        said, again = (Said().take([p.step(record)]).rows for p in (run.pipeline, restored))
        assert said == again
        assert ("meter-1", T0 + 75 * MINUTE) in said["device_heat"]


def test_numbers_that_add_up_beyond_what_a_column_holds_do_not_stop_the_stream() -> None:
    run = Stepped(provisional_every_ms=10_000)
    run.take("sub-1", 0, MOST, boot=1)
    run.take("sub-1", 1, MOST, boot=2)
    run.take("sub-1", 2, 1, boot=3)
    (row,) = (r for (key, _), r in run.said.rows["ledger"].items() if key == "sub-1")
    assert (row["sent"], row["stored"]) == (MOST, 3)
