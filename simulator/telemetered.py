"""What the devices of one heating network report of the truth, reading by reading."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.site import Site
from simulator import water
from simulator.faults import Faults
from simulator.meters import HeatMeters, Shown
from simulator.rng import generator
from simulator.truth import NetworkTruth, Snapshot
from simulator.weather import Weather

__all__ = ["HeatTelemetry", "Values"]

Array = NDArray[np.float64]
Values = dict[str, float | str]

_PUMP_KPA: Final = 160.0  # secondary pump at 50 Hz
_AIR_KPA: Final = 120.0  # by how much air lowers a secondary pressure, at a scatter of 1


class HeatTelemetry:
    """Steps a network's truth and gives what its plant and substations report.

    Counters stand at what a fleet at design load would have counted since the
    season began, so that one started later never counts from less.

    Attributes
    ----------
    truth : NetworkTruth
    last : Snapshot or None
        What was true at the last step.
    """

    def __init__(
        self,
        site: Site,
        network: str,
        seed: int,
        start_ms: int,
        *,
        faults: Faults | None = None,
        weather: Weather | None = None,
    ) -> None:
        self.seed = seed
        self.truth = truth = NetworkTruth(site, network, seed, start_ms, weather=weather)
        truth.warm_up()
        self.faults = faults
        self.last: Snapshot | None = None
        design = np.append(truth.substations.design_kw.sum(), truth.substations.design_kw) * 1.1
        age_s = truth.age_s
        volume = np.append(truth.substations.design_flow.sum(), truth.substations.design_flow) * 1.1 / 950.0
        self.devices = (truth.plant_device, *truth.devices)
        self._names = [d.device for d in self.devices]
        self.meters = HeatMeters(self.devices, seed, design * age_s * 1e-6, volume * age_s)
        self._fuel_kg = float(design[0]) * age_s / (truth.plant.efficiency * 20_900.0)
        self._makeup_kg = float(volume[0]) * 1000.0 * 0.005 * age_s
        if faults:
            faults.metering.prepare(self.meters, [d.device for d in self.devices], self._rise_gj)

    def _rise_gj(self, row: int, until_ms: int) -> float:
        """About how much the energy counter of a device will have risen by a time. [GJ]"""
        sub, hours = self.truth.substations, np.arange(self.truth.now_ms, until_ms, 600_000)
        if not len(hours):
            return 0.0
        outdoor_c = self.truth.weather.outdoor_c(hours)
        now_kw = self.truth.delivered_kw
        now = float(now_kw.sum() if row == 0 else now_kw[row - 1])
        loss = float(sub.loss_kw_k.sum() if row == 0 else sub.loss_kw_k[row - 1])
        outdoor_now = float(self.truth.weather.outdoor_c(self.truth.now_ms))
        power_kw = now + loss * (outdoor_now - outdoor_c)
        return float(np.maximum(power_kw, 0.0).mean()) * (until_ms - self.truth.now_ms) * 1e-9

    def step(self, seconds: float) -> tuple[int, dict[str, Values]]:
        """Advance by `seconds`; gives the time and what each device reports at it."""
        t_ms, columns, extra, plant = self.columns(seconds)
        rows: dict[str, Values] = {}
        # The plant has no secondary side; whole columns become Python's numbers at once, which costs a third.
        measured, more = tuple(columns), tuple(extra)
        heat = zip(*(values.tolist() for values in columns.values()), strict=True)
        sides: Iterator[tuple[float, ...]] = zip(*(values.tolist() for values in extra.values()), strict=True)
        for number, (device, values) in enumerate(zip(self.devices, heat, strict=True)):
            row: Values = dict(zip(measured, values, strict=True))
            row |= dict(zip(more, next(sides), strict=True)) if number else plant
            rows[device.device] = row
        return t_ms, rows

    def columns(self, seconds: float) -> tuple[int, dict[str, Array], dict[str, Array], Values]:
        """Advance by `seconds`; gives the time, columns of all, those of substations, values of the plant."""
        t_ms = self.truth.now_ms + round(seconds * 1000)
        names = self._names
        if self.faults:
            self.faults.in_truth(self.truth, t_ms)
            self.faults.in_meters(self.meters, names, t_ms)
        snap = self.last = self.truth.step(seconds)
        shown = self.meters.read(
            snap.t_ms, seconds, snap.flow_kg_s, snap.return_flow_kg_s, snap.supply_c, snap.return_c
        )
        if self.faults:
            self.faults.after_reading(self.meters, names, t_ms)
        noise = generator(self.seed, "sensor noise", snap.t_ms).standard_normal((8, len(self.devices)))
        return (
            snap.t_ms,
            _heat_columns(snap, shown, noise),
            self._secondary(snap, noise),
            self._plant(snap, noise),
        )

    def _plant(self, snap: Snapshot, noise: Array) -> Values:
        plant = self.truth.plant
        return {
            "makeup_m3": round((plant.makeup_kg + self._makeup_kg) / water.COLD_KG_M3, 2),
            "makeup_c": round(plant.makeup_c + 0.05 * float(noise[2, 0]), 1),
            "tank_m3": round(plant.tank_kg / 990.0, 2),
            "outdoor_c": round(snap.outdoor_c + 0.1 * float(noise[3, 0]), 1),
            "fuel_kg": round(plant.fuel_kg + self._fuel_kg, 0),
        }

    def _secondary(self, snap: Snapshot, noise: Array) -> dict[str, Array]:
        sub, loop = self.truth.substations, self.truth.secondary
        running = sub.pump_share >= 1.0
        hz = loop.hz * running
        head = _PUMP_KPA * (hz / 50.0) ** 2
        scatter = 1.0 + sub.air * noise[6, 1:]
        flow: Array = sub.circulating_kg_s / 985.0 * 3600.0 * (scatter + 0.005 * noise[4, 1:])
        low = loop.return_kpa - _AIR_KPA * sub.air
        return {
            "valve_pct": np.round(snap.valve_pct, 1),
            "secondary_supply_c": np.round(sub.supply_c + 0.05 * noise[2, 1:], 2),
            "secondary_return_c": np.round(sub.return_c + 0.05 * noise[3, 1:], 2),
            "secondary_flow_m3_h": np.round(flow.clip(0.0), 2),
            "secondary_supply_kpa": np.round(low + head * scatter + 0.5 * noise[5, 1:], 1),
            "secondary_return_kpa": np.round(low + 0.5 * noise[6, 1:], 1),
            "secondary_makeup_m3": np.round(np.floor(loop.makeup_m3 * 100.0) / 100.0, 2),
            "secondary_setpoint_c": np.round(sub.setpoint_c, 1),
            "pump_hz": np.round(hz + 0.02 * noise[7, 1:] * running, 2),
            "outdoor_c": np.round(snap.outdoor_c + 0.3 * noise[4, 1:], 1),
        }


def _heat_columns(snap: Snapshot, shown: Shown, noise: Array) -> dict[str, Array]:
    return {
        "supply_c": shown.supply_c,
        "return_c": shown.return_c,
        "flow_m3_h": shown.flow_m3_h,
        "heat_kw": shown.heat_kw,
        "energy_gj": shown.energy_gj,
        "volume_m3": shown.volume_m3,
        "supply_kpa": np.round(snap.supply_kpa + 0.4 * noise[0], 1),
        "return_kpa": np.round(snap.return_kpa + 0.4 * noise[1], 1),
    }
