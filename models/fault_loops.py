"""Faults of secondary water, exchangers and loads, as rules over one step or day."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.fault_seen import Seen, Verdict, gj_day
from models.fault_step import LEAST_SAMPLES
from models.heat import heat_power_kw

__all__ = [
    "CUSUM_ENOUGH", "bypass", "cusum", "fouled_exchanger", "high_return", "internal_leak", "load_change",
    "owed", "secondary_leak", "usual_return_c",
]  # fmt: skip

FloatArray = NDArray[np.float64]

FOULED: Final = 0.15
_LEAST_APPROACH_K: Final = 0.4
_METER_OFF: Final = 0.03
LEAK_SHARE: Final = 0.5
LEAK_SD: Final = 4.0
LEAST_LEAK_M3_H: Final = 0.03
_PRESSURE_KPA: Final = 8.0
BYPASS_K: Final = 5.0
RETURN_OVER_K: Final = 5.0
CUSUM_ENOUGH: Final = 5.0
_LEAST_PEERS: Final = 5
_CUSUM_FREE: Final = 0.5
_HUBER: Final = 3.0
_OWED_TAU_H: Final = 100.0
"""Time constant of a heavy building: 370 kJ/m²K (ISO 13790, very heavy) over some 1 W/m²K."""
_STEP_H: Final = 0.25


def internal_leak(seen: Seen) -> Verdict:
    """Primary water that comes over: the secondary pressure rises, and nothing is made up."""
    makeup, usual = seen.usual("makeup") + seen.off("makeup"), seen.usual("makeup")
    over = seen.off("pressure")
    on = (
        (over > np.maximum(_PRESSURE_KPA, 4.0 * seen.sd("pressure"))) & (makeup < 0.3 * usual) & (usual > 0.0)
    )
    numbers = {
        "pressure_over_kpa": over, "makeup_m3_h": makeup, "usual_makeup_m3_h": usual,
    }  # fmt: skip
    return Verdict("exchanger_internal_leak", on, over / _PRESSURE_KPA, numbers, 24.0 * (usual - makeup))


def secondary_leak(seen: Seen) -> Verdict:
    """Secondary water that is made up beyond what is usual."""
    usual, off = seen.usual("makeup"), seen.off("makeup")
    # Smoothed over hours, single steps' scatter counts for less.
    least = np.maximum(np.maximum(LEAK_SHARE * usual, LEAST_LEAK_M3_H), LEAK_SD * seen.sd("makeup") / 3.0)
    on = (off > least) & ~(seen.off("pressure") > _PRESSURE_KPA)
    numbers = {
        "excess_m3_h": off, "usual_m3_h": usual, "needed_m3_h": least,
        "pressure_off_kpa": seen.off("pressure"),
    }  # fmt: skip
    return Verdict("secondary_leak", on, off / least, numbers, 24.0 * off)


def fouled_exchanger(seen: Seen) -> Verdict:
    """Heat transfer that is lower, at like flow, than it was clean, while both meters agree as before."""
    off, approach = seen.off("transfer"), seen.off("approach")
    left = np.exp(off)
    agree = ~(np.abs(seen.off("ratio")) > _METER_OFF)
    on = (left < 1.0 - FOULED) & (approach > _LEAST_APPROACH_K) & agree & seen.carrying
    on &= off < -1.5 * seen.sd("transfer")
    clean = seen["return_c"] - np.maximum(approach, 0.0)
    side = np.zeros(seen.step.count, dtype=bool)
    heat = heat_power_kw(np.ones(seen.step.count), seen["supply_c"], clean, side)
    needed = seen["power_kw"] / np.where(heat > 0.0, heat, np.nan)
    numbers = {
        "transfer_left": left, "approach_over_k": approach, "flow_m3_h": seen["flow_m3_h"],
        "return_c": seen["return_c"], "heat_ratio_off": seen.off("ratio"),
    }  # fmt: skip
    return Verdict(
        "fouled_exchanger", on, (1.0 - left) / FOULED, numbers,
        24.0 * np.maximum(seen["flow_m3_h"] - needed, 0.0),
    )  # fmt: skip


def bypass(seen: Seen) -> Verdict:
    """Water that comes back as it went."""
    span = seen.span_k
    flows = seen["flow_m3_h"] > 0.05 * seen.qp_m3_h
    on = flows & (np.abs(span) < BYPASS_K) & (seen["supply_c"] > 45.0) & (seen["samples"] >= LEAST_SAMPLES)
    numbers = {"span_k": span, "supply_c": seen["supply_c"], "flow_m3_h": seen["flow_m3_h"]}
    return Verdict("bypass", on, BYPASS_K / np.maximum(np.abs(span), 0.5), numbers, 24.0 * seen["flow_m3_h"])


def usual_return_c(day_return_c: FloatArray) -> float:
    """What consumers of one network returned on a day, at the median; NaN of fewer than five. [°C]

    Examples
    --------
    >>> usual_return_c(np.array([50.0, 51.0, 51.0, 52.0, 70.0, np.nan]))
    51.0
    >>> usual_return_c(np.array([50.0, 70.0]))
    nan
    """
    known = day_return_c[~np.isnan(day_return_c)]
    return float(np.median(known)) if len(known) >= _LEAST_PEERS else float("nan")


def high_return(seen: Seen) -> Verdict:
    """Returns of a whole day over the network's reference, ranked by the excess flow of the same day.

    On a cold day exchangers at full load return warmer water, all of a network: what most of it returned is
    the reference then, for it says nothing of one substation.
    """
    reference_c = np.fmax(seen.return_ref_c, seen.kept["day_peers_return_c"])
    over = seen.kept["day_return_c"] - reference_c
    excess = seen.kept["day_excess_m3"]
    on = (over > RETURN_OVER_K) & (excess > 0.0)
    numbers = {
        "day_return_c": seen.kept["day_return_c"], "reference_c": reference_c, "excess_m3": excess,
        "rank": seen.kept["day_rank"],
    }  # fmt: skip
    return Verdict("high_return", on, over / RETURN_OVER_K, numbers, excess)


def load_change(seen: Seen) -> Verdict:
    """Loads that are lastingly other than they were in the same weather."""
    up, down = seen.kept["cusum_up"], seen.kept["cusum_down"]
    most = np.fmax(up, down)
    on = most > CUSUM_ENOUGH
    numbers = {
        "cusum": np.where(up >= down, up, -down), "day_off_kw": seen.kept["day_load_off_kw"],
        "usual_kw": seen.usual_kw,
    }  # fmt: skip
    cost = gj_day(seen.kept["day_load_off_kw"])
    return Verdict("load_change", on, most / CUSUM_ENOUGH, numbers, cost)


def cusum(before: FloatArray, z: FloatArray) -> FloatArray:
    """Sum of Huber residuals beyond half a standard deviation, never below zero; NaN adds nothing.

    References
    ----------
    .. [1] E. S. Page, Continuous inspection schemes, Biometrika 41 (1954) 100.

    Examples
    --------
    >>> cusum(np.array([0.0, 1.0, 0.0]), np.array([9.0, np.nan, 0.2]))
    array([2.5, 1. , 0. ])
    """
    step = np.clip(z, -_HUBER, _HUBER) - _CUSUM_FREE
    return np.asarray(np.where(np.isnan(z), before, np.clip(before + step, 0.0, 2.0 * CUSUM_ENOUGH)))


def owed(before: FloatArray, withheld_kw: FloatArray, over_kw: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Heat that buildings lack since a fault withheld it, and what of the power over its usual repays that.

    A building that cooled draws more than its weather asks for until it is warm. What it lacks, E, is a
    balance, dE/dt = withheld - repaid - E/τ: a cooler building also loses less. Power over its usual is
    another load only where nothing is owed.

    Parameters
    ----------
    before : ndarray
        Owed until now. [kWh]
    withheld_kw, over_kw : ndarray
        Mean power of this step that was lacking, and that came over the usual. [kW]

    Returns
    -------
    owed : ndarray
        [kWh]
    repaid : ndarray
        Part of `over_kw`. [kW]

    Examples
    --------
    >>> lack, repaid = owed(np.zeros(1), np.array([400.0]), np.zeros(1))
    >>> lack, repaid
    (array([100.]), array([0.]))
    >>> [np.round(x, 1) for x in owed(lack, np.zeros(1), np.array([1000.0]))]
    [array([0.]), array([399.])]
    """
    left = before * np.exp(-_STEP_H / _OWED_TAU_H)
    repaid = np.minimum(over_kw, left / _STEP_H)
    return np.asarray(left + (withheld_kw - repaid) * _STEP_H), np.asarray(repaid)
