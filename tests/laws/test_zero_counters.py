"""Counters that show zero: a display that was off, a register that was set back, and what nobody can know."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import strategies as st

import tests.laws.test_pipeline_laws as laws
from streams.core.operator import SampleOperator, WindowOperator, discovered
from streams.core.rows import concat
from tests.laws.test_pipeline_laws import batch_rows, journal
from tests.support.examples import SEEDS, law
from tests.support.restating import StoredStream, run_all
from tests.support.telemetry import SITE_TEXTS, T0, Message, history

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
COUNTERS = ("energy_gj", "volume_m3")
_ROWS = {
    "sub-1,substation,u1,n1,20,": "sub-1,substation,u1,n1,,",
    "meter-1,meter,u1,n1,3,": "meter-1,meter,u1,n1,10,",
}
TEXTS = dict(SITE_TEXTS)
for _old, _new in _ROWS.items():
    TEXTS["devices.csv"] = TEXTS["devices.csv"].replace(_old, _new)
"""Of the two meters with counters `sub-1` has no nominal flow."""
WINDOWS = [
    o for o in discovered() if isinstance(o, WindowOperator) and o.name in {"device_heat", "data_quality"}
]
OPERATORS = [*WINDOWS, *(o for o in discovered() if isinstance(o, SampleOperator))]


def counters_only(messages: list[Message]) -> list[Message]:
    """The same messages of meters that send nothing but their counters."""
    return [
        replace(
            m,
            samples=tuple((t, {n: v for n, v in values.items() if n in COUNTERS}) for t, values in m.samples),
        )
        for m in messages
    ]


def befallen(messages: list[Message], device: str, from_ms: int, to_ms: int, what: str) -> list[Message]:
    """Messages in which the counters of a device show zero in [from, to).

    Afterwards they go on (`off`), have begun anew (`anew`), or stand at half of what they were (`older`).
    """
    later = [v for m in messages if m.device == device for t, v in m.samples if t >= to_ms]
    # Of each by itself: a sample may lack one of them, and no register shows less than zero.
    first = {name: min((v[name] for v in later if name in v), default=0.0) for name in COUNTERS}

    def shown(t: int, name: str, value: float) -> float:
        if from_ms <= t < to_ms:
            return 0.0
        if t < from_ms or what == "off":
            return value
        return round(value - first[name] * (1.0 if what == "anew" else 0.5), 3)

    return [
        replace(
            m,
            samples=tuple(
                (t, {n: shown(t, n, v) if n in COUNTERS else v for n, v in values.items()})
                for t, values in m.samples
            ),
        )
        if m.device == device
        else m
        for m in messages
    ]


def arriving(messages: list[Message], rng: random.Random, late: float):
    """A journal of `messages`, a share of them up to three hours late."""
    arrivals = [
        (m.newest_t + 500 + (rng.randint(0, 3 * HOUR_MS) if rng.random() < late else 0), m) for m in messages
    ]
    arrivals.sort(key=lambda a: (a[0], a[1].device, a[1].seq))
    return journal([[m] for _, m in arrivals], [at for at, _ in arrivals], TEXTS)


def whole_history(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the batch computation see every reading, not only those near a window."""
    monkeypatch.setattr(
        laws,
        "window_rows",
        lambda before, inside, after, columns, _: concat([before, inside, after], len(columns)).in_order(),
    )


def assert_equals_batch(stream: StoredStream, messages: list[Message]) -> None:
    for operator in WINDOWS:
        expected = batch_rows(operator, messages, TEXTS)
        rows = stream.rows(operator.name)
        assert {r["status"] for k, r in rows.items() if k in expected} <= {"final", "unknown"}
        got = {k: {c: row[c] for c in expected[k]} for k, row in rows.items() if k in expected}
        assert got == expected, operator.name


def true_m3(messages: list[Message], device: str, start: int, end: int) -> float:
    """What truly flowed between the samples around a window."""
    values = [
        (t, v["volume_m3"]) for m in messages if m.device == device for t, v in m.samples if "volume_m3" in v
    ]
    low = max((v for t, v in values if t <= start), default=values[0][1])
    return min((v for t, v in values if t >= end), default=values[-1][1]) - low


@law(gate=1, soak=10, seed=SEEDS, late=st.sampled_from([0.3, 0.0]), bare=st.sampled_from([True, False]))
def test_zeros_end_as_the_whole_history_has_them_and_no_final_row_is_wrong(
    seed: int, late: float, bare: bool, tmp_path_factory
) -> None:
    rng = random.Random(seed)
    true = history(seed, hours=7.0, devices=["sub-1", "meter-1"], longest_gap_ms=600_000)
    true = counters_only(true) if bare else true
    messages = true
    for device in ("sub-1", "meter-1"):
        at = T0 + rng.randint(0, HOUR_MS)
        for _ in range(2):
            until = at + rng.choice([1, 25, 70, 150]) * MINUTE_MS
            messages = befallen(messages, device, at, until, rng.choice(["off", "off", "anew", "older"]))
            at = until + rng.randint(1, 90) * MINUTE_MS
    stream = run_all(
        StoredStream(tmp_path_factory.mktemp("z") / "a.duckdb", OPERATORS), arriving(messages, rng, late)
    )
    with pytest.MonkeyPatch.context() as patch:
        whole_history(patch)
        assert_equals_batch(stream, messages)
    for (device, start), row in stream.rows("device_heat").items():
        # Flows of a history are random from sample to sample: only counters say what flowed between them.
        if bare and row["status"] == "final" and row["volume_m3"] is not None and row["coverage"] >= 0.9:
            most = true_m3(true, device, start, start + 900_000)
            assert row["volume_m3"] <= most + 0.02, (device, start)


@pytest.mark.parametrize(
    ("device", "minutes"),
    [
        ("sub-1", 150),
        ("meter-1", 25),
        pytest.param("sub-1", 25, marks=pytest.mark.soak),
        pytest.param("meter-1", 150, marks=pytest.mark.soak),
    ],
)
def test_a_display_that_was_off_loses_and_invents_nothing(tmp_path, device: str, minutes: int) -> None:
    true = counters_only(history(5, hours=6.0, devices=[device], longest_gap_ms=0))
    off = T0 + HOUR_MS, T0 + HOUR_MS + minutes * MINUTE_MS
    messages = befallen(true, device, *off, "off")
    ordered = sorted(messages, key=lambda m: m.newest_t)
    stream = StoredStream(tmp_path / "a.duckdb", OPERATORS, write_every=1)
    waited = None
    for record in journal([[m] for m in ordered], [m.newest_t + 500 for m in ordered], TEXTS):
        if waited is None and record.timestamp_ms >= off[1]:
            waited = stream.rows("device_heat")
        stream.step(record.frame, record.timestamp_ms)
    stream.settle()
    inside = [k for k in waited if off[0] <= k[1] and k[1] + 2_400_000 <= off[1]]
    assert inside or minutes < 60
    assert {(waited[k]["status"], waited[k]["reason"], waited[k]["volume_m3"]) for k in inside} <= {
        ("unknown", "counter_zero", None)
    }
    rows = stream.rows("device_heat")
    values = [v["volume_m3"] for m in ordered for _, v in m.samples if "volume_m3" in v]
    assert sum(r["volume_m3"] or 0.0 for r in rows.values()) == pytest.approx(
        values[-1] - values[0], abs=0.02
    )
    assert {(rows[k]["reason"], rows[k]["volume_m3"] > 0.0, rows[k]["revision"]) for k in inside} <= {
        ("counter_zero", True, 1)
    }


def test_a_register_that_was_set_back_and_stands_is_zero_once_it_goes_on(tmp_path) -> None:
    true = counters_only(history(5, hours=5.0, devices=["sub-1"], longest_gap_ms=0))
    back = T0 + HOUR_MS, T0 + 3 * HOUR_MS
    messages = sorted(befallen(true, "sub-1", *back, "anew"), key=lambda m: m.newest_t)
    stream = run_all(
        StoredStream(tmp_path / "a.duckdb", OPERATORS),
        journal([[m] for m in messages], [m.newest_t + 500 for m in messages], TEXTS),
    )
    rows = stream.rows("device_heat")
    inside = [r for (_, start), r in rows.items() if back[0] + 900_000 <= start < back[1] - 900_000]
    assert {(r["status"], r["volume_m3"]) for r in inside} == {("final", 0.0)}
    assert {r["revision"] for r in inside} >= {1}
