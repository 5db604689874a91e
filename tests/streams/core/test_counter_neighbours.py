"""What buckets keep of counters is enough: windows have the rows of the whole history, to the bit."""

from __future__ import annotations

import numpy as np
import pytest

from models.site_files import parse_site
from streams.core.buffer import BUCKET_MS, ClassBuffer
from streams.core.operator import discovered
from streams.core.restless import Restless
from streams.core.rows import Rows, numeric_columns
from streams.core.samples import ClassSamples, Samples, window_rows
from streams.core.stream_site import StreamSite
from tests.support.telemetry import SITE_TEXTS, T0

COLUMNS = numeric_columns("meter")
COUNTERS = ("energy_gj", "volume_m3", "operating_h")
DEVICES = 60
DEVICE_HEAT = next(o for o in discovered() if o.name == "device_heat")
LONG_AGO, ALWAYS = np.iinfo(np.int64).min, np.iinfo(np.int64).max


def site() -> StreamSite:
    """Meters of many intervals, with and without a nominal flow and a full scale."""
    head, *_ = SITE_TEXTS["devices.csv"].splitlines()
    lines = [f"{head},energy_full_scale_gj"]
    for i in range(DEVICES):
        qp, full = ("" if i % 2 else "1.5"), ("" if i % 3 else "1000")
        lines.append(f"m{i},meter,u1,n1,{qp},2,3,return,{(60, 300, 900, 1800)[i % 4]},{full}")
    texts = {**SITE_TEXTS, "devices.csv": "\n".join(lines) + "\n"}
    return StreamSite(parse_site(texts)[0], [f"m{i}" for i in range(DEVICES)], {})


def befallen(rng: np.random.Generator, value: np.ndarray) -> np.ndarray:
    """A register with a few stretches out of line, zeros and resets."""
    shown = value.copy()
    for _ in range(rng.integers(0, 9)):
        at, count = int(rng.integers(1, len(value))), int(rng.integers(1, 7))
        what = rng.choice(["old", "equal", "garbled", "zero", "frozen", "reset"])
        part = slice(at, at + count)
        if what == "reset":
            shown[at:] -= shown[at] - rng.choice([0.0, 0.3])
        elif what == "garbled":
            shown[part] = shown[part] * rng.uniform(0.0, 3.0, len(shown[part]))
        else:
            near = {"old": shown[max(at - 5, 0)], "equal": shown[at] * 2.0, "zero": 0.0}
            shown[part] = near.get(what, shown[at - 1])
    return np.maximum(np.round(shown, 2), 0.0)


def meters(seed: int) -> Rows:
    """Eight hours of registers; some do not come with each sample."""
    rng = np.random.default_rng(seed)
    device, t, values = [], [], []
    for i in range(DEVICES):
        times = (
            T0
            + np.arange(0, 8 * 3_600_000, (60, 300, 900, 1800)[i % 4] * 1000)
            + int(rng.integers(0, 60_000))
        )
        times = times[rng.random(len(times)) > 0.1]
        grown = np.cumsum(rng.uniform(0.0, 0.05, len(times)) * (rng.random() > 0.2))
        mine = np.full((len(COLUMNS), len(times)), np.nan)
        mine[COLUMNS.index("energy_gj")] = befallen(rng, rng.uniform(0.0, 999.9) + grown)
        mine[COLUMNS.index("volume_m3")] = befallen(rng, rng.uniform(0.0, 5e3) + 5.0 * grown)
        if i % 5 == 0:
            mine[COLUMNS.index("operating_h")] = 900.0 + (times - T0) / 3.6e6
        for name in COUNTERS:
            mine[COLUMNS.index(name)][rng.random(len(times)) < 0.05] = np.nan
        device.append(np.full(len(times), i))
        t.append(times)
        values.append(mine)
    zeros = np.zeros(sum(map(len, t)), np.int64)
    return Rows(
        np.concatenate(device), np.concatenate(t), zeros, zeros, zeros, np.concatenate(values, axis=1)
    )


@pytest.mark.parametrize("seed", range(4))
def test_windows_have_the_rows_of_the_whole_history(seed: int) -> None:
    rng, view, rows = np.random.default_rng(seed), site(), meters(seed)
    buffer = ClassBuffer("meter")
    buffer.add(rows.take(rng.permutation(rows.n)), DEVICES)
    everybody = np.ones(DEVICES, dtype=bool)
    for start in list(buffer.starts):
        if rng.random() < 0.3:
            buffer.drop_before(start - BUCKET_MS * int(rng.integers(0, 6)))
        end = start + BUCKET_MS
        near = window_rows(
            buffer.before(start), buffer.inside(start, end), buffer.after(end), COLUMNS, everybody
        )
        met = np.isin(rows.device, rows.device[rows.t < end])
        samples = [Samples(start, end, [ClassSamples(COLUMNS, r)]) for r in (near, rows.take(met))]
        kept, whole = (DEVICE_HEAT.function(s, view) for s in samples)
        for field in ("heat_gj", "volume_m3", "coverage"):
            assert getattr(kept, field).tobytes() == getattr(whole, field).tobytes(), (field, start)
        assert kept.reason.tolist() == whole.reason.tolist()


def test_a_register_that_rises_has_its_nearest_neighbours_alone() -> None:
    n = 20
    values = np.full((len(COLUMNS), n), np.nan)
    values[COLUMNS.index("energy_gj")] = np.arange(n) + 1.0
    index, zeros = np.arange(n), np.zeros(n, np.int64)
    rows = Rows(zeros, T0 + index * 300_000, zeros, zeros, zeros, values)
    for fallen, taken in ((None, range(4, 10)), (3, range(2, 11))):
        if fallen is not None:
            values[COLUMNS.index("energy_gj"), fallen] = 2.0
        parts = rows.take(index < 6), rows.take((index >= 6) & (index < 9)), rows.take(index >= 9)
        got = window_rows(*parts, COLUMNS, np.ones(1, bool)).t.tolist()
        assert got == rows.t[list(taken)].tolist()


@pytest.mark.parametrize(
    ("readings", "now", "since"),
    [
        ([1.0, 2.0, 3.0, 4.0], 5.0, None),
        ([1.0, 2.0, 3.0, 4.0], 3.5, 1),  # falls: the two before it may be what is out of line
        ([1.0, 4.0, 3.0, 3.0], 4.5, 1),  # fell a short while ago
        ([4.0, 3.0, 3.1, 3.2, 3.3], 3.4, None),
        ([1.0, 2.0, 3.0, 0.0, 0.0, 0.0], 3.5, 0),  # before zeros
        ([], 1.0, None),
    ],
)
def test_windows_change_from_the_third_reading_before_a_fall_on(readings, now, since) -> None:
    restless = Restless((0,))
    zero = np.zeros(1, np.int64)
    for at, value in enumerate(readings):
        restless.note(Rows(zero, zero + at, zero, zero, zero, np.array([[value]])), 1)
    fresh = Rows(zero, zero + len(readings), zero, zero, zero, np.array([[now]]))
    assert restless.since(fresh, 1).tolist() == [ALWAYS if since is None else since]


def test_many_readings_at_once_and_late_ones_are_taken_for_restless() -> None:
    restless = Restless((0,))
    several = np.zeros(5, np.int64)
    rows = Rows(several, np.arange(5), several, several, several, np.array([[1.0, 2, 9, 4, 5]]))
    assert restless.since(rows, 1).tolist() == [ALWAYS] * 5  # nothing came before them
    restless.note(rows, 1)
    one = several[:1]
    late = Rows(one, one + 3, one, one, one, np.array([[3.0]]))
    assert restless.since(late, 1).tolist() == [2]
    assert restless.since(Rows(one, one + 9, one, one, one, np.array([[6.0]])), 1).tolist() == [2]
    assert LONG_AGO not in restless.since(late, 1)
