"""What a network usually loses, how evenly, and by how much its meters usually disagree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.accuracy import COVERAGE_FACTOR
from models.water_balance import MAKEUP_PCT, SWELLING_PCT, TANK_PCT

__all__ = ["LEAST_DAYS", "Usual", "WaterDay", "WaterWindow", "columns", "day_of", "summed_u_m3", "usual_of"]

FloatArray = NDArray[np.float64]

LEAST_DAYS: Final = 3
"""Days that the usual loss has to be seen on; before that only the norm bounds it."""
_MOST_DAYS: Final = 14
_LEAST_HOURS: Final = 18.0
_NIGHT: Final = (2.0, 5.0)  # local hours in which least is drawn
_LEAST_SHARE: Final = 0.03  # of a usual loss, that it is taken to wander by at the least
_LEAST_BIAS_PCT: Final = 0.05
_RECTANGULAR: Final = 1.0 / (100.0 * np.sqrt(3.0))


class WaterWindow(NamedTuple):
    """A settled window of `network_water`. Volumes in m³, rates in m³/h, `start_ms` in ms UTC.

    `booked_m3` is what was known to be authorised when the window was settled.
    """

    start_ms: int
    hours: float
    makeup_m3: float
    booked_m3: float
    storage_m3: float
    tank_m3: float
    leak_m3: float
    leak_u_m3: float
    floor_m3_h: float
    circulated_m3: float
    difference_m3: float
    unbiased_m3: float
    unbiased_u_m3: float


class WaterDay(NamedTuple):
    """One local day without a loss that was out of the way; NaN is unknown.

    Mean rate of loss, its standard uncertainty, how hours scatter about it; median of the floors of the
    windows and their scatter; least floor of the night; by how much meters disagreed, of what circulated.
    """

    start_ms: int
    rate_m3_h: float
    rate_u_m3_h: float
    scatter_m3_h: float
    floor_m3_h: float
    floor_scatter_m3_h: float
    night_m3_h: float
    bias_pct: float


class Usual(NamedTuple):
    """What is usual; `_u_` are standard uncertainties, those of a single day to come."""

    rate_m3_h: float
    rate_u_m3_h: float
    scatter_m3_h: float
    floor_m3_h: float
    floor_u_m3_h: float
    night_m3_h: float
    bias_pct: float
    bias_u_pct: float
    days: int


def columns(windows: Sequence[WaterWindow]) -> dict[str, FloatArray]:
    """Fields of windows as arrays."""
    table = np.array(windows, dtype=np.float64).reshape(len(windows), len(WaterWindow._fields))
    return dict(zip(WaterWindow._fields, table.T, strict=True))


def summed_u_m3(told: dict[str, FloatArray]) -> FloatArray:
    r"""Standard uncertainty of the loss from each window to the last, by the meters alone.

    What is a meter's own does not average down: it goes with the net sums of make-up, tank and storage, which
    for the last two come back to nothing. What is left of each window's uncertainty is independent.

    Returns
    -------
    ndarray, shape (windows,)
        Of the sum over this window and all after it. [m³]
    """
    own = {
        "makeup_m3": MAKEUP_PCT * _RECTANGULAR,
        "tank_m3": TANK_PCT * _RECTANGULAR,
        "storage_m3": SWELLING_PCT * _RECTANGULAR,
    }
    alone = (told["leak_u_m3"] / COVERAGE_FACTOR) ** 2
    common = np.zeros(len(alone))
    for name, share in own.items():
        alone = alone - (share * told[name]) ** 2
        common = common + (share * _from_here(told[name])) ** 2
    return np.asarray(np.sqrt(common + _from_here(np.maximum(alone, 0.0))))


def _from_here(values: FloatArray) -> FloatArray:
    return np.asarray(np.cumsum(values[::-1])[::-1])


def day_of(windows: Sequence[WaterWindow], midnight_ms: int) -> WaterDay | None:
    """Summary of a local day's windows; None where they are too few.

    Parameters
    ----------
    windows : sequence of WaterWindow
        In order of time.
    midnight_ms : int
        Start of the local day. [ms UTC]
    """
    if sum(w.hours for w in windows) < _LEAST_HOURS:
        return None
    told = columns(windows)
    hours = told["hours"]
    rate = float(told["leak_m3"].sum() / hours.sum())
    rates = told["leak_m3"] / hours
    floor = told["floor_m3_h"][np.isfinite(told["floor_m3_h"])]
    clock = (told["start_ms"] - midnight_ms) / 3_600_000.0
    night = (clock >= _NIGHT[0]) & (clock + hours <= _NIGHT[1]) & np.isfinite(told["floor_m3_h"])
    both = np.isfinite(told["difference_m3"]) & (told["circulated_m3"] > 0.0)
    passed = float(told["circulated_m3"][both].sum())
    return WaterDay(
        midnight_ms,
        rate,
        float(summed_u_m3(told)[0] / hours.sum()),
        _spread(rates),
        float(np.median(floor)) if len(floor) else np.nan,
        _spread(floor),
        float(told["floor_m3_h"][night].min()) if night.any() else np.nan,
        100.0 * float(told["difference_m3"][both].sum()) / passed if passed > 0.0 else np.nan,
    )


def usual_of(days: Sequence[WaterDay]) -> Usual | None:
    """What is usual by the last fourteen `days`: medians, and what days scatter by; None by too few."""
    last = days[-_MOST_DAYS:]
    if len(last) < LEAST_DAYS:
        return None
    table = np.array(last, dtype=np.float64).T
    by_name = dict(zip(WaterDay._fields, table, strict=True))
    # The spread of few days says little: the fewer, the wider it is taken.
    wider = 1.0 + LEAST_DAYS / len(last)
    rate = float(np.median(by_name["rate_m3_h"]))
    rate_u = max(
        wider * _spread(by_name["rate_m3_h"]),
        _LEAST_SHARE * abs(rate),
        float(np.median(by_name["rate_u_m3_h"])),
    )
    floors = by_name["floor_m3_h"][np.isfinite(by_name["floor_m3_h"])]
    scatters = by_name["floor_scatter_m3_h"][np.isfinite(by_name["floor_m3_h"])]
    biases = by_name["bias_pct"][np.isfinite(by_name["bias_pct"])]
    nights = by_name["night_m3_h"][np.isfinite(by_name["night_m3_h"])]
    known = len(biases) >= LEAST_DAYS
    return Usual(
        rate,
        rate_u,
        float(np.median(by_name["scatter_m3_h"])),
        float(np.median(floors)) if len(floors) else np.nan,
        float(np.hypot(wider * _spread(floors), np.median(scatters))) if len(floors) else np.nan,
        float(np.median(nights)) if len(nights) else np.nan,
        float(np.median(biases)) if known else np.nan,
        max(wider * _spread(biases), _LEAST_BIAS_PCT) if known else np.nan,
        len(last),
    )


def _spread(values: FloatArray) -> float:
    """Standard deviation of the better part of values: 1.4826 times their median deviation."""
    if not len(values):
        return float("nan")
    return float(1.4826 * np.median(np.abs(values - np.median(values))))
