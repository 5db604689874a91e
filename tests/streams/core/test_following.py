"""Positions of a window that are followed as they come are those of the window at once."""

import numpy as np
import pytest

from streams.core.buffer import standing
from streams.core.following import Following
from streams.core.rows import Rows, concat, numeric_columns
from streams.core.samples import ClassSamples, Samples

COLUMNS = numeric_columns("truck")
START, END = 900_000_000, 900_900_000


def drive(rng, trucks=5):
    """Fixes of trucks before and in a window, some at (0, 0), absent or 500 km away."""
    device, t, lat, lon = [], [], [], []
    for truck in range(trucks):
        times = np.arange(START - 20_000, END, 10_000) + 100 * truck
        along = np.cumsum(rng.uniform(0, 1e-3, len(times)))
        wrong = rng.random(len(times))
        device += [truck] * len(times)
        t += times.tolist()
        lat += np.select(
            [wrong < 0.05, wrong < 0.08, wrong < 0.2], [0.0, np.nan, 42.0], 38.0 + along
        ).tolist()
        lon += np.where(wrong < 0.05, 0.0, 112.0).tolist()
    zero = np.zeros(len(t), np.int64)
    values = np.full((len(COLUMNS), len(t)), np.nan)
    values[COLUMNS.index("lat_deg")], values[COLUMNS.index("lon_deg")] = lat, lon
    return Rows(np.array(device), np.array(t), zero, zero, zero, values)


def until(rows, cut):
    return rows.take(rows.t < np.array(cut)[rows.device])


@pytest.mark.parametrize("seed", range(8))
def test_fixes_that_come_in_parts_are_those_of_the_whole(seed):
    rng = np.random.default_rng(seed)
    rows = drive(rng)
    following = Following()
    following.know(5)
    cuts = np.sort(START + rng.integers(10_000, END - START, (3, 5)), axis=0)
    following.begin(Samples(START, END, [ClassSamples(COLUMNS, until(rows, cuts[0]))]))
    for low, high in zip(cuts, [*cuts[1:], np.full(5, END)], strict=True):
        came = rows.take((rows.t >= low[rows.device]) & (rows.t < high[rows.device]))
        mine = following.go_on(START, END, COLUMNS, came)
        whole = Samples(START, END, [ClassSamples(COLUMNS, until(rows, high))]).believed_fixes
        for place, truck in enumerate(mine.devices.tolist()):
            fixes, of_all = mine.believed_fixes, whole.take(np.flatnonzero(whole.truck == truck))
            fixes = fixes.take(np.flatnonzero(fixes.truck == place))
            new = of_all.t_ms >= mine.new_from_ms[place]
            before = np.flatnonzero(~new)
            expected = of_all.take(
                np.append(np.unique(before[[0, -1]]) if len(before) else before, np.flatnonzero(new))
            )
            assert fixes.t_ms.tolist() == expected.t_ms.tolist()
            assert fixes.lat_deg.tolist() == expected.lat_deg.tolist()
            assert fixes.lon_deg.tolist() == expected.lon_deg.tolist()
            last = came.t[came.device == truck].max()
            assert following.until_ms[truck] == last


def test_of_one_time_the_highest_message_stands():
    rows = drive(np.random.default_rng(1), trucks=1)
    later = Rows(rows.device, rows.t, rows.boot, rows.seq + 1, rows.pos, rows.values + 1.0)
    inside = rows.t >= START
    both = standing(concat([later.take(inside), rows.take(inside)], len(COLUMNS)), START)
    assert both.t.tolist() == rows.t[inside].tolist()
    assert set(both.seq.tolist()) == {1}
