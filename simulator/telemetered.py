"""What the devices of one heating network report of the truth, reading by reading."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.site import Site
from simulator.faults import Faults
from simulator.meters import HeatMeters, Shown
from simulator.rng import generator
from simulator.truth import NetworkTruth, Snapshot

__all__ = ["HeatTelemetry"]

Array = NDArray[np.float64]
Values = dict[str, float | str]

_SEASON_MS: Final = 1_760_486_400_000  # 15 October 2025: counters were zero when the season began
_MAKEUP_DENSITY: Final = 999.1  # kg/m³ at 15 °C
_STATIC_KPA: Final = 280.0  # what stands on a secondary return
_PUMP_KPA: Final = 160.0  # secondary pump at 50 Hz


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
        self, site: Site, network: str, seed: int, start_ms: int, *, faults: Faults | None = None
    ) -> None:
        self.seed = seed
        self.truth = truth = NetworkTruth(site, network, seed, start_ms)
        truth.warm_up()
        self.faults = faults
        self.last: Snapshot | None = None
        design = np.append(truth.substations.design_kw.sum(), truth.substations.design_kw) * 1.1
        age_s = max(0.0, (start_ms - _SEASON_MS) / 1000.0)
        volume = np.append(truth.substations.design_flow.sum(), truth.substations.design_flow) * 1.1 / 950.0
        self.devices = (truth.plant_device, *truth.devices)
        self.meters = HeatMeters(self.devices, seed, design * age_s * 1e-6, volume * age_s)
        rng = generator(seed, "secondary")
        count = len(truth.devices)
        self._fuel_kg = float(design[0]) * age_s / (truth.plant.efficiency * 20_900.0)
        self._makeup_kg = float(volume[0]) * 1000.0 * 0.005 * age_s
        self._hz = rng.uniform(36.0, 46.0, count)
        self._leak_m3_s = truth.substations.secondary_kg_s / 1000.0 * rng.uniform(0.0005, 0.004, count)
        self._secondary_m3 = self._leak_m3_s * age_s

    def step(self, seconds: float) -> tuple[int, dict[str, Values]]:
        """Advance by `seconds`; gives the time and what each device reports at it."""
        t_ms = self.truth.now_ms + round(seconds * 1000)
        if self.faults:
            self.faults.in_truth(self.truth, t_ms)
            self.faults.in_meters(self.meters, [d.device for d in self.devices], t_ms)
        snap = self.last = self.truth.step(seconds)
        shown = self.meters.read(
            snap.t_ms, seconds, snap.flow_kg_s, snap.return_flow_kg_s, snap.supply_c, snap.return_c
        )
        self._secondary_m3 += self._leak_m3_s * seconds
        noise = generator(self.seed, "sensor noise", snap.t_ms).standard_normal((8, len(self.devices)))
        columns = _heat_columns(snap, shown, noise)
        rows: dict[str, Values] = {}
        extra = self._secondary(snap, noise)
        for number, device in enumerate(self.devices):
            row: Values = {name: float(values[number]) for name, values in columns.items()}
            if number:
                row |= {name: float(values[number - 1]) for name, values in extra.items()}
            else:
                row |= self._plant(snap, noise)
            rows[device.device] = row
        return snap.t_ms, rows

    def _plant(self, snap: Snapshot, noise: Array) -> Values:
        plant = self.truth.plant
        return {
            "makeup_m3": round((plant.makeup_kg + self._makeup_kg) / _MAKEUP_DENSITY, 2),
            "makeup_c": round(plant.makeup_c + 0.05 * float(noise[2, 0]), 1),
            "tank_m3": round(plant.tank_kg / 990.0, 2),
            "outdoor_c": round(snap.outdoor_c + 0.1 * float(noise[3, 0]), 1),
            "fuel_kg": round(plant.fuel_kg + self._fuel_kg, 0),
        }

    def _secondary(self, snap: Snapshot, noise: Array) -> dict[str, Array]:
        sub = self.truth.substations
        head = _PUMP_KPA * (self._hz / 50.0) ** 2
        flow = sub.secondary_kg_s / 985.0 * 3600.0
        return {
            "valve_pct": np.round(snap.valve_pct, 1),
            "secondary_supply_c": np.round(sub.supply_c + 0.05 * noise[2, 1:], 2),
            "secondary_return_c": np.round(sub.return_c + 0.05 * noise[3, 1:], 2),
            "secondary_flow_m3_h": np.round(flow * (1.0 + 0.005 * noise[4, 1:]), 2),
            "secondary_supply_kpa": np.round(_STATIC_KPA + head + 0.5 * noise[5, 1:], 1),
            "secondary_return_kpa": np.round(_STATIC_KPA + 0.5 * noise[6, 1:], 1),
            "secondary_makeup_m3": np.round(np.floor(self._secondary_m3 * 100.0) / 100.0, 2),
            "secondary_setpoint_c": np.round(sub.setpoint_c, 1),
            "pump_hz": np.round(self._hz + 0.02 * noise[7, 1:], 2),
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
