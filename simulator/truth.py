"""What really happens in one network, step by step; every step closes in mass and energy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from models.site import Device, Site
from simulator import water
from simulator.local_time import local_hour
from simulator.network.side import Pipes, Side
from simulator.plant import Plant
from simulator.rng import generator
from simulator.secondary import Secondary
from simulator.substations import Substations
from simulator.weather import Weather

__all__ = ["Balance", "NetworkTruth", "Snapshot"]

Array = NDArray[np.float64]

_DEFAULT_U_W_M_K: Final = 0.3
_LEAST_DP_KPA: Final = 100.0  # kept at the worst substation by the plant's pumps
_SEASON_MS: Final = 1_760_486_400_000  # 15 October 2025: counters were zero when the season began
_NORMAL_LEAK: Final = 0.0015  # of the design circulation: seals and drains of a sound network


@dataclass(frozen=True, slots=True)
class Balance:
    """Where the heat and the water of one step went.

    Attributes
    ----------
    supplied_kj : float
        Enthalpy that left the plant less what came back. [kJ]
    delivered_kj : ndarray, shape (substations,)
    lost_kj, stored_kj, leaked_kj : float
        Lost through the pipes' walls, gained by the pipes' content, gone with leaked water. [kJ]
    given_kg, stored_kg, leaked_kg : float
        Water: given by the plant net of what came back, gained by the pipes, leaked. [kg]
    throughput_kj, throughput_kg : float
        What left the plant: the scale that an error is judged against.
    """

    supplied_kj: float
    delivered_kj: Array
    lost_kj: float
    stored_kj: float
    leaked_kj: float
    given_kg: float
    stored_kg: float
    leaked_kg: float
    throughput_kj: float
    throughput_kg: float

    @property
    def energy_error_kj(self) -> float:
        """What the heat balance misses. [kJ]."""
        spent = float(self.delivered_kj.sum()) + self.lost_kj + self.stored_kj + self.leaked_kj
        return self.supplied_kj - spent

    @property
    def mass_error_kg(self) -> float:
        """What the water balance misses. [kg]."""
        return self.given_kg - self.stored_kg - self.leaked_kg


@dataclass(frozen=True, slots=True)
class Snapshot:
    """True state at the end of a step; arrays hold the plant first, then the substations.

    Attributes
    ----------
    t_ms : int
    seconds : float
        Length of the step. [s]
    flow_kg_s, return_flow_kg_s, supply_c, return_c, supply_kpa, return_kpa : ndarray
        Shape (1 + substations,): means of the step through each connection.
    """

    t_ms: int
    seconds: float
    outdoor_c: float
    flow_kg_s: Array
    return_flow_kg_s: Array
    supply_c: Array
    return_c: Array
    supply_kpa: Array
    return_kpa: Array
    valve_pct: Array
    balance: Balance


class NetworkTruth:
    """One network of a site: a plant, its pipes, its substations.

    Parameters
    ----------
    site : Site
        Needs areas and nodes of the substations, the plant's node, and pipes.
    seed : int
    start_ms : int
        Time before the first step, ms UTC.
    weather : Weather, optional
        In place of the seed's.

    Attributes
    ----------
    leak_kg_s, supply_leak_kg_s : ndarray, shape (nodes,)
        Water that leaves the return and the supply. [kg/s]
    pressure_swing : ndarray, shape (substations,)
        How far differential pressures are off just now, over themselves: what air does.
    delivered_kw : ndarray, shape (substations,)
        Heat through the exchangers in the last step. [kW]
    age_s : float
        Since when counters count, at the start. [s]
    """

    def __init__(
        self,
        site: Site,
        network: str,
        seed: int,
        start_ms: int,
        *,
        weather: Weather | None = None,
        parcels: int = 24,
    ) -> None:
        self.site, self.network, self.now_ms = site, site.networks[network], start_ms
        self.zone = ZoneInfo(site.timezone)
        members = [d for d in site.devices.values() if d.network == network]
        self.plant_device = next(d for d in members if d.device_class == "plant")
        self.devices: tuple[Device, ...] = tuple(d for d in members if d.device_class == "substation")
        self.weather = weather or Weather(seed)
        rng = generator(seed, "truth")
        areas = np.array([d.area_m2 or 0.0 for d in self.devices])
        self.substations = Substations(seed, areas, rng.uniform(42.0, 52.0, len(areas)))
        pipes = _pipes(site, network)
        root = self.plant_device.node or ""
        self.plant = Plant(float(self.substations.design_kw.sum()), float(pipes.volume_m3.sum()))
        outdoor = float(self.weather.outdoor_c(start_ms))
        self.plant.start(outdoor)
        if self.network.makeup_c is not None:
            self.plant.makeup_c = self.network.makeup_c
        self.supply = Side(pipes, root, self.plant.supply_c - 1.0, parcels=parcels)
        self.back = Side(pipes, root, 42.0, parcels=parcels)
        self.nodes = np.array([self.supply.graph.index[d.node or ""] for d in self.devices], dtype=np.int64)
        count = len(self.supply.graph.nodes)
        self.leak_kg_s = np.zeros(count)
        spots = rng.choice(self.nodes, size=min(5, len(self.nodes)), replace=False)
        self.leak_kg_s[spots] = _NORMAL_LEAK * self.substations.design_flow.sum() / len(spots)
        self.supply_leak_kg_s = np.zeros(count)
        self.ground_c = 4.0 if self.network.ground_c is None else self.network.ground_c
        self.valve_kv = 1.35 * self.substations.design_flow / np.sqrt(_LEAST_DP_KPA)
        self._largest_kg_s = self.valve_kv * np.sqrt(_LEAST_DP_KPA)
        self.delivered_kw = np.zeros(len(self.devices))
        self.pressure_swing = np.zeros(len(self.devices))
        self.age_s = max(0.0, (start_ms - _SEASON_MS) / 1000.0)
        sub = self.substations
        self.secondary = Secondary(
            seed, sub.secondary_kg_s, sub.secondary_kj_k / water.CP_KJ_KG_K, self.age_s
        )

    def warm_up(self, hours: float = 4.0, step_s: float = 60.0) -> None:
        """Run up to the present time from `hours` before, so that it starts from no standing start."""
        start = self.now_ms
        self.now_ms = start - int(hours * 3_600_000)
        while self.now_ms < start:
            self.step(min(step_s, (start - self.now_ms) / 1000.0))

    def step(self, seconds: float) -> Snapshot:
        """Advance by `seconds`."""
        self.now_ms += round(seconds * 1000)
        outdoor = float(self.weather.outdoor_c(self.now_ms))
        local_h = local_hour(self.zone, self.now_ms)
        before_kj = self.supply.content.energy_kj + self.back.content.energy_kj
        before_kg = self.supply.content.total_kg + self.back.content.total_kg

        flow = self.substations.control(outdoor, local_h, self._largest_kg_s, seconds)
        at_nodes = self._at_nodes(flow)
        out_kg_s = self.supply.solve(at_nodes + self.supply_leak_kg_s, seconds)
        in_kg_s = -self.back.solve(self.leak_kg_s - at_nodes, seconds)

        supply_h = self.plant.control(outdoor, seconds)
        source = np.zeros(len(at_nodes))
        source[0] = max(out_kg_s, 0.0) * seconds
        lost = self.supply.carry(source, np.full(len(at_nodes), supply_h), self.ground_c).sum()
        done = self.substations.exchange(self.supply.node_h[self.nodes])
        heat_in, into = self._at_nodes(flow * done.return_h), at_nodes
        if in_kg_s < 0.0:  # more leaks than comes back: the holding pump fills the return from the tank
            into = at_nodes.copy()
            into[0] -= in_kg_s
            heat_in[0] -= in_kg_s * self.plant.tank_h
        h_in = np.divide(heat_in, into, out=np.zeros_like(heat_in), where=into > 0.0)
        lost += self.back.carry(into * seconds, h_in, self.ground_c).sum()
        self.delivered_kw = done.heat_kw
        self.secondary.step(seconds)
        extra_kw = self.secondary.heat_kw(self.supply.node_h[self.nodes], self.substations.return_c)
        self.substations.settle(done.heat_kw, extra_kw, outdoor, local_h, seconds)

        return_h = float(self.back.node_h[0]) if in_kg_s >= 0.0 else self.plant.tank_h
        supply_h = supply_h if out_kg_s >= 0.0 else float(self.supply.node_h[0])
        self.plant.settle(out_kg_s, in_kg_s, supply_h, return_h, seconds)
        after_kj = self.supply.content.energy_kj + self.back.content.energy_kj
        after_kg = self.supply.content.total_kg + self.back.content.total_kg
        balance = Balance(
            supplied_kj=(out_kg_s * supply_h - in_kg_s * return_h) * seconds,
            delivered_kj=done.heat_kw * seconds,
            lost_kj=float(lost),
            stored_kj=after_kj - before_kj,
            leaked_kj=self._leaked_kw() * seconds,
            given_kg=(out_kg_s - in_kg_s) * seconds,
            stored_kg=after_kg - before_kg,
            leaked_kg=float((self.leak_kg_s + self.supply_leak_kg_s).sum() * seconds),
            throughput_kj=out_kg_s * supply_h * seconds,
            throughput_kg=out_kg_s * seconds,
        )
        return self._snapshot(seconds, outdoor, out_kg_s, in_kg_s, done.return_h, balance)

    def _leaked_kw(self) -> float:
        """Enthalpy that goes with the leaked water. [kW]."""
        hot, cold = self.supply_leak_kg_s * self.supply.node_h, self.leak_kg_s * self.back.node_h
        return float(hot.sum() + cold.sum())

    def _at_nodes(self, of_substations: Array) -> Array:
        """Sum a value of the substations at their nodes, shape (nodes,)."""
        summed: Array = np.bincount(self.nodes, of_substations, minlength=len(self.leak_kg_s)).astype(
            np.float64
        )
        return summed

    def _reach(self, flow: Array, dp_kpa: Array, spent_kpa: Array) -> Array:
        """What an open valve lets through at the pressures of this step. [kg/s].

        Where even an open valve would need more than there is, the flow is what pipes and valve together
        let through of the same head: a valve alone would overshoot, to and fro, in pipes that are too thin.
        """
        open_kpa = (flow / self.valve_kv) ** 2
        head = np.maximum(dp_kpa + spent_kpa, 0.0)
        both = flow * np.sqrt(head / np.maximum(spent_kpa + open_kpa, 1e-9))
        reach: Array = np.where(dp_kpa < open_kpa, both, self.valve_kv * np.sqrt(np.maximum(dp_kpa, 0.0)))
        return reach

    def _snapshot(
        self,
        seconds: float,
        outdoor: float,
        out_kg_s: float,
        in_kg_s: float,
        return_h: Array,
        balance: Balance,
    ) -> Snapshot:
        down, up = self.supply.pressures_kpa(), self.back.pressures_kpa()
        # The pumps hold the difference at the worst substation; the holding pump, the return at the plant.
        spent = (up - down)[self.nodes]
        head_kpa = _LEAST_DP_KPA + float(spent.max())
        self.plant.head_kpa += (head_kpa - self.plant.head_kpa) * min(1.0, seconds / 120.0)
        low = self.plant.return_kpa
        dp_kpa = self.plant.head_kpa - spent
        flow = self.substations.flow_kg_s
        self._largest_kg_s = self._reach(flow, dp_kpa, spent)
        # A strainer that leaves the share 1 - s of the reach costs the pressure (q/kv)²·(1/(1 - s)² - 1).
        clogged = (flow / self.valve_kv) ** 2 * (1.0 / (1.0 - self.substations.strained) ** 2 - 1.0)
        opening = flow / (self.valve_kv * np.sqrt(np.maximum(dp_kpa - clogged, 1.0)))
        swing = np.append(0.0, self.pressure_swing * dp_kpa / 2.0)
        return Snapshot(
            t_ms=self.now_ms,
            seconds=seconds,
            outdoor_c=outdoor,
            flow_kg_s=np.append(out_kg_s, flow),
            return_flow_kg_s=np.append(in_kg_s, flow),
            supply_c=water.temperature_c(np.append(self.supply.node_h[0], self.supply.node_h[self.nodes])),
            return_c=water.temperature_c(np.append(self.back.node_h[0], return_h)),
            supply_kpa=low + self.plant.head_kpa + np.append(0.0, down[self.nodes]) + swing,
            return_kpa=low + np.append(0.0, up[self.nodes]) - swing,
            valve_pct=100.0 * np.clip(opening, 0.0, 1.0),
            balance=balance,
        )


def _pipes(site: Site, network: str) -> Pipes:
    rows = [p for p in site.pipes.values() if p.network == network]
    return Pipes(
        tuple(p.pipe for p in rows),
        tuple(p.from_node for p in rows),
        tuple(p.to_node for p in rows),
        np.array([p.length_m for p in rows]),
        np.array([p.inner_diameter_m for p in rows]),
        np.array([_DEFAULT_U_W_M_K if p.u_w_m_k is None else p.u_w_m_k for p in rows]),
    )
