"""Weeks of a simulated network, told by meters of which one changes, as days of the operators' rows.

Water and heat are computed once for a network and its weather; each set of meters, with a fault or without,
then tells of the same weeks. Secondary meters err as theirs may: the flow by up to 5 %, each sensor by the
tolerance of class B, always by the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.network_days import HOUR_MS, START_MS, Day, as_built
from simulator.meters import HeatMeters
from simulator.rng import generator
from simulator.truth import NetworkTruth
from simulator.unit import NETWORK, demo_plan
from simulator.weather import Weather
from streams.core.network_rows import STEP_MS, NetworkRows, Settled, Source
from streams.core.operator import WindowOperator
from streams.core.rows import Rows, numeric_columns
from streams.core.samples import ClassSamples, Samples
from streams.core.window_state import WindowState
from streams.operators.device_heat import device_heat
from streams.operators.meter_drift import meter_drift
from streams.operators.meter_setting import meter_setting
from streams.operators.network_heat import network_heat
from streams.operators.secondary_heat import secondary_heat

__all__ = ["Run", "Step", "Weeks", "simulated_weeks", "without_secondary"]

FloatArray = NDArray[np.float64]
_METERS = ("flow_m3_h", "supply_c", "return_c", "energy_gj", "volume_m3")
_SECOND = ("secondary_flow_m3_h", "secondary_supply_c", "secondary_return_c")
_READ = ("device_heat", "secondary_heat", "network_heat")
_SECONDARY_FLOW, _SENSOR_K = 0.05, 0.55


@dataclass(frozen=True)
class Weeks:
    """What really happened, a day as of `network_days`, and the secondary loops; (samples, substations)."""

    day: Day
    second: dict[str, FloatArray]


@dataclass(frozen=True)
class Step:
    """A meter's fault.

    Attributes
    ----------
    device : str
    size : float
        Relative, of what the meter shows.
    at_ms : int
        Onset. [ms UTC]
    what : str
        `flow`, `secondary`, `calculator`, or `mounting`, which has no size.
    """

    device: str
    size: float
    at_ms: int
    what: str = "flow"


def simulated_weeks(seed: int, substations: int, days: float, step_s: float = 300.0) -> Weeks:
    """Run a network of the made-up unit; pipes and ground are a little other than registered."""
    site = demo_plan(seed, substations, 0, START_MS, interval_s=step_s)
    start = START_MS // 86_400_000 * 86_400_000 + 16 * HOUR_MS  # midnight where the unit stands
    truth = NetworkTruth(as_built(site, seed), NETWORK, seed, start, weather=Weather(seed))
    truth.warm_up()
    rows: list[tuple[Any, ...]] = []
    for _ in range(round(days * 86_400 / step_s)):
        snap = truth.step(step_s)
        sub = truth.substations
        rows.append((
            snap.t_ms, snap.flow_kg_s, snap.return_flow_kg_s, snap.supply_c, snap.return_c,
            sub.circulating_kg_s / 985.0 * 3600.0, sub.supply_c.copy(), sub.return_c.copy(),
        ))  # fmt: skip
    t_ms, *columns = zip(*rows, strict=True)
    arrays = [np.array(c) for c in columns]
    empty = np.empty((0, substations))
    day = Day(site, seed, step_s, np.array(t_ms), arrays[0], arrays[1], arrays[2], arrays[3], {}, empty)
    return Weeks(day, dict(zip(_SECOND, arrays[4:], strict=True)))


def without_secondary(weeks: Weeks, devices: tuple[str, ...]) -> Weeks:
    """The same weeks where `devices` have no secondary flow meter."""
    ids = [i for i in weeks.day.stream.ids if i != "plant-1"]
    flow = weeks.second[_SECOND[0]].copy()
    flow[:, [ids.index(d) for d in devices]] = np.nan
    return replace(weeks, second={**weeks.second, _SECOND[0]: flow})


def _shown(weeks: Weeks, seed: int, step: Step | None) -> dict[str, FloatArray]:
    """What meters show, shape (samples, devices); secondary ones of the plant are NaN."""
    day = weeks.day
    devices = [day.site.devices[i] for i in day.stream.ids]
    count = len(devices)
    meters = HeatMeters(tuple(devices), seed, np.zeros(count), np.zeros(count))
    shown = {name: np.empty(day.flow_kg_s.shape) for name in _METERS}
    at = day.stream.ids.index(step.device) if step else -1
    for n, t_ms in enumerate(day.t_ms.tolist()):
        if step and t_ms > step.at_ms:
            meters.misread[at] = True
        got = meters.read(
            t_ms, day.step_s, day.flow_kg_s[n], day.return_flow_kg_s[n], day.supply_c[n], day.return_c[n]
        )
        for name in _METERS:
            shown[name][n] = getattr(got, name)
    rng = generator(seed, "secondary meters")
    takes = np.array([d.device_class != "plant" for d in devices])
    for name in _SECOND:
        true, half = weeks.second[name], _SENSOR_K
        noise = rng.standard_normal(true.shape)
        own = rng.uniform(-1.0, 1.0, true.shape[1])
        if name == _SECOND[0]:
            value = true * (1.0 + _SECONDARY_FLOW * own + 0.005 * noise)
        else:
            value = true + half * own + 0.05 * noise
        wide = shown[name] = np.full(day.flow_kg_s.shape, np.nan)
        wide[:, takes] = value
    return shown


def _rows(weeks: Weeks, shown: dict[str, FloatArray], start: int, operator: WindowOperator) -> WindowState:
    """Final rows of a window operator in one window."""
    day = weeks.day
    step_ms = round(1000 * day.step_s)
    low = int(np.searchsorted(day.t_ms, start - 2 * step_ms))
    high = int(np.searchsorted(day.t_ms, start + STEP_MS + 2 * step_ms))
    classes = []
    for name in operator.reads:
        members = np.flatnonzero(day.stream.classes == name)
        columns = numeric_columns(name)
        n = len(members) * (high - low)
        values = np.full((len(columns), n), np.nan)
        for field in shown.keys() & set(columns):
            values[columns.index(field)] = shown[field][low:high, members].T.ravel()
        zeros = np.zeros(n, np.int64)
        device, t = np.repeat(members, high - low), np.tile(day.t_ms[low:high], len(members))
        classes.append(ClassSamples(columns, Rows(device, t, zeros, zeros, zeros, values)))
    samples = Samples(start, start + STEP_MS, classes)
    result = operator.function(samples, day.stream)
    return _said(operator.fields, result, samples.devices)


def _said(fields: tuple[str, ...], result: Any, subjects: NDArray[np.int64]) -> WindowState:
    state, n = WindowState(len(fields)), len(subjects)
    values = np.array([np.broadcast_to(getattr(result, f), n) for f in fields], dtype=np.float64)
    coverage = np.array(np.broadcast_to(result.coverage, n), dtype=np.float64)
    reason = np.array(np.broadcast_to(np.asarray(result.reason, dtype=object), n))
    state.say(subjects, values, coverage, reason, np.ones(n, dtype=bool))
    return state


class Run:
    """Operators and learners over weeks as a set of meters tells them; `fork` goes on otherwise.

    Attributes
    ----------
    weeks : Weeks
    shown : dict of str to ndarray, shape (samples, devices)
    at_ms : int
        Everything until then was taken in. [ms UTC]
    learners : dict
        State of each learner.
    """

    def __init__(self, weeks: Weeks, shown: dict[str, FloatArray]) -> None:
        self.weeks, self.shown = weeks, shown
        self.at_ms = int(weeks.day.t_ms[0]) - round(1000 * weeks.day.step_s)
        self.learners: dict[Any, Any] = dict.fromkeys((meter_drift, meter_setting))
        self._states: dict[str, dict[int, WindowState]] = {n: {} for n in _READ}

    @classmethod
    def of(cls, weeks: Weeks, seed: int, step: Step | None = None) -> Run:
        """A set of meters from the beginning, the calculator of one set for the other pipe with `step`."""
        return cls(weeks, _shown(weeks, seed, step))

    def fork(self, step: Step | None) -> Run:
        """The same until now, with a fault to come."""
        other = Run(self.weeks, self.shown if step is None else _stepped(self, step))
        other.at_ms, other.learners = self.at_ms, dict(self.learners)
        other._states = {name: dict(kept) for name, kept in self._states.items()}
        return other

    def until(self, end_ms: int) -> Iterator[dict[str, Any]]:
        """Rows of the learners up to a time, each with `told_ms`, when it was told. [ms UTC]"""
        day, states = self.weeks.day, self._states
        stream, site = day.stream, day.site
        window_ms = 1000 * site.networks[NETWORK].window_s
        history_ms = 1000 * network_heat.history_s
        lengths = np.array([window_ms])
        sources = {
            "device_heat": Source(device_heat.fields, "device", states["device_heat"]),
            "secondary_heat": Source(secondary_heat.fields, "device", states["secondary_heat"]),
            "network_heat": Source(network_heat.fields, "network", states["network_heat"], lengths),
        }
        for start in range(self.at_ms, end_ms - STEP_MS + 1, STEP_MS):
            end = self.at_ms = start + STEP_MS
            for operator in (device_heat, secondary_heat):
                states[operator.name][start] = _rows(self.weeks, self.shown, start, operator)
            if end % window_ms == 0:
                rows = NetworkRows(
                    site.networks[NETWORK], 0, end - window_ms, end, history_ms, np.arange(len(stream.ids)),
                    stream, {"device_heat": sources["device_heat"]}, (),
                )  # fmt: skip
                balance = network_heat.function(rows)
                states["network_heat"][end - window_ms] = _said(network_heat.fields, balance, np.array([0]))
            settled = Settled(start, end, stream, stream.ids[0], (NETWORK,), sources)
            for one, state in list(self.learners.items()):
                self.learners[one], told = one.function(state, settled)
                for row in told.to_pylist() if told is not None else ():
                    yield {**row, "told_ms": end, "evidence": json.loads(row.get("evidence", "{}"))}
            for kept in states.values():
                for old in [s for s in kept if s < end - history_ms - window_ms]:
                    del kept[old]


def _stepped(run: Run, step: Step) -> dict[str, FloatArray]:
    """What the same meters show when one of them changes by a factor at a time to come."""
    day = run.weeks.day
    at = day.stream.ids.index(step.device)
    after = int(np.searchsorted(day.t_ms, step.at_ms, side="right"))
    columns = {
        "flow": ("flow_m3_h", "energy_gj", "volume_m3"), "calculator": ("energy_gj",),
        "secondary": ("secondary_flow_m3_h",),
    }[step.what]  # fmt: skip
    shown = dict(run.shown)
    for name in columns:
        value = shown[name] = shown[name].copy()
        base = value[after - 1, at] if name in {"energy_gj", "volume_m3"} else 0.0
        value[after:, at] = base + (value[after:, at] - base) * (1.0 + step.size)
    return shown
