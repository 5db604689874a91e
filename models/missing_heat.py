"""What devices of which nothing is known for a while most likely took, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["Estimated", "estimated_heat", "held_in_time"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_LEAST_STEPS: Final = 4
"""Steps of a device's own that its share of the others' heat has to be seen in."""
_LEAST_SCATTER: Final = 0.05
_BY_AREA_SHARE: Final = 0.25
"""Standard uncertainty of heat taken to go with area: buildings of 40 to 64 W/m² scatter by 13 %, use by as
much again."""


@dataclass(frozen=True, slots=True)
class Estimated:
    """Heat of devices where it was not measured.

    Attributes
    ----------
    heat_gj : ndarray, shape (steps, devices)
        As given, with what was missing filled in; NaN where nothing tells it. [GJ]
    share_u : ndarray, shape (devices,)
        Standard uncertainty of what was filled in, over itself; the same error in every step.
    """

    heat_gj: FloatArray
    share_u: FloatArray


def estimated_heat(heat_gj: FloatArray, area_m2: FloatArray, wanted: slice) -> Estimated:
    """Fill in heat by a device's share of what those took that were always measured.

    The share is the one that it had in the steps in which it was measured; its scatter from step to step,
    at least 5 %, is the uncertainty. A device that was hardly ever measured gets the share of its heated
    area, ± 25 %.

    Parameters
    ----------
    heat_gj : ndarray, shape (steps, devices)
        NaN where it was not measured. [GJ]
    area_m2 : ndarray, shape (devices,)
        Heated floor area, NaN where unknown. [m²]
    wanted : slice
        The steps to fill in; the others only tell of shares.
    """
    known = ~np.isnan(heat_gj)
    always = _always(known, wanted)
    share, share_u = np.full((2, heat_gj.shape[1]), np.nan)
    filled = heat_gj.copy()
    lacking = ~known[wanted].all(axis=0)
    if not lacking.any() or not always.any():
        return Estimated(filled, share_u)
    others = heat_gj[:, always].sum(axis=1)
    usable = known & ~np.isnan(others)[:, None] & (others > 0.0)[:, None]
    for device in np.flatnonzero(lacking):
        seen = usable[:, device]
        if seen.sum() >= _LEAST_STEPS:
            share[device] = heat_gj[seen, device].sum() / others[seen].sum()
            expected = share[device] * others[seen]
            scatter = np.sqrt(np.mean((heat_gj[seen, device] - expected) ** 2)) / max(expected.mean(), 1e-12)
            share_u[device] = max(float(scatter), _LEAST_SCATTER)
    _by_area(share, share_u, heat_gj, area_m2, always, lacking & np.isnan(share), others)
    part = filled[wanted]
    part[:] = np.where(np.isnan(part), share * others[wanted, None], part)
    return Estimated(filled, share_u)


def _always(known: BoolArray, wanted: slice) -> BoolArray:
    """Devices measured throughout, if need be only in the steps that are wanted, shape (devices,)."""
    always = np.asarray(known.all(axis=0))
    return always if always.any() else np.asarray(known[wanted].all(axis=0))


def _by_area(
    share: FloatArray,
    share_u: FloatArray,
    heat_gj: FloatArray,
    area_m2: FloatArray,
    always: BoolArray,
    without: BoolArray,
    others: FloatArray,
) -> None:
    """Fill in, in place, the shares of devices `without` one."""
    heated = always & (area_m2 > 0.0)
    whole, of_heated = np.nansum(others), float(np.nansum(heat_gj[:, heated]))
    if heated.any() and whole > 0.0:
        by_area = area_m2 / float(area_m2[heated].sum()) * of_heated / whole
        share[without] = by_area[without]
        share_u[without] = _BY_AREA_SHARE


def held_in_time(values: FloatArray) -> FloatArray:
    """Each column's gaps filled by straight lines, before its first and after its last value by that one.

    A column without a value stays NaN.

    Examples
    --------
    >>> held_in_time(np.array([[np.nan], [1.0], [np.nan], [3.0]]))[:, 0]
    array([1., 1., 2., 3.])
    """
    filled = values.copy()
    known = ~np.isnan(values)
    steps = np.arange(len(values))
    for column in np.flatnonzero(known.any(axis=0) & ~known.all(axis=0)):
        mine = known[:, column]
        filled[:, column] = np.interp(steps, steps[mine], values[mine, column])
    return filled
