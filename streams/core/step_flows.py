"""Plant and consumers of a network in one settled step, for learners: what flowed through each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.pipe_network import PipeNetwork
from models.site import Device
from models.water import density_kg_m3
from streams.core.network_rows import Settled

__all__ = ["Tree", "by_device", "step_flows", "tree_of"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Tree:
    """A network whose every consumer has one way from its one plant.

    Attributes
    ----------
    members : list of Device
        The plant, then its consumers.
    pipes : PipeNetwork
    nodes : ndarray of int64, shape (members,)
    """

    members: list[Device]
    pipes: PipeNetwork
    nodes: NDArray[np.int64]


def tree_of(settled: Settled, network: str) -> Tree | str:
    """The tree that a network is registered as, or why it is none.

    That is `no_pipes`, `no_plant`, `plants` (several), `no_device` (no consumer), `no_node` (of one of them),
    `loop` or `pipes_apart`.
    """
    registry = settled.site.site
    registered = [p for p in registry.pipes.values() if p.network == network]
    devices = [d for d in registry.devices.values() if d.network == network]
    plants = [d for d in devices if d.device_class == "plant"]
    takes = sorted((d for d in devices if d.device_class in {"substation", "meter"}), key=lambda d: d.device)
    if not (registered and plants and takes):
        return "no_device" if registered and plants else "no_plant" if registered else "no_pipes"
    if len(plants) > 1:
        return "plants"
    pipes, members = PipeNetwork.of(registered), [*plants, *takes]
    nodes = np.array([pipes.nodes.get(d.node or "", -1) for d in members], dtype=np.int64)
    if nodes.min() < 0:
        return "no_node"
    if pipes.loops:
        return "loop"
    return "pipes_apart" if pipes.apart([plants[0].node or ""]) is not None else Tree(members, pipes, nodes)


def by_device(settled: Settled, members: Sequence[Device], values: FloatArray) -> FloatArray:
    """Values by device of the stream as those of members, NaN of those not heard of; last axis."""
    index = {name: at for at, name in enumerate(settled.site.ids)}
    at = np.array([index.get(d.device, -1) for d in members], dtype=np.int64)
    wide = np.append(values, np.full((*values.shape[:-1], 1), np.nan), axis=-1)
    return np.asarray(wide[..., at])


def step_flows(settled: Settled, members: Sequence[Device]) -> tuple[FloatArray, FloatArray]:
    """Mass through each member and its supply temperature; NaN where not final. [t], [°C]"""
    subjects, final = settled.subjects("device_heat"), settled.final("device_heat")
    wide = np.full((3, len(settled.site.ids)), np.nan)
    for row, field in enumerate(("volume_m3", "supply_c", "return_c")):
        wide[row, subjects] = np.where(final, settled("device_heat", field), np.nan)
    volume, hot, cold = by_device(settled, members, wide)
    on_supply = np.array([d.mounting == "supply" for d in members], dtype=bool)
    return np.asarray(volume * density_kg_m3(np.where(on_supply, hot, cold)) * 1e-3), hot
