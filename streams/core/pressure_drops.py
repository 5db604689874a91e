"""What is remembered of a network's pressures: consumers' drops beside the friction of registered pipes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.leak_location import (
    Situated,
    fitted,
    friction_kpa_s2_kg2,
    nobody_knows,
    residuals,
    situated,
    ways,
)
from models.measurements import known
from models.pipe_network import PipeNetwork
from models.site import Device, Network
from streams.core.local_days import day_bounds_ms
from streams.core.network_rows import STEP_MS, Settled
from streams.core.packing import packed, unpacked
from streams.core.step_flows import by_device, step_flows, tree_of

__all__ = ["PRESSURE_CLASSES", "remembered", "whereabouts"]

FloatArray = NDArray[np.float64]

PRESSURE_CLASSES: Final = ("plant", "substation")
_SIDES: Final = ("supply_kpa", "return_kpa")
_SUMS: Final = 6
_WAITING: Final = 2
"""Whole days that wait until it is known whether water was lost on them."""
_FORGET: Final = 0.97
"""What a day leaves of what was known before: a month, in which pipes and sensors stay as they are."""
_LEAST: Final = 24.0
"""Windows that a consumer's usual drop has to rest on."""


@dataclass(frozen=True, slots=True)
class _Step:
    """Pressures of the network in one step.

    Attributes
    ----------
    members : list of Device
        The plant first.
    pipes : PipeNetwork
        A tree.
    nodes : ndarray of int64, shape (members,)
    draw_kg_s : ndarray, shape (consumers,)
    drop_kpa : ndarray, shape (2, consumers)
        On the supply side from the plant, on the return side to it; NaN where unknown.
    """

    members: list[Device]
    pipes: PipeNetwork
    nodes: NDArray[np.int64]
    draw_kg_s: FloatArray
    drop_kpa: FloatArray


def remembered(
    kept: Mapping[str, Any] | None,
    network: Network,
    settled: Settled,
    *,
    lost: bool,
    disturbed: Callable[[int, int], bool],
) -> dict[str, Any] | None:
    """Take in the pressures of a settled step.

    Parameters
    ----------
    kept : mapping or None
        What JSON holds: sums of what is usual, of days that wait, and of the time since water is lost.
    network : Network
    settled : Settled
        With samples of plants and substations.
    lost : bool
        Whether water is being lost.
    disturbed : callable
        Whether water was lost on a day, from its beginning and end. [ms UTC]

    Returns
    -------
    dict or None
        As `kept`; None where the network is no tree with one plant.
    """
    step = _step(network, settled)
    if step is None:
        return dict(kept) if kept else None
    names = [d.device for d in step.members]
    zero = np.zeros((_SUMS, len(_SIDES), len(names) - 1))
    if kept is None or kept["names"] != names:
        kept = {"names": names, "usual": packed(zero), "days": [], "since": None}
    now = _sums(step)
    zone = settled.site.site.timezone
    day_ms, end_ms = day_bounds_ms(settled.start_ms, zone)
    days = [list(d) for d in kept["days"]]
    if not days or days[-1][0] != day_ms:
        days.append([day_ms, end_ms, packed(zero)])
    days[-1][2] = packed(unpacked(days[-1][2]) + now)
    usual = kept["usual"]
    while len(days) > _WAITING + 1:
        first_ms, last_ms, sums = days.pop(0)
        if not disturbed(first_ms, last_ms):
            usual = packed(_FORGET * unpacked(usual) + unpacked(sums))
    since = None
    if lost:
        before = kept["since"] or [packed(zero), packed(0.0 * step.draw_kg_s), 0]
        draw = unpacked(before[1]) + np.nan_to_num(step.draw_kg_s)
        since = [packed(unpacked(before[0]) + now), packed(draw), before[2] + 1]
    return {"names": names, "usual": usual, "days": days, "since": since}


def whereabouts(
    kept: Mapping[str, Any] | None, network: Network, settled: Settled, size_kg_s: float, size_u_kg_s: float
) -> tuple[Situated, list[str]]:
    """Where a leak of a size is by the pressures since it was seen, and names of the network's pipes."""
    tree = tree_of(settled, network.id)
    if isinstance(tree, str):
        return nobody_knows(tree), []
    if kept is None or kept["since"] is None:
        return nobody_knows("no_pressure"), []
    if [d.device for d in tree.members] != kept["names"]:
        return nobody_knows("no_pressure"), []
    pipes, nodes = tree.pipes, tree.nodes
    sums, draw, steps = unpacked(kept["since"][0]), unpacked(kept["since"][1]), kept["since"][2]
    seen = residuals(fitted(unpacked(kept["usual"])), sums, _LEAST)
    flow = _flows(pipes, nodes, draw / steps)
    slope = 2.0 * friction_kpa_s2_kg2(pipes) * np.abs(flow)
    found = situated(seen, ways(pipes, int(nodes[0])), nodes[1:], slope, size_kg_s, size_u_kg_s)
    return found, sorted(p.pipe for p in settled.site.site.pipes.values() if p.network == network.id)


def _step(network: Network, settled: Settled) -> _Step | None:
    if not any(settled.samples[c].rows.n for c in PRESSURE_CLASSES if c in settled.samples):
        return None
    tree = tree_of(settled, network.id)
    if isinstance(tree, str):
        return None
    members = tree.members
    mass_t, _ = step_flows(settled, members)
    kpa = by_device(settled, members, _pressures_kpa(settled))
    drop = (kpa[:, :1] - kpa[:, 1:]) * np.array([[1.0], [-1.0]])
    return _Step(members, tree.pipes, tree.nodes, mass_t[1:] * 1000.0 / (STEP_MS / 1000.0), drop)


def _pressures_kpa(settled: Settled) -> FloatArray:
    """Mean pressures by device of the stream, shape (2, devices); NaN where none was measured. [kPa]"""
    count = len(settled.site.ids)
    total, number = np.zeros((2, len(_SIDES), count))
    for name in PRESSURE_CLASSES:
        samples = settled.samples.get(name)
        for side, field in enumerate(_SIDES):
            if samples is None or field not in samples.columns:
                continue
            value = samples.rows.values[samples.columns.index(field)]
            limits = known[field]
            good = (value >= limits.low) & (value <= limits.high)
            total[side] += np.bincount(samples.rows.device[good], value[good], count)
            number[side] += np.bincount(samples.rows.device[good], minlength=count)
    return np.where(number > 0.0, total / np.maximum(number, 1.0), np.nan)


def _flows(pipes: PipeNetwork, nodes: NDArray[np.int64], draw_kg_s: FloatArray) -> FloatArray:
    """Flow of each pipe. [kg/s]"""
    draw = np.zeros(len(pipes.nodes))
    np.add.at(draw, nodes[1:], draw_kg_s)
    flow, _ = pipes.flows(draw[:, None], int(nodes[0]))
    return np.asarray(flow[:, 0])


def _sums(step: _Step) -> FloatArray:
    """What `models.leak_location.fitted` adds up, of one step; nothing where a flow is unknown."""
    out = np.zeros((_SUMS, *step.drop_kpa.shape))
    if np.isnan(step.draw_kg_s).any():
        return out
    friction = friction_kpa_s2_kg2(step.pipes) * _flows(step.pipes, step.nodes, step.draw_kg_s) ** 2
    x = np.broadcast_to(
        (ways(step.pipes, int(step.nodes[0])) @ friction)[step.nodes[1:]], step.drop_kpa.shape
    )
    there = np.isfinite(step.drop_kpa)
    y = np.where(there, step.drop_kpa, 0.0)
    x = np.where(there, x, 0.0)
    out[:] = [there, x, y, x * x, x * y, y * y]
    return out
