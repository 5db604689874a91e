"""A device that moves to another stream in the middle of a window: its rows are those of all its readings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from models.frame import Frame
from streams.core.operator import LedgerOperator, SampleOperator, discovered
from tests.support.restating import Row, StoredStream
from tests.support.telemetry import SITE_TEXTS, T0, Message, registry_frame, telemetry_frames

MINUTE = 60_000
VALUES = {"flow_m3_h": 6.0, "supply_c": 90.0, "return_c": 50.0}


def site(stream_of_sub_2: str) -> Frame:
    head, *rows = SITE_TEXTS["devices.csv"].splitlines()
    streams = {"sub-1": "u2", "sub-2": stream_of_sub_2}
    rows = [r.replace(",u1,n1,", f",u1,{streams.get(r.split(',')[0], '')},,", 1) for r in rows]
    text = "\n".join([head.replace("unit,", "unit,stream,", 1), *rows]) + "\n"
    return registry_frame({**SITE_TEXTS, "devices.csv": text})


def take(stream: StoredStream, device: str, minute: int, comes: int | None = None) -> None:
    """Let a sample of a minute come, at once or at the minute that it `comes`."""
    t = T0 + minute * MINUTE
    for frame in telemetry_frames([Message(device, 5, minute + 1, ((t, VALUES),))]):
        stream.step(frame.encode(), (t if comes is None else T0 + comes * MINUTE) + 500)


def two_streams(folder: Path, *also: str) -> tuple[StoredStream, StoredStream]:
    """Streams u1, which has sub-2, and u2, which has sub-1, over one store, with `also` among the operators."""
    names = {"device_heat", *also}
    kept = [o for o in discovered() if isinstance(o, (SampleOperator, LedgerOperator)) or o.name in names]
    old, new = (StoredStream(folder / f"{s}.duckdb", kept, stream=s) for s in ("u1", "u2"))
    new.store.close()
    new.store = old.store
    for stream in (old, new):
        stream.step(site("u1").encode(), T0)
    return old, new


def move(old: StoredStream, new: StoredStream, minute: int) -> None:
    """Move sub-2 from `old` to `new`."""
    for stream in (old, new):
        stream.step(site("u2").encode(), T0 + minute * MINUTE)
    told = [frame for outputs in old._unwritten for _, frame in outputs.forwards]
    assert len(told) == 1
    old.write()
    new.step(told[0], T0 + minute * MINUTE)


def heat_of_sub_2(stream: StoredStream) -> dict[int, Row]:
    """Rows of heat, by start. [ms UTC]"""
    return {k[1]: r for k, r in stream.rows("device_heat").items() if k[0] == "sub-2"}


@pytest.mark.parametrize("moves", [pytest.param(65, marks=pytest.mark.soak), 74, 75])
def test_no_window_of_a_device_that_moves_is_cut(tmp_path, moves: int) -> None:
    old, new = two_streams(tmp_path)
    for minute in range(moves):
        take(old, "sub-2", minute)
        take(new, "sub-1", minute)
    move(old, new, moves)
    for minute in range(moves, 150):
        take(new, "sub-2", minute)
        take(new, "sub-1", minute)
    new.settle()
    rows = heat_of_sub_2(new)
    whole = [T0 + start * MINUTE for start in range(15, 135, 15)]
    assert {rows[start]["status"] for start in whole} == {"final"}
    assert {round(rows[start]["volume_m3"], 6) for start in whole} == {1.5}
    assert rows[whole[-1]]["stream"] == "u2"
    old.store.close()


LATE = range(20, 28)
"""Minutes of the window from 15 on whose samples come late."""


def test_what_comes_late_after_a_move_is_a_revision_of_what_the_stream_before_said(tmp_path) -> None:
    old, new = two_streams(tmp_path, "network_heat")  # for which windows stay at hand for hours
    for minute in range(65):
        if minute not in LATE:
            take(old, "sub-2", minute)
        take(new, "sub-1", minute)
    move(old, new, 65)
    for minute in range(65, 90):
        take(new, "sub-2", minute)
        take(new, "sub-1", minute)
    new.write()
    start = T0 + 15 * MINUTE
    assert ("device_heat", start) in new.pipeline._state.engine.states
    said = heat_of_sub_2(new)[start]
    assert (said["status"], said["revision"], said["stream"]) == ("unknown", 0, "u1")
    for minute in LATE:
        take(new, "sub-2", minute, comes=90)
    new.settle()
    row = heat_of_sub_2(new)[start]
    assert (row["status"], row["revision"], row["stream"]) == ("final", 1, "u2")
    [listed] = [r for r in new.rows("restatement").values() if r["window_start"] == start]
    assert (listed["key"], listed["reason"]) == ("device_heat:sub-2:1", "late")
    assert json.loads(listed["was"])["status"] == "unknown"
    # What is the same as it was is told under its new unit, and is no restatement.
    assert {heat_of_sub_2(new)[T0 + m * MINUTE]["revision"] for m in (30, 45)} == {0}
    assert heat_of_sub_2(new)[T0 + 45 * MINUTE]["stream"] == "u2"
    old.store.close()


@pytest.mark.parametrize("asked", [False, True])
def test_what_waits_to_be_restated_moves_with_its_device(tmp_path, asked: bool) -> None:
    old, new = two_streams(tmp_path)
    for minute in range(185):
        if minute not in LATE:
            take(old, "sub-2", minute)
        take(new, "sub-1", minute)
    old.write()
    for minute in LATE:
        take(old, "sub-2", minute, comes=184)
    if asked:
        assert old.pipeline.ask() is not None
    assert old.pipeline.restating > 0
    move(old, new, 185)
    new.settle()  # before the device has said anything there
    old.settle()
    row = heat_of_sub_2(new)[T0 + 15 * MINUTE]
    assert (row["status"], row["revision"], row["coverage"]) == ("final", 1, 1.0)
    for minute in range(185, 250):
        take(new, "sub-2", minute)
        take(new, "sub-1", minute)
    new.settle()
    assert heat_of_sub_2(new)[T0 + 15 * MINUTE] == row
    old.store.close()


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("returns_to", ["u1", "u2"])
def test_what_waits_to_be_restated_waits_for_a_device_that_is_taken_out_and_put_back(
    tmp_path, asked: bool, returns_to: str
) -> None:
    old, new = two_streams(tmp_path)
    head, *rows = SITE_TEXTS["devices.csv"].splitlines()
    without = "\n".join([head, *(r for r in rows if not r.startswith("sub-2,"))]) + "\n"
    for minute in range(185):
        if minute not in LATE:
            take(old, "sub-2", minute)
    old.write()
    for minute in LATE:
        take(old, "sub-2", minute, comes=184)
    if asked:
        assert old.pipeline.ask() is not None
    old.step(registry_frame({**SITE_TEXTS, "devices.csv": without}).encode(), T0 + 185 * MINUTE)
    old.settle()
    old.crash()
    assert old.pipeline.restating == 0, "nobody waits for what nobody can tell of"
    assert heat_of_sub_2(old)[T0 + 15 * MINUTE]["revision"] == 0
    for stream in (old, new):
        stream.step(site(returns_to).encode(), T0 + 250 * MINUTE)
    told = [frame for outputs in old._unwritten for _, frame in outputs.forwards]
    old.settle()
    for frame in told:
        new.step(frame, T0 + 250 * MINUTE)
    new.settle()
    row = heat_of_sub_2(old)[T0 + 15 * MINUTE]
    assert (row["status"], row["revision"], row["coverage"], row["stream"]) == ("final", 1, 1.0, returns_to)
    old.store.close()
