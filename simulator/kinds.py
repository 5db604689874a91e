"""Every kind of fault: what it befalls, what its size means, by when staff want to know, how it shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["DRAINING", "GROWING", "KINDS", "Fault", "Kind"]

_ANY: Final = 1e9
_LARGEST_LEAK_KG_S: Final = 1_000.0  # more than any main carries


@dataclass(frozen=True, slots=True)
class Kind:
    """What a fault of one kind needs, and what it does.

    Attributes
    ----------
    on : str
        What its `place` names: "node", "pipe", "device" (of heat), "substation", or "part" (a
        substation, or a pipe for every substation behind it).
    size : str
        What `size` means, with its unit; empty when it has none.
    deadline_h : float
        By when staff would want to know, after the onset. [h]
    shows : str
        What an operator sees.
    low, high : float
        What `size` may be; `high` itself may not.
    lasts_h : float or None
        How long without `until_h`; None is to the end. [h]
    channel : bool
        Whether it may be confined to one measurement.
    """

    on: str
    size: str
    deadline_h: float
    shows: str
    low: float = 0.0
    high: float = _ANY
    lasts_h: float | None = None
    channel: bool = False


KINDS: Final[dict[str, Kind]] = {
    # Water that leaves.
    "leak": Kind(
        "node", "lost from the return, kg/s", 12.0, "make-up rises and stays up, at night too",
        high=_LARGEST_LEAK_KG_S,
    ),
    "supply_leak": Kind(
        "node", "lost from the supply, kg/s", 12.0,
        "make-up rises and stays up; the plant gives more heat than arrives", high=_LARGEST_LEAK_KG_S,
    ),
    "draw_off": Kind(
        "node", "drawn from the return without leave while it lasts, kg/s", 72.0,
        "the tank falls in short bursts, in the morning and the evening, and is made up",
        high=_LARGEST_LEAK_KG_S,
    ),
    "flushing": Kind(
        "node", "drained from the return over its whole length, m³", 24.0,
        "make-up rises for some hours; the office books the volume when it is done", lasts_h=2.0, high=1e5,
    ),
    "secondary_leak": Kind(
        "substation", "lost from the secondary loop, kg/s", 24.0,
        "secondary make-up counts faster; beyond its pump's reach the secondary pressure falls",
        high=_LARGEST_LEAK_KG_S,
    ),
    "internal_leak": Kind(
        "substation", "primary water that leaks into the secondary loop, kg/s", 12.0,
        "secondary pressure rises, secondary make-up stands still, primary make-up rises",
        high=_LARGEST_LEAK_KG_S,
    ),
    # What carries and passes on heat.
    "insulation_loss": Kind(
        "pipe", "heat loss over the sound one's", 168.0, "water arrives cooler behind the pipe", low=1.0
    ),
    "fouling": Kind(
        "substation", "share of the heat transfer that is lost", 168.0,
        "more flow and a warmer return for the same heat", high=1.0,
    ),
    "clogged_strainer": Kind(
        "substation", "share of the valve's reach that is lost", 72.0,
        "valve opens wider for the same flow; when it is cold flow meets its limit and the room cools",
        high=1.0,
    ),
    "stuck_valve": Kind(
        "substation", "flow over the design flow at which it stands", 24.0,
        "flow is deaf to the weather; the secondary supply leaves its set point",
    ),
    "hunting": Kind("substation", "swing of the flow over its mean", 24.0, "flow swings every four minutes"),
    "air": Kind(
        "substation", "scatter of flow and pressures over their mean", 24.0,
        "flow and differential pressure scatter; the secondary pressure is low", high=1.0,
    ),
    "pump_trip": Kind(
        "part", "", 1.0, "secondary differential pressure falls to nothing, power collapses within minutes"
    ),
    # Meters and sensors.
    "flow_bias": Kind(
        "device", "flow shown over true flow, less one", 168.0, "heat and volume are off by a share", low=-1.0
    ),
    "flow_drift": Kind(
        "device", "the same, gained in a day", 336.0, "heat and volume go astray slowly", low=-1.0
    ),
    "supply_bias": Kind(
        "device", "K added to the supply temperature", 168.0, "supply off its neighbours'", -99.0
    ),
    "return_bias": Kind(
        "device", "K added to the return temperature", 168.0, "return off its usual", -99.0
    ),
    "calculator_bias": Kind(
        "device", "power shown over that of its own flow and temperatures, less one", 168.0,
        "power disagrees with the flow and temperatures of the same instant", low=-1.0,
    ),
    "sensors_swapped": Kind(
        "device", "", 24.0, "supply below return; power negative, the energy counter still while volume runs"
    ),
    "sensor_broken": Kind(
        "device", "°C that the supply sensor shows", 4.0, "a supply temperature that cannot be", -_ANY
    ),
    "wrong_mounting": Kind("device", "", 336.0, "power off by 1.5 to 4.6 %, more the wider the difference"),
    "frozen": Kind(
        "device", "", 24.0, "a value, or all, repeats to the last digit", channel=True
    ),
    "counter_reset": Kind("device", "", 24.0, "energy and volume counters fall to nothing and go on"),
    "counter_exchange": Kind(
        "device", "min that the work takes", 24.0,
        "no meter for the length of the work, then a new one whose counters start at nothing",
    ),
    "counter_rollover": Kind(
        "device", "GJ at which the energy counter starts again", 24.0,
        "the energy counter falls from its full scale to nothing, and nothing else happens",
        low=1.0,
    ),
    "counter_spike": Kind(
        "device", "GJ by which the energy counter jumps in single readings", 24.0,
        "about three readings an hour stand far off, the next one is right again", -_ANY,
    ),
    # Clocks and lines.
    "clock_skew": Kind("device", "s that its clock is ahead (negative: behind)", 24.0,
                       "samples bear wrong times", -_ANY),
    "clock_jitter": Kind("device", "s that its clock wanders (standard deviation)", 72.0,
                         "samples come at uneven times"),
    "drop_out": Kind("device", "share of readings that are not taken", 24.0, "gaps, never filled", high=1.01),
    "device_off": Kind("device", "", 1.0, "silence; afterwards counters have gone on, nothing is filled in"),
    "resend": Kind("device", "share of messages that come again within the hour", 168.0,
                   "numbers that were seen before", high=1.01),
    "outage": Kind("device", "", 1.0, "silence, then everything at once"),
}  # fmt: skip
"""Every kind by name."""

GROWING: Final = frozenset({
    "leak", "supply_leak", "draw_off", "secondary_leak", "internal_leak", "insulation_loss", "fouling",
    "clogged_strainer", "hunting", "air", "flow_bias", "supply_bias", "return_bias", "calculator_bias",
    "clock_skew",
})  # fmt: skip
"""Kinds that may grow to their size."""

DRAINING: Final = frozenset({"leak", "supply_leak", "draw_off", "flushing", "internal_leak"})
"""Kinds that take water out of the primary network."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong.

    Attributes
    ----------
    kind, place : str
    size : float
        In the unit of the kind.
    onset_ms, until_ms, full_ms : int
        From when to when (ms UTC), and when it has reached its size.
    channel : str
        The measurement that it is confined to; empty for all.
    """

    kind: str
    place: str
    size: float
    onset_ms: int
    until_ms: int
    full_ms: int
    channel: str = ""

    def share(self, t_ms: int) -> float:
        """How much of its size it has in the step that ends at `t_ms`: it grows evenly up to 1."""
        if not self.onset_ms < t_ms <= self.until_ms:
            return 0.0
        if t_ms >= self.full_ms:
            return 1.0
        return (t_ms - self.onset_ms) / (self.full_ms - self.onset_ms)

    @property
    def deadline_ms(self) -> int:
        """By when staff would want to know. [ms UTC]"""
        return self.onset_ms + round(KINDS[self.kind].deadline_h * 3_600_000)
