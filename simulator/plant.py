"""The plant: heating curve, boiler and coal, circulation pumps, expansion tank and make-up water."""

from __future__ import annotations

from typing import Final

import numpy as np

from simulator import water

__all__ = ["Plant"]

_COAL_MJ_KG: Final = 20.9  # 5,000 kcal/kg, net, as received
_CURVE_TAU_S: Final = 900.0
_FILL_KG_S: Final = 8.0
_FILL_BELOW: Final = 0.55  # of the tank
_FILL_UP_TO: Final = 0.70


class Plant:
    """One plant with its tank.

    Attributes
    ----------
    supply_c : float
        Supply temperature now. [°C]
    head_kpa, return_kpa : float
        Pump head, and the pressure that the holding pump keeps on the return. [kPa]
    coal_mj_kg : float
        Net calorific value as received of what it burns. [MJ/kg]
    fuel_kg, makeup_kg : float
        Coal burnt and water made up since the truth began. [kg]
    tank_kg, tank_kj : float
        Water in the expansion tank and its enthalpy. [kg], [kJ]
    """

    def __init__(self, design_kw: float, network_m3: float) -> None:
        self.design_kw = design_kw
        self.supply_c = 90.0
        self.head_kpa = 250.0
        self.return_kpa = 300.0
        self.makeup_c = 15.0
        self.efficiency = 0.82
        self.coal_mj_kg = _COAL_MJ_KG
        self.fuel_kg = self.makeup_kg = 0.0
        self.tank_full_kg = max(20_000.0, 80.0 * network_m3)
        self.tank_kg = 0.62 * self.tank_full_kg
        self.tank_kj = self.tank_kg * float(water.enthalpy_kj_kg(40.0))
        self._filling = False

    @staticmethod
    def curve_c(outdoor_c: float) -> float:
        """Supply temperature of the heating curve: 75 °C at +5, 110 °C at −20. [°C]."""
        return float(np.clip(75.0 + (5.0 - outdoor_c) * 1.4, 70.0, 115.0))

    @property
    def tank_h(self) -> float:
        """Enthalpy of the tank's water. [kJ/kg]"""
        return self.tank_kj / self.tank_kg

    def start(self, outdoor_c: float) -> None:
        """Begin on the heating curve."""
        self.supply_c = self.curve_c(outdoor_c)

    def control(self, outdoor_c: float, seconds: float) -> float:
        """Follow the heating curve; gives the enthalpy of the supply water. [kJ/kg]."""
        share = min(1.0, seconds / _CURVE_TAU_S)
        self.supply_c += (self.curve_c(outdoor_c) - self.supply_c) * share
        return float(water.enthalpy_kj_kg(self.supply_c))

    def settle(
        self, out_kg_s: float, in_kg_s: float, supply_h: float, return_h: float, seconds: float
    ) -> None:
        """Take the step's water from the tank or into it, burn the coal, make water up."""
        cold_h = float(water.enthalpy_kj_kg(self.makeup_c))
        short = (out_kg_s - in_kg_s) * seconds
        # What a burst main takes beyond half of the tank in one step is made up without passing it.
        straight = max(0.0, short - 0.5 * self.tank_kg)
        self.makeup_kg += straight
        boiler_kj = (out_kg_s * supply_h - in_kg_s * return_h) * seconds - straight * cold_h
        short -= straight
        tank_h = self.tank_h if short > 0.0 else return_h
        self.tank_kg -= short
        self.tank_kj -= short * tank_h
        boiler_kj -= short * tank_h
        self.fuel_kg += max(boiler_kj, 0.0) / (self.efficiency * self.coal_mj_kg * 1000.0)
        level = self.tank_kg / self.tank_full_kg
        self._filling = level < (_FILL_UP_TO if self._filling else _FILL_BELOW)
        if self._filling:
            # A large leak is met as fast as it runs out, so that the tank never runs dry.
            added = min(max(_FILL_KG_S * seconds, 1.2 * max(short, 0.0)), self.tank_full_kg - self.tank_kg)
            self.tank_kg += added
            self.tank_kj += added * cold_h
            self.makeup_kg += added
