"""What the coal of a mine is on a day, and what becomes of a load on the way."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from simulator.logistics.plan import Coal
from simulator.rng import generator

__all__ = ["Load", "Seam", "received_mj_kg"]

_LATENT_MJ_KG: Final = 2.443  # of water at 25 °C, ISO 1928
_MEMORY: Final = 0.7  # of a day's coal in the next day's
_DAYS: Final = 12


def received_mj_kg(dry_mj_kg: float, moisture_pct: float) -> float:
    """Net calorific value as received from the one dry, ISO 1928: its water must be boiled off. [MJ/kg]."""
    return dry_mj_kg * (100.0 - moisture_pct) / 100.0 - _LATENT_MJ_KG * moisture_pct / 100.0


@dataclass(slots=True)
class Load:
    """Coal on its way, in whole kilograms.

    Attributes
    ----------
    loaded_kg, spilt_kg, taken_kg, water_kg : int
        Loaded; lost on the way; taken by somebody; water gained (negative: dried off). [kg]
    moisture_pct, arrival_pct : float
        At both ends. [%]
    dry_mj_kg, certified_mj_kg : float
        True calorific value, dry; as received at the origin by the supplier's certificate. [MJ/kg]
    ash_pct, sulphur_pct : float
        At the origin, as received. [%]
    """

    loaded_kg: int
    spilt_kg: int
    taken_kg: int
    water_kg: int
    moisture_pct: float
    arrival_pct: float
    dry_mj_kg: float
    certified_mj_kg: float
    ash_pct: float
    sulphur_pct: float

    @property
    def received_kg(self) -> int:
        """What arrives. [kg]."""
        return self.loaded_kg - self.spilt_kg - self.taken_kg + self.water_kg

    @property
    def origin_mj_kg(self) -> float:
        """True net calorific value as received, at the origin. [MJ/kg]."""
        return received_mj_kg(self.dry_mj_kg, self.moisture_pct)

    @property
    def arrival_mj_kg(self) -> float:
        """True net calorific value as received, at the destination. [MJ/kg]."""
        return received_mj_kg(self.dry_mj_kg, self.arrival_pct)


class Seam:
    """The coal of one place, day by day."""

    def __init__(self, seed: int, place: str, coal: Coal) -> None:
        self._seed, self._place, self._coal = seed, place, coal
        self._dry = (coal.q_net_ar_mj_kg + _LATENT_MJ_KG * coal.moisture_pct / 100.0) / (
            1.0 - coal.moisture_pct / 100.0
        )
        self._day = lru_cache(maxsize=8)(self._of_day)

    def _of_day(self, day: int) -> tuple[float, float, float, float]:
        draws = np.array(
            [generator(self._seed, f"seam {self._place}", day - k).standard_normal(4) for k in range(_DAYS)]
        )
        weights = _MEMORY ** np.arange(_DAYS)
        noise = weights @ draws / np.sqrt((weights**2).sum())
        return tuple(noise.tolist())

    def load(
        self,
        day: int,
        kg: int,
        noise: list[float],
        *,
        spilt_share: float,
        taken_kg: int,
        poured_kg: int,
        change_pct: float,
        short_share: float,
    ) -> Load:
        """A load of one local day.

        Parameters
        ----------
        noise : list of float
            Five standard normal draws.
        spilt_share : float
            Share of the load that is lost on the way.
        taken_kg, poured_kg : int
            Coal taken, and water poured in. [kg]
        change_pct : float
            Change of the moisture by the weather. [points]
        short_share : float
            Share of the certified heat that the coal lacks.
        """
        coal, days = self._coal, self._day(day)
        moisture = float(np.clip(coal.moisture_pct + 0.8 * days[0] + 0.4 * noise[0], 2.0, 40.0))
        ash = float(np.clip(coal.ash_pct + 0.9 * days[1] + 0.4 * noise[1], 3.0, 45.0))
        dry = self._dry * (1.0 - 0.011 * (ash - coal.ash_pct)) * (1.0 + 0.006 * days[2] + 0.004 * noise[2])
        certified = received_mj_kg(dry, moisture)
        taken = min(taken_kg, kg * 9 // 10)
        spilt = min(round(kg * spilt_share), kg - taken)
        left = kg - taken - spilt
        wet = min(max(moisture + change_pct + 0.25 * noise[3], 1.0), 45.0)
        water = round(left * ((100.0 - moisture) / (100.0 - wet) - 1.0)) + poured_kg
        arrival = 100.0 - left * (100.0 - moisture) / (left + water) if left else moisture
        sulphur = max(0.05, coal.sulphur_pct * (1.0 + 0.05 * days[3] + 0.03 * noise[4]))
        return Load(
            kg, spilt, taken, water, moisture, arrival, dry * (1.0 - short_share), certified,
            ash, sulphur,
        )  # fmt: skip
