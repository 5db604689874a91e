"""A case with coal on the road: its heating company and its world of coal, played together."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from edge.driver import Reading
from models.site import Site
from simulator.case import Case
from simulator.faults import Faults
from simulator.fleet import UnitReadings
from simulator.logistics.boxes import Boxes, Fixes
from simulator.logistics.case_part import Logistics
from simulator.logistics.closing import residual_kg
from simulator.logistics.recording import Recorded, record
from simulator.logistics.truth_files import Truths
from simulator.logistics.world import World
from simulator.telemetered import HeatTelemetry

__all__ = ["CoalReadings", "Coupling", "heat_of", "record_coal"]


def _logistics(case: Case) -> Logistics:
    assert case.logistics is not None
    return case.logistics


def heat_of(case: Case) -> Case:
    """The case without its coal: what the simulation of heat runs."""
    names = _logistics(case).heat
    devices = {n: d for n, d in case.site.devices.items() if n in names}
    return replace(case, site=replace(case.site, devices=devices, contracts={}, vehicles={}))


def _coal_site(case: Case) -> Site:
    names = _logistics(case).heat
    return replace(case.site, devices={n: d for n, d in case.site.devices.items() if n not in names})


class Coupling:
    """A world of coal whose yards feed the plants of networks.

    Attributes
    ----------
    world : World
    """

    def __init__(self, case: Case) -> None:
        plan = _logistics(case).plan
        self.world = World(_coal_site(case), plan, case.seed, case.start_ms, case.end_ms)
        self._before: dict[str, float] = {}

    def begin(self, heat: list[HeatTelemetry]) -> None:
        """Note what the plants had burnt before the run."""
        self._before = {h.truth.network.id: h.truth.plant.fuel_kg for h in heat}

    def follow(self, now_ms: int, heat: list[HeatTelemetry]) -> None:
        """Play up to `now_ms`, burn what the plants burnt, and give them the coal that comes next."""
        self.world.advance(now_ms)
        for unit in dict.fromkeys(h.truth.network.unit for h in heat):
            own = [h for h in heat if h.truth.network.unit == unit]
            if unit not in self.world.yards.by_unit:
                continue
            burnt = sum(h.truth.plant.fuel_kg - self._before[h.truth.network.id] for h in own)
            quality = self.world.yards.burn_to(unit, now_ms, burnt)
            for h in own:
                h.truth.plant.coal_mj_kg = quality or h.truth.plant.coal_mj_kg


class CoalReadings(UnitReadings):
    """Everything that the devices of a case report, heat and coal, as it happens.

    Parameters
    ----------
    out : Path, optional
        Directory for the truth of the coal; `close` writes the last of it.
    """

    def __init__(self, case: Case, out: Path | None = None) -> None:
        faults = Faults(case.faults, case.seed, clocks=case.clocks, interval_s=case.interval_s)
        super().__init__(
            heat_of(case).site, case.seed, case.start_ms, interval_s=case.interval_s, faults=faults,
            weather=case.weather,
        )  # fmt: skip
        self.site = case.site
        self._coupling = Coupling(case)
        self._coupling.begin(self.heat)
        world = self._coupling.world
        devices = [truck.vehicle.device for truck in world.trucks]
        self._boxes = Boxes(case.seed, world.plan.gps, world.tracks, devices, world.plan.wrongs)
        self._held: list[tuple[int, int, str, Reading]] = []
        self._count = 0
        self._truths = Truths(out, tuple(devices), case.end_ms) if out else None

    def step(self) -> list[tuple[str, Reading]]:
        """One interval further: (device, reading) in the order in which they get away."""
        before = self.now_ms
        rows = super().step()
        world = self._coupling.world
        self._coupling.follow(self.now_ms, self.heat)
        rows += [(e.device, Reading(e.t_ms, dict(e.values))) for e in world.post.due(self.now_ms)]
        fixes = self._boxes.between(before, self.now_ms) if self._boxes.tracked.size else None
        for device, sent_ms, reading in self._said(fixes):
            self._count += 1
            heapq.heappush(self._held, (sent_ms, self._count, device, reading))
        while self._held and self._held[0][0] <= self.now_ms:
            _, _, device, reading = heapq.heappop(self._held)
            rows.append((device, reading))
        if self._truths:
            self._truths.take(world, fixes, self._boxes.outages(before, self.now_ms))
        self._forget(world)
        return rows

    def close(self) -> int:
        """Write the truth as it stands now; gives the most that an identity of the books misses. [kg]"""
        world = self._coupling.world
        if self._truths:
            self._truths.close(world, self.now_ms)
        return residual_kg(world, self.now_ms)

    def _said(self, fixes: Fixes | None) -> Iterator[tuple[str, int, Reading]]:
        if fixes is None:
            return
        names = ("lat_deg", "lon_deg", "speed_m_s", "heading_deg", "load_kg")
        columns = zip(*(getattr(fixes, name).tolist() for name in names), strict=True)
        for truck, t_ms, sent_ms, values in zip(
            fixes.truck.tolist(), fixes.t_ms.tolist(), fixes.sent_ms.tolist(), columns, strict=True
        ):
            reading = Reading(t_ms, dict(zip(names, values, strict=True)))
            yield str(self._boxes.devices[truck]), sent_ms, reading

    def _forget(self, world: World) -> None:
        world.weighings.clear()
        world.stops.clear()
        world.yards.burning.clear()
        world.tracks.trim(self.now_ms / 1000.0 - 2.0 * world.plan.gps.interval_s)


def record_coal(
    case: Case,
    out: Path,
    coupling: Coupling,
    heat: Iterator[dict[str, Any]],
    progress: Callable[[float], None],
) -> Recorded:
    """Write the telemetry of a case and the truth of its coal.

    Parameters
    ----------
    heat : iterator of messages
        Of the heating company; drawing them plays its physics.
    """
    others = len(_logistics(case).heat) / case.interval_s
    return record(
        coupling.world, out, case.end_ms, heat, others_a_s=others, progress=progress, **asdict(case.road)
    )
