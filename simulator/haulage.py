"""Trucks of a made-up unit, live: a world of coal on the road that is at work when the run begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from models.site import Site
from simulator.logistics.boxes import Boxes
from simulator.logistics.plan import Gps, Plan
from simulator.logistics.world import World

__all__ = ["Haulage", "Weighing"]

Values = dict[str, float | str]

_WARM_UP_S: Final = 4.0 * 3_600.0
_SPREAD_H: Final = 3.0
_TRIM_MS: Final = 3_600_000


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


class Haulage:
    """Trucks between the places of a site's contracts, with weigh tickets and positions.

    Parameters
    ----------
    site : Site
        Its vehicles with a device, its weighbridges, its contracts.
    """

    def __init__(self, site: Site, seed: int, start_ms: int) -> None:
        gps = Gps(interval_s=1.0, parked_interval_s=1.0, outage_s=600.0, backfill_share=0.0)
        plan = Plan(gps=gps, spread_h=_SPREAD_H, bridge_error=0.0008)
        self._world = World(site, plan, seed, start_ms, warm_up_s=_WARM_UP_S)
        self._devices = tuple(truck.vehicle.device for truck in self._world.trucks)
        self._boxes = Boxes(seed, gps, self._world.tracks, self._devices, ())
        self._trimmed_ms = start_ms

    def taken(self, after_ms: int, up_to_ms: int) -> list[Weighing]:
        """Weighings in (`after_ms`, `up_to_ms`], in order of time; earlier ones are forgotten."""
        world = self._world
        world.advance(up_to_ms)
        world.post.due(up_to_ms)
        due = sorted(
            (w for w in world.weighings if after_ms < w.t_ms <= up_to_ms),
            key=lambda w: (w.paper_ms, w.bridge),
        )
        world.weighings = [w for w in world.weighings if w.t_ms > up_to_ms]
        world.stops.clear()
        return [
            Weighing(
                w.paper_ms,
                w.bridge,
                {
                    "ticket": w.ticket, "plate": w.plate, "tag": w.tag, "step": w.step,
                    "mass_kg": float(w.shown_kg), "contract": w.contract, "grade": w.grade,
                },
                w.true_kg,
                w.coal_kg,
            )
            for w in due
        ]  # fmt: skip

    def positions(self, t_ms: int) -> dict[str, Values]:
        """What the trucks' boxes report at `t_ms`; a truck without reception is absent."""
        self._world.advance(t_ms)
        if not self._boxes.tracked.size:
            return {}
        fixes = self._boxes.at(t_ms)
        if t_ms - self._trimmed_ms > _TRIM_MS:
            self._trimmed_ms = t_ms
            self._world.tracks.trim((t_ms - _TRIM_MS) / 1000.0)
            self._world.post.forget(t_ms)
        return {
            str(self._devices[truck]): {
                "lat_deg": lat, "lon_deg": lon, "speed_m_s": speed, "heading_deg": heading, "load_kg": load,
            }
            for truck, lat, lon, speed, heading, load in zip(
                fixes.truck.tolist(), fixes.lat_deg.tolist(), fixes.lon_deg.tolist(),
                fixes.speed_m_s.tolist(), fixes.heading_deg.tolist(), fixes.load_kg.tolist(), strict=True,
            )
        }  # fmt: skip
