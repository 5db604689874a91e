"""Registers that are out of line for a few samples: garbled, or old ones that came again as new."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import strategies as st

from tests.laws.test_pipeline_laws import journal
from tests.laws.test_zero_counters import (
    COUNTERS,
    HOUR_MS,
    MINUTE_MS,
    OPERATORS,
    TEXTS,
    arriving,
    assert_equals_batch,
    counters_only,
    true_m3,
    whole_history,
)
from tests.support.examples import SEEDS, law
from tests.support.restating import StoredStream, run_all
from tests.support.telemetry import T0, Message, history

WINDOW_MS = 900_000
KINDS = ("old", "old", "garbled", "zero and garbled")


def out_of_line(
    messages: list[Message], device: str, from_ms: int, count: int, what: str, back: int = 5
) -> list[Message]:
    """Messages in which `count` samples of a device from `from_ms` on show registers of its own making.

    They are those of the `back`th sample before (`old`), more than there is (`garbled`), or nothing and then
    more (`zero and garbled`).
    """
    mine = sorted((t, v) for m in messages if m.device == device for t, v in m.samples)
    at = next((i for i, (t, _) in enumerate(mine) if t >= from_ms), len(mine))
    if at < back + 1 or at + count > len(mine):
        return messages
    shown: dict[int, dict[str, float]] = {}
    for place, (t, values) in enumerate(mine[at : at + count]):
        for name in COUNTERS:
            near = [v[name] for _, v in mine[: at - back] if name in v]
            if name in values and near:
                old = {"old": near[-1], "garbled": near[-1] + 900.0}
                now = old.get(what, 0.0 if place == 0 else near[-1] + 900.0)
                shown.setdefault(t, {})[name] = now
    return [
        replace(m, samples=tuple((t, {**v, **shown.get(t, {})}) for t, v in m.samples))
        if m.device == device
        else m
        for m in messages
    ]


def total_m3(messages: list[Message], device: str) -> float:
    values = [
        v["volume_m3"] for m in messages if m.device == device for _, v in m.samples if "volume_m3" in v
    ]
    return max(values) - min(values)


@law(gate=1, soak=10, seed=SEEDS, late=st.sampled_from([0.3, 0.0]))
def test_what_is_out_of_line_is_never_counted(seed: int, late: float, tmp_path_factory) -> None:
    rng = random.Random(seed)
    true = counters_only(history(seed, hours=5.0, devices=["sub-1", "meter-1"], longest_gap_ms=600_000))
    messages = true
    for device in ("sub-1", "meter-1"):
        for hour in (1, 3):
            at = T0 + hour * HOUR_MS + rng.randint(0, 60) * MINUTE_MS
            what = rng.choice(KINDS)
            messages = out_of_line(messages, device, at, rng.randint(1, 3 if what == "old" else 2), what)
    stream = run_all(
        StoredStream(tmp_path_factory.mktemp("o") / "a.duckdb", OPERATORS, write_every=7),
        arriving(messages, rng, late),
    )
    with pytest.MonkeyPatch.context() as patch:
        whole_history(patch)
        assert_equals_batch(stream, messages)
    rows = stream.rows("device_heat")
    for device in ("sub-1", "meter-1"):
        counted = {k: r for k, r in rows.items() if k[0] == device and r["volume_m3"] is not None}
        assert sum(r["volume_m3"] for r in counted.values()) <= total_m3(true, device) + 0.05
    for (device, start), row in rows.items():
        if row["status"] == "final" and row["volume_m3"] is not None:
            # What was counted while it was out of line belongs to the step that leads back.
            most = true_m3(true, device, start - 4 * WINDOW_MS, start + WINDOW_MS)
            assert -1e-9 <= row["volume_m3"] <= most + 0.02, (device, start)


@pytest.mark.parametrize(("what", "count", "device"), [
    pytest.param(what, count, device, marks=() if (count % 2 == 1) == (device == "sub-1") else pytest.mark.soak)
    for what in ("old", "garbled") for count in (1, 2, 3) for device in ("sub-1", "meter-1")
    if (what, count) != ("garbled", 3)  # of three only a meter's own rate tells
])  # fmt: skip
def test_a_few_registers_out_of_line_lose_and_invent_nothing(tmp_path, device, count, what) -> None:
    true = counters_only(history(5, hours=4.0, devices=[device], longest_gap_ms=0))
    messages = out_of_line(true, device, T0 + 2 * HOUR_MS - MINUTE_MS, count, what)
    assert messages != true
    ordered = sorted(messages, key=lambda m: m.newest_t)
    records = journal([[m] for m in ordered], [m.newest_t + 500 for m in ordered], TEXTS)
    stream = run_all(StoredStream(tmp_path / "a.duckdb", OPERATORS), records)
    rows = stream.rows("device_heat")
    assert sum(r["volume_m3"] or 0.0 for r in rows.values()) == pytest.approx(
        total_m3(true, device), abs=0.05
    )
    crashed = StoredStream(tmp_path / "b.duckdb", OPERATORS)
    for at, record in enumerate(records):
        crashed.step(record.frame, record.timestamp_ms)
        if at % 25 == 24:
            crashed.crash()
    crashed.settle()
    again = crashed.rows("device_heat", "revision")
    assert again == stream.rows("device_heat", "revision")
