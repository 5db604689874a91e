"""Coal yards: receipts, burning first in first out, stock readings, surveys; a boiler without a network."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from simulator.logistics.offices import office_of
from simulator.rng import generator
from simulator.weather import Weather

if TYPE_CHECKING:
    from simulator.logistics.world import World

__all__ = ["Burning", "Yard", "YardEmptyError", "Yards", "lives"]

_DAYS_OF_COAL: Final = 20.0
_EFFICIENCY: Final = 0.82
_STEP_S: Final = 900.0
_STEPS: Final = 96  # a day
_STOCK_EVERY_S: Final = 3_600.0
_ROOM_C: Final = 18.0
_MEAN_C: Final = -8.0
_BIAS, _NOISE, _SURVEY = 0.01, 0.004, 0.004  # of the stock reading and of a survey, relative
_SEASON_S: Final = 1_760_486_400.0  # 15 October 2025: counters were zero when the season began


class YardEmptyError(RuntimeError):
    """A network's plant burns coal that its yard does not have."""


@dataclass(frozen=True, slots=True)
class Burning:
    """What a plant without a network did in a quarter of an hour.

    Attributes
    ----------
    heat_gj, fuel_kg, q_net_ar_mj_kg : float
        Heat made, coal burnt, and that coal's heat.
    """

    t_ms: int
    unit: str
    heat_gj: float
    fuel_kg: float
    q_net_ar_mj_kg: float
    outdoor_c: float


@dataclass(slots=True)
class Yard:
    """One unit's yard.

    Attributes
    ----------
    pile : deque of [kg, MJ/kg]
        Lots in the order in which they came.
    burnt_kg : float
        Since the run began, as the boiler or the network's plant has it. [kg]
    coupled : bool
        Whether a network's plant burns it.
    """

    unit: str
    place: str
    device: str
    boiler: str
    office: str
    coupled: bool
    burn_t_day: float
    pile: deque[list[float]] = field(default_factory=deque)
    burnt_kg: float = 0.0
    posted_kg: int = 0
    heat_gj: float = 0.0

    def take(self, kg: float) -> float:
        """Burn coal; gives what of it there was. [kg]."""
        left = kg
        while left > 0.0 and self.pile:
            used = min(left, self.pile[0][0])
            self.pile[0][0] -= used
            left -= used
            if self.pile[0][0] <= 0.0:
                self.pile.popleft()
        return kg - left

    def heat_mj_kg(self) -> float:
        """What the coal that comes next gives; 0 for an empty yard. [MJ/kg]."""
        return self.pile[0][1] if self.pile else 0.0


class Yards:
    """The yards of all units that coal comes to.

    Attributes
    ----------
    by_unit : dict of Yard
    burning : list of Burning
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.burning: list[Burning] = []
        self.by_unit: dict[str, Yard] = {}
        for contract in world.site.contracts.values():
            if contract.unit not in self.by_unit:
                self.by_unit[contract.unit] = self._yard(contract.unit, contract.destination)

    def _yard(self, unit: str, place: str) -> Yard:
        world = self._world
        devices = [d for d in world.site.devices.values() if d.unit == unit]
        terms = world.plan.terms(place)
        coupled = any(n.unit == unit for n in world.site.networks.values())
        months = [c for c in world.site.contracts.values() if c.unit == unit]
        first = min(c.month for c in months)
        planned_t = sum(c.planned_t for c in months if c.month == first)
        burn = planned_t / 30.0 if terms.burn_t_day is None else terms.burn_t_day
        yard = Yard(
            unit, place, next((d.device for d in devices if d.device_class == "yard"), ""),
            next((d.device for d in devices if d.device_class == "plant" and not d.network), ""),
            office_of(world, unit, unit), coupled, burn,
        )  # fmt: skip
        opening_t = _DAYS_OF_COAL * burn if terms.stock_t is None else terms.stock_t
        kg = round(opening_t * 1000.0)
        yard.pile.append([float(kg), terms.coal.q_net_ar_mj_kg])
        world.books.yard("opening", round(world.begin_s * 1000.0), unit, kg, kg)
        return yard

    def receive(self, unit: str, t_ms: int, true_kg: int, paper_kg: int, mj_kg: float, ref: str) -> None:
        """Tip a load on the pile."""
        self.by_unit[unit].pile.append([float(true_kg), mj_kg])
        self._world.books.yard("receipt", t_ms, unit, true_kg, paper_kg, ref)

    def burn_to(self, unit: str, t_ms: int, total_kg: float) -> float:
        """A network's plant has burnt `total_kg` since the start; gives the heat of what comes next. [MJ/kg].

        Raises
        ------
        YardEmptyError
            The yard does not have it.
        """
        yard = self.by_unit[unit]
        wanted = total_kg - yard.burnt_kg
        if yard.take(wanted) < wanted:
            raise YardEmptyError(
                f"yard of unit {unit!r}: expected coal to burn, got an empty yard at {t_ms} ms; "
                f"give [[logistics.place]] {yard.place!r} a larger stock_t or its contracts more coal"
            )
        self._burnt(yard, t_ms, total_kg)
        return yard.heat_mj_kg()

    def _burnt(self, yard: Yard, t_ms: int, total_kg: float) -> None:
        yard.burnt_kg = total_kg
        kg = int(total_kg) - yard.posted_kg
        yard.posted_kg += kg
        if kg:
            self._world.books.yard("burn", t_ms, yard.unit, -kg, -kg)

    def boil(self, yard: Yard, t_s: float, outdoor_c: float) -> None:
        """A quarter of an hour of a plant without a network, up to `t_s`."""
        world, t_ms = self._world, round(t_s * 1000.0)
        cold = min(max((_ROOM_C - outdoor_c) / (_ROOM_C - _MEAN_C), 0.15), 2.0)
        quality = yard.heat_mj_kg() or 20.9
        wanted_gj = yard.burn_t_day * 20.9 * _EFFICIENCY * cold * _STEP_S / 86_400.0
        kg = yard.take(wanted_gj * 1000.0 / (_EFFICIENCY * quality))
        made_gj = kg * quality * _EFFICIENCY / 1000.0
        self._burnt(yard, t_ms, yard.burnt_kg + kg)
        yard.heat_gj += made_gj
        self.burning.append(Burning(t_ms, yard.unit, made_gj, kg, quality, outdoor_c))
        before_s = max(0.0, world.begin_s - _SEASON_S)
        values: dict[str, float | str] = {
            "heat_kw": round(made_gj * 1e6 / _STEP_S, 1),
            "energy_gj": round(yard.heat_gj + before_s * yard.burn_t_day * 20.9 * _EFFICIENCY / 86_400.0, 3),
            "fuel_kg": float(yard.posted_kg + int(before_s * yard.burn_t_day / 86.4)),
            "outdoor_c": round(outdoor_c, 1),
        }
        world.post.send(yard.boiler, t_ms, values)


def lives(world: World) -> list[Generator[float, None, None]]:
    """Burning, reading and surveying of each yard."""
    found = []
    for yard in world.yards.by_unit.values():
        found += [_readings(world, yard), _surveys(world, yard)]
        if not yard.coupled:
            found.append(_boiler(world, yard))
    return found


def _boiler(world: World, yard: Yard) -> Generator[float, None, None]:
    weather = Weather(world.seed)
    first = (int(world.begin_s // _STEP_S) + 1) * _STEP_S
    while True:
        times = first + _STEP_S * np.arange(_STEPS)
        for t_s, outdoor_c in zip(times.tolist(), weather.outdoor_c(times * 1000.0).tolist(), strict=True):
            yield t_s
            world.yards.boil(yard, t_s, outdoor_c)
        first += _STEP_S * _STEPS


def _readings(world: World, yard: Yard) -> Generator[float, None, None]:
    bias = 1.0 + float(generator(world.seed, f"yard {yard.unit}").uniform(-_BIAS, _BIAS))
    t_s = (int(world.begin_s // _STOCK_EVERY_S) + 1) * _STOCK_EVERY_S
    while True:
        yield t_s
        noise = float(generator(world.seed, f"stock {yard.unit}", int(t_s)).normal(0.0, _NOISE))
        true_t = world.books.stock_kg[yard.unit] / 1000.0
        if yard.device:
            shown = {"stock_t": max(0.0, round(true_t * bias * (1.0 + noise), 1))}
            world.post.send(yard.device, round(t_s * 1000.0), shown)
        t_s += _STOCK_EVERY_S


def _surveys(world: World, yard: Yard) -> Generator[float, None, None]:
    if not yard.office:
        return
    number, t_s = 0, max(world.begin_s, world.start_ms / 1000.0) + 60.0
    while True:
        yield t_s
        noise = float(generator(world.seed, f"survey {yard.unit}", number).normal(0.0, _SURVEY))
        t_ms = world.post.free_ms(yard.office, round(t_s * 1000.0))
        found_t = max(0, round(world.books.stock_kg[yard.unit] / 1000.0 * (1.0 + noise)))
        ref = f"{yard.unit}-V{number + 1:02d}"
        world.books.yard("survey", t_ms, yard.unit, 0, found_t * 1000 - world.books.booked_kg[yard.unit], ref)
        values: dict[str, float | str] = {"ref": ref, "event": "survey", "stock_t": float(found_t)}
        world.post.send(yard.office, t_ms, values)
        number += 1
        t_s = world.midnight_s(world.day(t_s) + world.plan.survey_days) + 6.0 * 3_600.0
