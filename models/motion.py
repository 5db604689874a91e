r"""Driving, standing or out of reach: what a truck did between its fixes, and the states that this makes.

Between two fixes it drives when the log of its displacement speed, over windows of several lengths about the
middle, weighs up to more than nothing. A window reaches over a fix's noise where fixes are dense, and is the
interval itself where they are far apart: so one rule serves 5 s and 10 minutes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.position_filter import Fixes, metres

__all__ = [
    "DRIVE_MS",
    "SILENT_MS",
    "STOP_MS",
    "Motion",
    "Run",
    "Steps",
    "driving_score",
    "log_speeds",
    "runs_of",
    "steps",
]  # fmt: skip

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

WINDOWS_S: Final = (10.0, 20.0, 40.0, 80.0)
WEIGHTS: Final = (0.527, 1.309, 1.312, 0.825)
BIAS: Final = -0.747
"""Windows [s] and weights of log speed [1 / ln(m/s)], by logistic regression on four fifths of the tracks of
docs/recordings.md, `drive_labels`: those whose place in the order of names, from 0, is not 4 modulo 5."""
LOOKS_MS: Final = 40_000
"""So far about an instant the longest window reaches. [ms]"""
SLOWEST_M_S: Final = 0.5
"""Slower is as slow: its logarithm says nothing more. [m/s]"""
STOP_MS: Final = 120_000
"""A shorter stand belongs to the drive: a crossing, a gate. [ms]"""
DRIVE_MS: Final = 20_000
"""A shorter movement belongs to the stop: a place in the queue. [ms]"""
LOST_MS: Final = 600_000
"""Without a fix for longer, somebody who is elsewhere after it was out of reach. [ms]"""
SILENT_MS: Final = 3_600_000
"""Without a fix for longer, anybody was: boxes of parked trucks report each half hour at least. [ms]"""
SAME_PLACE_M: Final = 150.0


class Motion(IntEnum):
    """What a truck does."""

    STOPPED = 0
    DRIVING = 1
    OFFLINE = 2


@dataclass(frozen=True, slots=True)
class Steps:
    """Times between consecutive fixes of a truck, sorted; all of shape (n,).

    Attributes
    ----------
    truck, from_ms, to_ms : ndarray of int64
        Index of the truck; the two fixes. [ms UTC]
    motion : ndarray of int8
        A `Motion`.
    metres : ndarray
        Between the two. [m]
    lat_deg, lon_deg : ndarray
        Where it ends. [°]
    """

    truck: IntArray
    from_ms: IntArray
    to_ms: IntArray
    motion: NDArray[np.int8]
    metres: FloatArray
    lat_deg: FloatArray
    lon_deg: FloatArray


@dataclass(frozen=True, slots=True)
class Run:
    """Steps of one motion, one after the other.

    Attributes
    ----------
    motion : Motion
    from_ms, to_ms : int
        [ms UTC]
    metres : float
        Driven, or between the ends where it was out of reach. [m]
    lat_deg, lon_deg : float
        Where its first step ends: of a stop, where it stands. [°]
    """

    motion: Motion
    from_ms: int
    to_ms: int
    metres: float
    lat_deg: float
    lon_deg: float


def log_speeds(fixes: Fixes, first: IntArray, last: IntArray, at_ms: FloatArray) -> FloatArray:
    """Logs of displacement speeds over windows about instants.

    Parameters
    ----------
    fixes : Fixes
        Believed ones.
    first, last : ndarray of int64, shape (m,)
        Of each instant the first and the last fix of its truck that it may look at, by place in `fixes`.
    at_ms : ndarray, shape (m,)
        Instants between them. [ms UTC]

    Returns
    -------
    ndarray, shape (windows, m)
        Slow is `SLOWEST_M_S`. NaN where first and last are one.
    """
    if not len(at_ms):
        return np.empty((len(WINDOWS_S), 0))
    base = int(fixes.t_ms.min())
    since = (fixes.t_ms - base).astype(np.float64)
    apart = float(since.max(initial=0.0)) + 1e6
    keys = since + np.cumsum(np.append(0, np.diff(fixes.truck) != 0)) * apart
    at, shift = at_ms - base, keys[first] - since[first]
    found = np.empty((len(WINDOWS_S), len(at)))
    for row, window_s in enumerate(WINDOWS_S):
        begin = np.maximum(at - 500.0 * window_s, since[first])
        end = np.minimum(at + 500.0 * window_s, since[last])
        ends = [
            (np.interp(t + shift, keys, fixes.lat_deg), np.interp(t + shift, keys, fixes.lon_deg))
            for t in (begin, end)
        ]
        span_s = (end - begin) / 1000.0
        speed = metres(*ends[0], *ends[1]) / np.where(span_s > 0.0, span_s, np.nan)
        found[row] = np.log(np.maximum(speed, SLOWEST_M_S))
    return found


def driving_score(fixes: Fixes, first: IntArray, last: IntArray, at_ms: FloatArray) -> FloatArray:
    """Log odds that a truck drives at instants, shape (m,): over 0 it does; as of `log_speeds`."""
    return np.asarray(BIAS + np.asarray(WEIGHTS) @ log_speeds(fixes, first, last, at_ms))


def steps(fixes: Fixes, broken: NDArray[np.bool_]) -> Steps:
    """What trucks did between their fixes.

    Parameters
    ----------
    fixes : Fixes
        Believed ones, with filtered positions.
    broken : ndarray of bool, shape (n,)
        Before which of them the truck cannot have driven there: nothing is said of what was between.
    """
    same = np.append(False, fixes.truck[1:] == fixes.truck[:-1])
    to = np.flatnonzero(same & ~broken)
    before = to - 1
    gap_ms = fixes.t_ms[to] - fixes.t_ms[before]
    apart = metres(fixes.lat_deg[before], fixes.lon_deg[before], fixes.lat_deg[to], fixes.lon_deg[to])
    away = (gap_ms > SILENT_MS) | ((gap_ms > LOST_MS) & (apart > SAME_PLACE_M))
    # A window looks no further than to the next time out of reach.
    torn = ~same | broken
    torn[to[away]] = True
    begins = np.flatnonzero(torn)
    group = np.cumsum(torn) - 1
    ends = np.append(begins[1:], len(torn)) - 1
    near = to[~away]
    motion = np.full(len(to), Motion.OFFLINE, dtype=np.int8)
    middle = (fixes.t_ms[near - 1] + fixes.t_ms[near]) / 2.0
    drives = driving_score(fixes, begins[group[near]], ends[group[near]], middle) > 0.0
    motion[~away] = np.where(drives, Motion.DRIVING, Motion.STOPPED)
    return Steps(
        fixes.truck[to], fixes.t_ms[before], fixes.t_ms[to], motion, apart,
        fixes.lat_deg[to], fixes.lon_deg[to],
    )  # fmt: skip


def runs_of(steps: Steps) -> tuple[IntArray, list[Run]]:
    """Steps of one motion joined; the truck of each run, shape (runs,), and the runs, sorted."""
    n = len(steps.truck)
    if not n:
        return np.empty(0, np.int64), []
    joined = (
        (steps.truck[1:] == steps.truck[:-1])
        & (steps.motion[1:] == steps.motion[:-1])
        & (steps.from_ms[1:] == steps.to_ms[:-1])
    )
    first = np.flatnonzero(np.append(True, ~joined))
    last = np.append(first[1:], n) - 1
    moved = np.where(steps.motion == Motion.STOPPED, 0.0, steps.metres)
    far = np.add.reduceat(moved, first)
    rows = zip(
        steps.motion[first].tolist(), steps.from_ms[first].tolist(), steps.to_ms[last].tolist(), far.tolist(),
        steps.lat_deg[first].tolist(), steps.lon_deg[first].tolist(), strict=True,
    )  # fmt: skip
    return steps.truck[first], [Run(Motion(row[0]), *row[1:]) for row in rows]
