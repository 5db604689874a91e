"""A stream that begins with hours of history, all at once, says of its networks what it would have said in time."""

from __future__ import annotations

import numpy as np
import pytest

from models.frame import Frame
from streams.core.operator import discovered
from streams.operators.network_heat import network_heat
from tests.laws.test_network_heat import FIELDS, OPERATORS, TEXTS, recomputed, same_if_absent
from tests.laws.test_restatement import HOUR_MS
from tests.support.restating import StoredStream
from tests.support.telemetry import T0, history, registry_frame, telemetry_frames


def begun_with_history(path, messages, hours: int, live_hours: int):
    """A stream of which nothing is known for `hours`, then all of them in one go, then a few more."""
    operators = [o for o in discovered() if o.name in OPERATORS]
    stream = StoredStream(path, operators, write_every=1)
    until = T0 + hours * HOUR_MS + 1_000_000
    stream.step(registry_frame(TEXTS).encode(), until - 30_000)
    for at in range(until - 30_000, until, 1_000):
        stream.step(Frame.heartbeat().encode(), at)
    ordered = sorted(messages, key=lambda m: (m.newest_t, m.device))
    for frame in telemetry_frames([m for m in ordered if m.newest_t <= until]):
        stream.step(frame.encode(), until)
    for at in range(until + 1_000, until + 20_000, 1_000):
        stream.step(Frame.heartbeat().encode(), at)
    for message in ordered:
        if until < message.newest_t < until + live_hours * HOUR_MS:
            for frame in telemetry_frames([message]):
                stream.step(frame.encode(), message.newest_t + 500)
    return stream


@pytest.mark.parametrize(
    ("hours", "live_hours"), [(4, 0), (4, 2), pytest.param(9, 2, marks=pytest.mark.soak)]
)
def test_networks_of_hours_before_the_stream_began(tmp_path, hours, live_hours):
    messages = history(3, hours=float(hours + live_hours + 1), longest_gap_ms=0)
    stream = begun_with_history(tmp_path / "a.duckdb", messages, hours, live_hours)
    stream.settle()
    heat, balances = stream.rows("device_heat"), stream.rows("network_heat")
    whole = range(T0, T0 + (hours + live_hours) * HOUR_MS, HOUR_MS)
    assert set(whole) <= {start for _, start in balances}
    for start in whole:
        row = balances["n1", start]
        expected = recomputed(network_heat, heat, {}, start)
        got = {f: np.nan if row[f] is None else row[f] for f in FIELDS}
        assert got == {f: same_if_absent(getattr(expected, f), got[f]) for f in FIELDS}, start
        assert (row["reason"] or "") == expected.reason
    assert any(balances["n1", start]["status"] == "final" for start in whole)
