"""Faults of meters and sensors: what they do to what is shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final
from zlib import crc32

import numpy as np

from simulator.kinds import Fault
from simulator.meters import HeatMeters
from simulator.rng import generator

__all__ = ["METER_VALUES", "MeterFaults"]

METER_VALUES: Final = ("supply_c", "return_c", "flow_m3_h", "heat_kw", "energy_gj", "volume_m3")
"""What a heat meter gives; the rest of a substation goes on while it is exchanged."""
_SPIKES_AN_HOUR: Final = 3.0


def _flow_bias(meters: HeatMeters, row: int, f: Fault, share: float, _t_ms: int) -> None:
    meters.flow_factor[row] *= 1.0 + f.size * share


def _flow_drift(meters: HeatMeters, row: int, f: Fault, _share: float, t_ms: int) -> None:
    meters.flow_factor[row] *= max(0.0, 1.0 + f.size * (t_ms - f.onset_ms) / 86_400_000)


def _supply_bias(meters: HeatMeters, row: int, f: Fault, share: float, _t_ms: int) -> None:
    meters.supply_bias_c[row] += f.size * share


def _return_bias(meters: HeatMeters, row: int, f: Fault, share: float, _t_ms: int) -> None:
    meters.return_bias_c[row] += f.size * share


def _calculator_bias(meters: HeatMeters, row: int, f: Fault, share: float, _t_ms: int) -> None:
    meters.power_factor[row] *= 1.0 + f.size * share


def _sensors_swapped(meters: HeatMeters, row: int, _f: Fault, _share: float, _t_ms: int) -> None:
    meters.swapped[row] = True


def _sensor_broken(meters: HeatMeters, row: int, f: Fault, _share: float, _t_ms: int) -> None:
    meters.broken_c[row] = f.size


def _wrong_mounting(meters: HeatMeters, row: int, _f: Fault, _share: float, _t_ms: int) -> None:
    meters.misread[row] = True


_DO: Final[Mapping[str, Callable[[HeatMeters, int, Fault, float, int], None]]] = {
    "flow_bias": _flow_bias, "flow_drift": _flow_drift, "supply_bias": _supply_bias,
    "return_bias": _return_bias, "calculator_bias": _calculator_bias, "sensors_swapped": _sensors_swapped,
    "sensor_broken": _sensor_broken, "wrong_mounting": _wrong_mounting,
}  # fmt: skip


class MeterFaults:
    """Applies the faults of a case to the meters of its networks.

    Parameters
    ----------
    interval_s : float
        Between two readings. [s]
    """

    def __init__(self, faults: Sequence[Fault], seed: int, interval_s: float) -> None:
        self.faults = tuple(faults)
        self._seed, self._interval_s = seed, interval_s
        self._done: set[Fault] = set()

    def prepare(self, meters: HeatMeters, names: Sequence[str], rise_gj: Callable[[int, int], float]) -> None:
        """Let counters stand so that they start again at the onset of their rollover.

        Parameters
        ----------
        rise_gj : callable
            About how much a row's energy counter will have risen by a time.
        """
        for f in self.faults:
            if f.kind == "counter_rollover" and f.place in names:
                row = names.index(f.place)
                meters.full_scale_gj[row] = f.size
                meters.set_energy(row, (f.size - rise_gj(row, f.onset_ms)) % f.size)

    def apply(self, meters: HeatMeters, names: Sequence[str], t_ms: int) -> None:
        """Set what the meters get wrong at `t_ms`, beyond what their class permits."""
        meters.sound()
        rows = {name: n for n, name in enumerate(names)}
        for f in self.faults:
            row, share = rows.get(f.place), f.share(t_ms)
            if row is None or share == 0.0:
                continue
            if f.kind in _DO:
                _DO[f.kind](meters, row, f, share, t_ms)
            elif f.kind == "counter_reset" and f not in self._done:
                self._done.add(f)
                meters.reset(row)
            elif f.kind == "counter_exchange" and f not in self._done and not at_work(f, t_ms):
                self._done.add(f)
                meters.exchange(row, t_ms)

    def spiked(self, device: str, t_ms: int, values: Mapping[str, float | str]) -> Mapping[str, float | str]:
        """Values with whatever spikes and exchanges do to one reading."""
        for f in self.faults:
            if f.place != device or f.share(t_ms) == 0.0:
                continue
            if f.kind == "counter_spike" and "energy_gj" in values:
                draw = generator(self._seed, "spike", t_ms, crc32(device.encode())).random()
                if draw < -np.expm1(-_SPIKES_AN_HOUR * self._interval_s / 3600.0):
                    values = {**values, "energy_gj": round(float(values["energy_gj"]) + f.size, 3)}
            elif f.kind == "counter_exchange" and at_work(f, t_ms):
                values = {name: value for name, value in values.items() if name not in METER_VALUES}
        return values


def at_work(fault: Fault, t_ms: int) -> bool:
    """Whether a meter is being exchanged at `t_ms`."""
    return t_ms <= fault.onset_ms + round(fault.size * 60_000)
