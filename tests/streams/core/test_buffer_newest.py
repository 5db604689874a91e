"""What a buffer knows of the newest samples is the same however many devices come at once."""

import numpy as np
import pytest

from streams.core.buffer import ClassBuffer
from streams.core.rows import Rows, holding

DEVICES = 12
NEVER = np.iinfo(np.int64).min


def batch(rng, n, *, each_once):
    """Samples of some devices, in any order, that lack measurements here and there; counters fall at times."""
    buffer = ClassBuffer("substation")
    device = rng.permutation(DEVICES)[:n] if each_once else rng.integers(0, DEVICES, n)
    if each_once and rng.random() < 0.5:
        device = np.sort(device)
    values = rng.integers(0, 4, (len(buffer.columns), len(device))).astype(float)
    values[rng.random(values.shape) < 0.2] = np.nan
    values[:2] = np.abs(np.nan_to_num(values[:2])) + 1.0  # two that every sample holds
    zero = np.zeros(len(device), np.int64)
    return Rows(device.astype(np.int64), rng.integers(0, 60, len(device)), zero, zero, zero, values)


@pytest.mark.parametrize("seed", range(6))
def test_many_devices_at_once_are_known_as_one_by_one(seed):
    rng = np.random.default_rng(seed)
    together, apart = ClassBuffer("substation"), ClassBuffer("substation")
    newest = np.full((len(together.columns) + len(together.counters), DEVICES), NEVER)
    counted_t = np.full((len(together.counters), DEVICES), NEVER)
    counted = np.full(counted_t.shape, np.nan)
    everybody = np.arange(DEVICES)
    for _ in range(30):
        rows = batch(rng, int(rng.integers(1, 9)), each_once=bool(rng.random() < 0.6))
        since = together.restless.since(rows, DEVICES)
        for device in np.unique(rows.device):
            mine = rows.take(rows.device == device)
            assert since[rows.device == device].tolist() == apart.restless.since(mine, DEVICES).tolist()
        together.add(rows, DEVICES)
        for device in np.unique(rows.device):
            apart.add(rows.take(rows.device == device), DEVICES)
        for at, there in enumerate(holding(rows.values, together.counters)):
            for device, t in zip(rows.device[there], rows.t[there], strict=True):
                newest[at, device] = max(newest[at, device], t)
        for n in np.lexsort((rows.t, rows.device)):
            of = rows.device[n]
            for at, value in enumerate(rows.values[list(together.counters), n]):
                if not np.isnan(value) and rows.t[n] >= counted_t[at, of]:
                    counted_t[at, of], counted[at, of] = rows.t[n], value
        assert np.array_equal(together.restless._newest, counted, equal_nan=True)
        assert np.array_equal(together.newest_by(DEVICES, everybody), newest)
        assert np.array_equal(together.newest_t(DEVICES), newest.max(axis=0))
        assert np.array_equal(apart.newest_by(DEVICES, everybody), newest)
