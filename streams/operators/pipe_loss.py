"""What the pipes of each network lose over what is registered, learnt day by day from their supply."""

from __future__ import annotations

from dataclasses import astuple
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.pipe_learning import Arrivals, LossFactor, expected_drop_k, learnt_factor, noted
from models.pipe_network import PipeNetwork
from models.results import Status, result_schema
from models.site import Device, Network
from streams.core.ledger_book import day_bounds_ms
from streams.core.network_rows import STEP_MS, Settled
from streams.core.operator import learner
from streams.core.step_flows import members_of, step_flows

__all__ = ["pipe_loss"]

FloatArray = NDArray[np.float64]

VERSION: Final = 1
_MIN_DAY: Final = 0.8
_LEAST_FACTOR, _MOST_FACTOR = 0.3, 4.0
_FIELDS: Final = ("u_factor", "u_factor_u", "drop_k", "days")
_SCHEMA: Final = result_schema([pa.field(name, pa.float64()) for name in _FIELDS])
_SUMS: Final = ("mass", "warmth", "steps")


@learner(reads=("device_heat",), version=VERSION, fields=_FIELDS, subject="network")
def pipe_loss(state: Any, settled: Settled) -> tuple[Any, pa.Table | None]:
    """Add up a day of flows and supply temperatures, and tell at its end how U compares with the registered.

    Of networks that are a tree with one plant. Where the drop is too small for the sensors the row is
    unknown: `residence`.
    """
    state, rows = dict(state or {}), list[dict[str, Any]]()
    day_ms, end_ms = day_bounds_ms(settled.start_ms, settled.site.site.timezone)
    for name in settled.networks:
        network = settled.site.site.networks.get(name)
        members = members_of(settled, name)
        if network is None or network.ground_c is None or len(members) < 2:
            continue
        mine = state.get(name)
        names = [d.device for d in members]
        if mine is None or mine["names"] != names:
            mine = {"names": names, "seen": None, "supply_c": 0.0}
        if mine.get("day") != day_ms:
            mine = {**mine, "day": day_ms, "sums": {n: [0.0] * len(names) for n in _SUMS}}
        mine = {**mine, "sums": _added(mine["sums"], members, settled)}
        if settled.end_ms >= end_ms:
            mine, row = _day_over(mine, members, network, settled, (day_ms, end_ms))
            rows += [row] if row else []
        state[name] = mine
    return state, pa.Table.from_pylist(rows, schema=_SCHEMA) if rows else None


def _added(sums: dict[str, list[float]], members: list[Device], settled: Settled) -> dict[str, list[float]]:
    """Sums by member with those of a step. [t], [t K], [1]"""
    mass, hot = step_flows(settled, members)
    known = np.isfinite(mass * hot)
    added = {}
    for name, value in zip(_SUMS, (mass, mass * hot, np.ones(len(mass))), strict=True):
        whole = np.array(sums[name]) + np.where(known, value, 0.0)
        added[name] = [float(f"{x:.9g}") for x in whole.tolist()]
    return added


def _day_over(
    state: dict[str, Any], members: list[Device], network: Network, settled: Settled, day: tuple[int, int]
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Learn from the day, where the plant and every consumer were known, and tell."""
    sums = {name: np.array(state["sums"][name]) for name in _SUMS}
    registered = [p for p in settled.site.site.pipes.values() if p.network == network.id]
    full = sums["steps"] >= _MIN_DAY * (day[1] - day[0]) / STEP_MS
    if not registered or not full.all() or not (sums["mass"] > 0.0).all():
        return state, None
    pipes = PipeNetwork.of(registered)
    nodes = [pipes.nodes.get(d.node or "", -1) for d in members]
    root = members[0].node or ""
    if pipes.loops or min(nodes) < 0 or pipes.apart([root]) is not None:
        return state, None
    mean_c = sums["warmth"] / sums["mass"]
    draw = np.zeros(len(pipes.nodes))
    np.add.at(draw, nodes[1:], sums["mass"][1:] / sums["steps"][1:] / (STEP_MS / 1000.0) * 1000.0)
    ground_c = 0.0 if network.ground_c is None else network.ground_c
    seen = Arrivals.empty(len(members) - 1) if state["seen"] is None else Arrivals(*np.array(state["seen"]))
    before = learnt_factor(seen, float(mean_c[0]))
    about = 1.0 if before is None else min(max(before.factor, _LEAST_FACTOR), _MOST_FACTOR)
    drop_k, slope_k = expected_drop_k(pipes, draw, nodes[0], float(mean_c[0]), ground_c, about)
    seen = noted(seen, mean_c[0] - mean_c[1:], drop_k[nodes[1:]], slope_k[nodes[1:]])
    kept = [[float(f"{x:.9g}") for x in column.tolist()] for column in astuple(seen)]
    state = {**state, "seen": kept, "supply_c": float(mean_c[0])}
    factor = learnt_factor(seen, float(mean_c[0]))
    trust = float(pipes.loss_share @ pipes.loss_w_k / pipes.loss_w_k.sum())
    return state, None if factor is None else _row(factor, trust, seen, network, settled, day)


def _row(
    factor: LossFactor, trust: float, seen: Arrivals, network: Network, settled: Settled, day: tuple[int, int]
) -> dict[str, Any]:
    """Row of a day: known where the data say more than the registry does."""
    known = factor.factor_u < trust
    return {
        "key": network.id, "unit": network.unit, "region": settled.site.site.units[network.unit].region,
        "stream": settled.stream, "window_start": day[0], "window_ms": day[1] - day[0],
        "u_factor": factor.factor if known else None, "u_factor_u": 2.0 * factor.factor_u,
        "drop_k": factor.drop_k, "days": float(seen.days.max()), "coverage": 1.0,
        "status": str(Status.FINAL if known else Status.UNKNOWN),
        "reason": None if known else "residence", "revision": 0, "model": f"pipe_loss/{VERSION}",
    }  # fmt: skip
