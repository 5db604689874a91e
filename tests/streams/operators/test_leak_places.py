"""Leaks of a simulated network are situated by its pressures, through the water operators."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from benchmarks.leak_places import one
from benchmarks.network_days import HOUR_MS
from benchmarks.water_days import WaterRun
from models.leak_detection import LEAK
from simulator.kinds import Fault

PCT = 1.0


@pytest.fixture(scope="module")
def watched() -> WaterRun:
    """Three days without a leak, of pipes whose diameters are a little other than registered."""
    run = WaterRun(23, 5, step_s=900.0, crooked=0.02)
    run.advance(24 * 3)
    assert run.anomalies == []
    return run


def evidence_of(watched: WaterRun, node: str, *, hot: bool, deaf: bool = False) -> dict[str, Any]:
    run = watched.split()
    if deaf:
        run._pressures = lambda _: {}
    passed = float(np.mean([h.circulated_m3 for h in run.hours[-24:]]))
    onset = run.now_ms + HOUR_MS
    kind = "supply_leak" if hot else "leak"
    run.suffer([Fault(kind, node, PCT / 100.0 * passed / 3.6, onset, onset + 1000 * HOUR_MS, onset)])
    run.advance(12)
    found = json.loads(run.anomalies[-1]["evidence"])
    assert run.anomalies[-1]["code"] == LEAK
    assert run.anomalies[-1]["model"] == "water_loss/2"
    return found


@pytest.mark.soak
@pytest.mark.parametrize("substations", [10, 30])
def test_where_pressures_allow_leaks_are_situated_and_never_wrongly(substations):
    found = one(4_100 + substations, substations, 2)
    said = [f for f in found if f.right is not None]
    assert all(f.right for f in said), found
    assert len(said) >= len(found) / 4, found
    assert all(f.candidates <= 3 for f in said)
    assert all(f.reason for f in found if f.right is None)
    assert all(f.side for f in found if f.side is not None), found


def test_without_pressures_it_is_not_located(watched):
    evidence = evidence_of(watched, "n-sub-03", hot=True, deaf=True)
    assert (evidence["branch"], evidence["candidates"]) == (None, [])
    assert evidence["place_reason"] == "no_pressure"
    assert evidence["located"] in {"not located", "somewhere on the supply", "somewhere on the return"}
