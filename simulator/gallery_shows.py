"""What the gallery shows of each kind of fault: where, how large, which values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["SHOWS", "Panel", "Run", "Show"]

Array = NDArray[np.float64]
_HOUR_MS: Final = 3_600_000.0
_SUB: Final = "sub-02"
_NEIGHBOUR: Final = "sub-01"
_PLANT: Final = "plant-1"


class Run:
    """What the devices of one run said: columns by device, in the order of their times.

    Parameters
    ----------
    samples : mapping of str to list of dict
        Each with ``t`` and ``received_ms``.
    """

    def __init__(self, samples: Mapping[str, list[dict[str, float]]]) -> None:
        self._samples = {name: sorted(rows, key=lambda row: row["t"]) for name, rows in samples.items()}

    def column(self, device: str, name: str) -> tuple[Array, Array]:
        """Times [ms UTC] and values of one measurement; NaN where it was not taken."""
        rows = self._samples[device]
        t = np.array([row["t"] for row in rows], dtype=np.float64)
        return t, np.array([row.get(name, np.nan) for row in rows], dtype=np.float64)

    def at(self, device: str, name: str, t: Array) -> Array:
        """A measurement at other times, linear between samples."""
        own, values = self.column(device, name)
        known = np.isfinite(values)
        at: Array = np.interp(t, own[known], values[known])
        return at


Value = Callable[[Run], tuple[Array, Array]]


@dataclass(frozen=True, slots=True)
class Panel:
    """One plot of a figure.

    Attributes
    ----------
    label : str
        What it shows, with its unit.
    value : callable
        Gives times [ms UTC] and values.
    zoom_h : (float, float) or None
        From when to when, after the onset; None is all. [h]
    dots : bool
        Single readings instead of a line.
    """

    label: str
    value: Value
    zoom_h: tuple[float, float] | None = None
    dots: bool = False


@dataclass(frozen=True, slots=True)
class Show:
    """One figure: a fault and what is looked at.

    Attributes
    ----------
    place, size
        As in a case; no size is None.
    hours : float
        Length of the run. [h]
    interval_s : float
        Between readings. [s]
    onset_h, ramp_h, lasts_h : float
        Onset, growth and duration (0: to the end). [h]
    """

    place: str
    size: float | None
    panels: tuple[Panel, ...]
    hours: float = 30.0
    interval_s: float = 120.0
    onset_h: float = 4.0
    ramp_h: float = 0.0
    lasts_h: float = 0.0


def _of(device: str, name: str) -> Value:
    return lambda run: run.column(device, name)


def _sub(name: str) -> Value:
    return _of(_SUB, name)


def _less(device: str, name: str, other: str, other_name: str) -> Value:
    def difference(run: Run) -> tuple[Array, Array]:
        t, values = run.column(device, name)
        return t, values - run.at(other, other_name, t)

    return difference


def _rate(device: str, name: str, over_h: float = 1.0, less: str = "") -> Value:
    """Rise of a counter (less that of another value) within the hours before, a hour."""

    def rate(run: Run) -> tuple[Array, Array]:
        t, _ = run.column(device, name)
        earlier = t - over_h * _HOUR_MS
        rise = run.at(device, name, t) - run.at(device, name, earlier)
        if less:
            rise = rise - run.at(device, less, t) + run.at(device, less, earlier)
        return t, np.where(earlier >= t[0], rise / over_h, np.nan)

    return rate


def _own_ratio(run: Run) -> tuple[Array, Array]:
    """Power shown over flow times temperature difference, by the density of the return."""
    t, power = run.column(_SUB, "heat_kw")
    hot, cold = run.column(_SUB, "supply_c")[1], run.column(_SUB, "return_c")[1]
    rho = 1000.4 - 0.0036 * cold**2 - 0.07 * cold  # near enough for a ratio, 20 to 100 °C
    return t, power / (run.column(_SUB, "flow_m3_h")[1] * rho / 3600.0 * 4.19 * (hot - cold))


def _sides(run: Run) -> tuple[Array, Array]:
    """Heat of the primary side over that of the secondary, means of three hours."""
    t, power = run.column(_SUB, "heat_kw")
    hot, cold = run.column(_SUB, "secondary_supply_c")[1], run.column(_SUB, "secondary_return_c")[1]
    other = run.column(_SUB, "secondary_flow_m3_h")[1] * 985.0 / 3600.0 * 4.19 * (hot - cold)
    count = max(1, round(3.0 * _HOUR_MS / float(np.median(np.diff(t)))))
    kernel = np.ones(count)
    ratio = np.convolve(power, kernel, "full")[: len(t)] / np.convolve(other, kernel, "full")[: len(t)]
    ratio[:count] = np.nan
    return t, ratio


def _delay_s(run: Run) -> tuple[Array, Array]:
    t, received = run.column(_SUB, "received_ms")
    return t, (received - t) / 1000.0


def _delay_min(run: Run) -> tuple[Array, Array]:
    t, delay = _delay_s(run)
    return t, delay / 60.0


def _between_s(run: Run) -> tuple[Array, Array]:
    t, _ = run.column(_SUB, "t")
    return t[1:], np.diff(t) / 1000.0


_LOST: Final = Panel("Make-up less tank,\nm³/h over 1 h", _rate(_PLANT, "makeup_m3", less="tank_m3"))
_TANK: Final = Panel("Tank, m³", _of(_PLANT, "tank_m3"))
_MADE_UP: Final = Panel("Make-up counter, m³", _of(_PLANT, "makeup_m3"))
_FLOW: Final = Panel("Primary flow, m³/h", _sub("flow_m3_h"))
_HEAT: Final = Panel("Power, kW", _sub("heat_kw"))
_VALVE: Final = Panel("Valve, %", _sub("valve_pct"))
_RETURN: Final = Panel("Primary return, °C", _sub("return_c"))
_SUPPLY: Final = Panel("Primary supply, °C", _sub("supply_c"))
_ENERGY: Final = Panel("Energy counter, GJ", _sub("energy_gj"))
_VOLUME: Final = Panel("Volume counter, m³", _sub("volume_m3"))
_FLOW_CLOSE: Final = Panel("Primary flow, m³/h", _sub("flow_m3_h"), zoom_h=(-1.0, 1.5))
_FLOW_DOTS: Final = Panel("Primary flow, m³/h", _sub("flow_m3_h"), zoom_h=(-1.0, 1.5), dots=True)
_STANDS: Final = Panel("Secondary return, kPa", _sub("secondary_return_kpa"))
_OFF_SET: Final = Panel(
    "Secondary supply less\nset point, K", _less(_SUB, "secondary_supply_c", _SUB, "secondary_setpoint_c")
)
_SIDES: Final = Panel("Primary over secondary\nheat, 3 h", _sides)
_OWN: Final = Panel("Power over flow ×\nΔT × ρ(return)", _own_ratio)
_BETWEEN: Final = Panel("Time between\nsamples, s", _between_s, dots=True)

_WEEK: Final = {"hours": 180.0, "interval_s": 300.0}
_FORTNIGHT: Final = {"hours": 350.0, "interval_s": 300.0}

SHOWS: Final[Mapping[str, Show]] = {
    "leak": Show("n-02", 2.0, (_LOST, _TANK, _MADE_UP), ramp_h=1.0),
    "supply_leak": Show(
        "n-02", 2.0, (_LOST, _TANK, Panel("Plant, supply flow, m³/h", _of(_PLANT, "flow_m3_h"))), ramp_h=1.0
    ),
    "draw_off": Show(
        "n-02", 6.0,
        (_TANK, Panel("Make-up less tank,\nm³/h over 10 min",
                      _rate(_PLANT, "makeup_m3", over_h=1 / 6, less="tank_m3"))),
        hours=80.0, interval_s=180.0,
    ),
    "flushing": Show("n-02", 40.0, (_LOST, _TANK), lasts_h=2.0),
    "secondary_leak": Show(
        _SUB, 0.3, (Panel("Secondary make-up,\nm³/h over 1 h", _rate(_SUB, "secondary_makeup_m3")), _STANDS),
        ramp_h=6.0,
    ),
    "internal_leak": Show(
        _SUB, 0.1,
        (_STANDS, Panel("Secondary make-up\ncounter, m³", _sub("secondary_makeup_m3")), _LOST),
        hours=20.0, ramp_h=2.0,
    ),
    "insulation_loss": Show(
        "pipe-01", 6.0,
        (Panel("Supply at the plant less\nat the substation, K",
               _less(_PLANT, "supply_c", _SUB, "supply_c")),
         Panel("Plant, power, kW", _of(_PLANT, "heat_kw"))),
        ramp_h=48.0, **_WEEK,
    ),
    "fouling": Show(_SUB, 0.6, (_FLOW, _RETURN, _VALVE), ramp_h=120.0, **_WEEK),
    "clogged_strainer": Show(
        _SUB, 0.75, (_VALVE, _FLOW, _OFF_SET), hours=80.0, interval_s=180.0, ramp_h=36.0
    ),
    "stuck_valve": Show(_SUB, 0.9, (_FLOW, _OFF_SET)),
    "hunting": Show(
        _SUB, 0.4, (_FLOW_CLOSE, _FLOW),
        hours=10.0, interval_s=20.0,
    ),
    "air": Show(
        _SUB, 0.3,
        (_FLOW_CLOSE,
         Panel("Primary differential\npressure, kPa", _less(_SUB, "supply_kpa", _SUB, "return_kpa")),
         _STANDS),
    ),
    "pump_trip": Show(
        _SUB, None,
        (Panel("Secondary differential\npressure, kPa",
               _less(_SUB, "secondary_supply_kpa", _SUB, "secondary_return_kpa")),
         _HEAT, Panel("Secondary supply, °C", _sub("secondary_supply_c"))),
        hours=8.0, interval_s=30.0,
    ),
    "flow_bias": Show(_SUB, 0.1, (_FLOW, _SIDES), **_WEEK),
    "flow_drift": Show(_SUB, 0.01, (_FLOW, _SIDES), **_FORTNIGHT),
    "supply_bias": Show(
        _SUB, 3.0,
        (_SUPPLY, Panel("Supply less the\nneighbour's, K", _less(_SUB, "supply_c", _NEIGHBOUR, "supply_c"))),
        **_WEEK,
    ),
    "return_bias": Show(_SUB, 3.0, (_RETURN, _SIDES), **_WEEK),
    "calculator_bias": Show(_SUB, 0.15, (_HEAT, _OWN), **_WEEK),
    "sensors_swapped": Show(_SUB, None, (_SUPPLY, _RETURN, _ENERGY)),
    "sensor_broken": Show(_SUB, 850.0, (_SUPPLY, _HEAT), hours=10.0),
    "wrong_mounting": Show(_SUB, None, (_HEAT, _OWN), **_FORTNIGHT),
    "frozen": Show(_SUB, None, (_FLOW, _SUPPLY, Panel("Outdoor, °C", _sub("outdoor_c")))),
    "counter_reset": Show(_SUB, None, (_ENERGY, _VOLUME)),
    "counter_exchange": Show(_SUB, 40.0, (_ENERGY, _FLOW_CLOSE)),
    "counter_rollover": Show(_SUB, 10_000.0, (_ENERGY, _VOLUME)),
    "counter_spike": Show(_SUB, 50.0, (_ENERGY, _VOLUME)),
    "clock_skew": Show(_SUB, 120.0, (Panel("Received less time\nof sample, s", _delay_s, dots=True),)),
    "clock_jitter": Show(_SUB, 8.0, (_BETWEEN,), hours=80.0, interval_s=180.0),
    "drop_out": Show(_SUB, 0.3, (_BETWEEN, _FLOW_DOTS)),
    "device_off": Show(_SUB, None, (_HEAT, _ENERGY), hours=10.0, lasts_h=2.0),
    "resend": Show(
        _SUB, 0.3, (Panel("Received less time\nof sample, min", _delay_min, dots=True),), **_WEEK
    ),
    "outage": Show(
        _SUB, None, (Panel("Received less time\nof sample, min", _delay_min, dots=True), _HEAT),
        hours=10.0, lasts_h=2.0,
    ),
}  # fmt: skip
"""A figure for every kind."""
