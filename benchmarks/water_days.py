"""A simulated network told by meters, hour after hour, as its water operators see it; it can be split in two.

What really happens is the simulator's. Make-up meter, tank level and the pipes as they are registered have
errors of their own, drawn within 90 % of what the balance allows for.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.network_days import HOUR_MS, START_MS
from benchmarks.water_past import Instant, Past, instant_of, parts_of
from models.site import Site
from models.water_balance import MAKEUP_PCT, SWELLING_PCT, TANK_NOISE, TANK_PCT
from simulator import water
from simulator.faults import Faults
from simulator.kinds import Fault
from simulator.meters import HeatMeters
from simulator.truth import NetworkTruth
from simulator.unit import NETWORK, demo_plan
from simulator.weather import Weather
from streams.core.network_events import NetworkEvents
from streams.core.network_rows import STEP_MS, NetworkRows, Settled, Source
from streams.core.operator import WindowOperator
from streams.core.rows import Rows, numeric_columns
from streams.core.samples import ClassSamples, Samples
from streams.core.stream_site import StreamSite
from streams.core.window_state import WindowState
from streams.operators.device_heat import device_heat
from streams.operators.device_water import device_water
from streams.operators.network_water import NetworkWater, network_water
from streams.operators.water_loss import water_loss
from streams.operators.water_normal import water_normal

__all__ = ["OWN_SHARE", "Hour", "WaterRun"]

FloatArray = NDArray[np.float64]

OWN_SHARE: Final = 0.9
"""Of what the balance allows, that errors are drawn within, as the simulator does for heat meters."""
SENSOR_KPA: Final = 0.4
"""Scatter of a reading of a pressure, as the simulator's telemetry has it."""
_HEAT: Final = ("flow_m3_h", "supply_c", "return_c", "energy_gj", "volume_m3")
_PLANT: Final = ("makeup_m3", "makeup_c", "tank_m3")
_BEFORE: Final = 2  # samples before a window that it may need


@dataclass(frozen=True)
class Hour:
    """What the operators say of an hour, and what is true."""

    start_ms: int
    said: NetworkWater
    leaked_m3: float
    circulated_m3: float
    level_m3: float


class WaterRun:
    """One network with its meters, from a seed.

    Parameters
    ----------
    seed : int
    substations : int
    step_s : float
    sealed : bool
        Without the water that a sound network loses through seals.
    weather : Weather, optional
    meters : int
        Which set of meters tells of it.
    past : Past, optional
        Of a run of the same seed without faults, to be told of again.
    crooked : float
        By how much, over itself, each pipe's inner diameter is other than registered (standard deviation).

    Attributes
    ----------
    hours : list of Hour
    anomalies : list of dict
        Rows of `anomaly` in the order in which they were said, with `said_ms`.
    """

    def __init__(
        self,
        seed: int,
        substations: int,
        *,
        step_s: float = 60.0,
        sealed: bool = False,
        weather: Weather | None = None,
        start_ms: int = START_MS,
        meters: int = 0,
        past: Past | None = None,
        crooked: float = 0.0,
    ):
        laid = demo_plan(seed, substations, 0, start_ms, interval_s=step_s)
        rng = np.random.default_rng([seed, 77, meters])
        draw = OWN_SHARE * rng.uniform(-1.0, 1.0, 3) / 100.0
        self._makeup_share, self._tank_share = MAKEUP_PCT * draw[0], TANK_PCT * draw[1]
        self._noise = rng
        self._pressure_noise = np.random.default_rng([seed, 78, meters])
        self.site = _registered(laid, SWELLING_PCT * draw[2], crooked, rng)
        self.stream = StreamSite(self.site, list(self.site.devices), {})
        self.step_s, self.seed = step_s, seed
        self.truth = NetworkTruth(laid, NETWORK, seed, start_ms, weather=weather or Weather(seed))
        if sealed:
            self.truth.leak_kg_s[:] = 0.0
        if past is None:
            self.truth.warm_up(2.0, step_s / parts_of(step_s))
        self.past = past
        devices = (self.truth.plant_device, *self.truth.devices)
        zeros = np.zeros(len(devices))
        self.meters = HeatMeters(devices, seed + 500_000 + 1_000_000 * meters, zeros, zeros)
        self.faults = Faults((), seed, interval_s=step_s)
        self.events = NetworkEvents()
        self.hours: list[Hour] = []
        self.anomalies: list[dict[str, Any]] = []
        self.level_m3 = 0.0
        self._part = 0
        self._t: list[int] = []
        self._shown: list[dict[str, FloatArray]] = []
        self._kpa: list[FloatArray] = []
        self._plant: list[FloatArray] = []
        self._leaked: list[float] = []
        self._passed: list[float] = []
        self._states: dict[str, dict[int, WindowState]] = {
            name: {} for name in ("device_heat", "device_water", "network_water", "water_normal")
        }
        self._learnt: dict[str, Any] = {}
        self.now_ms = start_ms

    def split(self) -> WaterRun:
        """Another run that has the same past."""
        return copy.deepcopy(self)

    def suffer(self, faults: Sequence[Fault]) -> None:
        """Let these faults come, beside nothing else."""
        self.faults = Faults(tuple(faults), self.seed, interval_s=self.step_s)

    def book(self, t_ms: int, event: str, volume_m3: float | None, ref: str) -> None:
        """Enter an event at the office."""
        row = {
            "device": "desk", "t": t_ms, "boot": 1, "seq": len(ref) + t_ms // 1000, "pos": 0, "ref": ref,
            "event": event, "network": NETWORK, "volume_m3": volume_m3,
        }  # fmt: skip
        self.events.take(pa.RecordBatch.from_pylist([row]))

    def advance(self, hours: float) -> None:
        """Go on for a while, a window after the other."""
        for _ in range(round(hours)):
            for _ in range(round(3600.0 / self.step_s)):
                self._sample()
            self._tell()

    def _sample(self) -> None:
        parts = parts_of(self.step_s)
        part_s, leaked_kg, passed_kg = self.step_s / parts, 0.0, 0.0
        begun_ms = self.now_ms
        for part in range(1, parts + 1):
            t_ms = self.now_ms = begun_ms + round(1000 * part * part_s)
            told = self._happened(t_ms, part_s)
            snap = told.snap
            shown = self.meters.read(
                t_ms, part_s, snap.flow_kg_s, snap.return_flow_kg_s, snap.supply_c, snap.return_c
            )
            leaked_kg += snap.balance.leaked_kg
            passed_kg += float(snap.flow_kg_s[0]) * part_s
        self.level_m3 = told.tank_kg / 990.0
        tank = self.level_m3 * (1.0 + self._tank_share + TANK_NOISE * float(self._noise.standard_normal()))
        makeup = 5e4 + told.makeup_kg / water.COLD_KG_M3 * (1.0 + self._makeup_share)
        self._t.append(t_ms)
        self._shown.append({name: getattr(shown, name) for name in _HEAT})
        kpa = np.array([snap.supply_kpa, snap.return_kpa])
        self._kpa.append(np.round(kpa + SENSOR_KPA * self._pressure_noise.standard_normal(kpa.shape), 1))
        self._plant.append(np.array([round(makeup, 2), self.truth.plant.makeup_c, round(tank, 2)]))
        self._leaked.append(leaked_kg / water.COLD_KG_M3)
        self._passed.append(passed_kg / 1000.0)

    def _happened(self, t_ms: int, part_s: float) -> Instant:
        """What is true at the end of a part of a step."""
        if self.past is not None:
            told = self.past.at(self._part)
        else:
            self.faults.in_truth(self.truth, t_ms)
            told = instant_of(self.truth, part_s)
        self._part += 1
        return told

    def _tell(self) -> None:
        """Compute the hour that has passed and let learners take it in."""
        end = self.now_ms
        start = end - HOUR_MS
        for step in range(start, end, STEP_MS):
            for operator in (device_heat, device_water):
                state = self._computed(operator, step)
                if state is not None:
                    self._states[operator.name][step] = state
        said: NetworkWater = network_water.function(self.rows(start))
        state = WindowState(len(network_water.fields))
        values = np.array([[getattr(said, f)] for f in network_water.fields])
        state.say(np.array([0]), values, np.array([said.coverage]), np.array([said.reason], object),
                  np.ones(1, dtype=bool))  # fmt: skip
        self._states["network_water"] = {start: state}
        n = round(3600.0 / self.step_s)
        leaked, passed = float(sum(self._leaked[-n:])), float(sum(self._passed[-n:]))
        self.hours.append(Hour(start, said, leaked, passed, self.level_m3))
        self._learn(end)
        self._forget(end)

    def rows(self, start_ms: int) -> NetworkRows:
        """What the network operator is given of an hour."""
        sources = {
            "device_heat": Source(device_heat.fields, "device", self._states["device_heat"]),
            "device_water": Source(device_water.fields, "device", self._states["device_water"]),
            "water_normal": Source(water_normal.fields, "network", self._states["water_normal"], learnt=True),
        }
        events = self.events.of(NETWORK, start_ms, start_ms + HOUR_MS)
        return NetworkRows(
            self.site.networks[NETWORK], 0, start_ms, start_ms + HOUR_MS, 1000 * network_water.history_s,
            np.arange(len(self.stream.ids)), self.stream, sources, events,
        )  # fmt: skip

    def _learn(self, end_ms: int) -> None:
        lengths = np.array([HOUR_MS])
        source = Source(network_water.fields, "network", self._states["network_water"], lengths)
        heat = Source(device_heat.fields, "device", self._states["device_heat"])
        sources = {"network_water": source, "device_heat": heat}
        settled = Settled(
            end_ms - STEP_MS,
            end_ms,
            self.stream,
            "u",
            (NETWORK,),
            sources,
            self.events,
            self._pressures(end_ms),
        )
        for operator in (water_normal, water_loss):
            self._learnt[operator.name], table = operator.function(self._learnt.get(operator.name), settled)
            if table is None:
                continue
            if operator is water_loss:
                self.anomalies += [{**row, "said_ms": end_ms} for row in table.to_pylist()]
                continue
            state = WindowState(len(water_normal.fields))
            values = np.array([table[f].to_numpy() for f in water_normal.fields], dtype=float)
            state.remember(np.array([0]), values, np.ones(1), np.array([2]), np.array([""], object),
                           np.zeros(1, np.int64))  # fmt: skip
            self._states["water_normal"][end_ms + 24 * HOUR_MS] = state

    def _pressures(self, end_ms: int) -> dict[str, ClassSamples]:
        """Samples of pressures in the last step."""
        t = np.array(self._t)
        low, high = np.searchsorted(t, [end_ms - STEP_MS, end_ms])
        told = np.array(self._kpa[low:high])
        found = {}
        for name in ("plant", "substation"):
            members = np.flatnonzero(self.stream.classes == name)
            n = len(members) * (high - low)
            zeros = np.zeros(n, np.int64)
            device, when = np.repeat(members, high - low), np.tile(t[low:high], len(members))
            values = told[:, :, members].transpose(1, 2, 0).reshape(2, n)
            rows = Rows(device, when, zeros, zeros, zeros, values)
            found[name] = ClassSamples(("supply_kpa", "return_kpa"), rows)
        return found

    def _forget(self, end_ms: int) -> None:
        oldest = end_ms - 1000 * network_water.history_s - HOUR_MS
        for name in ("device_heat", "device_water"):
            for start in [s for s in self._states[name] if s < oldest]:
                del self._states[name][start]
        keep = round(2 * 3600.0 / self.step_s) + _BEFORE
        for kept in (self._t, self._shown, self._kpa, self._plant, self._leaked, self._passed):
            del kept[:-keep]

    def _computed(self, operator: WindowOperator, start: int) -> WindowState | None:
        """Rows of a window operator."""
        margin = _BEFORE * round(1000 * self.step_s)
        t = np.array(self._t)
        low, high = np.searchsorted(t, [start - margin, start + STEP_MS + margin])
        classes = []
        for name in operator.reads:
            members = np.flatnonzero(self.stream.classes == name)
            columns = numeric_columns(name)
            n = len(members) * (high - low)
            if not n:
                continue
            values = np.full((len(columns), n), np.nan)
            for field in _HEAT:
                told = np.array([row[field] for row in self._shown[low:high]])
                values[columns.index(field)] = told[:, members].T.ravel()
            if name == "plant":
                for at, field in enumerate(_PLANT):
                    values[columns.index(field)] = [row[at] for row in self._plant[low:high]]
            zeros = np.zeros(n, np.int64)
            device, when = np.repeat(members, high - low), np.tile(t[low:high], len(members))
            classes.append(ClassSamples(columns, Rows(device, when, zeros, zeros, zeros, values)))
        samples = Samples(start, start + STEP_MS, classes)
        if not len(samples.devices):
            return None
        result = operator.function(samples, self.stream)
        state = WindowState(len(operator.fields))
        state.say(
            samples.devices, np.array([getattr(result, f) for f in operator.fields]), result.coverage,
            result.reason, np.ones(len(samples.devices), dtype=bool),
        )  # fmt: skip
        return state


def _registered(laid: Site, share: float, crooked: float, rng: np.random.Generator) -> Site:
    """The registry of a site, whose pipes hold other volumes than were laid."""
    wider = np.full(len(laid.pipes), np.sqrt(1.0 + share))
    if crooked:
        wider = wider * np.exp(crooked * rng.standard_normal(len(laid.pipes)))
    pipes = {
        n: replace(p, inner_diameter_m=p.inner_diameter_m * float(w))
        for (n, p), w in zip(laid.pipes.items(), wider, strict=True)
    }
    return replace(laid, pipes=pipes)
