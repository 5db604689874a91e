"""Trucks between a mine and a plant: lane, queue at the bridges, loads, weigh tickets, positions."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from models.site import Place, Site, Vehicle
from simulator.rng import generator

__all__ = ["Haulage", "Lane", "Weighing"]

Array = NDArray[np.float64]
Values = dict[str, float | str]

_EARTH_M: Final = 6_371_000.0
_BRIDGE_S: Final = 90.0  # a truck stands on a bridge
_DIVISION_KG: Final = 20.0
_CYCLE_S: Final = 11_400.0  # about one round
_GPS_M: Final = 3.5
_OUTAGE_BLOCK_MS: Final = 600_000
_OUTAGE_SHARE: Final = 0.01


@dataclass(frozen=True, slots=True)
class Weighing:
    """One weighing as its bridge reports it.

    Attributes
    ----------
    true_kg, coal_kg : float
        Mass that really stood on the bridge, and the coal in it. [kg]
    """

    t_ms: int
    bridge: str
    values: Values
    true_kg: float
    coal_kg: float


class Lane:
    """A winding road between two places."""

    def __init__(self, seed: int, origin: Place, destination: Place, points: int = 60) -> None:
        rng = generator(seed, f"lane {origin.place} {destination.place}")
        share = np.linspace(0.0, 1.0, points)
        bends = sum(rng.normal(0.0, 0.03 / k) * np.sin(np.pi * k * share) for k in range(1, 9))
        north, east = destination.lat_deg - origin.lat_deg, destination.lon_deg - origin.lon_deg
        self.lat = origin.lat_deg + share * north - bends * east
        self.lon = origin.lon_deg + share * east + bends * north
        self._per_lon = float(np.cos(np.radians(np.mean(self.lat))))
        steps = np.radians(np.hypot(np.diff(self.lat), np.diff(self.lon) * self._per_lon)) * _EARTH_M
        self.at_m = np.concatenate([[0.0], np.cumsum(steps)])

    @property
    def length_m(self) -> float:
        """Length along the road. [m]."""
        return float(self.at_m[-1])

    def position(self, along_m: float) -> tuple[float, float, float]:
        """Latitude, longitude and heading towards the destination. [°]."""
        lat, lon = (
            float(np.interp(along_m, self.at_m, self.lat)),
            float(np.interp(along_m, self.at_m, self.lon)),
        )
        leg = int(np.clip(np.searchsorted(self.at_m, along_m, side="right") - 1, 0, len(self.at_m) - 2))
        east = (self.lon[leg + 1] - self.lon[leg]) * self._per_lon
        north = self.lat[leg + 1] - self.lat[leg]
        return lat, lon, float(np.degrees(np.arctan2(east, north))) % 360.0


@dataclass(frozen=True, slots=True)
class _Leg:
    """What a truck does for a while: stands (`from_m` = `to_m`) or drives."""

    start_s: float
    end_s: float
    from_m: float
    to_m: float
    load_kg: float


class Haulage:
    """Trucks, one lane and a bridge at each end; a discrete-event truth.

    Parameters
    ----------
    site : Site
        Its vehicles with a device, its weighbridges at a mine and at a plant, its first contract.
    """

    def __init__(self, site: Site, seed: int, start_ms: int) -> None:
        self.seed, self.start_s = seed, start_ms / 1000.0
        contract = next(iter(site.contracts.values()))
        self.contract, self.zone = contract, ZoneInfo(site.timezone)
        self.lane = Lane(seed, site.places[contract.origin], site.places[contract.destination])
        bridges = {d.place: d.device for d in site.devices.values() if d.device_class == "weighbridge"}
        self.origin_bridge, self.destination_bridge = bridges[contract.origin], bridges[contract.destination]
        self.vehicles = tuple(v for v in site.vehicles.values() if v.device)
        self.tickets: list[Weighing] = []
        self._legs: list[deque[_Leg]] = [deque() for _ in self.vehicles]
        self._free_s = {self.origin_bridge: 0.0, self.destination_bridge: 0.0}
        rng = generator(seed, "bridges")
        self._calibration = {b: 1.0 + float(rng.uniform(-0.0008, 0.0008)) for b in self._free_s}
        self._agenda: list[tuple[float, int, Iterator[float]]] = []
        for number, vehicle in enumerate(self.vehicles):
            begin = self.start_s - _CYCLE_S * (1.0 + (number + 0.5) / len(self.vehicles))
            heapq.heappush(self._agenda, (begin, number, self._rounds(number, vehicle, begin)))

    def advance(self, t_ms: int) -> None:
        """Let everything happen that begins up to `t_ms`."""
        while self._agenda and self._agenda[0][0] <= t_ms / 1000.0:
            _, number, rounds = heapq.heappop(self._agenda)
            heapq.heappush(self._agenda, (next(rounds), number, rounds))

    def taken(self, after_ms: int, up_to_ms: int) -> list[Weighing]:
        """Weighings in (`after_ms`, `up_to_ms`], in order of time; earlier ones are forgotten."""
        self.advance(up_to_ms)
        due = sorted(
            (w for w in self.tickets if after_ms < w.t_ms <= up_to_ms), key=lambda w: (w.t_ms, w.bridge)
        )
        self.tickets = [w for w in self.tickets if w.t_ms > up_to_ms]
        return due

    def _rounds(self, number: int, vehicle: Vehicle, now_s: float) -> Iterator[float]:
        """One truck's life: each value is when it next has something to decide."""
        tare_kg = vehicle.tare_kg or 15_500.0
        for cycle in count():
            rng = generator(self.seed, "round", number, cycle)
            coal_kg = float(rng.uniform(29_000.0, 32_500.0))
            lost_kg = coal_kg * float(np.clip(rng.normal(0.003, 0.0015), 0.0, 0.02))
            empty_kg = tare_kg + float(rng.normal(0.0, 60.0))  # diesel, mud, the driver's mate
            far = self.lane.length_m
            ticket = self._ticket("M", now_s, number)
            now_s = yield from self._weigh(
                number, self.origin_bridge, now_s, 0.0, ticket, "tare", empty_kg, 0.0
            )
            now_s = self._stay(number, now_s, float(rng.uniform(700.0, 1500.0)), 0.0, 0.0)
            gross = empty_kg + coal_kg
            now_s = yield from self._weigh(
                number, self.origin_bridge, now_s, 0.0, ticket, "gross", gross, coal_kg
            )
            now_s = self._drive(number, now_s, 0.0, far, float(rng.uniform(13.0, 16.5)), coal_kg)
            ticket = self._ticket("P", now_s, number)
            left_kg = coal_kg - lost_kg
            empty_kg -= 25.0  # diesel burnt on the way
            gross = empty_kg + left_kg
            now_s = yield from self._weigh(
                number, self.destination_bridge, now_s, far, ticket, "gross", gross, left_kg
            )
            now_s = self._stay(number, now_s, float(rng.uniform(600.0, 1300.0)), far, left_kg)
            now_s = yield from self._weigh(
                number, self.destination_bridge, now_s, far, ticket, "tare", empty_kg, 0.0
            )
            now_s = self._drive(number, now_s, far, 0.0, float(rng.uniform(15.0, 19.0)), 0.0)

    def _ticket(self, end: str, now_s: float, number: int) -> str:
        local = datetime.fromtimestamp(now_s, tz=UTC).astimezone(self.zone)
        return f"{end}{local:%y%m%d%H%M}-{number + 1:02d}"

    def _weigh(
        self,
        number: int,
        bridge: str,
        now_s: float,
        at_m: float,
        ticket: str,
        step: str,
        mass_kg: float,
        load_kg: float,
    ) -> Generator[float, None, float]:
        """Wait for the bridge, stand on it, take the ticket; gives when it is left."""
        yield now_s
        begin = max(now_s, self._free_s[bridge])
        end = begin + _BRIDGE_S
        self._free_s[bridge] = end
        self._legs[number].append(_Leg(now_s, end, at_m, at_m, load_kg))
        t_ms = int((begin + 60.0) * 1000)
        noise = float(generator(self.seed, f"weighing {bridge}", number, t_ms).normal(0.0, 8.0))
        shown = round((mass_kg * self._calibration[bridge] + noise) / _DIVISION_KG) * _DIVISION_KG
        vehicle = self.vehicles[number]
        values: Values = {
            "ticket": ticket, "plate": vehicle.plate, "tag": vehicle.tag or "", "step": step,
            "mass_kg": shown, "contract": self.contract.contract, "grade": self.contract.grade,
        }  # fmt: skip
        self.tickets.append(Weighing(t_ms, bridge, values, mass_kg, load_kg))
        return end

    def _stay(self, number: int, now_s: float, seconds: float, at_m: float, load_kg: float) -> float:
        self._legs[number].append(_Leg(now_s, now_s + seconds, at_m, at_m, load_kg))
        return now_s + seconds

    def _drive(
        self, number: int, now_s: float, from_m: float, to_m: float, speed_m_s: float, load_kg: float
    ) -> float:
        end = now_s + abs(to_m - from_m) / speed_m_s
        self._legs[number].append(_Leg(now_s, end, from_m, to_m, load_kg))
        return end

    def positions(self, t_ms: int) -> dict[str, Values]:
        """What the trucks' boxes report at `t_ms`; a truck without reception is absent."""
        self.advance(t_ms)
        return {
            vehicle.device: values
            for number, vehicle in enumerate(self.vehicles)
            if vehicle.device and (values := self._fix(number, t_ms))
        }

    def _fix(self, number: int, t_ms: int) -> Values:
        block = t_ms // _OUTAGE_BLOCK_MS
        if generator(self.seed, "reception", number, block).random() < _OUTAGE_SHARE:
            return {}
        legs = self._legs[number]
        while len(legs) > 1 and legs[1].start_s <= t_ms / 1000.0:
            legs.popleft()
        leg = legs[0]
        share = float(np.clip((t_ms / 1000.0 - leg.start_s) / max(leg.end_s - leg.start_s, 1e-9), 0.0, 1.0))
        # Hills and traffic: speed waves about its mean, four times a trip, and never to a stand.
        waves = 8.0 * np.pi
        along = leg.from_m + (leg.to_m - leg.from_m) * (share - 0.35 * float(np.sin(waves * share)) / waves)
        pace = abs(leg.to_m - leg.from_m) / max(leg.end_s - leg.start_s, 1e-9)
        lat, lon, heading = self.lane.position(along)
        noise = generator(self.seed, "fix", number, t_ms).normal(0.0, 1.0, 4)
        degrees_m = 180.0 / np.pi / _EARTH_M
        speed = pace * (1.0 - 0.35 * float(np.cos(waves * share)))
        back = 180.0 if leg.to_m < leg.from_m else 0.0
        return {
            "lat_deg": round(lat + _GPS_M * float(noise[0]) * degrees_m, 6),
            "lon_deg": round(lon + _GPS_M * float(noise[1]) * degrees_m / float(np.cos(np.radians(lat))), 6),
            "speed_m_s": round(max(0.0, speed + 0.2 * float(noise[2])), 2) if pace else 0.0,
            "heading_deg": round((heading + back) % 360.0, 1),
            "load_kg": round(max(0.0, leg.load_kg + 150.0 * float(noise[3])), 0),
        }
