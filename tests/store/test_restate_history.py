"""What restating reads of many devices at once is what it would read of each piece by itself."""

from __future__ import annotations

import random

import pytest

from models.restate import RestateRequest, Span
from store.duckdb_series import DuckdbSeries
from store.restate import answer
from store.restate_history import History
from tests.support.series import output, readings, sample

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
T0 = 20_000 * DAY_MS
HAS = ("supply_c", "flow_m3_h")


class Counted:
    """A store, and how often it was asked."""

    def __init__(self, store):
        self.store, self.asked = store, 0

    def select(self, question):
        self.asked += 1
        return self.store.select(question)


def told(store, request):
    return [
        (part.windows, {c: b.to_pylist() for c, b in part.samples.items()}) for part in answer(store, request)
    ]


@pytest.mark.parametrize("seed", [2, *(pytest.param(n, marks=pytest.mark.soak) for n in (0, 1, 3))])
def test_pieces_read_together_are_those_read_one_by_one(tmp_path, monkeypatch, seed):
    rng = random.Random(seed)
    store = DuckdbSeries(tmp_path / "a.duckdb")
    rows, spans = [], []
    for n in range(2):
        # Steady for a while, then silent for hours, days or months; one measurement is rare, values may be absurd.
        t = T0 + rng.randrange(DAY_MS)
        for seq in range(20):
            t += rng.choice([600_000, 600_000, 5 * HOUR_MS, DAY_MS]) + (2 * DAY_MS if seq == 10 else 0)
            more = {"flow_m3_h": rng.choice([3.0, 1e9])} if rng.random() < 0.2 else {}
            rows.append(sample(f"d{n}", t, seq, supply_c=rng.choice([50.0, 60.0, -999.0]), **more))
        low = T0 + rng.randrange(2) * DAY_MS
        spans.append(Span(f"d{n}", "meter", low, low + rng.choice([HOUR_MS, DAY_MS, 4 * DAY_MS]), HAS))
    store.write([output(1, readings=[readings(*rows)])])
    request = RestateRequest("s:1", "s1", 1, T0 + 12 * DAY_MS, tuple(spans), ())
    together = Counted(store)
    found = told(together, request)
    monkeypatch.setattr(History, "prepare", lambda *_: None)
    monkeypatch.setattr(History, "_same_neighbours", lambda *_: False)
    monkeypatch.setattr(History, "_known", lambda *_: False)
    one_by_one = Counted(store)
    assert found == told(one_by_one, request)
    assert together.asked < one_by_one.asked
    store.close()


def test_what_rests_on_nothing_after_it_has_the_two_samples_before_it(tmp_path):
    """Marks of trucks are made of a window's fixes and those before: two of each, however rare one is."""
    store = DuckdbSeries(tmp_path / "a.duckdb")
    rows = []
    for n in range(60):
        rare = {"flow_m3_h": 3.0} if n in {3, 9, 20, 55} else {}
        rows.append(sample("d0", T0 + n * 120_000, n, supply_c=50.0 + n, **rare))
    store.write([output(1, readings=[readings(*rows)])])
    low = T0 + HOUR_MS
    span = Span("d0", "meter", low, low + 900_000, HAS, own=True)
    [(windows, samples)] = told(store, RestateRequest("s:1", "s1", 1, T0 + DAY_MS, (span,), ()))
    given = [round((row["t"] - T0) / 120_000) for row in samples["meter"]]
    widened = range(round((windows[0].from_ms - T0) / 120_000), round((windows[-1].to_ms - T0) / 120_000))
    before = [n for n in given if n < widened[0]]
    assert [n for n in before if n not in {3, 9, 20, 55}] == [widened[0] - 2, widened[0] - 1]
    assert [n for n in before if n in {3, 9, 20, 55}] == [9, 20]
    assert max(given) <= widened[-1]
