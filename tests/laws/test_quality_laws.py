"""The laws over histories full of faults: judgement too follows from the sorted samples alone."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import example
from hypothesis import strategies as st

from models.frame import Record
from models.site_files import parse_site
from streams.core.intake import flags_of
from streams.core.operator import SampleOperator, WindowOperator, discovered
from streams.core.rows import Rows, numeric_columns
from streams.core.samples import ClassSamples, Samples, window_rows
from streams.core.stream_site import StreamSite
from tests.laws.test_pipeline_laws import WINDOWS, in_order, journal, run
from tests.support.examples import RANDOM, SEEDS, law
from tests.support.restating import Row, StoredStream, run_all
from tests.support.telemetry import CLASS_OF, SITE_TEXTS, Message, history, with_water

FAULTS = {
    "zero": lambda v: {n: 0.0 for n in ("energy_gj", "volume_m3") if n in v},
    "garbled": lambda v: {"energy_gj": 4e9} if "energy_gj" in v else {},
    "negative": lambda v: {n: -5.0 for n in ("energy_gj", "volume_m3") if n in v},
    "jump": lambda v: {n: v[n] - 30.0 for n in ("supply_c", "return_c") if n in v},
    "range": lambda _v: {"flow_m3_h": 1e6, "return_c": 999.0},
    "exchange": lambda _v: {},
}


def faulty(seed: int) -> list[Message]:
    """A history in which about every tenth sample has a fault, and now and then a meter is exchanged."""
    rng = np.random.default_rng(seed)
    messages = []
    taken_off: dict[str, dict[str, float]] = {}
    for message in with_water(history(seed, longest_gap_ms=0), seed):
        samples = []
        for t, values in message.samples:
            less = taken_off.setdefault(message.device, {})
            seen = {n: v - less.get(n, 0.0) for n, v in values.items()}
            if rng.random() < 0.1:
                fault = str(rng.choice(list(FAULTS)))
                if fault == "exchange":
                    less.update({n: values[n] for n in ("energy_gj", "volume_m3") if n in values})
                    seen = {n: v - less.get(n, 0.0) for n, v in values.items()}
                seen |= FAULTS[fault](seen)
            samples.append((t, seen))
        messages.append(replace(message, samples=tuple(samples)))
    return messages


Said = dict[tuple[str, int], Row]
STANDING = frozenset({"final", "unknown"})


def stored(records: list[Record], operators: Sequence[WindowOperator]) -> dict[str, Said]:
    """Rows that stand, by measurement, of a stream with its store.

    Where a value is masked, its neighbours may be further apart than the lateness: then the store is asked.
    """
    with tempfile.TemporaryDirectory() as home:
        samplers = [o for o in discovered() if isinstance(o, SampleOperator)]
        stream = run_all(StoredStream(Path(home) / "a.duckdb", [*operators, *samplers]), records)
        try:
            of = {o.name: stream.rows(o.name, "revision", "model") for o in operators}
            return {n: {k: r for k, r in rows.items() if r["status"] in STANDING} for n, rows in of.items()}
        finally:
            stream.store.close()


@lru_cache(maxsize=2)
def undisturbed(seed: int) -> dict[str, Said]:
    """Rows that stand of a history in order, of all operators at once: each is then asked about its own."""
    return stored(in_order(faulty(seed)), WINDOWS)


@law(gate=0, soak=5, seed=SEEDS, rng=RANDOM)
@example(seed=204, rng=Random(204)).via("a spike makes a gap longer than the lateness")
def test_order_duplication_and_splitting_change_no_judgement(seed: int, rng) -> None:
    messages = faulty(seed)
    delayed = [(m.newest_t + rng.randint(0, 240_000), m) for m in messages]
    delayed += [(at + rng.randint(0, 3_600_000), m) for at, m in delayed if rng.random() < 0.2]
    delayed.sort(key=lambda x: x[0])
    cuts = sorted(rng.sample(range(1, len(delayed)), len(delayed) // 3))
    batches = [delayed[a:b] for a, b in zip([0, *cuts], [*cuts, len(delayed)], strict=True)]
    mixed = journal([[m for _, m in b] for b in batches], [b[-1][0] for b in batches])
    clean = undisturbed(seed)
    again = stored(mixed, WINDOWS)
    for operator in WINDOWS:
        of_a, of_b = clean[operator.name], again[operator.name]
        # A run whose now went further has settled more windows: compare what is final in both.
        until = min(max(start for _, start in rows) for rows in (of_a, of_b))
        assert {k: r for k, r in of_a.items() if k[1] <= until} == {
            k: r for k, r in of_b.items() if k[1] <= until
        }
    rows = clean["data_quality"].values()
    assert sum(row[n] for row in rows for n in ("out_of_range", "fast_change", "counter_spike")) > 3


@law(gate=1, soak=10, seed=SEEDS, where=st.floats(0.05, 0.95))
def test_a_crash_changes_no_judgement(seed: int, where: float) -> None:
    records = in_order(faulty(seed))
    clean = run(records)
    crashed = run(records, crash_at=max(2, int(where * len(records))))
    assert clean.rows == crashed.rows


@pytest.mark.parametrize("operator", WINDOWS, ids=lambda o: o.name)
@law(gate=0, soak=5, seed=SEEDS)
@example(seed=204).via("the first reading after a window that was restated is masked")
def test_judgement_equals_a_batch_computation_over_the_whole_history(operator, seed: int) -> None:
    messages = faulty(seed)
    devices = [d for d in CLASS_OF if CLASS_OF[d] in operator.reads]
    site = StreamSite(parse_site(SITE_TEXTS)[0], devices, {})
    everything = {
        name: batch_rows(messages, name, devices) for name in sorted({CLASS_OF[d] for d in devices})
    }
    said = undisturbed(seed)[operator.name]
    compared = 0
    for start in sorted({start for _, start in said}):
        end = start + 1000 * operator.every_s
        parts = []
        for name, rows in everything.items():
            before, inside, after = (
                rows.take(at) for at in (rows.t < start, (rows.t >= start) & (rows.t < end), rows.t >= end)
            )
            columns = numeric_columns(name)
            wanted = np.ones(len(devices), bool)
            parts.append(ClassSamples(columns, window_rows(before, inside, after, columns, wanted)))
        samples = Samples(start, end, parts)
        result = operator.function(samples, site)
        for at, device in enumerate(samples.devices):
            row = said.get((devices[device], start))
            if row is None:
                continue
            values = {f: float(getattr(result, f)[at]) for f in operator.fields}
            assert {f: row[f] for f in operator.fields} == {
                f: None if np.isnan(v) else v for f, v in values.items()
            }, (devices[device], start)
            assert (row["coverage"], row["reason"] or "") == (result.coverage[at], result.reason[at])
            compared += 1
    assert compared > 5400 / operator.every_s * len(devices), "expected most windows of two hours"


def batch_rows(messages: list[Message], device_class: str, devices: list[str]) -> Rows:
    """Every sample of a class, sorted, judged as on arrival."""
    columns = numeric_columns(device_class)
    samples = [
        (devices.index(m.device), t, v)
        for m in messages
        if CLASS_OF[m.device] == device_class
        for t, v in m.samples
    ]
    samples.sort(key=lambda s: s[:2])
    zeros = np.zeros(len(samples), np.int64)
    values = np.array([[v.get(c, np.nan) for _, _, v in samples] for c in columns])
    device, t = np.array([s[0] for s in samples]), np.array([s[1] for s in samples])
    return flags_of(Rows(device, t, zeros, zeros, zeros, values), columns, None)[0]
