r"""When a truck will arrive: what past trips of its lane still needed at the same share of the way.

The logarithm of the remaining time is a straight line in that of the time under way so far, at each share
of the way: who was slow stays a little slow. Its quantiles are split-conformal: the later half of past trips
says by how much the earlier half was wrong, by lane and by the hour at which one arrives there. Of few trips
each is foretold from all others, and the spread is Student's.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from models.position_filter import metres
from models.site import Place

__all__ = ["LEAST_TRIPS", "Eta", "LaneTimes", "PastTrip", "arrival", "late_risk", "progress"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

LEAST_TRIPS: Final = 5
"""Fewer trips of a lane say nothing of the next."""
SHARES: Final = np.linspace(0.0, 0.95, 20)
"""Shares of the way at which past trips are compared."""
MOST_TRIPS: Final = 600
"""Older ones of a lane are left out: roads and drivers change."""
HOUR_LEAST: Final = 20
"""So many residuals of an hour of the day before it has quantiles of its own."""
LOW: Final = 0.1
HIGH: Final = 0.9
_MANY: Final = 80  # so many trips are split in two, fewer are each foretold from all others
_PARTS: Final = 8  # of a day, three hours each
_FEWEST: Final = 3  # residuals
_RIDGE: Final = 0.5  # as much as what ten trips that differ by a fifth say
_HOUR_MS: Final = 3_600_000


@dataclass(frozen=True, slots=True)
class PastTrip:
    """A trip that has ended.

    Attributes
    ----------
    departed_ms, arrived_ms : int
        Leaving the origin's fence, entering the destination's. [ms UTC]
    at_ms, share : ndarray
        What is known of it on the way: times, and how much of the way it had behind it, 0 to 1. May be empty.
    begins : float
        How much it had behind it at `departed_ms`: over 0 where the record of it begins on the way.
    """

    departed_ms: int
    arrived_ms: int
    at_ms: IntArray = field(default_factory=lambda: np.empty(0, np.int64))
    share: FloatArray = field(default_factory=lambda: np.empty(0))
    begins: float = 0.0


@dataclass(frozen=True, slots=True)
class Eta:
    """Quantiles of the arrival. NaN where there are none. [ms UTC]"""

    p10_ms: float = np.nan
    p50_ms: float = np.nan
    p90_ms: float = np.nan


@dataclass(frozen=True, slots=True)
class _Line:
    """Log of remaining time, a straight line in log of time under way; all of shape (shares,)."""

    gone: FloatArray
    left: FloatArray
    slope: FloatArray

    @classmethod
    def of(cls, gone: FloatArray, left: FloatArray) -> _Line:
        """Fit by ridge regression about the medians, so that few trips give a slope of nearly nothing."""
        with np.errstate(invalid="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # shares that no trip tells of are NaN
            middle, height = np.nanmedian(gone, axis=0), np.nanmedian(left, axis=0)
        x, y = np.nan_to_num(gone - middle), np.nan_to_num(left - height)
        slope = (x * y).sum(axis=0) / ((x * x).sum(axis=0) + _RIDGE)
        return cls(np.nan_to_num(middle), height, slope)

    def at(self, gone: FloatArray) -> FloatArray:
        """Log of remaining time. [ln s]"""
        return np.asarray(self.left + self.slope * np.nan_to_num(gone - self.gone))


@dataclass(frozen=True, slots=True)
class LaneTimes:
    """What past trips of a lane say.

    Attributes
    ----------
    trips : int
        How many it rests on.
    total_s : ndarray, shape (trips,)
        From fence to fence, sorted. [s]
    line : _Line
        Of the remaining time at each of `SHARES`.
    low, high : ndarray, shape (parts of the day + 1, shares)
        Quantiles of the log of true over foretold remaining time; the last row for a part without its own.
    offset_ms : int
        Local less UTC time. [ms]
    """

    trips: int
    total_s: FloatArray
    line: _Line
    low: FloatArray
    high: FloatArray
    offset_ms: int

    @classmethod
    def of(cls, trips: Sequence[PastTrip], offset_ms: int = 0) -> LaneTimes:
        """Learn from trips that have ended, in any order."""
        ended = sorted(
            (t for t in trips if t.arrived_ms > t.departed_ms), key=lambda t: (t.arrived_ms, t.departed_ms)
        )[-MOST_TRIPS:]
        total = np.sort(np.array([(t.arrived_ms - t.departed_ms) / 1000.0 for t in ended]))
        if len(ended) < LEAST_TRIPS:
            none = np.full(len(SHARES), np.nan)
            return cls(len(ended), total, _Line(none, none, none), none[None], none[None], offset_ms)
        gone, left = (np.log(x) for x in zip(*(_times(t) for t in ended), strict=True))
        low, high = _conformal(gone, left, np.array([_part(t.arrived_ms, offset_ms) for t in ended]))
        return cls(len(ended), total, _Line.of(gone, left), low, high, offset_ms)


def progress(lat_deg: ArrayLike, lon_deg: ArrayLike, origin: Place, destination: Place) -> FloatArray:
    """Share of the way behind a truck, by its straight distances to both ends, 0 to 1; NaN where unknown.

    Examples
    --------
    >>> a = Place("a", None, "mine", "A", 38.0, 112.0, 300.0)
    >>> b = Place("b", None, "plant", "B", 38.0, 113.0, 300.0)
    >>> progress([38.0, 38.0], [112.0, 112.25], a, b).round(2)
    array([0.  , 0.25])
    """
    lat, lon = np.atleast_1d(np.asarray(lat_deg, float)), np.atleast_1d(np.asarray(lon_deg, float))
    behind, ahead = (
        metres(lat, lon, np.full(len(lat), p.lat_deg), np.full(len(lat), p.lon_deg))
        for p in (origin, destination)
    )
    whole = behind + ahead
    return np.divide(behind, whole, out=np.zeros(len(lat)), where=(whole > 0.0) | np.isnan(whole))


def arrival(lane: LaneTimes, departed_ms: int, now_ms: int, share: float, queue_s: float = 0.0) -> Eta:
    """When a truck that is under way will enter its destination's fence.

    Parameters
    ----------
    lane : LaneTimes
    departed_ms, now_ms : int
        [ms UTC]
    share : float
        How much of the way is behind it, 0 to 1; NaN: only how long it has been under way is known.
    queue_s : float
        By how much the queue at the destination is longer than usual, where one waits before the fence. [s]
    """
    if lane.trips < LEAST_TRIPS:
        return Eta()
    if np.isnan(share):
        return _by_time_alone(lane, departed_ms, now_ms, queue_s)
    at = float(np.clip(share, 0.0, SHARES[-1]))
    gone = np.log(max((now_ms - departed_ms) / 1000.0, 1.0))
    left_s = float(np.exp(np.interp(at, SHARES, lane.line.at(np.full(len(SHARES), gone)))))
    if np.isnan(left_s):
        return Eta()
    if share > SHARES[-1]:
        left_s *= (1.0 - min(share, 1.0)) / (1.0 - SHARES[-1])
    part = _part(int(now_ms + 1000 * left_s), lane.offset_ms)
    row = part if len(lane.low) > 1 and np.isfinite(lane.low[part, 0]) else -1
    low = float(np.exp(np.interp(at, SHARES, lane.low[row])))
    high = float(np.exp(np.interp(at, SHARES, lane.high[row])))
    if np.isnan(low + high):  # too few trips tell of this share of the way
        return Eta()
    seconds = (left_s * min(low, 1.0), left_s, left_s * max(high, 1.0))
    return Eta(*(now_ms + 1000.0 * (s + queue_s) for s in seconds))


def late_risk(eta: Eta, due_ms: float) -> float:
    """Probability of an arrival after `due_ms`, 0 to 1; NaN where there is no ETA.

    Between the quantiles the distribution is a straight line, beyond them exponential.

    Examples
    --------
    >>> late_risk(Eta(100.0, 200.0, 400.0), 200.0)
    0.5
    >>> round(late_risk(Eta(100.0, 200.0, 400.0), 300.0), 2)
    0.3
    """
    if np.isnan(eta.p50_ms) or np.isnan(due_ms):
        return float("nan")
    if due_ms > eta.p90_ms:
        return float((1.0 - HIGH) * np.exp(-(due_ms - eta.p90_ms) / max(eta.p90_ms - eta.p50_ms, 1.0)))
    if due_ms < eta.p10_ms:
        return float(1.0 - LOW * np.exp(-(eta.p10_ms - due_ms) / max(eta.p50_ms - eta.p10_ms, 1.0)))
    return float(np.interp(due_ms, [eta.p10_ms, eta.p50_ms, eta.p90_ms], [1.0 - LOW, 0.5, 1.0 - HIGH]))


def _by_time_alone(lane: LaneTimes, departed_ms: int, now_ms: int, queue_s: float) -> Eta:
    """From trips that took longer than this one has so far."""
    elapsed_s = (now_ms - departed_ms) / 1000.0
    longer = lane.total_s[lane.total_s > elapsed_s]
    if len(longer) < LEAST_TRIPS:
        return Eta()
    spread = np.quantile(longer, [LOW, 0.5, HIGH])
    return Eta(*(departed_ms + 1000.0 * (float(s) + queue_s) for s in spread))


def _times(trip: PastTrip) -> tuple[FloatArray, FloatArray]:
    """Time under way and remaining of a trip when it first had each of `SHARES` behind it, (shares,). [s]

    NaN before what is known of it: a record that begins half-way says nothing of the first half.
    """
    known = (trip.at_ms >= trip.departed_ms) & (trip.at_ms <= trip.arrived_ms) & np.isfinite(trip.share)
    share, at_ms = trip.share[known], trip.at_ms[known]
    share = np.maximum.accumulate(np.concatenate([[trip.begins], share, [1.0]]))
    at = np.interp(
        SHARES, share, np.concatenate([[trip.departed_ms], at_ms, [trip.arrived_ms]]).astype(float)
    )
    gone = np.maximum((at - trip.departed_ms) / 1000.0, 1.0)
    if trip.begins > 0.0:
        gone = np.full(len(SHARES), np.nan)  # it had been under way for some time
    left = np.maximum((trip.arrived_ms - at) / 1000.0, 1.0)
    left[share[0] > SHARES] = np.nan
    return gone, left


def _part(at_ms: int, offset_ms: int) -> int:
    """Part of the local day."""
    return (at_ms + offset_ms) // _HOUR_MS % 24 * _PARTS // 24


def _conformal(gone: FloatArray, left: FloatArray, part: IntArray) -> tuple[FloatArray, FloatArray]:
    """Quantiles of residuals of the log remaining time, by part of the day and share."""
    n, half = len(left), len(left) // 2
    many = n >= _MANY
    if many:
        residual = left[half:] - _Line.of(gone[:half], left[:half]).at(gone[half:])
        part = part[half:]
    else:
        others = [_Line.of(np.delete(gone, at, axis=0), np.delete(left, at, axis=0)) for at in range(n)]
        residual = left - np.array([line.at(gone[at]) for at, line in enumerate(others)])
    quantile = _ranked if many else _student
    low, high = (np.full((_PARTS + 1, left.shape[1]), np.nan) for _ in range(2))
    for row in range(_PARTS + 1):
        mine = residual if row == _PARTS else residual[part == row]
        if row < _PARTS and len(mine) < HOUR_LEAST:
            continue
        low[row], high[row] = quantile(mine, LOW), quantile(mine, HIGH)
    return low, high


def _ranked(residual: FloatArray, share: float) -> FloatArray:
    """Quantile of each column, farther out for few residuals.

    References
    ----------
    .. [1] Vovk, Gammerman, Shafer, Algorithmic Learning in a Random World (2005), section 4.2: the
       ceil((n + 1) share)-th smallest of n residuals covers a next one with the probability `share`.
    """
    n = np.isfinite(residual).sum(axis=0)
    rank = np.clip((np.ceil if share > 0.5 else np.floor)((n + 1) * share), 1, np.maximum(n, 1))
    # What is not known is sorted behind what is.
    ranked = np.take_along_axis(np.sort(residual, axis=0), rank.astype(np.int64)[None] - 1, axis=0)
    return np.asarray(ranked[0])


def _student(residual: FloatArray, share: float) -> FloatArray:
    """Quantile of the next of few normal residuals that were each foretold from all others."""
    known = np.isfinite(residual)
    n = known.sum(axis=0)
    spread = np.sqrt(np.nan_to_num(residual**2).sum(axis=0) / np.maximum(n, 1))
    return np.where(n >= _FEWEST, spread * stdtrit(np.maximum(n - 1.0, 1.0), share), np.nan)
