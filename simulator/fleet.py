"""A simulated unit as a fleet of devices, each read through the collectors' own driver protocol."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from edge.config import DeviceConfig
from edge.driver import Driver, Reading
from models.site import Site
from simulator.case import Case
from simulator.faults import Faults, office_event
from simulator.haulage import Haulage, Weighing
from simulator.telemetered import HeatTelemetry, Values
from simulator.unit import demo_plan, texts
from simulator.weather import Weather

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
    faults : Faults, optional
    weather : Weather, optional
        In place of the seed's.

    Attributes
    ----------
    watchers : list of callable
        Called with these readings after each step.
    """

    def __init__(
        self,
        site: Site,
        seed: int,
        start_ms: int,
        *,
        interval_s: float = 10.0,
        faults: Faults | None = None,
        weather: Weather | None = None,
    ) -> None:
        self.site, self.now_ms, self.interval_s = site, start_ms, interval_s
        self.faults = faults or Faults(())
        self.heat = [
            HeatTelemetry(site, n, seed, start_ms, faults=faults, weather=weather) for n in site.networks
        ]
        self.weighings: list[Weighing] = []  # of the last step
        self.watchers: list[Callable[[UnitReadings], None]] = []
        self.haulage = Haulage(site, seed, start_ms) if site.contracts and site.vehicles else None

    @classmethod
    def of(cls, case: Case) -> UnitReadings:
        """What a case's devices report, with whatever goes wrong in it."""
        faults = Faults(case.faults, case.seed, clocks=case.clocks, interval_s=case.interval_s)
        return UnitReadings(
            case.site, case.seed, case.start_ms,
            interval_s=case.interval_s, faults=faults, weather=case.weather,
        )  # fmt: skip

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
            rows += self._told(t_ms, values) + self._booked(heat, before)
        if self.haulage:
            fixes = self.haulage.positions(self.now_ms)
            rows += [(device, Reading(self.now_ms, row)) for device, row in fixes.items()]
        for watcher in self.watchers:
            watcher(self)
        return rows

    def _told(self, t_ms: int, values: Mapping[str, Values]) -> list[tuple[str, Reading]]:
        """What devices say of one instant."""
        told = (
            (device, self.faults.in_reading(device, Reading(t_ms, row))) for device, row in values.items()
        )
        return [(device, reading) for device, reading in told if reading is not None]

    def _booked(self, heat: HeatTelemetry, before: int) -> list[tuple[str, Reading]]:
        """What the office of a network's unit enters."""
        network = heat.truth.network
        offices = [
            d.device
            for d in self.site.devices.values()
            if (d.device_class, d.unit) == ("office", network.unit)
        ]
        return [
            (offices[0], Reading(fault.until_ms, office_event(fault, network.id)))
            for fault in self.faults.booked(before, self.now_ms)
            if offices and fault.place in heat.truth.supply.graph.index
        ]


class SimulatedUnit:
    """A made-up unit that runs as its clock is told to; safe to read from several threads.

    Parameters
    ----------
    seed : int
    start_ms : int
        Simulated time of the start, ms UTC.
    site : Site, optional
        Another site than the made-up one.
    readings : UnitReadings, optional
        Where readings come from, in place of everything else.
    end_ms : int, optional
        When nothing more is read, ms UTC.

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
        readings: UnitReadings | None = None,
        end_ms: int | None = None,
    ) -> None:
        if readings is None:
            site = site or demo_plan(seed, substations, trucks, start_ms, interval_s=interval_s)
            readings = UnitReadings(site, seed, start_ms, interval_s=interval_s)
        self.site, self.start_ms, self._readings = readings.site, start_ms, readings
        self._end_ms = end_ms
        self._waiting: dict[str, deque[tuple[int, Reading]]] = {
            d: deque(maxlen=_KEPT) for d in self.site.devices
        }
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
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
        """What `device` took since it was last read, up to `now_ms`; nothing while its line is broken."""
        step_ms = round(self._readings.interval_s * 1000)
        faults = self._readings.faults
        with self._lock:
            last_ms = now_ms if self._end_ms is None else min(now_ms, self._end_ms)
            while self._readings.now_ms + step_ms <= last_ms:
                for name, reading in self._readings.step():
                    taken_ms = self._readings.now_ms
                    self._waiting[name].append((faults.held_until(name, taken_ms), reading))
            waiting, due = self._waiting[device], list[Reading]()
            while waiting and waiting[0][0] <= now_ms:
                due.append(waiting.popleft()[1])
        return due

    def ended(self, device: str) -> bool:
        """Whether nothing will come of `device` any more."""
        step_ms = round(self._readings.interval_s * 1000)
        with self._lock:
            over = self._end_ms is not None and self._readings.now_ms + step_ms > self._end_ms
            return over and not self._waiting[device]


class SimulatedDriver:
    """Reads one device of a simulated unit."""

    def __init__(self, unit: SimulatedUnit, device: str) -> None:
        self._unit, self._device = unit, device

    def read(self, now_ms: int) -> Sequence[Reading]:
        """Everything taken since the last call, up to `now_ms`."""
        return self._unit.read(self._device, now_ms)

    @property
    def exhausted(self) -> bool:
        """Whether nothing will ever come again."""
        return self._unit.ended(self._device)

    def close(self) -> None:
        """Nothing is open."""
