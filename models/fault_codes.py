"""The catalogue of faults of heat devices: names, gravity, how long each must show, what it costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from models.anomaly import Severity

__all__ = ["CODES", "COUNTER_CODES", "SHARED_CAUSE", "Code"]

SHARED_CAUSE: Final = "shared_cause"


@dataclass(frozen=True, slots=True)
class Code:
    """One fault that `substation_faults` tells of.

    Attributes
    ----------
    name : str
    rule : str
        The rule, as evidence gives it.
    severity : Severity
    rank : int
        While a fault of a lower rank stands, this one is not judged: its numbers mean nothing then.
    need, quiet : int
        Steps of a quarter of an hour that have to show it before it is said, and not to before it ends.
    lost : str
        What `cost` is of, in `unit` a day.
    unit : {"gj", "m3"}
    blocks : bool
        Whether faults of higher ranks are left alone while it stands.
    """

    name: str
    rule: str
    severity: Severity
    rank: int
    need: int
    quiet: int
    lost: str = "nothing that can be counted"
    unit: Literal["gj", "m3"] = "gj"
    blocks: bool = True


_TABLE: Final = (
    Code(
        "sensor_broken",
        "outside physical limits in half of the samples; or one exact value that is a sentinel or came in "
        "one jump; or to and fro by over 10 K/min, twice in a quarter of an hour",
        Severity.MAJOR, 0, 1, 4, "heat that is not measured",
    ),
    Code(
        "sensors_swapped",
        "supply below return by the least difference, with flow, the energy counter still while volume runs",
        Severity.MAJOR, 0, 2, 4, "heat that is not counted",
    ),
    Code(
        "clock_fault",
        "time between two readings off the volume counted over the flow by over an interval; or uneven "
        "times; or operating hours off the time elapsed",
        Severity.MINOR, 0, 1, 96, blocks=False,
    ),
    Code(
        "counter_rollover", "fell from near its full scale to about zero",
        Severity.INFO, 0, 1, 4, blocks=False,
    ),
    Code(
        "counter_exchange",
        "fell to about zero, after a time without a meter or with its operating hours",
        Severity.INFO, 0, 1, 4, blocks=False,
    ),
    Code(
        "counter_reset", "fell to about zero while the meter went on reading",
        Severity.MINOR, 0, 1, 4, "heat counted since the last reading before", blocks=False,
    ),
    Code(
        "counter_spike",
        "a reading that jumps further than the meter can count, or falls to a value that is none of zero",
        Severity.MINOR, 0, 1, 16, blocks=False,
    ),
    Code(
        "pump_trip",
        "secondary differential pressure under a tenth of its usual, power under half of what it was",
        Severity.CRITICAL, 1, 1, 4, "heat that is not delivered",
    ),
    Code(
        "calculator_fault",
        "power off that of the same instants' flow and temperatures by over 10 %; or two days' energy "
        "outside 1 ± 0.17, and what few readings miss, of that of volume and temperatures",
        Severity.MAJOR, 1, 4, 8, "heat that is counted wrongly",
    ),
    Code(
        "air",
        "variance of secondary flow and differential pressure over three times the usual, pressure low",
        Severity.MINOR, 2, 2, 8,
    ),
    Code(
        "hunting",
        "over 6 reversals an hour of over 20 % of the mean flow", Severity.MINOR, 3, 2, 8,
    ),
    Code(
        "valve_stuck_open",
        "flow deaf while the secondary supply is over its set point by 3 K for two hours, or by 1.5 K with a "
        "flow that stands still",
        Severity.MAJOR, 3, 6, 24, "heat beyond the set point",
    ),
    Code(
        "valve_stuck_closed",
        "flow under 5 % of nominal with the secondary supply 5 K under its set point; or deaf, the valve not "
        "open, at 3 K under it, or at 1.5 K with a flow that stands still",
        Severity.MAJOR, 3, 6, 24, "heat that is not delivered",
    ),
    Code(
        "exchanger_internal_leak",
        "secondary pressure over its usual with no make-up", Severity.MAJOR, 4, 4, 8,
        "water that comes over from the primary side, at least", "m3",
    ),
    Code(
        "secondary_leak",
        "secondary make-up over its usual by half, and by four standard deviations", Severity.MAJOR, 4, 8, 8,
        "water that is lost", "m3",
    ),
    Code(
        "sensor_bias",
        "supply off its neighbours by over 1 K and a MAD z of 3.5, or return off the exchanger's approach; "
        "and secondary over primary heat off as much",
        Severity.MAJOR, 4, 8, 24, "heat that is measured wrongly",
    ),
    Code(
        "clogged_strainer",
        "Δp/q² at like opening up by over 30 % of the open valve's", Severity.MINOR, 4, 12, 24,
        "heat that is missing when it is cold",
    ),
    Code(
        "fouled_exchanger",
        "heat transfer at like flow down by over 15 % from its clean fit, approach up",
        Severity.MINOR, 5, 12, 24, "water that circulates besides", "m3",
    ),
    Code(
        "bypass", "return within 5 K of the supply with flow, for an hour",
        Severity.MINOR, 6, 4, 8, "water that circulates in vain", "m3",
    ),
    Code(
        "high_return",
        "flow-weighted return of a day over the reference by 5 K", Severity.INFO, 6, 1, 1,
        "excess flow", "m3",
    ),
    Code(
        "load_change",
        "CUSUM of daily Huber residuals of the load over outdoor temperature beyond 5 standard deviations",
        Severity.INFO, 6, 1, 1, "load more or less than it was",
    ),
)  # fmt: skip
CODES: Final = {code.name: code for code in _TABLE}
"""By name, in the order in which they are judged."""
COUNTER_CODES: Final = ("counter_rollover", "counter_exchange", "counter_reset", "counter_spike")
