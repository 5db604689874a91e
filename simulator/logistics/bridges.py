"""Queues and weighbridges: who is served when, and what a scale shows."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Final

from models.site import Site
from simulator.logistics.kinds import Wrong
from simulator.logistics.plan import Plan
from simulator.rng import generator

__all__ = ["Bridge", "Ends", "Queue", "ends"]

_DAY_S: Final = 86_400.0
_WANDER: Final = 2e-5  # a sound bridge's own drift in a day, relative


class Queue:
    """Servers of one kind: who comes first is served first.

    Parameters
    ----------
    count : int
        Served at once.
    opens_h, closes_h : float
        Local hours between which a service may begin.
    offset_s : float
        Local time less UTC. [s]
    """

    def __init__(
        self, count: int, opens_h: float = 0.0, closes_h: float = 24.0, offset_s: float = 0.0
    ) -> None:
        self._free_s = [float("-inf")] * count
        self._opens_s, self._closes_s, self._offset_s = opens_h * 3600.0, closes_h * 3600.0, offset_s

    def take(self, now_s: float, service_s: float) -> float:
        """When the one that comes now is served; calls are in the order of `now_s`. [s]."""
        begin = max(now_s, heapq.heappop(self._free_s))
        day, second = divmod(begin + self._offset_s, _DAY_S)
        if second < self._opens_s:
            begin = day * _DAY_S + self._opens_s - self._offset_s
        elif second >= self._closes_s:
            begin = (day + 1) * _DAY_S + self._opens_s - self._offset_s
        heapq.heappush(self._free_s, begin + service_s)
        return begin


class Bridge:
    """A weighbridge with its error of calibration and its drift.

    Attributes
    ----------
    device : str
    queue : Queue
    """

    def __init__(
        self, seed: int, device: str, start_s: float, plan: Plan, wrongs: Sequence[Wrong], queue: Queue
    ) -> None:
        rng = generator(seed, f"bridge {device}")
        self.device, self.queue = device, queue
        self._error = float(rng.uniform(-plan.bridge_error, plan.bridge_error))
        self._per_day = float(rng.uniform(-_WANDER, _WANDER))
        self._start_s, self._plan = start_s, plan
        self._wrongs = [w for w in wrongs if w.place == device and w.kind in ("bridge_drift", "bridge_bias")]

    def error(self, t_s: float) -> float:
        """Relative error at an instant."""
        error = self._error + self._per_day * (t_s - self._start_s) / _DAY_S
        for wrong in self._wrongs:
            size = wrong.at(t_s * 1000.0)
            days = (t_s - wrong.onset_ms / 1000.0) / _DAY_S
            error += size * days if wrong.kind == "bridge_drift" else size
        return error

    def shows(self, mass_kg: float, t_s: float, noise: float) -> int:
        """What it shows of a mass; `noise` is a standard normal draw. [kg]."""
        division = self._plan.division_kg
        read = mass_kg * (1.0 + self.error(t_s)) + self._plan.bridge_noise_kg * noise
        return int(round(read / division) * division)


class Ends:
    """The bridges of a place, for trucks and for trains.

    Attributes
    ----------
    tare, gross, rail : Bridge
        Tare and gross may be one bridge; `rail` is the one of the trains.
    """

    def __init__(self, bridges: Sequence[Bridge]) -> None:
        rail = [b for b in bridges if "rail" in b.device]
        road = [b for b in bridges if b not in rail] or rail
        tare = [b for b in road if "tare" in b.device] or road[:1]
        self.tare = tare[0]
        self.gross = next((b for b in road if b is not self.tare), self.tare)
        self.rail = rail[0] if rail else self.gross


def ends(site: Site, seed: int, start_s: float, plan: Plan, offset_s: float) -> dict[str, Ends]:
    """The bridges of every place that has some, by place."""
    at: dict[str, list[Bridge]] = {}
    for device in site.devices.values():
        if device.device_class == "weighbridge" and device.place:
            terms = plan.terms(device.place)
            queue = Queue(1, terms.opens_h, terms.closes_h, offset_s)
            bridge = Bridge(seed, device.device, start_s, plan, plan.wrongs, queue)
            at.setdefault(device.place, []).append(bridge)
    return {place: Ends(bridges) for place, bridges in at.items()}
