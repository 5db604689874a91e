"""Faults of sensors, calculators, counters and clocks of heat meters, as rules over one step."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.fault_seen import Seen, Verdict, gj_day
from models.fault_step import FLOW_SHARE, LEAST_SAMPLES

__all__ = [
    "DAY_LEAST", "broken", "calculator", "clocks", "counters", "day_is_off", "held_still", "return_bias",
    "sampling_share", "supply_bias", "swapped",
]  # fmt: skip

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

SENTINELS_C: Final = (0.0, 85.0, 150.0)
"""What converters inside the physical range show instead of a temperature: nothing, power-on, full scale."""
POWER_SHARE: Final = 0.10
DAY_SHARE: Final = 0.17
"""Three times how a sound meter's day scatters, which is 5.7 % of what is computed from its own counters."""
DAY_LEAST: Final = 12
_MASKED: Final = 0.5
_FLICKERS: Final = 2.0
_JUMP_K: Final = 10.0
_UNEVEN: Final = 0.10
_LEAST_BIAS_K: Final = 1.0
_MAD_Z: Final = 3.5
_OPERATING_H: Final = 1.5
_FLAT_STEPS: Final = 4.0
"""Steps at exactly one value after which a sensor is frozen rather than biased."""


def held_still(seen: Seen) -> BoolArray:
    """Devices of which every primary reading repeats to the last digit: nothing follows from them."""
    return np.asarray((seen["sd_flow"] == 0.0) & (seen["sd_supply"] == 0.0) & (seen["sd_return"] == 0.0))


def broken(seen: Seen, active: BoolArray) -> Verdict:
    """Temperature sensors that show what cannot be.

    One exact value for a quarter of an hour is broken where it came in one jump, or is a sentinel, while
    the rest of the meter lives; what merely stands still is `frozen_value`.
    """
    enough = seen["samples"] >= LEAST_SAMPLES
    lives = (seen["sd_flow"] > 0.0) & enough
    exact = np.zeros(seen.step.count, dtype=bool)
    shown = np.full(seen.step.count, np.nan)
    for name, other in (("supply", "return"), ("return", "supply")):
        value, before = seen[f"{name}_c"], seen.kept[f"before_{name}_c"]
        sentinel = np.isin(np.round(value, 6), SENTINELS_C)
        came = np.abs(value - before) > _JUMP_K
        still = lives & (seen[f"sd_{name}"] == 0.0) & (seen[f"sd_{other}"] > 0.0) & (sentinel | came | active)
        shown = np.where(still, value, shown)
        exact |= still
    masked = enough & (seen["masked_share"] >= _MASKED)
    # One value that is off goes there and back once.
    fast = enough & (seen["flickers"] >= _FLICKERS)
    score = np.fmax(seen["masked_share"] / _MASKED, seen["flickers"] / _FLICKERS)
    numbers = {
        "masked_share": seen["masked_share"], "flickers": seen["flickers"], "exact_c": shown,
        "samples": seen["samples"],
    }  # fmt: skip
    cost = gj_day(np.fmax(seen.usual_kw, seen.kept["sound_kw"]))
    return Verdict("sensor_broken", masked | fast | exact, np.maximum(score, 1.0), numbers, cost)


def swapped(seen: Seen) -> Verdict:
    """Supply and return sensors in each other's place."""
    least = np.where(np.isnan(seen.dt_min_k), 3.0, seen.dt_min_k)
    flows = seen["flow_m3_h"] > np.where(np.isnan(seen.qp_m3_h), 0.0, FLOW_SHARE * seen.qp_m3_h)
    below = seen.span_k < -least
    runs = np.where(np.isnan(seen["last_energy_gj"]), True, seen["d_volume_m3"] > 0.0)
    still = ~(seen["last_energy_gj"] > seen.kept["energy_gj"])
    lives = (seen["sd_supply"] > 0.0) & (seen["sd_return"] > 0.0)
    on = flows & below & runs & still & lives & (seen["samples"] >= LEAST_SAMPLES)
    numbers = {
        "supply_c": seen["supply_c"], "return_c": seen["return_c"], "volume_m3": seen["d_volume_m3"],
        "samples": seen["samples"],
    }  # fmt: skip
    return Verdict(
        "sensors_swapped", on, np.maximum(-seen.span_k / least, 1.0), numbers, gj_day(seen["power_kw"])
    )


def clocks(seen: Seen) -> Verdict:
    """Clocks that jumped against the water counted, that wander, or that went on while the meter stood."""
    jump = seen["clock_jump_s"]
    uneven = seen.usual("uneven") + seen.off("uneven")
    wanders = (uneven > _UNEVEN) & (seen.off("uneven") > _UNEVEN / 2.0) & (seen["uneven"] > _UNEVEN / 2.0)
    stood = seen.kept["day_operating_off_h"] > _OPERATING_H
    on = (jump != 0.0) & ~np.isnan(jump) | wanders | stood
    score = np.fmax(np.where(wanders, uneven / _UNEVEN, 1.0), np.where(stood, 1.0, 1.0))
    numbers = {
        "jump_s": jump, "uneven_share": uneven, "day_operating_off_h": seen.kept["day_operating_off_h"],
    }  # fmt: skip
    return Verdict("clock_fault", np.asarray(on), np.maximum(score, 1.0), numbers)


def counters(seen: Seen, events: dict[str, FloatArray], gap: BoolArray) -> list[Verdict]:
    """Counters that fell or jumped.

    A counter that fell together with its companion was exchanged where the meter was gone for a time or
    its operating hours fell too; where it went on reading, both were set to nothing.

    Parameters
    ----------
    events : dict of str to ndarray
        Events of `data_quality` in the step: reset, rollover, exchange, spike, corrupt.
    gap : ndarray of bool
        Whether the meter gave nothing for a time just now, while its device did, or none of it did.
    """
    exchanged = events["exchange"] > 0.0
    hours = ~np.isnan(seen["last_operating_h"])
    other = exchanged & (gap | hours)
    one = np.ones(seen.step.count)
    counted = {name: events[name] for name in ("reset", "rollover", "exchange", "spike", "corrupt")}
    numbers = {f"{name}_events": value for name, value in counted.items()} | {
        "energy_before_gj": seen.kept["energy_gj"]
    }
    # What was frozen and goes on catches up in one jump.
    spiked = ((events["spike"] > 0.0) | (events["corrupt"] > 0.0)) & ~(seen.kept["still"] == 1.0)
    return [
        Verdict("counter_rollover", events["rollover"] > 0.0, one, numbers),
        Verdict("counter_exchange", other, one, numbers),
        Verdict("counter_reset", (events["reset"] > 0.0) | (exchanged & ~other), one, numbers),
        Verdict("counter_spike", spiked, one, numbers),
    ]


def calculator(seen: Seen) -> Verdict:
    """Calculators that disagree with their own meter at the same instants, or over two whole days."""
    ratio = seen["shown_kw"] / np.where(seen["compared_kw"] > 0.0, seen["compared_kw"], np.nan)
    at_once = (seen["compared"] >= LEAST_SAMPLES) & (np.abs(ratio - 1.0) > POWER_SHARE)
    days = seen.kept["day_off_run"] >= 2.0
    score = np.fmax(np.where(at_once, np.abs(ratio - 1.0) / POWER_SHARE, 1.0), 1.0)
    numbers = {
        "power_ratio": ratio, "samples": seen["compared"], "day_energy_ratio": seen.kept["day_energy_ratio"],
        "day_sampling_share": seen.kept["day_sampling"],
        "day_power_ratio": seen.kept["day_power_ratio"],
    }  # fmt: skip
    off = np.where(at_once, ratio - 1.0, np.nan_to_num(seen.kept["day_energy_ratio"] - 1.0))
    return Verdict("calculator_fault", at_once | days, score, numbers, gj_day(seen["power_kw"] * off))


def sampling_share(total: FloatArray, squares: FloatArray, count: FloatArray) -> FloatArray:
    r"""Standard error of a mean of n readings, over the mean, :math:`c_v/\sqrt n`; NaN of fewer than two.

    Parameters
    ----------
    total, squares, count : ndarray
        Sum of the readings, of their squares, and how many they are.

    Examples
    --------
    >>> sampling_share(np.array([4.0]), np.array([10.0]), np.array([2.0])).round(3)
    array([0.354])
    """
    n = np.where(count > 1.0, count, np.nan)
    mean = total / n
    return np.asarray(np.sqrt(np.maximum(squares / n - mean * mean, 0.0) / n) / np.abs(mean))


def day_is_off(
    energy_ratio: FloatArray, power_ratio: FloatArray, samples: FloatArray, sampling: FloatArray
) -> BoolArray:
    """Whether a day's energy, or the power of all its instants together, is off what the meter measured.

    What a day of few readings misses of temperatures that go up and down, three times `sampling`, is allowed.
    """
    known = samples >= DAY_LEAST
    allowed = DAY_SHARE + 3.0 * sampling
    off = (np.abs(energy_ratio - 1.0) > allowed) | (np.abs(power_ratio - 1.0) > POWER_SHARE)
    return np.asarray(known & off)


def supply_bias(seen: Seen) -> Verdict:
    """Supply sensors off their neighbours' by as much as secondary over primary heat is off."""
    off = seen.off("neighbours")
    agreed = _agrees(seen, -off / seen.span_k)
    on = (np.abs(off) > _LEAST_BIAS_K) & (np.abs(seen.beside) > _MAD_Z) & agreed
    on &= (np.abs(off) > _MAD_Z * seen.sd("neighbours") / 2.0) & ~(seen.kept["flat_supply"] >= _FLAT_STEPS)
    cost = gj_day(seen["power_kw"] * off / seen.span_k)
    numbers = {
        "bias_k": off, "mad_z": seen.beside, "heat_ratio_off": seen.off("ratio"), "span_k": seen.span_k,
        "sensor": np.zeros(seen.step.count),
    }  # fmt: skip
    return Verdict("sensor_bias", on, np.abs(off) / _LEAST_BIAS_K, numbers, cost)


def return_bias(seen: Seen) -> Verdict:
    """Return sensors off the exchanger's approach by as much as secondary over primary heat is off."""
    off = seen.off("approach")
    ratio = seen.off("ratio")
    agreed = ~np.isnan(ratio) & _agrees(seen, off / seen.span_k) & (np.abs(ratio) > 0.01)
    on = (np.abs(off) > _LEAST_BIAS_K) & agreed & ~(np.abs(seen.off("neighbours")) > _LEAST_BIAS_K)
    on &= (np.abs(off) > _MAD_Z * seen.sd("approach") / 2.0) & ~(seen.kept["flat_return"] >= _FLAT_STEPS)
    cost = gj_day(seen["power_kw"] * off / seen.span_k)
    numbers = {
        "bias_k": off, "heat_ratio_off": ratio, "span_k": seen.span_k, "sensor": np.ones(seen.step.count),
    }  # fmt: skip
    return Verdict("sensor_bias", on, np.abs(off) / _LEAST_BIAS_K, numbers, cost)


def _agrees(seen: Seen, expected: FloatArray) -> BoolArray:
    """Whether the ratio of heats is off by about what a bias makes it; true where there is no ratio."""
    ratio = seen.off("ratio")
    near = np.abs(ratio - expected) < 0.5 * np.abs(expected) + 0.004
    return np.asarray(np.isnan(ratio) | near)
