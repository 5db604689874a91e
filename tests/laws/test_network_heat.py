"""Late readings of a device restate the heat balance of its network, to the last digit."""

from __future__ import annotations

import random

import numpy as np

from models.site_files import parse_site
from streams.core.network_rows import STEP_MS, NetworkRows, Source
from streams.core.operator import discovered
from streams.core.stream_site import StreamSite
from streams.core.window_state import STATUS_NAMES, WindowState
from streams.operators.device_heat import device_heat
from streams.operators.network_heat import network_heat
from tests.laws.test_restatement import HOUR_MS, late_journal
from tests.support.restating import StoredStream
from tests.support.telemetry import SITE_TEXTS, T0, history, registry_frame

NODES = {"plant": "p", "sub-1": "a", "sub-2": "b", "meter-1": "c"}
TEXTS = {
    "site.toml": SITE_TEXTS["site.toml"] + "volume_m3 = 30\nground_c = 5\nmakeup_c = 12\n",
    "devices.csv": "\n".join(
        f"{line},{NODES.get(line.split(',')[0], 'node')}"
        for line in SITE_TEXTS["devices.csv"].strip().splitlines()
    ) + "\n",
    "pipes.csv": (
        "pipe,network,from_node,to_node,length_m,inner_diameter_m,u_w_m_k\n"
        "1,n1,p,a,400,0.1,0.25\n2,n1,a,b,300,0.08,\n3,n1,a,c,200,0.05,0.2\n4,n1,c,b,150,0.05,0.2\n"
    ),
}  # fmt: skip
FIELDS = (*network_heat.fields, "coverage")


def recomputed(heat, start):
    """The balance that the rows of the store give, computed at once."""
    site = parse_site(TEXTS)[0]
    ids = sorted(NODES)
    states = {}
    for (key, at), row in sorted(heat.items()):
        state = states.setdefault(at, WindowState(len(device_heat.fields)))
        values = np.array([[np.nan if row[f] is None else row[f]] for f in device_heat.fields])
        state.remember(
            np.array([ids.index(key)]), values, np.array([row["coverage"]]),
            np.array([STATUS_NAMES.index(row["status"])]), np.array([row["reason"] or ""], object),
            np.zeros(1, np.int64),
        )  # fmt: skip
    rows = NetworkRows(
        site.networks["n1"], 0, start, start + HOUR_MS, 1000 * network_heat.history_s, np.arange(len(ids)),
        StreamSite(site, ids, {}), {"device_heat": Source(device_heat.fields, "device", states)}, (),
    )  # fmt: skip
    return network_heat.function(rows)


def test_a_balance_is_what_its_devices_rows_give_however_late_they_came(tmp_path):
    seed = 3
    messages = history(seed, hours=9.0, longest_gap_ms=HOUR_MS)
    records = late_journal(messages, random.Random(seed), 0.15, 8 * HOUR_MS)
    operators = [o for o in discovered() if o.name in {"device_heat", "network_heat", "reading"}]
    stream = StoredStream(tmp_path / "a.duckdb", operators, write_every=11)
    stream.step(registry_frame(TEXTS).encode(), T0)
    for record in records[1:]:
        stream.step(record.frame, record.timestamp_ms)
    stream.settle()
    heat = stream.rows("device_heat")
    balances = stream.rows("network_heat")
    settled = {k: r for k, r in balances.items() if r["status"] in {"final", "unknown"}}
    assert len(settled) >= 8
    for (_, start), row in settled.items():
        expected = recomputed(heat, start)
        got = {f: np.nan if row[f] is None else row[f] for f in FIELDS}
        assert got == {f: same_if_absent(getattr(expected, f), got[f]) for f in FIELDS}, (seed, start)
        assert (row["reason"] or "") == expected.reason
    assert any(r["revision"] >= 1 for r in settled.values()), "some were restated"
    assert any(r["status"] == "final" and r["residual_gj"] is not None for r in settled.values())
    first = min(start for _, start in heat)
    assert all(start >= first - STEP_MS * 4 for _, start in balances)


def same_if_absent(expected: float, got: float) -> float:
    """`got` where both are no number, so that equal rows are equal."""
    return got if np.isnan(expected) and np.isnan(got) else expected
