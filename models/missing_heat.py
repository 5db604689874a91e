"""What devices of which nothing is known for a while most likely took, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["Estimated", "Expected", "estimated_heat", "held_in_time"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_LEAST_PEERS: Final = 3
"""Measured devices with signatures that tell how all take more or less just now than theirs say."""
_HOUR_SHARE: Final = 0.25
"""Standard uncertainty of a quarter of an hour's load by a signature alone, over itself: a signature is of
days, and loads swing over a day by as much as temperatures do."""
_MAD: Final = 1.4826  # of a normal distribution: its standard deviation over its median deviation
_LEAST_STEPS: Final = 4
"""Steps of a device's own that its share of the others' heat has to be seen in."""
_LEAST_SCATTER: Final = 0.05
_BY_AREA_SHARE: Final = 0.25
"""Standard uncertainty of heat taken to go with area: buildings of 40 to 64 W/m² scatter by 13 %, use by as
much again."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What devices' energy signatures say of a step; arrays of shape (devices,), NaN without a signature.

    Attributes
    ----------
    heat_gj : ndarray
        At the outdoor temperature of these hours. [GJ]
    u_gj : ndarray
        How days scatter about the signature, of a step. [GJ]
    """

    heat_gj: FloatArray
    u_gj: FloatArray


@dataclass(frozen=True, slots=True)
class Estimated:
    """Heat of devices where it was not measured.

    Attributes
    ----------
    heat_gj : ndarray, shape (steps, devices)
        As given, with what was missing filled in; NaN where nothing tells it. [GJ]
    u_gj : ndarray, shape (devices,)
        Standard uncertainty of what was filled in over the steps wanted, 0 where nothing was. [GJ]
    by_signature : ndarray of bool, shape (devices,)
        Whether the signature told it.
    """

    heat_gj: FloatArray
    u_gj: FloatArray
    by_signature: BoolArray


def estimated_heat(
    heat_gj: FloatArray, area_m2: FloatArray, wanted: slice, expected: Expected | None = None
) -> Estimated:
    """Fill in heat by a device's signature, or until it has one by its share of what the others took.

    What signatures say is raised or lowered by what those took that were measured, over what theirs say: so
    hours of the day, wind and set-back count. The uncertainty is how days scatter about the signature, with
    how the others scatter about theirs just now.

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
    expected : Expected, optional
    """
    filled = heat_gj.copy()
    devices = heat_gj.shape[1]
    u_gj, signed = np.zeros(devices), np.zeros(devices, dtype=bool)
    if expected is not None:
        signed = _by_signature(filled, u_gj, expected, wanted)
    # Shares are those of what was measured, never of what was filled in.
    shared, share_u = _by_share(heat_gj, area_m2, wanted)
    guessed = np.where(np.isnan(filled[wanted]), shared, 0.0)
    filled[wanted] = np.where(np.isnan(filled[wanted]), shared, filled[wanted])
    u_gj += np.nan_to_num(share_u) * np.abs(np.nan_to_num(guessed)).sum(axis=0)
    return Estimated(filled, u_gj, signed)


def _by_signature(filled: FloatArray, u_gj: FloatArray, expected: Expected, wanted: slice) -> BoolArray:
    """Fill in, in place, what is missing of devices that have a signature; whose that is."""
    part = filled[wanted]
    missing = np.isnan(part)
    signed = missing.any(axis=0) & np.isfinite(expected.heat_gj)
    peers = ~missing.any(axis=0) & (expected.heat_gj > 0.0)
    level, scatter = np.ones(len(part)), _HOUR_SHARE
    if peers.sum() >= _LEAST_PEERS:
        level = part[:, peers].sum(axis=1) / expected.heat_gj[peers].sum()
        over = part[:, peers].sum(axis=0) / expected.heat_gj[peers] / max(float(level.sum()), 1e-12) - 1.0
        scatter = max(_MAD * float(np.median(np.abs(over))), _LEAST_SCATTER)
    told = level[:, None] * expected.heat_gj
    filled[wanted] = np.where(missing & signed, told, part)
    size = np.where(missing, np.abs(told), 0.0).sum(axis=0)
    u = np.hypot(missing.sum(axis=0) * expected.u_gj, scatter * size)
    u_gj[signed] = u[signed]
    return np.asarray(signed)


def _by_share(heat_gj: FloatArray, area_m2: FloatArray, wanted: slice) -> tuple[FloatArray, FloatArray]:
    """What devices took by their share of the others' heat in the steps wanted, and its uncertainty over it.

    Shapes (steps wanted, devices) and (devices,); NaN where nothing tells it.
    """
    known = ~np.isnan(heat_gj)
    always = _always(known, wanted)
    share, share_u = np.full((2, heat_gj.shape[1]), np.nan)
    lacking = ~known[wanted].all(axis=0)
    if not lacking.any() or not always.any():
        return np.full(heat_gj[wanted].shape, np.nan), share_u
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
    return share * others[wanted, None], share_u


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
