"""Late readings and what the office enters late restate the water balance, to the last digit."""

from __future__ import annotations

import random

import numpy as np
import pyarrow as pa
import pytest

from models.frame import Frame, FrameKind, telemetry_schema
from models.site_files import parse_site
from streams.core.network_events import NetworkEvents
from streams.core.network_rows import NetworkRows, Source
from streams.core.operator import discovered
from streams.core.stream_site import StreamSite
from streams.core.window_state import STATUS_NAMES, WindowState
from streams.operators.device_heat import device_heat
from streams.operators.device_water import device_water
from streams.operators.network_water import network_water
from tests.laws.test_network_heat import NODES, TEXTS, same_if_absent
from tests.laws.test_restatement import HOUR_MS, late_journal
from tests.support.restating import StoredStream
from tests.support.telemetry import T0, history, registry_frame, with_water

FIELDS = (*network_water.fields, "coverage")
OFFICE_TEXTS = dict(TEXTS)
OFFICE_TEXTS["devices.csv"] += "desk,office,u1,n1,,,,,,\n"
# Minutes at which it is entered and of which it is, ref, event, network, volume.
ENTERED = (
    (100, 80, "a", "flush", "n1", 5.0),
    (430, 85, "b", "drain", "n1", 2.0),  # hours late
    (440, 80, "a", "flush", "n1", 6.0),  # a correction
    (450, 200, "c", "draw", "n1", -4.0),  # nobody takes less than nothing out
    (460, 210, "d", "flush", "n9", 4.0),  # of nowhere
)


def office_frames():
    """Frames of the desk by the minute at which they come."""
    rows = []
    for seq, (entered, taken, ref, event, network, volume) in enumerate(ENTERED, 1):
        row = {"device": "desk", "boot": T0 - 5, "seq": seq, "pos": 0, "t": T0 + taken * 60_000, "ref": ref,
               "event": event, "network": network, "volume_m3": volume}  # fmt: skip
        batch = pa.RecordBatch.from_pylist([row], schema=telemetry_schema("office"))
        rows.append((T0 + entered * 60_000, batch))
    return rows


def states_of(operator, rows, ids):
    states = {}
    for (key, at), row in sorted(rows.items()):
        state = states.setdefault(at, WindowState(len(operator.fields)))
        values = np.array([[np.nan if row[f] is None else row[f]] for f in operator.fields])
        state.remember(
            np.array([ids.index(key)]), values, np.array([row["coverage"]]),
            np.array([STATUS_NAMES.index(row["status"])]), np.array([row["reason"] or ""], object),
            np.zeros(1, np.int64),
        )  # fmt: skip
    return Source(operator.fields, "device", states)


@pytest.mark.parametrize("hours", [6, pytest.param(8, marks=pytest.mark.soak)])
def test_a_water_balance_is_what_rows_and_events_give_however_late_they_came(tmp_path, hours):
    seed = 4
    messages = with_water(history(seed, hours + 0.5, ("plant", "sub-1"), 0), seed)
    records = late_journal(messages, random.Random(seed), 0.03, hours * HOUR_MS)
    names = {"device_heat", "device_water", "network_water", "reading"}
    operators = [o for o in discovered() if o.name in names]
    stream = StoredStream(tmp_path / "a.duckdb", operators, write_every=150)
    stream.step(registry_frame(OFFICE_TEXTS).encode(), T0)
    desk = [(at, Frame(FrameKind.TELEMETRY, "office", batch).encode()) for at, batch in office_frames()]
    fed = [(r.timestamp_ms, r.frame) for r in records[1:]]
    for at, frame in sorted([*fed, *desk], key=lambda x: x[0]):
        stream.step(frame, at)
    stream.crash()
    stream.settle()
    site, ids = parse_site(OFFICE_TEXTS)[0], sorted(NODES)
    sources = {o.name: states_of(o, stream.rows(o.name), ids) for o in (device_heat, device_water)}
    events = NetworkEvents()
    for _, batch in office_frames():
        events.take(batch)
    balances = stream.rows("network_water")
    settled = {k: r for k, r in balances.items() if r["status"] in {"final", "unknown"}}
    assert len(settled) >= hours
    for (_, start), row in settled.items():
        rows = NetworkRows(
            site.networks["n1"], 0, start, start + HOUR_MS, 1000 * network_water.history_s,
            np.arange(len(ids)), StreamSite(site, ids, {}), sources, events.of("n1", start, start + HOUR_MS),
        )  # fmt: skip
        expected = network_water.function(rows)
        got = {f: np.nan if row[f] is None else row[f] for f in FIELDS}
        assert got == {f: same_if_absent(getattr(expected, f), got[f]) for f in FIELDS}, (seed, start)
        assert (row["reason"] or "") == expected.reason
    assert settled["n1", T0 + HOUR_MS]["authorised_m3"] == 8.0
    assert settled["n1", T0 + HOUR_MS]["revision"] >= 1
    unsaid = settled["n1", T0 + 3 * HOUR_MS]
    assert (unsaid["status"], unsaid["authorised_m3"], unsaid["leak_m3"]) == ("unknown", None, None)
    assert any(r["status"] == "final" and r["leak_m3"] is not None for r in settled.values())
    desk_rows = stream.rows("reading")
    flags = {row["ref"]: row["quality"] for (key, _), row in desk_rows.items() if key == "desk"}
    assert "unknown_network" in (flags["d"] or "")
    assert "implausible:volume_m3" in (flags["c"] or "")
    assert not flags["b"]
