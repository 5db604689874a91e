"""What rules of faults are given of one step, the lines that they compare it with, and what they answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.fault_normal import Line, Normals
from models.fault_step import DEFAULT_DT_MIN_K, FLOW_SHARE, LEAST_SAMPLES, FaultStep
from models.heat import heat_power_kw
from models.heat_transfer import ua_kw_k

__all__ = ["LINES", "LINE_OF", "Seen", "Verdict", "carries", "gj_day", "watched"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

LINES: Final = (
    Line("transfer", 6.0, 0.45, 0.3),  # log UA over log primary flow
    Line("approach", 6.0, 0.0, 0.3),  # K, over log primary flow
    Line("opening", 3.0, 1.0, 0.3),  # log q/√Δp over log valve opening
    Line("ratio", 4.0),  # log of secondary over primary heat
    Line("makeup", 3.0),  # m³/h
    Line("pressure", 1.0),  # kPa, of the secondary return
    Line("dp_scatter", 0.5),  # log of the variance of secondary Δp within a step
    Line("flow_scatter", 0.5),  # and of secondary flow
    Line("head", 1.0),  # kPa, secondary Δp
    Line("neighbours", 6.0),  # K, supply over that of the nearest consumers
    Line("load", 12.0, 0.0, 0.5),  # kW over outdoor temperature
    Line("uneven", 1.0),  # mean share of an interval by which readings come off their beat
    Line("stillness", 2.0),  # log of how much primary flow has wandered in some hours
)
"""Everything of which a device's own normal is learned."""
LINE_OF: Final = {line.name: at for at, line in enumerate(LINES)}


class Verdict(NamedTuple):
    """What one rule says of every device.

    Attributes
    ----------
    code : str
    on : ndarray of bool, shape (devices,)
    score : ndarray, shape (devices,)
        Multiple of what is just enough.
    numbers : mapping of str to ndarray
        Evidence.
    cost : ndarray or None
        Of leaving it, a day; in the unit of the code.
    """

    code: str
    on: BoolArray
    score: FloatArray
    numbers: Mapping[str, FloatArray]
    cost: FloatArray | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """One step of every device; arrays of shape (devices,).

    Attributes
    ----------
    step : FaultStep
    normal : Normals
    kept : mapping of str to ndarray
        What is carried on from earlier steps and days.
    carrying : ndarray of bool
        Flow over 5 % of nominal, difference over the least, at least three samples: it can be judged.
    outdoor_c : ndarray
        Of the device's network. [°C]
    qp_m3_h, dt_min_k, return_ref_c : ndarray
    beside : ndarray
        How far a supply sensor is off its neighbours in units of the network's median deviation.
    """

    step: FaultStep
    normal: Normals
    kept: Mapping[str, FloatArray]
    carrying: BoolArray
    outdoor_c: FloatArray
    qp_m3_h: FloatArray
    dt_min_k: FloatArray
    return_ref_c: FloatArray
    beside: FloatArray

    def __getitem__(self, name: str) -> FloatArray:
        """A number of the step."""
        return self.step[name]

    def off(self, line: str) -> FloatArray:
        """How far off its line a device is, smoothed; NaN where the line is not known."""
        at = LINE_OF[line]
        return np.where(np.isnan(self.normal.sd[at]), np.nan, self.normal.off[at])

    def sd(self, line: str) -> FloatArray:
        """Standard deviation about the line."""
        return np.asarray(self.normal.sd[LINE_OF[line]])

    def usual(self, line: str, x: FloatArray | float = 0.0) -> FloatArray:
        """What is normal at `x`."""
        return self.normal.expected(LINE_OF[line], np.asarray(x))

    @property
    def span_k(self) -> FloatArray:
        """Supply less return. [K]"""
        return np.asarray(self.step["supply_c"] - self.step["return_c"])

    @property
    def usual_kw(self) -> FloatArray:
        """Power that is normal at this outdoor temperature. [kW]"""
        return np.maximum(self.usual("load", self.outdoor_c), 0.0)


def gj_day(power_kw: FloatArray) -> FloatArray:
    """Heat of a power over a day, whatever its sign. [GJ]"""
    return np.abs(np.asarray(power_kw)) * 0.0864


def carries(step: FaultStep, qp_m3_h: FloatArray, dt_min_k: FloatArray) -> BoolArray:
    """Whether a step can be judged: the gate of every rule about heat."""
    flow = step["flow_m3_h"]
    enough = flow > np.where(np.isnan(qp_m3_h), 0.0, FLOW_SHARE * qp_m3_h)
    wide = step["supply_c"] - step["return_c"] > np.where(np.isnan(dt_min_k), DEFAULT_DT_MIN_K, dt_min_k)
    return np.asarray(enough & wide & (step["samples"] >= LEAST_SAMPLES))


def watched(
    step: FaultStep, carrying: BoolArray, outdoor_c: FloatArray, reference_c: FloatArray, wandered: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Values of every line in a step, x and y of shape (lines, devices); NaN where not known.

    The log of primary flow is heat transfer's x because film coefficients go with a power of flow.
    """
    hot, cold = step["supply_c"], step["return_c"]
    warm, back = step["secondary_supply_c"], step["secondary_return_c"]
    flow = np.where(carrying, step["flow_m3_h"], np.nan)
    x, y = np.full((2, len(LINES), step.count), np.nan)
    log_flow = np.log(np.where(flow > 0.0, flow, np.nan))
    power = np.where(carrying, step["power_kw"], np.nan)
    _put(x, y, "transfer", log_flow, np.log(ua_kw_k(power, hot, cold, warm, back)))
    _put(x, y, "approach", log_flow, np.where(carrying, cold - back, np.nan))
    _put(x, y, "opening", step["ln_valve"], np.where(carrying, step["ln_passage"], np.nan))
    passed = heat_power_kw(step["secondary_flow_m3_h"], warm, back, np.zeros(step.count, dtype=bool))
    ratio = np.where((warm - back > 2.0) & (passed > 0.0), passed, np.nan) / np.where(
        power > 0, power, np.nan
    )
    _put(x, y, "ratio", 0.0, np.log(ratio))
    seconds = np.where(step["makeup_s"] > 0.0, step["makeup_s"], np.nan)
    _put(x, y, "makeup", 0.0, step["d_makeup_m3"] / seconds * 3_600.0)
    _put(x, y, "pressure", 0.0, step["secondary_return_kpa"])
    dp_s = step["secondary_dp_kpa"]
    for name, sd, over in (
        ("dp_scatter", "sd_secondary_dp", dp_s),
        ("flow_scatter", "sd_secondary_flow", step["secondary_flow_m3_h"]),
    ):  # fmt: skip
        share = step[sd] / np.where(over > 0.0, over, np.nan)
        _put(x, y, name, 0.0, 2.0 * np.log(np.maximum(share, 1e-4)))
    _put(x, y, "head", 0.0, dp_s)
    _put(x, y, "neighbours", 0.0, np.where(carrying, hot - reference_c, np.nan))
    _put(x, y, "load", outdoor_c, power)
    _put(x, y, "uneven", 0.0, step["uneven"])
    _put(x, y, "stillness", 0.0, np.where(carrying, np.log(np.maximum(wandered, 1e-5)), np.nan))
    return x, y


def _put(x: FloatArray, y: FloatArray, name: str, at: FloatArray | float, value: FloatArray) -> None:
    x[LINE_OF[name]], y[LINE_OF[name]] = at, value
