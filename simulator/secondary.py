"""Water of the secondary loops: leaks, make-up, the pressure that stands on them, circulation pumps."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from simulator import water
from simulator.rng import generator

__all__ = ["SECONDARY_KPA", "Secondary"]

Array = NDArray[np.float64]

SECONDARY_KPA: Final = 280.0
"""What the make-up pump keeps on a secondary return. [kPa]"""
_RELIEF_KPA: Final = 450.0
_EMPTY_KPA: Final = 60.0
_VESSEL_SHARE: Final = 0.01  # of the loop's water: what the expansion vessel takes up for 300 kPa
_VESSEL_KPA: Final = 300.0
_PUMP_SHARE: Final = 0.01  # of the circulation: the most that a make-up pump gives
_RESTORE_S: Final = 900.0
_TAP_C: Final = 10.0


class Secondary:
    """The secondary loops of a network as rows of arrays.

    Parameters
    ----------
    seed : int
    flow_kg_s : ndarray, shape (substations,)
        Design circulation. [kg/s]
    content_kg : ndarray
        Water in each loop. [kg]
    age_s : float
        Since when make-up has been counted. [s]

    Attributes
    ----------
    leak_kg_s, gain_kg_s : ndarray
        What faults let out, and what they let in from the primary side. [kg/s]
    makeup_m3 : ndarray
        Make-up counters. [m³]
    return_kpa : ndarray
        Pressure of the return. [kPa]
    hz : ndarray
        Frequency of the circulation pumps. [Hz]
    """

    def __init__(self, seed: int, flow_kg_s: Array, content_kg: Array, age_s: float) -> None:
        rng = generator(seed, "secondary")
        count = len(flow_kg_s)
        self.hz = rng.uniform(36.0, 46.0, count)
        self.seeping_kg_s = flow_kg_s * rng.uniform(0.0005, 0.004, count)
        self.makeup_m3 = self.seeping_kg_s / 1000.0 * age_s
        self.return_kpa = np.full(count, SECONDARY_KPA)
        self.leak_kg_s, self.gain_kg_s = np.zeros(count), np.zeros(count)
        self._most_kg_s = self.seeping_kg_s + _PUMP_SHARE * flow_kg_s
        self._kpa_kg = _VESSEL_KPA / (_VESSEL_SHARE * content_kg)
        self._cold_kg_s = np.zeros(count)

    def step(self, seconds: float) -> None:
        """Let leaks run, pumps make up and pressures follow."""
        lost = self.seeping_kg_s + self.leak_kg_s - self.gain_kg_s
        missing_kg = (SECONDARY_KPA - self.return_kpa) / self._kpa_kg
        wanted = lost + missing_kg / max(_RESTORE_S, seconds)
        makeup = np.clip(wanted, 0.0, self._most_kg_s)
        self.return_kpa = np.clip(
            self.return_kpa + self._kpa_kg * (makeup - lost) * seconds, _EMPTY_KPA, _RELIEF_KPA
        )
        self.makeup_m3 = self.makeup_m3 + makeup / 1000.0 * seconds
        self._cold_kg_s = np.maximum(makeup - self.seeping_kg_s, 0.0)

    def heat_kw(self, arriving_h: Array, return_c: Array) -> Array:
        """What faults of water add to the loops' heat, negative where tap water must be warmed. [kW]."""
        hot = self.gain_kg_s * (arriving_h - water.CP_KJ_KG_K * return_c)
        heat: Array = hot - self._cold_kg_s * water.CP_KJ_KG_K * (return_c - _TAP_C)
        return heat
