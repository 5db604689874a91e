r"""Which fixes of a truck to believe, and where it then is: a constant-velocity Kalman filter with a gate.

Both axes have the same noise, so they share one covariance. It runs over all
trucks at once, a fix of each at a time; what it holds of them goes on from one
batch of fixes to the next, so that cutting the fixes up changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "EARTH_M", "FASTEST_M_S", "GATE", "Fault", "FilterState", "Filtered", "Fixes", "believed", "faults",
    "follow", "in_order", "metres", "where_believed",
]  # fmt: skip

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

EARTH_M: Final = 6_371_000.0
GATE: Final = 13.8
"""99.9 % quantile of chi-square with two degrees of freedom."""
NOISE_M: Final = 5.0
"""Standard deviation of a fix on each axis. [m]"""
ACCELERATION: Final = 8.0
"""Spectral density of the white noise that acceleration is taken for: 2 m/s² for 2 s at a time. [m²/s³]"""
FASTEST_M_S: Final = 50.0
"""No truck goes faster: what would need more did not move there. [m/s]"""
NEW_START: Final = 3
"""So many fixes in a row that agree with each other and not with the filter move it to where they are."""
_FORGETS_S: Final = 120.0  # after a longer gap the velocity of before says nothing
_SPREAD_M_S: Final = 15.0  # of a velocity of which nothing is known
_NEVER: Final = np.iinfo(np.int64).min


class Fault(IntEnum):
    """Why a fix is not believed."""

    NONE = 0
    ABSENT = 1
    RANGE = 2
    ZERO = 3
    JUMP = 4


@dataclass(frozen=True, slots=True)
class Fixes:
    """Fixes of trucks, sorted by (truck, t), one of each time.

    Attributes
    ----------
    truck : ndarray of int64, shape (n,)
        Index of the truck.
    t_ms : ndarray of int64, shape (n,)
        [ms UTC]
    lat_deg, lon_deg : ndarray, shape (n,)
        WGS 84. [°]
    """

    truck: IntArray
    t_ms: IntArray
    lat_deg: FloatArray
    lon_deg: FloatArray

    def take(self, at: IntArray) -> Fixes:
        """Those at places in ascending order."""
        return Fixes(self.truck[at], self.t_ms[at], self.lat_deg[at], self.lon_deg[at])


@dataclass(frozen=True, slots=True)
class FilterState:
    """What the filter holds of each truck, by index; a truck that it does not know has no time.

    Attributes
    ----------
    t_ms : ndarray of int64, shape (trucks,)
        Of the last fix that was believed; least int64 where there is none. [ms UTC]
    lat_deg, lon_deg, north_m_s, east_m_s : ndarray, shape (trucks,)
        Position then and velocity. [°], [m/s]
    p_pos, p_mix, p_vel : ndarray, shape (trucks,)
        Covariance of one axis. [m²], [m²/s], [m²/s²]
    other_t_ms, other_lat_deg, other_lon_deg, others : ndarray, shape (trucks,)
        The last fix that was not believed, and how many in a row agreed with it.
    """

    t_ms: IntArray
    lat_deg: FloatArray
    lon_deg: FloatArray
    north_m_s: FloatArray
    east_m_s: FloatArray
    p_pos: FloatArray
    p_mix: FloatArray
    p_vel: FloatArray
    other_t_ms: IntArray
    other_lat_deg: FloatArray
    other_lon_deg: FloatArray
    others: IntArray

    @classmethod
    def none(cls, trucks: int = 0) -> FilterState:
        """Nothing known of so many trucks."""
        whole = {"t_ms": _NEVER, "other_t_ms": _NEVER, "others": 0}
        columns: dict[str, NDArray[Any]] = {
            f.name: np.full(trucks, whole[f.name]) if f.name in whole else np.zeros(trucks)
            for f in fields(cls)
        }
        return cls(**columns)

    def grown(self, trucks: int) -> FilterState:
        """The same with room for `trucks`."""
        more = trucks - len(self.t_ms)
        if more <= 0:
            return self
        new = FilterState.none(more)
        return FilterState(
            *(np.concatenate([getattr(self, f.name), getattr(new, f.name)]) for f in fields(self))
        )


@dataclass(frozen=True, slots=True)
class Filtered:
    """What the filter says of each fix; all of shape (n,).

    Attributes
    ----------
    fault : ndarray of int8
        A `Fault`; only fixes without one are believed.
    lat_deg, lon_deg : ndarray
        Where the truck is, NaN where the fix is not believed. [°]
    broken : ndarray of bool
        Whether the truck cannot have driven here from the last fix that was believed.
    """

    fault: NDArray[np.int8]
    lat_deg: FloatArray
    lon_deg: FloatArray
    broken: NDArray[np.bool_]


def metres(
    lat_deg: FloatArray, lon_deg: FloatArray, to_lat_deg: FloatArray, to_lon_deg: FloatArray
) -> FloatArray:
    """Distance of points on a plane, good to 0.1 % over 100 km. [m]

    Examples
    --------
    >>> float(metres(np.array([38.0]), np.array([112.0]), np.array([38.01]), np.array([112.0]))[0].round())
    1112.0
    """
    north = np.radians(to_lat_deg - lat_deg)
    east = np.radians(_turned(to_lon_deg - lon_deg)) * np.cos(np.radians((lat_deg + to_lat_deg) / 2.0))
    return np.asarray(np.hypot(north, east) * EARTH_M)


def _turned(degrees: FloatArray) -> FloatArray:
    """Differences of longitude, from −180 to 180."""
    return np.asarray((degrees + 180.0) % 360.0 - 180.0)


def faults(lat_deg: FloatArray, lon_deg: FloatArray) -> NDArray[np.int8]:
    """What is wrong with each position by itself, a `Fault`, shape (n,).

    Examples
    --------
    >>> faults(np.array([38.0, np.nan, 95.0, 0.0]), np.array([112.0, 112.0, 112.0, 0.0])).tolist()
    [0, 1, 2, 3]
    """
    found = np.zeros(len(lat_deg), dtype=np.int8)
    found[(np.abs(lat_deg) < 1e-3) & (np.abs(lon_deg) < 1e-3)] = Fault.ZERO
    found[(np.abs(lat_deg) > 90.0) | (np.abs(lon_deg) > 180.0)] = Fault.RANGE
    found[~(np.isfinite(lat_deg) & np.isfinite(lon_deg))] = Fault.ABSENT
    return found


def in_order(truck: IntArray, t_ms: IntArray, lat_deg: FloatArray, lon_deg: FloatArray) -> Fixes:
    """Fixes in the order of arrival, sorted; of one truck and time the last stands.

    So a fix that a box sends again and again, however late, is one fix.

    Examples
    --------
    >>> fixes = in_order(np.zeros(4, int), np.array([20, 10, 10, 10]), np.array([3.0, 1, 1, 2]), np.ones(4))
    >>> fixes.t_ms.tolist(), fixes.lat_deg.tolist()
    ([10, 20], [2.0, 3.0])
    """
    order = np.lexsort((t_ms, truck))
    truck, t_ms = truck[order], t_ms[order]
    stands = np.append((truck[1:] != truck[:-1]) | (t_ms[1:] != t_ms[:-1]), True)[: len(truck)]
    return Fixes(truck[stands], t_ms[stands], lat_deg[order][stands], lon_deg[order][stands])


def believed(
    fixes: Fixes, state: FilterState | None = None
) -> tuple[Fixes, NDArray[np.bool_], NDArray[np.int8]]:
    """The fixes that the filter believes, with where it takes the truck to be.

    Returns
    -------
    believed : Fixes
    broken : ndarray of bool
        Before which of them the truck cannot have driven there.
    fault : ndarray of int8
        A `Fault`, one of each of `fixes`.
    """
    _, filtered = follow(FilterState.none() if state is None else state, fixes)
    kept = where_believed(fixes, filtered)
    return kept, filtered.broken[filtered.fault == Fault.NONE], filtered.fault


def where_believed(fixes: Fixes, filtered: Filtered) -> Fixes:
    """Of `fixes` those that the filter believes, with where it takes the truck to be."""
    good = filtered.fault == Fault.NONE
    return Fixes(fixes.truck[good], fixes.t_ms[good], filtered.lat_deg[good], filtered.lon_deg[good])


def follow(state: FilterState, fixes: Fixes) -> tuple[FilterState, Filtered]:
    """Take in fixes, all later than what `state` has seen of their trucks.

    Parameters
    ----------
    state : FilterState
        Is not changed.
    fixes : Fixes

    Returns
    -------
    state : FilterState
    filtered : Filtered

    References
    ----------
    .. [1] Bar-Shalom, Li, Kirubarajan, Estimation with Applications to Tracking and Navigation (2001),
       section 6.2.2: the continuous white-noise acceleration model; 5.4.2: the normalised innovation.
    """
    fault = faults(fixes.lat_deg, fixes.lon_deg)
    n = len(fixes.truck)
    lat, lon, broken = np.full(n, np.nan), np.full(n, np.nan), np.zeros(n, dtype=np.bool_)
    good = np.flatnonzero(fault == Fault.NONE)
    if not len(good):
        return state, Filtered(fault, lat, lon, broken)
    truck = fixes.truck[good]
    starts = np.flatnonzero(np.append(True, truck[1:] != truck[:-1]))
    counts = np.diff(np.append(starts, len(truck)))
    # Trucks with most fixes first: those that have a k-th fix are then always the first few.
    order = np.argsort(-counts, kind="stable")
    starts, counts = starts[order], counts[order]
    grown = state.grown(int(fixes.truck.max()) + 1)
    mine = truck[starts]
    names = [f.name for f in fields(grown)]
    local = {name: getattr(grown, name)[mine] for name in names}
    having = np.searchsorted(-counts, -np.arange(counts[0]), side="left")
    for k in range(int(counts[0])):
        m = int(having[k])
        at = good[starts[:m] + k]
        now = {name: column[:m] for name, column in local.items()}
        believed, torn = _step(now, fixes.t_ms[at], fixes.lat_deg[at], fixes.lon_deg[at])
        fault[at[~believed]] = Fault.JUMP
        lat[at] = np.where(believed, now["lat_deg"], np.nan)
        lon[at] = np.where(believed, now["lon_deg"], np.nan)
        broken[at] = torn
    columns = {name: getattr(grown, name).copy() for name in names}
    for name in names:
        columns[name][mine] = local[name]
    return FilterState(**columns), Filtered(fault, lat, lon, broken)


def _step(
    now: dict[str, NDArray[Any]], t_ms: IntArray, lat: FloatArray, lon: FloatArray
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """One fix of each truck into `now`, in place; whether it is believed, and whether it is torn off."""
    first = now["t_ms"] == _NEVER
    dt = np.where(first, 0.0, (t_ms - np.where(first, t_ms, now["t_ms"])) / 1000.0)
    keeps = (dt <= _FORGETS_S) & ~first
    vn, ve = np.where(keeps, now["north_m_s"], 0.0), np.where(keeps, now["east_m_s"], 0.0)
    pv = np.where(keeps, now["p_vel"], _SPREAD_M_S**2)
    pm = np.where(keeps, now["p_mix"], 0.0)
    pp = now["p_pos"] + dt * (2.0 * pm + dt * pv) + ACCELERATION * dt**3 / 3.0
    pp = np.where(keeps, pp, NOISE_M**2 + (_SPREAD_M_S * dt) ** 2)
    pm = np.where(keeps, pm + dt * pv + ACCELERATION * dt**2 / 2.0, _SPREAD_M_S**2 * dt)
    pv = pv + np.where(keeps, ACCELERATION * dt, 0.0)
    north_m = np.radians(1.0) * EARTH_M
    east_m = north_m * np.cos(np.radians(lat))
    off_n = (lat - now["lat_deg"]) * north_m
    off_e = _turned(lon - now["lon_deg"]) * east_m
    dn, de = off_n - vn * dt, off_e - ve * dt
    spread = pp + NOISE_M**2
    reach = FASTEST_M_S * dt + 10.0 * NOISE_M
    fits = ((dn**2 + de**2) <= GATE * spread) & ((off_n**2 + off_e**2) <= reach**2)
    # What is not believed may be right: several in a row that agree with each other are.
    since = (t_ms - np.where(now["others"] > 0, now["other_t_ms"], t_ms)) / 1000.0
    apart = metres(now["other_lat_deg"], now["other_lon_deg"], lat, lon)
    agrees = (now["others"] > 0) & (apart <= FASTEST_M_S * since + 10.0 * NOISE_M)
    others = np.where(fits | first, 0, np.where(agrees, now["others"] + 1, 1))
    moved = ~fits & ~first & (others >= NEW_START)
    torn = moved & ((off_n**2 + off_e**2) > reach**2)
    believed = fits | first | moved
    fresh = first | moved
    gain, drive = pp / spread, pm / spread
    now["lat_deg"][:] = np.where(
        fresh, lat, np.where(fits, now["lat_deg"] + (vn * dt + gain * dn) / north_m, now["lat_deg"])
    )
    now["lon_deg"][:] = np.where(
        fresh, lon, np.where(fits, now["lon_deg"] + (ve * dt + gain * de) / east_m, now["lon_deg"])
    )
    now["north_m_s"][:] = np.where(fresh, 0.0, np.where(fits, vn + drive * dn, now["north_m_s"]))
    now["east_m_s"][:] = np.where(fresh, 0.0, np.where(fits, ve + drive * de, now["east_m_s"]))
    now["p_pos"][:] = np.where(fresh, NOISE_M**2, np.where(fits, pp * (1.0 - gain), now["p_pos"]))
    now["p_mix"][:] = np.where(fresh, 0.0, np.where(fits, pm * (1.0 - gain), now["p_mix"]))
    now["p_vel"][:] = np.where(fresh, _SPREAD_M_S**2, np.where(fits, pv - drive * pm, now["p_vel"]))
    now["t_ms"][:] = np.where(believed, t_ms, now["t_ms"])
    now["others"][:] = np.where(moved, 0, others)
    now["other_t_ms"][:] = np.where(believed, now["other_t_ms"], t_ms)
    now["other_lat_deg"][:] = np.where(believed, now["other_lat_deg"], lat)
    now["other_lon_deg"][:] = np.where(believed, now["other_lon_deg"], lon)
    return believed, torn
