"""Substations and the buildings behind them: exchanger, valve control, secondary loop, inertia."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from simulator import water
from simulator.rng import generator

__all__ = ["DESIGN_OUTDOOR_C", "Substations", "design_flow_kg_s"]

Array = NDArray[np.float64]

DESIGN_OUTDOOR_C: Final = -20.0
INDOOR_C: Final = 20.0
_DESIGN_PRIMARY_C: Final = (110.0, 50.0)
_DESIGN_SECONDARY_C: Final = (60.0, 45.0)
_RADIATOR_EXPONENT: Final = 1.3  # EN 442
_VALVE_TAU_S: Final = 150.0
_LEAST_OPENING: Final = 0.02  # of the design flow: what a shut valve lets through


def design_flow_kg_s(heat_kw: Array) -> Array:
    """Primary flow that carries `heat_kw` at 110/50 °C. [kg/s]."""
    supply, back = water.enthalpy_kj_kg(_DESIGN_PRIMARY_C)
    flow: Array = heat_kw / (supply - back)
    return flow


def _effectiveness(ntu: Array, ratio: Array) -> Array:
    """Effectiveness of a counterflow exchanger (Kays and London, Compact Heat Exchangers)."""
    even = np.abs(1.0 - ratio) < 1e-6
    decay = np.exp(-ntu * (1.0 - ratio))
    with np.errstate(divide="ignore", invalid="ignore"):
        general = (1.0 - decay) / (1.0 - ratio * decay)
    result: Array = np.where(even, ntu / (1.0 + ntu), general)
    return result


@dataclass(slots=True)
class Exchange:
    """What one step did in every substation; arrays of shape (substations,)."""

    heat_kw: Array
    return_h: Array  # enthalpy of the primary water that goes back, kJ/kg


class Substations:
    """All substations of a network as rows of arrays.

    Parameters
    ----------
    seed : int
    area_m2 : ndarray
        Heated floor area. [m²]
    heat_index_w_m2 : ndarray
        Heat loss of the buildings at the design outdoor temperature. [W/m²]

    Attributes
    ----------
    flow_kg_s : ndarray
        Primary flow of the last step. [kg/s]
    asked_kg_s : ndarray
        Primary flow that the controllers ask for. [kg/s]
    supply_c, return_c, setpoint_c : ndarray
        Secondary temperatures. [°C]
    indoor_c : ndarray
        Mean indoor temperature of the buildings. [°C]
    ua_share : ndarray
        Heat transfer over its clean design value: what fouling lowers.
    stuck : ndarray
        Flow over the design flow at which a valve stands fast; NaN where it moves.
    swing : ndarray
        What a hunting valve or air adds to its flow just now, over its mean.
    strained : ndarray
        Share of the valve's reach that a clogged strainer takes.
    pump_share : ndarray
        Secondary flow over its design value: 1 while the circulation pump runs.
    air : ndarray
        Scatter of secondary flow and pressure that air brings, over their mean.
    """

    def __init__(self, seed: int, area_m2: Array, heat_index_w_m2: Array) -> None:
        rng = generator(seed, "substations")
        count = len(area_m2)
        self.design_kw = area_m2 * heat_index_w_m2 / 1000.0
        self.loss_kw_k = self.design_kw / (INDOOR_C - DESIGN_OUTDOOR_C)
        self.building_kj_k = self.loss_kw_k * 3600.0 * rng.uniform(60.0, 110.0, count)
        self.design_flow = design_flow_kg_s(self.design_kw)
        self.secondary_kg_s = self.design_kw / (
            water.CP_KJ_KG_K * (_DESIGN_SECONDARY_C[0] - _DESIGN_SECONDARY_C[1])
        )
        self.secondary_kj_k = self.secondary_kg_s * water.CP_KJ_KG_K * rng.uniform(900.0, 1800.0, count)
        hot, cold = 110.0 - 60.0, 50.0 - 45.0
        self.design_ua = self.design_kw / ((hot - cold) / np.log(hot / cold))
        self.ua_share = np.ones(count)
        self.stuck = np.full(count, np.nan)
        self.swing = np.zeros(count)
        self.strained, self.pump_share, self.air = np.zeros(count), np.ones(count), np.zeros(count)
        self.night_setback = rng.random(count) < 0.4
        self.gain_kw = self.design_kw * rng.uniform(0.03, 0.09, count)
        self.habit_h = rng.uniform(-1.0, 1.0, count)
        self.flow_kg_s = self.design_flow * 0.5
        self.asked_kg_s = self.flow_kg_s
        self.return_c = np.full(count, 40.0)
        self.supply_c = np.full(count, 50.0)
        self.setpoint_c = np.full(count, 50.0)
        self.indoor_c = np.full(count, INDOOR_C)

    def _gains_kw(self, local_h: float) -> Array:
        """Sun, people and appliances by the hour: more in the afternoon and the evening. [kW]."""
        hour = local_h + self.habit_h
        noon = np.exp(-(((hour - 13.5) / 2.5) ** 2))
        evening = np.exp(-(((hour - 19.5) / 2.0) ** 2))
        gains: Array = self.gain_kw * (0.4 + 1.0 * noon + 0.7 * evening)
        return gains

    def _wanted_c(self, outdoor_c: float, local_h: float) -> Array:
        """Secondary supply temperature by the heating curve and the clock. [°C]."""
        night = (local_h >= 22.0) | (local_h < 5.0)
        room = INDOOR_C - np.where(self.night_setback & night, 2.0, 0.0)
        heat = np.clip(self.loss_kw_k * (room - outdoor_c) - self.gain_kw * 0.7, 0.05 * self.design_kw, None)
        mean_design = sum(_DESIGN_SECONDARY_C) / 2.0 - INDOOR_C
        mean = room + mean_design * (heat / self.design_kw) ** (1.0 / _RADIATOR_EXPONENT)
        wanted: Array = mean + heat / (2.0 * self.secondary_kg_s * water.CP_KJ_KG_K)
        return wanted

    def control(self, outdoor_c: float, local_h: float, largest_kg_s: Array, seconds: float) -> Array:
        """Move the valves towards the set point; gives the primary flow of this step. [kg/s]."""
        self.setpoint_c = self._wanted_c(outdoor_c, local_h)
        span = np.maximum(self.supply_c - self.return_c, 4.0)
        push = np.clip((self.setpoint_c - self.supply_c) / span * seconds / _VALVE_TAU_S, -0.3, 0.3)
        least = _LEAST_OPENING * self.design_flow
        most = np.maximum(largest_kg_s * (1.0 - self.strained), least)
        self.asked_kg_s = np.clip(self.asked_kg_s * np.exp(push), least, most)
        wanted = np.where(
            np.isnan(self.stuck), self.asked_kg_s * (1.0 + self.swing), self.stuck * self.design_flow
        )
        self.flow_kg_s = np.clip(wanted, least, most)
        return self.flow_kg_s

    @property
    def circulating_kg_s(self) -> Array:
        """Secondary flow now. [kg/s]"""
        flow: Array = self.secondary_kg_s * self.pump_share
        return flow

    def exchange(self, arriving_h: Array) -> Exchange:
        """Heat through the exchangers for the present flows and the water that arrives."""
        primary_c = water.temperature_c(arriving_h)
        c_1, c_2 = self.flow_kg_s * water.CP_KJ_KG_K, self.circulating_kg_s * water.CP_KJ_KG_K
        # Film coefficients go with flow to the 0.75th power, in series (plate exchangers).
        film = 0.5 * (self.flow_kg_s / self.design_flow) ** -0.75 + 0.5
        ua = self.design_ua * self.ua_share / film
        least = np.minimum(c_1, c_2)
        ratio = least / np.maximum(c_1, c_2)
        heat = _effectiveness(ua / least, ratio) * least * (primary_c - self.return_c)
        return_h = water.enthalpy_kj_kg(primary_c - heat / c_1)
        return Exchange(self.flow_kg_s * (arriving_h - return_h), return_h)

    def settle(
        self, heat_kw: Array, extra_kw: Array, outdoor_c: float, local_h: float, seconds: float
    ) -> None:
        """Pass the heat on to the secondary water and the buildings.

        Parameters
        ----------
        heat_kw, extra_kw : ndarray, shape (substations,)
            Through the exchanger, and what water that comes in brings besides. [kW]
        """
        c_2 = self.circulating_kg_s * water.CP_KJ_KG_K
        self.supply_c = self.return_c + heat_kw / c_2
        # Without a pump the loop is as cold as its return but for what little reaches the radiators.
        mean = self.return_c + (self.supply_c - self.return_c) / 2.0 * self.pump_share
        mean_design = sum(_DESIGN_SECONDARY_C) / 2.0 - INDOOR_C
        over = np.maximum(mean - self.indoor_c, 0.0) / mean_design
        radiated = self.design_kw * over**_RADIATOR_EXPONENT
        gained = heat_kw + extra_kw - radiated
        self.return_c = self.return_c + gained * seconds / self.secondary_kj_k
        through = self.loss_kw_k * (self.indoor_c - outdoor_c)
        self.indoor_c = (
            self.indoor_c + (radiated + self._gains_kw(local_h) - through) * seconds / self.building_kj_k
        )
