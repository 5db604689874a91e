"""Simulated weeks of a network in which its substations get faults, as what learners of samples are given.

What happens and what meters show is the simulator's; only the carrying of it, from collector to window, is
left out: so that many substations cost little. Samples that are out of range are masked as the intake does.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edge.driver import Reading
from models.measurements import known
from models.quality import mask, outside
from models.site import Site
from simulator.faults import Faults
from simulator.kinds import Fault
from simulator.telemetered import HeatTelemetry
from simulator.unit import NETWORK, demo_plan
from streams.core.network_rows import STEP_MS, Settled, Source
from streams.core.operator import Learner, WindowOperator, discovered
from streams.core.rows import Rows, numeric_columns
from streams.core.samples import ClassSamples, Samples
from streams.core.stream_site import StreamSite
from streams.core.window_state import WindowState

__all__ = ["DAY_MS", "SETTLED_MS", "START_MS", "FaultRun", "FaultSim", "Step", "kept_steps"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

START_MS: Final = 1_767_974_400_000  # midnight where the unit stands, in January 2026
DAY_MS: Final = 86_400_000
SETTLED_MS: Final = 900_000
"""How long after its end a window is settled: the lateness of the site."""
_CLASSES: Final = ("plant", "substation")
_BACK_MS: Final = 3 * 3_600_000
_IN_READING: Final = frozenset({
    "frozen", "counter_spike", "counter_exchange", "clock_skew", "clock_jitter", "drop_out", "device_off",
})  # fmt: skip


@dataclass(frozen=True)
class _Odd:
    """Readings of a device that does not report on the beat."""

    t: IntArray
    values: FloatArray


@dataclass(frozen=True)
class Step:
    """What learners are given of one quarter of an hour."""

    start_ms: int
    sources: dict[str, Source]
    samples: dict[str, ClassSamples]


class FaultSim:
    """One network with faults, and what its devices report, a quarter of an hour after the other.

    Parameters
    ----------
    seed, substations : int
    faults : sequence of Fault
    windows : sequence of WindowOperator
        Whose rows learners read.

    Attributes
    ----------
    now_ms : int
        Simulated until then. [ms UTC]
    """

    def __init__(
        self,
        seed: int,
        substations: int,
        faults: Sequence[Fault],
        windows: Sequence[WindowOperator],
        *,
        interval_s: float = 60.0,
        start_ms: int = START_MS,
        site: Site | None = None,
    ) -> None:
        site = site or demo_plan(seed, substations, 0, start_ms, interval_s=interval_s)
        scales = {f.place: f.size for f in faults if f.kind == "counter_rollover"}
        devices = {
            name: replace(d, energy_full_scale_gj=scales.get(name, d.energy_full_scale_gj))
            for name, d in site.devices.items()
        }
        self.site = replace(site, devices=devices)
        self.seed, self.interval_s, self.now_ms = seed, interval_s, start_ms
        self.stream = StreamSite(self.site, list(devices), {})
        self.faults = Faults(faults, seed, interval_s=interval_s)
        self.heat = HeatTelemetry(self.site, NETWORK, seed, start_ms, faults=self.faults)
        self.windows = tuple(windows)
        self._members = {c: np.flatnonzero(self.stream.classes == c) for c in _CLASSES}
        self._columns = {c: numeric_columns(c) for c in _CLASSES}
        self._odd_names = {f.place for f in faults if f.kind in _IN_READING}
        self._t: list[int] = []
        self._even: dict[str, list[FloatArray]] = {c: [] for c in _CLASSES}
        self._odd: dict[str, list[tuple[int, FloatArray]]] = {name: [] for name in self._odd_names}
        self._next_ms = start_ms

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "windows": [o.name for o in self.windows]}

    def __setstate__(self, state: dict[str, Any]) -> None:
        by_name = {o.name: o for o in discovered() if isinstance(o, WindowOperator)}
        self.__dict__.update({**state, "windows": tuple(by_name[name] for name in state["windows"])})

    def steps(self, end_ms: int) -> Iterator[Step]:
        """Every step that ends by a time, as it is settled."""
        ahead_ms = 2 * round(1000 * self.interval_s)
        while True:
            while self.now_ms >= self._next_ms + STEP_MS + ahead_ms:
                self._next_ms += STEP_MS
                yield self._step(self._next_ms - STEP_MS)
            if self.now_ms >= end_ms:
                return
            self._simulate()

    # -- simulating -----------------------------------------------------------------------

    def _simulate(self) -> None:
        t_ms, columns, extra, plant = self.heat.columns(self.interval_s)
        self.now_ms = t_ms
        self._t.append(t_ms)
        subs = {name: value[1:] for name, value in columns.items()} | extra
        plants = {name: value[:1] for name, value in columns.items()}
        plants |= {name: np.array([float(value)]) for name, value in plant.items()}
        for name, told in (("plant", plants), ("substation", subs)):
            values = np.full((len(self._columns[name]), len(self._members[name])), np.nan)
            for at, column in enumerate(self._columns[name]):
                if column in told:
                    values[at] = told[column]
            self._even[name].append(values)
        latest = self._even["substation"][-1]
        names = [self.stream.ids[n] for n in self._members["substation"].tolist()]
        for name in self._odd_names:
            at = names.index(name)
            row = {c: float(latest[n, at]) for n, c in enumerate(self._columns["substation"])
                   if not np.isnan(latest[n, at])}  # fmt: skip
            reading = self.faults.in_reading(name, Reading(t_ms, row))
            if reading is not None:
                values = np.array([float(reading.values.get(c, np.nan)) for c in self._columns["substation"]])
                self._odd[name].append((reading.t_ms, values))

    # -- telling --------------------------------------------------------------------------

    def _rows(self, name: str, low_ms: int, high_ms: int) -> ClassSamples:
        """Samples of a class from one time to another, sorted, masked."""
        members, columns = self._members[name], self._columns[name]
        t = np.array(self._t, dtype=np.int64)
        low, high = int(np.searchsorted(t, low_ms)), int(np.searchsorted(t, high_ms))
        block = np.array(self._even[name][low:high])
        device, times = np.repeat(members, high - low), np.tile(t[low:high], len(members))
        values = (
            block.transpose(1, 2, 0).reshape(len(columns), -1) if high > low else np.empty((len(columns), 0))
        )
        if name == "substation" and self._odd_names:
            odd = np.array([n for n in members.tolist() if self.stream.ids[n] in self._odd_names])
            keep = ~np.isin(device, odd)
            more = [
                (n, t_ms, v)
                for n in odd.tolist()
                for t_ms, v in self._odd[self.stream.ids[n]]
                if low_ms - _BACK_MS * (high_ms - low_ms > STEP_MS) <= t_ms < high_ms
            ]
            last = {(n, t_ms): v for n, t_ms, v in more}  # of a repeat the later message stands
            device = np.append(device[keep], np.array([n for n, _ in last], dtype=np.int64))
            times = np.append(times[keep], np.array([t_ms for _, t_ms in last], dtype=np.int64))
            added = np.array(list(last.values())).T if last else np.empty((len(columns), 0))
            values = np.append(values[:, keep], added, axis=1)
            order = np.lexsort((times, device))
            device, times, values = device[order], times[order], values[:, order]
        values = np.ascontiguousarray(values)
        for at, column in enumerate(columns):
            bad = outside(values[at], known[column].low, known[column].high)
            if bad.any():
                mask(values[at], bad)
        zeros = np.zeros(len(device), dtype=np.int64)
        return ClassSamples(columns, Rows(device, times, zeros, zeros, zeros, values))

    def _step(self, start: int) -> Step:
        end, near = start + STEP_MS, 2 * round(1000 * self.interval_s)
        wide = [self._rows(c, start - near, end + near) for c in _CLASSES]
        sources = {}
        for operator in self.windows:
            samples = Samples(
                start, end, [c for c, n in zip(wide, _CLASSES, strict=True) if n in operator.reads]
            )
            result = operator.function(samples, self.stream)
            state, n = WindowState(len(operator.fields)), len(samples.devices)
            state.say(
                samples.devices,
                np.array([np.broadcast_to(getattr(result, f), n) for f in operator.fields], dtype=np.float64),
                np.array(np.broadcast_to(result.coverage, n), dtype=np.float64),
                np.array(np.broadcast_to(np.asarray(result.reason, dtype=object), n)),
                np.ones(n, dtype=bool),
            )
            sources[operator.name] = Source(operator.fields, "device", {start: state})
        inside = {c: self._rows(c, start, end) for c in _CLASSES}
        self._forget(start - _BACK_MS)
        return Step(start, sources, inside)

    def _forget(self, before_ms: int) -> None:
        """Drop samples that nobody looks at any more, an hour at a time."""
        if before_ms % 3_600_000:
            return
        gone = int(np.searchsorted(np.array(self._t), before_ms))
        del self._t[:gone]
        for block in self._even.values():
            del block[:gone]
        for name, rows in self._odd.items():
            self._odd[name] = [r for r in rows if r[0] >= before_ms]


class FaultRun:
    """Learners over the steps of a simulated network.

    Attributes
    ----------
    rows : list of dict
        What learners told, each with `told_ms`, when it could be known. [ms UTC]
    state : dict
        Of each learner.
    """

    def __init__(self, site: Site, learners: Sequence[Learner]) -> None:
        self.site = site
        self.learners = tuple(learners)
        self.stream = StreamSite(site, list(site.devices), {})
        self.state: dict[str, Any] = {}
        self.rows: list[dict[str, Any]] = []

    def watch(self, steps: Iterable[Step]) -> None:
        """Let learners take in steps, in order."""
        for step in steps:
            end = step.start_ms + STEP_MS
            settled = Settled(
                step.start_ms, end, self.stream, "u1", (NETWORK,), step.sources, samples=step.samples
            )
            for learner in self.learners:
                self.state[learner.name], told = learner.function(self.state.get(learner.name), settled)
                for row in told.to_pylist() if told is not None else ():
                    evidence = json.loads(row["evidence"])
                    self.rows.append({**row, "told_ms": end + SETTLED_MS, "evidence": evidence})

    def episodes(self) -> Iterator[dict[str, Any]]:
        """Each anomaly once, as it was told last, with when it was told first."""
        first: dict[str, int] = {}
        last: dict[str, dict[str, Any]] = {}
        for row in self.rows:
            first.setdefault(row["key"], row["told_ms"])
            last[row["key"]] = row
        for key, row in last.items():
            yield {**row, "told_ms": first[key]}


def kept_steps(folder: Path, sim: FaultSim, end_ms: int) -> Iterator[Step]:
    """Steps of a simulation that is kept in a folder, and goes on where it was broken off.

    Days of simulation take minutes, and rules seconds: another set of rules is scored on the same samples.
    The folder is of one's own making; what is in it is trusted.
    """
    name = f"{sim.seed}-{len(sim.site.devices)}-{sim.interval_s:g}"
    path, mark = folder / f"{name}.steps", folder / f"{name}.mark"
    folder.mkdir(parents=True, exist_ok=True)
    at, size = START_MS, 0
    if mark.exists():
        kept, size = pickle.loads(mark.read_bytes())
        sim.__dict__.update(kept.__dict__)
        with path.open("rb") as file:
            while file.tell() < size and at < end_ms:
                step = pickle.load(file)
                at = step.start_ms + STEP_MS
                yield step
    if at >= end_ms:
        return
    with path.open("r+b" if size else "wb") as file:
        file.truncate(size)
        file.seek(size)
        for step in sim.steps(end_ms + 2 * STEP_MS):
            if step.start_ms >= end_ms:
                return
            pickle.dump(step, file, protocol=5)
            if (step.start_ms + STEP_MS) % (6 * 3_600_000) == 0:
                file.flush()
                done = mark.with_suffix(".new")
                done.write_bytes(pickle.dumps((sim, file.tell()), protocol=5))
                done.replace(mark)
            yield step
