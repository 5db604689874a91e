"""What the pipes of each network lose over what is registered, learnt day by day from their supply."""

from __future__ import annotations

from dataclasses import astuple
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.pipe_learning import Arrivals, LossFactor, expected_drop_k, learnt_factor, noted
from models.results import Status, result_schema
from models.site import Device, Network
from streams.core.local_days import day_bounds_ms
from streams.core.network_rows import STEP_MS, Settled
from streams.core.operator import learner
from streams.core.step_flows import Tree, step_flows, tree_of

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

    Of networks that have pipes. Where they are no tree with one plant the row is unknown and says why; where
    the drop is too small for the sensors too: `residence`. A day of which not all was known teaches nothing.
    """
    state, rows = dict(state or {}), list[dict[str, Any]]()
    day_ms, end_ms = day_bounds_ms(settled.start_ms, settled.site.site.timezone)
    for name in settled.networks:
        network = settled.site.site.networks.get(name)
        tree = tree_of(settled, name)
        if network is None or tree == "no_pipes":
            continue
        if isinstance(tree, str) or network.ground_c is None:
            if settled.end_ms >= end_ms:
                reason = tree if isinstance(tree, str) else "no_ground_c"
                rows.append(_unknown(reason, 0.0, network, settled, (day_ms, end_ms)))
            continue
        mine = state.get(name)
        names = [d.device for d in tree.members]
        if mine is None or mine["names"] != names:
            mine = {"names": names, "seen": None, "supply_c": 0.0}
        if mine.get("day") != day_ms:
            mine = {**mine, "day": day_ms, "sums": {n: [0.0] * len(names) for n in _SUMS}}
        mine = {**mine, "sums": _added(mine["sums"], tree.members, settled)}
        if settled.end_ms >= end_ms:
            mine, row = _day_over(mine, tree, network, settled, (day_ms, end_ms))
            rows.append(row)
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
    state: dict[str, Any], tree: Tree, network: Network, settled: Settled, day: tuple[int, int]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Learn from the day, where the plant and every consumer were known, and tell."""
    sums = {name: np.array(state["sums"][name]) for name in _SUMS}
    heard = float(sums["steps"].min()) * STEP_MS / (day[1] - day[0])
    seen = None if state["seen"] is None else Arrivals(*np.array(state["seen"]))
    if heard >= _MIN_DAY and (sums["mass"] > 0.0).all():
        seen, mean_c = _learnt_of_day(seen, sums, tree, network)
        kept = [[float(f"{x:.9g}") for x in column.tolist()] for column in astuple(seen)]
        state = {**state, "seen": kept, "supply_c": mean_c}
    factor = None if seen is None else learnt_factor(seen, state["supply_c"])
    if seen is None or factor is None:
        reason = "gap" if heard < _MIN_DAY else "no_flow" if not (sums["mass"] > 0.0).all() else "residence"
        return state, _unknown(reason, min(heard, 1.0), network, settled, day)
    pipes = tree.pipes
    trust = float(pipes.loss_share @ pipes.loss_w_k / pipes.loss_w_k.sum())
    return state, _row(factor, trust, seen, network, settled, day)


def _learnt_of_day(
    seen: Arrivals | None, sums: dict[str, FloatArray], tree: Tree, network: Network
) -> tuple[Arrivals, float]:
    """What is known of arrivals after a day, and the plant's mean supply on it. [°C]"""
    mean_c = sums["warmth"] / sums["mass"]
    draw = np.zeros(len(tree.pipes.nodes))
    np.add.at(draw, tree.nodes[1:], sums["mass"][1:] / sums["steps"][1:] / (STEP_MS / 1000.0) * 1000.0)
    seen = Arrivals.empty(len(tree.members) - 1) if seen is None else seen
    before = learnt_factor(seen, float(mean_c[0]))
    about = 1.0 if before is None else min(max(before.factor, _LEAST_FACTOR), _MOST_FACTOR)
    ground_c = 0.0 if network.ground_c is None else network.ground_c
    root = int(tree.nodes[0])
    drop_k, slope_k = expected_drop_k(tree.pipes, draw, root, float(mean_c[0]), ground_c, about)
    at = tree.nodes[1:]
    return noted(seen, mean_c[0] - mean_c[1:], drop_k[at], slope_k[at]), float(mean_c[0])


def _row(
    factor: LossFactor, trust: float, seen: Arrivals, network: Network, settled: Settled, day: tuple[int, int]
) -> dict[str, Any]:
    """Row of a day: known where the data say more than the registry does."""
    known = factor.factor_u < trust
    said = {
        "u_factor": factor.factor if known else None, "u_factor_u": 2.0 * factor.factor_u,
        "drop_k": factor.drop_k, "days": float(seen.days.max()),
        "status": str(Status.FINAL if known else Status.UNKNOWN),
        "reason": None if known else "residence",
    }  # fmt: skip
    return _unknown("", 1.0, network, settled, day) | said


def _unknown(
    reason: str, coverage: float, network: Network, settled: Settled, day: tuple[int, int]
) -> dict[str, Any]:
    """Row of a day without a number."""
    return {
        "key": network.id, "unit": network.unit, "region": settled.site.site.units[network.unit].region,
        "stream": settled.stream, "window_start": day[0], "window_ms": day[1] - day[0], "coverage": coverage,
        "status": str(Status.UNKNOWN), "reason": reason, "revision": 0, "model": f"pipe_loss/{VERSION}",
    }  # fmt: skip
