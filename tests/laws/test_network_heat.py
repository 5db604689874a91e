"""Late readings of a device restate the balance and the reconciled heat of its network, to the last digit."""

from __future__ import annotations

import random

import numpy as np
import pytest

from models.site_files import parse_site
from streams.core.network_rows import STEP_MS, NetworkRows, Source
from streams.core.operator import discovered
from streams.core.stream_site import StreamSite
from streams.core.window_state import STATUS_NAMES, WindowState
from streams.operators.device_heat import device_heat
from streams.operators.network_heat import network_heat
from streams.operators.reconciled_heat import reconciled_heat
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
OPERATORS = {"device_heat", "network_heat", "reading", "reconciled_heat"}


def states_of(rows, fields, ids):
    """Rows of the store as states by window start."""
    states = {}
    for (key, at), row in sorted(rows.items()):
        state = states.setdefault(at, WindowState(len(fields)))
        values = np.array([[np.nan if row[f] is None else row[f]] for f in fields])
        state.remember(
            np.array([ids.index(key)]), values, np.array([row["coverage"]]),
            np.array([STATUS_NAMES.index(row["status"])]), np.array([row["reason"] or ""], object),
            np.zeros(1, np.int64),
        )  # fmt: skip
    return states


def recomputed(operator, heat, balances, start):
    """What the rows of the store give, computed at once."""
    site = parse_site(TEXTS)[0]
    ids = sorted(NODES)
    sources = {
        "device_heat": Source(device_heat.fields, "device", states_of(heat, device_heat.fields, ids)),
        "network_heat": Source(
            network_heat.fields, "network", states_of(balances, network_heat.fields, ["n1"])
        ),
    }
    rows = NetworkRows(
        site.networks["n1"], 0, start, start + HOUR_MS, 1000 * operator.history_s, np.arange(len(ids)),
        StreamSite(site, ids, {}), {name: sources[name] for name in operator.reads}, (),
    )  # fmt: skip
    return operator.function(rows)


@pytest.mark.parametrize("hours", [5, pytest.param(9, marks=pytest.mark.soak)])
def test_a_balance_is_what_its_devices_rows_give_however_late_they_came(tmp_path, hours):
    seed = 3
    messages = history(seed, hours=float(hours), longest_gap_ms=HOUR_MS)
    records = late_journal(messages, random.Random(seed), 0.15, (hours - 1) * HOUR_MS)
    operators = [o for o in discovered() if o.name in OPERATORS]
    stream = StoredStream(tmp_path / "a.duckdb", operators, write_every=11)
    stream.step(registry_frame(TEXTS).encode(), T0)
    for record in records[1:]:
        stream.step(record.frame, record.timestamp_ms)
    stream.settle()
    heat = stream.rows("device_heat")
    balances = stream.rows("network_heat")
    settled = {k: r for k, r in balances.items() if r["status"] in {"final", "unknown"}}
    assert len(settled) >= hours - 1
    for (_, start), row in settled.items():
        expected = recomputed(network_heat, heat, {}, start)
        got = {f: np.nan if row[f] is None else row[f] for f in FIELDS}
        assert got == {f: same_if_absent(getattr(expected, f), got[f]) for f in FIELDS}, (seed, start)
        assert (row["reason"] or "") == expected.reason
    assert any(r["revision"] >= 1 for r in settled.values()), "some were restated"
    assert any(r["status"] == "final" and r["residual_gj"] is not None for r in settled.values())
    assert_reconciled(heat, balances, stream.rows("reconciled_heat"))
    first = min(start for _, start in heat)
    assert all(start >= first - STEP_MS * 4 for _, start in balances)


def assert_reconciled(heat, balances, reconciled):
    """Reconciled heat follows its sources, those that were restated too."""
    ids = sorted(NODES)
    compared = restated = 0
    for (device, start), row in reconciled.items():
        if row["status"] not in {"final", "unknown"} or balances["n1", start]["status"] == "provisional":
            continue
        expected = recomputed(reconciled_heat, heat, balances, start)
        for field in (*reconciled_heat.fields, "coverage"):
            got = np.nan if row[field] is None else row[field]
            value = getattr(expected, field)[ids.index(device)]
            np.testing.assert_equal(got, value, err_msg=f"{device} {start} {field}")
        compared += row["heat_gj"] is not None
        restated += row["revision"] >= 1
    assert compared >= 12
    assert restated >= 1


def same_if_absent(expected: float, got: float) -> float:
    """`got` where both are no number, so that equal rows are equal."""
    return got if np.isnan(expected) and np.isnan(got) else expected
