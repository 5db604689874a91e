"""Heat meters with the errors that EN 1434 allows: a meter's own, random, and of resolution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.site import Device
from simulator import water
from simulator.rng import generator

__all__ = ["HeatMeters", "Shown", "flow_mpe_pct"]

Array = NDArray[np.float64]

_CLASS_BASE: Final = {1: (1.0, 0.01), 2: (2.0, 0.02), 3: (3.0, 0.05)}
_LARGEST_PCT: Final = 5.0
_OWN_SHARE: Final = 0.9  # of the permissible error is a meter's own at most; the rest leaves room for noise
_NOISE_SHARE: Final = 0.08  # standard deviation of random errors over the permissible error
_STEP_C, _STEP_FLOW, _STEP_KW, _STEP_GJ, _STEP_M3 = 0.01, 0.001, 0.1, 0.001, 0.01


def flow_mpe_pct(accuracy_class: Array, share: Array) -> Array:
    """Maximum permissible error of a flow sensor at q = `share` · qp, EN 1434-1. [%]."""
    base = np.array([_CLASS_BASE[int(c)][0] for c in accuracy_class])
    slope = np.array([_CLASS_BASE[int(c)][1] for c in accuracy_class])
    permissible: Array = np.minimum(base + slope / np.maximum(share, 1e-6), _LARGEST_PCT)
    return permissible


@dataclass(frozen=True, slots=True)
class Shown:
    """What the meters display; arrays of shape (meters,)."""

    flow_m3_h: Array
    supply_c: Array
    return_c: Array
    heat_kw: Array
    energy_gj: Array
    volume_m3: Array


class HeatMeters:
    """The heat meters of a network as rows of arrays.

    Systematic errors are drawn once for a meter, evenly within 90 % of what
    its class permits; counters add up the meter's own readings, errors and all.

    Parameters
    ----------
    devices : sequence of Device
        `qp_m3_h`, `accuracy_class`, `dt_min_k` and `mounting` are used; unknown ones are 60, 2, 3 and return.
    seed : int
    energy_gj, volume_m3 : ndarray
        Counters at the start.

    Attributes
    ----------
    flow_factor, supply_bias_c, return_bias_c : ndarray
        What faults multiply the flow by and add to the temperatures. [K]
    power_factor : ndarray
        What a calculator that is wrong multiplies the power by.
    broken_c : ndarray
        What a broken supply sensor shows; NaN where it is sound. [°C]
    swapped, misread : ndarray of bool
        Supply and return sensors exchanged; a calculator set for the wrong pipe.
    full_scale_gj : ndarray
        Where an energy counter starts again; infinite where unknown. [GJ]
    wrapped : ndarray of bool
        Whether it did so in the last step.
    """

    def __init__(self, devices: tuple[Device, ...], seed: int, energy_gj: Array, volume_m3: Array) -> None:
        count = len(devices)
        rng = generator(seed, "meters")
        self.seed = seed
        self.qp = np.array([d.qp_m3_h or 60.0 for d in devices])
        self.accuracy_class = np.array([float(d.accuracy_class or 2) for d in devices])
        self.dt_min = np.array([d.dt_min_k or 3.0 for d in devices])
        self.on_supply = np.array([d.mounting == "supply" for d in devices])
        self.flow_error, self.pair_error, self.calculator_error = rng.uniform(
            -_OWN_SHARE, _OWN_SHARE, (3, count)
        )
        self.both_error_c = rng.uniform(-0.3, 0.3, count)
        self.full_scale_gj = np.array([d.energy_full_scale_gj or np.inf for d in devices])
        self.full_scale_m3 = np.array([d.volume_full_scale_m3 or np.inf for d in devices])
        self.flow_factor, self.power_factor = np.ones(count), np.ones(count)
        self.wrapped = np.zeros(count, dtype=bool)
        self.broken_c = np.full(count, np.nan)
        self.supply_bias_c, self.return_bias_c = np.zeros(count), np.zeros(count)
        self.swapped, self.misread = np.zeros(count, dtype=bool), np.zeros(count, dtype=bool)
        self._energy_gj, self._volume_m3 = energy_gj.astype(np.float64), volume_m3.astype(np.float64)

    def reset(self, meter: int) -> None:
        """Set the counters of one meter to nothing."""
        self._energy_gj[meter] = self._volume_m3[meter] = 0.0

    def exchange(self, meter: int, t_ms: int) -> None:
        """Put another meter in place: errors of its own, counters at nothing."""
        self.reset(meter)
        rng = generator(self.seed, "exchanged", meter, t_ms)
        errors = rng.uniform(-_OWN_SHARE, _OWN_SHARE, 3)
        self.flow_error[meter], self.pair_error[meter], self.calculator_error[meter] = errors

    def set_energy(self, meter: int, energy_gj: float) -> None:
        """Let one meter's energy counter stand at a value. [GJ]"""
        self._energy_gj[meter] = energy_gj

    def sound(self) -> None:
        """Take away whatever faults have set, counters aside."""
        self.flow_factor[:] = self.power_factor[:] = 1.0
        self.supply_bias_c[:] = self.return_bias_c[:] = 0.0
        self.swapped[:] = self.misread[:] = False
        self.broken_c[:] = np.nan

    def read(
        self,
        t_ms: int,
        seconds: float,
        supply_kg_s: Array,
        return_kg_s: Array,
        supply_c: Array,
        return_c: Array,
    ) -> Shown:
        """Measure for one step and move the counters on."""
        noise = generator(self.seed, "meter noise", t_ms).standard_normal((3, len(self.qp)))
        rho = water.density_kg_m3(np.where(self.on_supply, supply_c, return_c))
        # A heat meter does not count backwards.
        true_m3_h = np.maximum(np.where(self.on_supply, supply_kg_s, return_kg_s), 0.0) / rho * 3600.0
        mpe = flow_mpe_pct(self.accuracy_class, true_m3_h / self.qp) / 100.0
        flow = self.flow_factor * true_m3_h * (1.0 + mpe * (self.flow_error + _NOISE_SHARE * noise[0]))
        difference = supply_c - return_c
        pair_k = 0.005 * np.abs(difference) + 0.03 * self.dt_min  # ±(0.5 + 3 ΔΘmin/ΔΘ) % of ΔΘ
        half = pair_k * self.pair_error / 2.0
        jitter = _NOISE_SHARE * pair_k / np.sqrt(2.0)
        hot = supply_c + self.supply_bias_c + self.both_error_c + half + jitter * noise[1]
        cold = return_c + self.return_bias_c + self.both_error_c - half + jitter * noise[2]
        hot, cold = np.where(self.swapped, cold, hot), np.where(self.swapped, hot, cold)
        hot = np.where(np.isnan(self.broken_c), hot, self.broken_c)
        calculator = 0.005 + 0.01 * self.dt_min / np.maximum(np.abs(difference), self.dt_min)
        at_meter = water.density_kg_m3(np.where(self.on_supply ^ self.misread, hot, cold))
        power = flow * at_meter * (water.enthalpy_kj_kg(hot) - water.enthalpy_kj_kg(cold)) / 3600.0
        power = power * (1.0 + calculator * self.calculator_error) * self.power_factor
        self._energy_gj += np.maximum(power, 0.0) * seconds * 1e-6
        self._volume_m3 += flow * seconds / 3600.0
        self.wrapped = self._energy_gj >= self.full_scale_gj
        np.remainder(self._energy_gj, self.full_scale_gj, out=self._energy_gj)
        np.remainder(self._volume_m3, self.full_scale_m3, out=self._volume_m3)
        return Shown(
            _round(flow, _STEP_FLOW), _round(hot, _STEP_C), _round(cold, _STEP_C), _round(power, _STEP_KW),
            _down(self._energy_gj, _STEP_GJ), _down(self._volume_m3, _STEP_M3),
        )  # fmt: skip


def _round(value: Array, step: float) -> Array:
    shown: Array = np.round(np.round(value / step) * step, 6)
    return shown


def _down(value: Array, step: float) -> Array:
    """A counter shows only what it has completed."""
    shown: Array = np.round(np.floor(value / step + 1e-9) * step, 6)
    return shown
