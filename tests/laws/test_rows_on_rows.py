"""Rows that rest on rows end as if all had come in order, however late it comes; learners see each step once."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import strategies as st

from models.frame import Frame, FrameKind, telemetry_schema
from models.results import result_schema
from streams.core.operator import SampleOperator, discovered, in_order_of_reading, learner, network_operator
from streams.core.pipeline import Pipeline
from tests.laws.test_pipeline_laws import journal
from tests.laws.test_restatement import HOUR_MS, late_journal
from tests.support.examples import SEEDS, law
from tests.support.restating import REWRITTEN_MS, StoredStream, run_all
from tests.support.telemetry import SITE_TEXTS, T0, history, registry_frame

STEP_MS = 900_000


@dataclass
class Totals:
    total: Any
    before_c: Any
    coverage: Any
    reason: Any


@network_operator(reads=("device_heat",), writes=Totals, history_s=1800)
def totals(rows) -> Totals:
    """Flow-time of the window and the warmest supply of the half hour before it."""
    flow, supply = rows("device_heat", "flow_m3_h"), rows("device_heat", "supply_c")
    history = supply[: rows.window.start]
    warmest = np.nanmax(history) if np.isfinite(history).any() else np.nan
    covered = np.nan_to_num(rows("device_heat", "coverage")[rows.window]).mean()
    return Totals(np.nansum(flow[rows.window]), warmest, covered, "" if covered > 0.9 else "coverage")


@dataclass
class Share:
    share: Any
    coverage: Any
    reason: Any


@network_operator(reads=("device_heat", "totals"), writes=Share, subject="device", history_s=3600)
def share(rows) -> Share:
    """Each device's part of the totals of this window and the one before."""
    flow = np.nansum(rows("device_heat", "flow_m3_h"), axis=0)
    whole = np.nansum(rows("totals", "total"))
    return Share(flow / whole if whole else np.full(len(flow), np.nan), 1.0, "")


_LEARNT = result_schema([pa.field("windows", pa.float64()), pa.field("total", pa.float64())])


@learner(reads=("totals",), version=1, fields=("windows", "total"), subject="network")
def running(state, settled):
    """How many windows there were and their running total, a row each."""
    seen = settled.subjects("totals")
    if not len(seen):
        return state, None
    state = state or {"windows": 0, "total": 0.0}
    state = {"windows": state["windows"] + 1, "total": state["total"] + float(settled("totals", "total")[0])}
    row = {
        "key": settled.networks[int(seen[0])], "unit": "u1", "region": "r1", "stream": settled.stream,
        "window_start": settled.start_ms, "window_ms": STEP_MS, **state, "coverage": 1.0, "status": "final",
        "reason": None, "revision": 0, "model": "running/1",
    }  # fmt: skip
    return state, pa.Table.from_pylist([row], schema=_LEARNT)


OPERATORS = (*discovered(), totals, share, running)
FEW = [o for o in discovered() if isinstance(o, SampleOperator) or o.name == "device_heat"]
"""What the networks here rest on; with no more rows are let go after an hour or two."""


def assert_follows(stream: StoredStream) -> None:
    """Rows of networks are what a plain computation makes of the devices' rows in the store."""
    heat = stream.rows("device_heat")
    got = {k: r for k, r in stream.rows("totals").items() if r["status"] in {"final", "unknown"}}
    assert len(got) >= 3
    shares = stream.rows("share")
    sums = {}
    for (_, start), row in sorted(got.items()):
        inside = [r for (_, at), r in heat.items() if start <= at < start + HOUR_MS]
        earlier = [r for (_, at), r in heat.items() if start - 2 * STEP_MS <= at < start]
        sums[start] = sum(r["flow_m3_h"] or 0.0 for r in inside)
        assert row["total"] == pytest.approx(sums[start], rel=1e-12)
        warm = [r["supply_c"] for r in earlier if r["supply_c"] is not None]
        assert row["before_c"] == (max(warm) if warm else None)
        whole = sums[start] + sums.get(start - HOUR_MS, 0.0)
        for device in {k for k, _ in heat}:
            mine = sum(
                r["flow_m3_h"] or 0.0 for (k, at), r in heat.items()
                if k == device and start - HOUR_MS <= at < start + HOUR_MS
            )  # fmt: skip
            if whole:
                assert shares[device, start]["share"] == pytest.approx(mine / whole, rel=1e-12)


@law(gate=1, soak=5, seed=SEEDS, crash=st.sampled_from([True, False]))
def test_networks_follow_late_sources(seed: int, crash: bool, tmp_path_factory) -> None:
    rng = random.Random(seed)
    messages = history(seed, hours=3.0, longest_gap_ms=HOUR_MS)
    records = late_journal(messages, rng, 0.2, 3 * HOUR_MS)
    stream = StoredStream(tmp_path_factory.mktemp("rows") / "a.duckdb", OPERATORS, write_every=11)
    at = set(rng.sample(range(2, len(records)), 6)) if crash else set()
    for i, record in enumerate(records):
        stream.step(record.frame, record.timestamp_ms)
        if i in at:
            stream.crash()
    stream.settle()
    assert_follows(stream)
    listed = [r for r in stream.rows("restatement").values() if r["measurement"] in {"totals", "share"}]
    assert all(r["reason"] in {"source", "late"} for r in listed)


def test_dependants_long_past_are_restated_after_their_sources(tmp_path) -> None:
    messages = sorted(history(5, hours=6.0, longest_gap_ms=0), key=lambda m: (m.newest_t, m.device))
    held = [m for m in messages if m.device == "sub-1" and T0 + HOUR_MS <= m.newest_t < T0 + 1.4 * HOUR_MS]
    arrivals = [(m.newest_t + 500, m) for m in messages if m not in held]
    arrivals += [(T0 + int(5.7 * HOUR_MS), m) for m in held]
    arrivals.sort(key=lambda a: a[0])
    stream = StoredStream(tmp_path / "a.duckdb", [*FEW, totals, share, running], write_every=20)
    run_all(stream, journal([[m] for _, m in arrivals], [at for at, _ in arrivals]))
    assert_follows(stream)
    rows = stream.rows("totals")
    assert rows["n1", T0 + HOUR_MS]["revision"] >= 1
    assert rows["n1", T0 + 4 * HOUR_MS]["revision"] == 0
    learnt = [r for _, r in sorted(stream.rows("running").items(), key=lambda x: x[0][1])]
    assert [r["windows"] for r in learnt] == list(range(1, len(learnt) + 1)), "each window once, in order"


def test_learners_are_the_same_with_and_without_provisional_rows_and_crashes(tmp_path) -> None:
    messages = history(9, hours=3.0, longest_gap_ms=0)
    ordered = sorted(messages, key=lambda m: (m.newest_t, m.device))
    records = journal([[m] for m in ordered], [m.newest_t + 500 for m in ordered])
    told = []
    for n, (every, crash) in enumerate([(REWRITTEN_MS, False), (None, False), (REWRITTEN_MS, True)]):
        pipeline = Pipeline("u1", OPERATORS, provisional_every_ms=every)
        rows = []
        for i, record in enumerate(records):
            outputs = pipeline.step(record)
            rows += [r for t in outputs.rows.get("running", ()) for r in t.to_pylist()]
            if crash and i % 97 == 0:
                pipeline = Pipeline.restore(pipeline.checkpoint(), OPERATORS, provisional_every_ms=every)
        assert len(rows) >= 2, n
        told.append(rows)
    assert told[0] == told[1] == told[2]


@pytest.mark.parametrize("every", [10_000, None])
def test_a_leap_of_now_settles_each_network_once_and_takes_nothing_back(every) -> None:
    messages = sorted(history(7, hours=6.0, longest_gap_ms=0), key=lambda m: (m.newest_t, m.device))
    records = journal([messages, messages[-1:]], [messages[-1].newest_t, T0 + 9 * HOUR_MS])
    pipeline = Pipeline("u1", OPERATORS, provisional_every_ms=every)
    tables = [
        t
        for r in records
        for name, ts in pipeline.step(r).rows.items()
        for t in ts
        if name in {"totals", "share", "restatement"}
    ]
    rows = [row for table in tables for row in table.to_pylist()]
    assert not [r for r in rows if "restatement" in r.get("key", "") or "restated_ms" in r]
    settled = [
        (r["key"], r["window_start"]) for r in rows if "total" in r and r["status"] in {"final", "unknown"}
    ]
    assert len(settled) >= 5
    assert len(settled) == len(set(settled)), "a window is settled once"


def test_operators_that_read_each_other_in_a_ring_are_refused() -> None:
    @network_operator(reads=("b",), writes=Share)
    def a(rows):
        return None

    @network_operator(reads=("a",), writes=Share)
    def b(rows):
        return None

    with pytest.raises(ValueError, match="ring"):
        in_order_of_reading([a, b])


def test_an_operator_that_reads_what_nobody_writes_is_refused() -> None:
    @network_operator(reads=("nothing",), writes=Share)
    def lonely(rows):
        return None

    with pytest.raises(ValueError, match=r"lonely: expected to read one of .*, got 'nothing'"):
        Pipeline("u1", [*discovered(), lonely])


def test_the_test_network_has_windows() -> None:
    assert "window_s = 3600" in SITE_TEXTS["site.toml"]


@dataclass
class Drawn:
    volume_m3: Any
    coverage: Any
    reason: Any


@network_operator(reads=("device_heat", "office"), writes=Drawn)
def drawn(rows) -> Drawn:
    """What was entered as taken out of the network."""
    return Drawn(sum(e.volume_m3 for e in rows.events), 1.0, "")


def office_frame(seq: int, t: int, ref: str, volume_m3: float) -> bytes:
    row = {"device": "desk", "boot": T0 - 5, "seq": seq, "pos": 0, "t": t, "ref": ref, "event": "flush",
           "network": "n1", "volume_m3": volume_m3}  # fmt: skip
    schema = telemetry_schema("office")
    return Frame(FrameKind.TELEMETRY, "office", pa.RecordBatch.from_pylist([row], schema=schema)).encode()


def test_what_people_enter_late_or_correct_restates_the_network(tmp_path) -> None:
    messages = sorted(history(5, hours=7.0, longest_gap_ms=0), key=lambda m: (m.newest_t, m.device))
    texts = dict(SITE_TEXTS)
    texts["devices.csv"] += "desk,office,u1,n1,,,,,\n"
    stream = StoredStream(tmp_path / "a.duckdb", [*FEW, drawn], write_every=20)
    stream.step(registry_frame(texts).encode(), T0)
    entered = [
        (T0 + 90 * 60_000, office_frame(1, T0 + 80 * 60_000, "a", 5.0)),
        (T0 + 390 * 60_000, office_frame(3, T0 + 85 * 60_000, "b", 2.0)),  # five hours late
        (T0 + 400 * 60_000, office_frame(4, T0 + 80 * 60_000, "a", 6.0)),  # a correction
        (T0 + 401 * 60_000, office_frame(2, T0 + 80 * 60_000, "a", 1.0)),  # an older one, overtaken
    ]
    fed = [
        (r.timestamp_ms, r.frame)
        for r in journal([[m] for m in messages], [m.newest_t + 500 for m in messages])[1:]
    ]
    for at, frame in sorted([*fed, *entered], key=lambda x: x[0]):
        stream.step(frame, at)
    stream.crash()
    stream.settle()
    rows = stream.rows("drawn")
    assert rows["n1", T0 + HOUR_MS]["volume_m3"] == 8.0
    assert rows["n1", T0 + HOUR_MS]["revision"] >= 1
    assert rows["n1", T0]["volume_m3"] == 0.0
