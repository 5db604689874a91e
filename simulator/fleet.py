"""A simulated unit as a fleet of devices, each read through the collectors' own driver protocol."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from typing import Final

from edge.config import DeviceConfig
from edge.driver import Driver, Reading
from models.site import Site
from simulator.faults import Faults
from simulator.haulage import Haulage, Weighing
from simulator.telemetered import HeatTelemetry
from simulator.unit import demo_plan, texts

__all__ = ["SimulatedDriver", "SimulatedUnit", "UnitReadings"]

_KEPT: Final = 20_000  # readings a device keeps until it is read; older ones are forgotten
_EVENT_INTERVAL_S: Final = 60.0  # what a weighbridge says of itself: it is looked at once a minute


class UnitReadings:
    """Everything that the devices of a site report, in order of time.

    Parameters
    ----------
    site : Site
    seed : int
    start_ms : int
        Time before the first reading, ms UTC; readings lie on the grid of `interval_s` after it.
    """

    def __init__(
        self, site: Site, seed: int, start_ms: int, *, interval_s: float = 10.0, faults: Faults | None = None
    ) -> None:
        self.site, self.now_ms, self.interval_s = site, start_ms, interval_s
        self.faults = faults or Faults(())
        self.heat = [HeatTelemetry(site, n, seed, start_ms, faults=faults) for n in site.networks]
        self.weighings: list[Weighing] = []  # of the last step
        self.haulage = Haulage(site, seed, start_ms) if site.contracts and site.vehicles else None

    def step(self) -> list[tuple[str, Reading]]:
        """One interval further: (device, reading) in order of time, weighings at their own instants."""
        before, self.now_ms = self.now_ms, self.now_ms + round(self.interval_s * 1000)
        rows: list[tuple[str, Reading]] = []
        if self.haulage:
            self.weighings = self.haulage.taken(before, self.now_ms)
            rows += [
                (weighing.bridge, Reading(weighing.t_ms, weighing.values)) for weighing in self.weighings
            ]
        for heat in self.heat:
            t_ms, values = heat.step(self.interval_s)
            rows += [(d, self.faults.in_reading(d, Reading(t_ms, row))) for d, row in values.items()]
        if self.haulage:
            fixes = self.haulage.positions(self.now_ms)
            rows += [(device, Reading(self.now_ms, row)) for device, row in fixes.items()]
        return rows


class SimulatedUnit:
    """A made-up unit that runs as its clock is told to; safe to read from several threads.

    Parameters
    ----------
    seed : int
    start_ms : int
        Simulated time of the start, ms UTC.
    site : Site, optional
        Another site than the made-up one.

    Examples
    --------
    >>> unit = SimulatedUnit(1, 1_768_000_000_000, substations=3, trucks=1)
    >>> driver = dict(zip([d.id for d in unit.devices()], unit.drivers(), strict=True))["sub-02"]
    >>> [reading.t_ms for reading in driver.read(1_768_000_025_000)]
    [1768000010000, 1768000020000]
    """

    def __init__(
        self,
        seed: int,
        start_ms: int,
        *,
        substations: int = 30,
        trucks: int = 5,
        interval_s: float = 10.0,
        site: Site | None = None,
    ) -> None:
        self.site = site or demo_plan(seed, substations, trucks, start_ms, interval_s=interval_s)
        self.start_ms = start_ms
        self._readings = UnitReadings(self.site, seed, start_ms, interval_s=interval_s)
        self._waiting: dict[str, deque[Reading]] = {d: deque(maxlen=_KEPT) for d in self.site.devices}
        self._lock = threading.Lock()

    @property
    def texts(self) -> dict[str, str]:
        """The site directory, by file name."""
        return texts(self.site)

    def devices(self) -> list[DeviceConfig]:
        """One entry a device, as a collector's configuration has them."""
        return [
            DeviceConfig(
                id=device.device,
                region=self.site.region_of(device),
                unit=device.unit,
                device_class=device.device_class,
                interval_s=device.interval_s or _EVENT_INTERVAL_S,
            )
            for device in self.site.devices.values()
        ]

    def drivers(self) -> list[Driver]:
        """One driver a device, in the order of `devices`."""
        return [SimulatedDriver(self, device) for device in self.site.devices]

    def fleet(self) -> list[tuple[DeviceConfig, Driver]]:
        """Devices with their drivers."""
        return list(zip(self.devices(), self.drivers(), strict=True))

    def read(self, device: str, now_ms: int) -> Sequence[Reading]:
        """What `device` took since it was last read, up to `now_ms`."""
        step_ms = round(self._readings.interval_s * 1000)
        with self._lock:
            while self._readings.now_ms + step_ms <= now_ms:
                for name, reading in self._readings.step():
                    self._waiting[name].append(reading)
            waiting = self._waiting[device]
            due = list(waiting)
            waiting.clear()
        return due


class SimulatedDriver:
    """Reads one device of a simulated unit."""

    exhausted = False

    def __init__(self, unit: SimulatedUnit, device: str) -> None:
        self._unit, self._device = unit, device

    def read(self, now_ms: int) -> Sequence[Reading]:
        """Everything taken since the last call, up to `now_ms`."""
        return self._unit.read(self._device, now_ms)

    def close(self) -> None:
        """Nothing is open."""
