"""A device that moves to another stream in the middle of a window: its rows are those of all its readings."""

from __future__ import annotations

import pytest

from models.frame import Frame
from streams.core.operator import LedgerOperator, SampleOperator, discovered
from tests.support.restating import StoredStream
from tests.support.telemetry import SITE_TEXTS, T0, Message, registry_frame, telemetry_frames

MINUTE = 60_000
VALUES = {"flow_m3_h": 6.0, "supply_c": 90.0, "return_c": 50.0}


def site(stream_of_sub_2: str) -> Frame:
    head, *rows = SITE_TEXTS["devices.csv"].splitlines()
    streams = {"sub-1": "u2", "sub-2": stream_of_sub_2}
    rows = [r.replace(",u1,n1,", f",u1,{streams.get(r.split(',')[0], '')},,", 1) for r in rows]
    text = "\n".join([head.replace("unit,", "unit,stream,", 1), *rows]) + "\n"
    return registry_frame({**SITE_TEXTS, "devices.csv": text})


@pytest.mark.parametrize("moves", [65, 74, 75])
def test_no_window_of_a_device_that_moves_is_cut(tmp_path, moves: int) -> None:
    kept = [
        o for o in discovered() if isinstance(o, (SampleOperator, LedgerOperator)) or o.name == "device_heat"
    ]
    old, new = (StoredStream(tmp_path / f"{s}.duckdb", kept, stream=s) for s in ("u1", "u2"))
    new.store.close()
    new.store = old.store

    def take(stream: StoredStream, device: str, minute: int) -> None:
        t = T0 + minute * MINUTE
        for frame in telemetry_frames([Message(device, 5, minute + 1, ((t, VALUES),))]):
            stream.step(frame.encode(), t + 500)

    for stream in (old, new):
        stream.step(site("u1").encode(), T0)
    for minute in range(moves):
        take(old, "sub-2", minute)
        take(new, "sub-1", minute)
    for stream in (old, new):
        stream.step(site("u2").encode(), T0 + moves * MINUTE)
    told = [frame for outputs in old._unwritten for _, frame in outputs.forwards]
    assert len(told) == 1
    old.write()
    new.step(told[0], T0 + moves * MINUTE)
    for minute in range(moves, 150):
        take(new, "sub-2", minute)
        take(new, "sub-1", minute)
    new.settle()
    rows = {k[1]: r for k, r in new.rows("device_heat").items() if k[0] == "sub-2"}
    whole = [T0 + start * MINUTE for start in range(15, 135, 15)]
    assert {rows[start]["status"] for start in whole} == {"final"}
    assert {round(rows[start]["volume_m3"], 6) for start in whole} == {1.5}
    assert rows[whole[-1]]["stream"] == "u2"
    old.store.close()
