"""Simulated days of a network without faults, each told by meters of its own, as rows of devices.

What water and heat really do is computed once; any number of sets of meters with errors of their own, drawn
as the simulator draws them, then tell of it. Each set is a network-day of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from models.pipe import GROUND_K, REGISTERED_U_SHARE
from models.site import Site
from simulator.meters import HeatMeters
from simulator.rng import generator
from simulator.truth import NetworkTruth
from simulator.unit import NETWORK, demo_plan
from simulator.weather import Weather
from streams.core.network_rows import STEP_MS, NetworkRows, Source
from streams.core.rows import Rows, numeric_columns
from streams.core.samples import ClassSamples, Samples
from streams.core.stream_site import StreamSite
from streams.core.window_state import WindowState
from streams.operators.device_heat import device_heat
from streams.operators.network_heat import NetworkHeat, network_heat

__all__ = ["HOUR_MS", "START_MS", "Day", "Told", "as_built", "simulated_day", "told_by"]

FloatArray = NDArray[np.float64]
HOUR_MS = 3_600_000
START_MS = 1_767_996_000_000  # a full hour in January 2026
_TOLD = ("flow_m3_h", "supply_c", "return_c", "energy_gj", "volume_m3")


@dataclass(frozen=True)
class Day:
    """What really happened in one network; arrays of shape (samples, devices), the plant first.

    Attributes
    ----------
    step_s : float
    t_ms : ndarray, shape (samples,)
    terms_gj : dict of str to ndarray, shape (samples,)
        Terms of the balance in the step before each sample.
    delivered_gj : ndarray, shape (samples, substations)
    """

    site: Site
    seed: int
    step_s: float
    t_ms: NDArray[np.int64]
    flow_kg_s: FloatArray
    return_flow_kg_s: FloatArray
    supply_c: FloatArray
    return_c: FloatArray
    terms_gj: dict[str, FloatArray]
    delivered_gj: FloatArray

    @cached_property
    def stream(self) -> StreamSite:
        """The registry as operators see it."""
        return StreamSite(self.site, list(self.site.devices), {})

    def truth(self, term: str, start_ms: int, end_ms: int) -> float:
        """A term of the balance over a window. [GJ]"""
        inside = (self.t_ms > start_ms) & (self.t_ms <= end_ms)
        return float(self.terms_gj[term][inside].sum())


@dataclass(frozen=True)
class Told:
    """Rows that the meters of one network-day give."""

    day: Day
    states: dict[int, WindowState]

    def rows(self, start_ms: int, *, window_ms: int = HOUR_MS) -> NetworkRows:
        """What a network operator is given of one window."""
        stream = self.day.stream
        source = Source(device_heat.fields, "device", self.states)
        return NetworkRows(
            self.day.site.networks[NETWORK], 0, start_ms, start_ms + window_ms,
            1000 * network_heat.history_s, np.arange(len(stream.ids)), stream, {"device_heat": source}, (),
        )  # fmt: skip

    def balance(self, start_ms: int) -> NetworkHeat:
        """The heat balance of the hour from `start_ms`."""
        result: NetworkHeat = network_heat.function(self.rows(start_ms))
        return result


def simulated_day(
    seed: int,
    substations: int,
    hours: float = 30.0,
    *,
    step_s: float = 60.0,
    weather: Weather | None = None,
    site: Site | None = None,
    off: bool = False,
) -> Day:
    """Run a network of the made-up unit; the same seed gives the same day.

    With `off`, pipes and ground are a little other than they are registered.
    """
    site = site or demo_plan(seed, substations, 0, START_MS, interval_s=step_s)
    truth = NetworkTruth(
        as_built(site, seed) if off else site, NETWORK, seed, START_MS, weather=weather or Weather(seed)
    )
    truth.warm_up()
    snaps = [truth.step(step_s) for _ in range(round(hours * 3600.0 / step_s))]
    named = ("supplied_kj", "lost_kj", "stored_kj", "leaked_kj")
    flow_kg_s, return_flow_kg_s, supply_c, return_c = (
        np.array([getattr(s, name) for s in snaps])
        for name in ("flow_kg_s", "return_flow_kg_s", "supply_c", "return_c")
    )
    return Day(
        site, seed, step_s, np.array([s.t_ms for s in snaps]),
        flow_kg_s, return_flow_kg_s, supply_c, return_c,
        {name: np.array([getattr(s.balance, name) for s in snaps]) * 1e-6 for name in named},
        np.array([s.balance.delivered_kj for s in snaps]) * 1e-6,
    )  # fmt: skip


def as_built(site: Site, seed: int) -> Site:
    """What really lies where a site is registered: pipes lose more or less, the ground is warmer or not."""
    shares = generator(seed, "as built").standard_normal(2)
    factor = float(np.exp(REGISTERED_U_SHARE * shares[0]))
    pipes = {
        name: p if p.u_w_m_k is None else replace(p, u_w_m_k=p.u_w_m_k * factor)
        for name, p in site.pipes.items()
    }
    networks = {
        name: n if n.ground_c is None else replace(n, ground_c=n.ground_c + GROUND_K * float(shares[1]))
        for name, n in site.networks.items()
    }
    return replace(site, pipes=pipes, networks=networks)


def told_by(day: Day, meters_seed: int) -> Told:
    """Let a set of meters tell of a day, and compute the rows of the devices."""
    devices = [day.site.devices[i] for i in day.stream.ids]
    meters = HeatMeters(tuple(devices), meters_seed, np.zeros(len(devices)), np.zeros(len(devices)))
    shown = {name: np.empty(day.flow_kg_s.shape) for name in _TOLD}
    for n, t_ms in enumerate(day.t_ms.tolist()):
        got = meters.read(
            t_ms, day.step_s, day.flow_kg_s[n], day.return_flow_kg_s[n], day.supply_c[n], day.return_c[n]
        )
        for name in _TOLD:
            shown[name][n] = getattr(got, name)
    first, last = int(day.t_ms[0]) - round(1000 * day.step_s), int(day.t_ms[-1])
    states = {}
    for start in range(first, last, STEP_MS):
        states[start] = _device_rows(day, shown, start)
    return Told(day, states)


def _device_rows(day: Day, shown: dict[str, FloatArray], start: int) -> WindowState:
    """`device_heat` of all devices in one window."""
    step_ms = round(1000 * day.step_s)
    low = int(np.searchsorted(day.t_ms, start - 2 * step_ms))
    high = int(np.searchsorted(day.t_ms, start + STEP_MS + 2 * step_ms))
    classes = []
    for name in ("plant", "substation"):
        members = np.flatnonzero(day.stream.classes == name)
        columns = numeric_columns(name)
        n = len(members) * (high - low)
        values = np.full((len(columns), n), np.nan)
        for field in _TOLD:
            values[columns.index(field)] = shown[field][low:high, members].T.ravel()
        zeros = np.zeros(n, np.int64)
        device = np.repeat(members, high - low)
        t = np.tile(day.t_ms[low:high], len(members))
        classes.append(ClassSamples(columns, Rows(device, t, zeros, zeros, zeros, values)))
    samples = Samples(start, start + STEP_MS, classes)
    result = device_heat.function(samples, day.stream)
    state = WindowState(len(device_heat.fields))
    count = len(result.coverage)
    state.say(
        samples.devices, np.array([getattr(result, f) for f in device_heat.fields]), result.coverage,
        result.reason, np.ones(count, dtype=bool),
    )  # fmt: skip
    return state
