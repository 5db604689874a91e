"""Faults of pumps, valves, strainers and of air, as rules over one step."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.fault_seen import LINE_OF, Seen, Verdict, gj_day
from models.fault_step import FLOW_SHARE, LEAST_SAMPLES

__all__ = ["air", "clogged_strainer", "hunting", "pump_trip", "stuck_valve"]

FloatArray = NDArray[np.float64]

DEAD_SHARE: Final = 0.1
POWER_FELL: Final = 0.5
VARIANCE: Final = 3.0
TURNS_H: Final = 6.0
OVER_K, UNDER_K, SHUT_K, STILL_K = 3.0, 3.0, 5.0, 1.5
OPEN_PCT: Final = 95.0
STILL: Final = 5.0
"""Times less than usual that a flow wanders which stands still."""
DEAF: Final = 0.03
RESISTANCE: Final = 0.30
_LEAST_OFF: Final = 0.02
_METER_OFF: Final = 0.03


def pump_trip(seen: Seen) -> Verdict:
    """Circulation pumps that stopped: judged by the last three samples, so that it is said at once."""
    head, usual = seen["tail_secondary_dp_kpa"], seen.usual("head")
    before = np.fmax(seen.usual_kw, seen.kept["sound_kw"])
    dead = (head < DEAD_SHARE * usual) & (usual > 0.0)
    # Before a usual head is known: a drive at rest that had run, and no head.
    dead |= np.isnan(usual) & (seen["tail_pump_hz"] == 0.0) & (head < 5.0)
    fell = seen["tail_power_kw"] < POWER_FELL * before
    on = dead & fell & (seen["samples"] >= LEAST_SAMPLES)
    numbers = {
        "secondary_dp_kpa": head, "usual_dp_kpa": usual, "power_kw": seen["tail_power_kw"],
        "power_before_kw": before, "pump_hz": seen["tail_pump_hz"], "samples": seen["samples"],
    }  # fmt: skip
    score = np.minimum(DEAD_SHARE * usual / np.maximum(head, 0.1), 10.0)
    return Verdict("pump_trip", on, np.fmax(score, 1.0), numbers, gj_day(before - seen["tail_power_kw"]))


def air(seen: Seen) -> Verdict:
    """Air that goes round: flow and differential pressure scatter, and the loop's pressure is low."""
    times = (
        np.exp(np.minimum(seen.off("dp_scatter"), 20.0)),
        np.exp(np.minimum(seen.off("flow_scatter"), 20.0)),
    )
    low = -seen.off("pressure")
    on = (times[0] > VARIANCE) & (times[1] > VARIANCE) & (low > np.maximum(2.0, 3.0 * seen.sd("pressure")))
    numbers = {"dp_variance_times": times[0], "flow_variance_times": times[1], "pressure_below_kpa": low}
    return Verdict("air", on, np.minimum(*times) / VARIANCE, numbers)


def hunting(seen: Seen) -> Verdict:
    """Valves that swing to and fro."""
    rate = seen.kept["turns_h"]
    on = (rate > TURNS_H) & (seen["turns"] >= 2.0) & seen.carrying
    numbers = {"reversals_h": rate, "reversals": seen["turns"], "flow_m3_h": seen["flow_m3_h"]}
    return Verdict("hunting", on, rate / TURNS_H, numbers)


def stuck_valve(seen: Seen) -> tuple[Verdict, Verdict]:
    """Valves that do not move while the secondary supply is off its set point: open, closed."""
    off = seen["secondary_supply_c"] - seen["secondary_setpoint_c"]
    flow, enough = seen["flow_m3_h"], seen["samples"] >= LEAST_SAMPLES
    deaf = np.abs(np.log(np.maximum(flow, 1e-6)) - seen.kept["flow_mean"]) < DEAF
    # Known of a flow before it stuck, and of hardly any that is controlled.
    still = seen.usual("stillness") - seen.kept["stillness"] > np.log(STILL)
    shut = (flow < FLOW_SHARE * seen.qp_m3_h) & (off < -SHUT_K)
    room = ~(seen["valve_pct"] >= OPEN_PCT)
    # Of a channel that stands still to the last digit nothing follows.
    shut &= enough
    enough &= ~(seen["sd_flow"] == 0.0) & ~(seen["sd_secondary_supply"] == 0.0)
    opened = enough & ((deaf & (off > OVER_K)) | (still & (off > STILL_K)))
    closed = shut | (enough & room & ((deaf & (off < -UNDER_K)) | (still & (off < -STILL_K))))
    numbers = {
        "off_setpoint_k": off, "flow_m3_h": flow, "valve_pct": seen["valve_pct"],
        "wandering": np.exp(seen.kept["stillness"]), "usual_wandering": np.exp(seen.usual("stillness")),
    }  # fmt: skip
    usual = seen.usual_kw
    extra = gj_day(np.maximum(seen["power_kw"] - usual, 0.0))
    missing = gj_day(np.maximum(usual - np.nan_to_num(seen["power_kw"]), 0.0))
    return (
        Verdict("valve_stuck_open", opened, np.maximum(off / OVER_K, 1.0), numbers, extra),
        Verdict("valve_stuck_closed", closed, np.maximum(-off / UNDER_K, 1.0), numbers, missing),
    )


def clogged_strainer(seen: Seen) -> Verdict:
    r"""Resistance that does not move with the valve, over that of the open valve.

    With :math:`\Delta p/q^2 = K/o^2 + r`, and :math:`K/o^2` learned as a power of the opening o, r/K is what
    the strainer adds to Δp/q² of the open valve.
    """
    off = seen.off("opening")
    slope = np.asarray(seen.normal.slope[LINE_OF["opening"]])
    opening = np.clip(np.exp(seen["ln_valve"]), 0.03, 1.0)
    added = (np.exp(-2.0 * off) - 1.0) * opening ** (-2.0 * slope)
    sound = ~(np.abs(seen.off("ratio")) > _METER_OFF)
    on = (
        (added > RESISTANCE) & (off < -_LEAST_OFF) & (off < -1.5 * seen.sd("opening")) & sound & seen.carrying
    )
    short = np.maximum(seen.usual_kw - seen["power_kw"], 0.0)
    numbers = {
        "added_resistance": added, "valve_pct": seen["valve_pct"], "flow_m3_h": seen["flow_m3_h"],
        "dp_kpa": seen["supply_kpa"] - seen["return_kpa"], "heat_ratio_off": seen.off("ratio"),
    }  # fmt: skip
    return Verdict("clogged_strainer", on, added / RESISTANCE, numbers, gj_day(short))
