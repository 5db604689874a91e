"""Faults of pipes, substations and pumps: what they do to the truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from simulator import water
from simulator.kinds import KINDS, Fault
from simulator.local_time import local_hour
from simulator.network.hydraulics import Graph
from simulator.rng import generator
from simulator.truth import NetworkTruth

__all__ = ["Scene", "apply_physical", "behind"]

Array = NDArray[np.float64]

_HUNTING_S: Final = 240.0  # one swing up and down
_NATURAL: Final = 0.03  # of the secondary flow goes round without a pump
_SLOT_MS: Final = 600_000  # a draw-off is decided anew for each slot
_BUSY_H: Final = ((6.0, 8.0), (18.0, 22.0))  # local hours in which most is drawn
_BUSY_CHANCE: Final = 0.5
_QUIET_CHANCE: Final = 0.02


def behind(graph: Graph, pipe: int) -> NDArray[np.bool_]:
    """Which nodes are cut off from the plant without one pipe, shape (nodes,)."""
    next_to: dict[int, list[int]] = {}
    for other, (a, b) in enumerate(zip(graph.from_index.tolist(), graph.to_index.tolist(), strict=True)):
        if other != pipe:
            next_to.setdefault(a, []).append(b)
            next_to.setdefault(b, []).append(a)
    cut = np.ones(len(graph.nodes), dtype=bool)
    cut[0], reached = False, [0]
    while reached:
        for node in next_to.get(reached.pop(), ()):
            if cut[node]:
                cut[node] = False
                reached.append(node)
    return cut


@dataclass(slots=True)
class Scene:
    """One network's truth as faults see it, with what it is when nothing is wrong.

    Attributes
    ----------
    taken_kg_s : dict of str to float
        Water that faults of each kind take just now. [kg/s]
    taking : set of Fault
        Those that take any just now.
    """

    truth: NetworkTruth
    seed: int
    rows: Mapping[str, int]
    pipes: Mapping[str, int]
    sound_leak: Array
    sound_loss: Array
    taken_kg_s: dict[str, float] = field(default_factory=dict)
    members: dict[str, Sequence[int]] = field(default_factory=dict)
    taking: set[Fault] = field(default_factory=set)

    @classmethod
    def of(cls, truth: NetworkTruth, seed: int) -> Scene:
        """The scene of a network that is sound."""
        return cls(
            truth,
            seed,
            {d.device: n for n, d in enumerate(truth.devices)},
            {name: n for n, name in enumerate(truth.supply.pipes.names)},
            truth.leak_kg_s.copy(),
            truth.supply.content.loss_w_k.copy(),
        )

    def clear(self) -> None:
        """Mend everything."""
        truth, sub = self.truth, self.truth.substations
        truth.leak_kg_s[:] = self.sound_leak
        truth.supply_leak_kg_s[:] = truth.pressure_swing[:] = 0.0
        truth.supply.content.loss_w_k[:] = truth.back.content.loss_w_k[:] = self.sound_loss
        sub.ua_share[:], sub.stuck[:], sub.swing[:] = 1.0, np.nan, 0.0
        sub.strained[:], sub.pump_share[:], sub.air[:] = 0.0, 1.0, 0.0
        truth.secondary.leak_kg_s[:] = truth.secondary.gain_kg_s[:] = 0.0
        self.taken_kg_s.clear()
        self.taking.clear()

    def holds(self, fault: Fault) -> bool:
        """Whether what a fault befalls belongs to this network."""
        on, nodes = KINDS[fault.kind].on, self.truth.supply.graph.index
        if on == "part":
            return fault.place in self.rows or fault.place in self.pipes
        return fault.place in {"node": nodes, "pipe": self.pipes, "substation": self.rows}[on]

    def part(self, place: str) -> Sequence[int]:
        """Rows of the substations that a substation or a pipe stands for."""
        if place in self.rows:
            return (self.rows[place],)
        if place not in self.members:
            cut = behind(self.truth.supply.graph, self.pipes[place])
            self.members[place] = tuple(np.flatnonzero(cut[self.truth.nodes]).tolist())
        return self.members[place]

    def take(self, fault: Fault, kg_s: float, *, node: int, hot: bool = False) -> None:
        """Let water out at a node. [kg/s]"""
        self.taking.add(fault)
        (self.truth.supply_leak_kg_s if hot else self.truth.leak_kg_s)[node] += kg_s
        self.taken_kg_s[fault.kind] = self.taken_kg_s.get(fault.kind, 0.0) + kg_s

    def node(self, place: str) -> int:
        """Index of a node."""
        return self.truth.supply.graph.index[place]


def _leak(scene: Scene, f: Fault, share: float, _t_ms: int) -> None:
    scene.take(f, f.size * share, node=scene.node(f.place))


def _supply_leak(scene: Scene, f: Fault, share: float, _t_ms: int) -> None:
    scene.take(f, f.size * share, node=scene.node(f.place), hot=True)


def _flushing(scene: Scene, f: Fault, _share: float, _t_ms: int) -> None:
    seconds = (f.until_ms - f.onset_ms) / 1000.0
    scene.take(f, f.size * water.COLD_KG_M3 / seconds, node=scene.node(f.place))


def _draw_off(scene: Scene, f: Fault, share: float, t_ms: int) -> None:
    """Bursts of three to nine minutes, half of all slots in the busy hours and few in the others."""
    slot = (t_ms - 1) // _SLOT_MS
    chance, begin, length = generator(scene.seed, "draw-off", slot, crc32(f.place.encode())).random(3)
    local_h = local_hour(scene.truth.zone, slot * _SLOT_MS)
    busy = any(low <= local_h < high for low, high in _BUSY_H)
    lasts_ms = 180_000.0 + 360_000.0 * length
    begins_ms = slot * _SLOT_MS + begin * (_SLOT_MS - lasts_ms)
    if chance < (_BUSY_CHANCE if busy else _QUIET_CHANCE) and begins_ms < t_ms <= begins_ms + lasts_ms:
        scene.take(f, f.size * share, node=scene.node(f.place))


def _internal_leak(scene: Scene, f: Fault, share: float, _t_ms: int) -> None:
    row = scene.rows[f.place]
    scene.take(f, f.size * share, node=int(scene.truth.nodes[row]), hot=True)
    scene.truth.secondary.gain_kg_s[row] += f.size * share


def _secondary_leak(scene: Scene, f: Fault, share: float, _t_ms: int) -> None:
    scene.truth.secondary.leak_kg_s[scene.rows[f.place]] += f.size * share


def _insulation_loss(scene: Scene, f: Fault, share: float, _t_ms: int) -> None:
    for side in (scene.truth.supply, scene.truth.back):
        side.content.loss_w_k[scene.pipes[f.place]] *= 1.0 + (f.size - 1.0) * share


def _fouling(scene: Scene, f: Fault, share: float, _t_ms: int) -> None:
    scene.truth.substations.ua_share[scene.rows[f.place]] *= 1.0 - f.size * share


def _clogged_strainer(scene: Scene, f: Fault, share: float, _t_ms: int) -> None:
    scene.truth.substations.strained[scene.rows[f.place]] = f.size * share


def _stuck_valve(scene: Scene, f: Fault, _share: float, _t_ms: int) -> None:
    scene.truth.substations.stuck[scene.rows[f.place]] = f.size


def _hunting(scene: Scene, f: Fault, share: float, t_ms: int) -> None:
    phase = 2.0 * np.pi * ((t_ms / 1000.0) / _HUNTING_S + 0.125)  # not nothing at every whole two minutes
    scene.truth.substations.swing[scene.rows[f.place]] += f.size * share * np.sin(phase)


def _air(scene: Scene, f: Fault, share: float, t_ms: int) -> None:
    row, sub = scene.rows[f.place], scene.truth.substations
    flow, pressure = generator(scene.seed, "air", t_ms, crc32(f.place.encode())).standard_normal(2)
    sub.swing[row] += f.size * share * float(flow)
    sub.air[row] = f.size * share
    scene.truth.pressure_swing[row] += f.size * share * float(pressure)


def _pump_trip(scene: Scene, f: Fault, _share: float, _t_ms: int) -> None:
    scene.truth.substations.pump_share[list(scene.part(f.place))] = _NATURAL


_DO: Final[Mapping[str, Callable[[Scene, Fault, float, int], None]]] = {
    "leak": _leak, "supply_leak": _supply_leak, "draw_off": _draw_off, "flushing": _flushing,
    "secondary_leak": _secondary_leak, "internal_leak": _internal_leak,
    "insulation_loss": _insulation_loss, "fouling": _fouling, "clogged_strainer": _clogged_strainer,
    "stuck_valve": _stuck_valve, "hunting": _hunting, "air": _air, "pump_trip": _pump_trip,
}  # fmt: skip


def apply_physical(scene: Scene, faults: Sequence[Fault], t_ms: int) -> None:
    """Set everything physical of one network for the step that ends at `t_ms`."""
    scene.clear()
    for fault in faults:
        do, share = _DO.get(fault.kind), fault.share(t_ms)
        if do is not None and share > 0.0 and scene.holds(fault):
            do(scene, fault, share, t_ms)
