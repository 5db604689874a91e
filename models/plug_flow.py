"""Water on its way through pipes: when it arrives, how warm it still is, and what stands in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Travel", "travel"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_OLDEST = 1e3  # spans of the history: the age of water of which nobody saw how it came
_LEAST_KG = 1e-9


@dataclass(frozen=True, slots=True)
class Travel:
    """Temperatures that water takes through pipes.

    Attributes
    ----------
    content_c : ndarray, shape (pipes, steps + 1)
        Mean temperature of each pipe's content at the edges of the steps. [°C]
    node_c : ndarray, shape (nodes, steps)
        Mean temperature of the water that passes a node in each step. [°C]
    """

    content_c: FloatArray
    node_c: FloatArray


def travel(
    start: IntArray,
    end: IntArray,
    rank: IntArray,
    flow_kg: FloatArray,
    inject_kg: FloatArray,
    inject_c: FloatArray,
    content_kg: FloatArray,
    loss_w_k: FloatArray,
    ground_c: float,
    heat_capacity_kj_kg_k: float,
    step_s: float,
) -> Travel:
    r"""Follow water from where it enters to where it leaves, pipe after pipe, without mixing in them.

    What leaves a pipe entered it when as much mass as it holds had yet to follow, and has cooled to
    :math:`T_g + (T_{in} - T_g)\,e^{-U L \tau / (M c_p)}` after the time :math:`\tau` that this took; at
    steady flow that is :math:`e^{-UL/(\dot m c_p)}`. At nodes waters mix by mass. Before the first step
    everything is taken to have flowed as it does on average, at the first step's temperatures.

    Parameters
    ----------
    start, end : ndarray of int64, shape (pipes,)
        Nodes that water flows from and to.
    rank : ndarray of int64, shape (nodes,)
        Each node's place in an order that rises along every pipe from `start` to `end`.
    flow_kg : ndarray, shape (pipes, steps)
        Mass through each pipe in each step, zero or more. [kg]
    inject_kg, inject_c : ndarray, shape (nodes, steps)
        Water that enters at nodes from outside the pipes, and its temperature. [kg], [°C]
    content_kg, loss_w_k : ndarray, shape (pipes,)
        What each pipe holds [kg], and U times its length [W/K].
    ground_c, heat_capacity_kj_kg_k, step_s : float
        [°C], [kJ/(kg K)], [s]

    References
    ----------
    .. [1] A. Benonysson, B. Bøhm, H. F. Ravn, Energy Conversion and Management 36 (1995) 297 (node method).
    .. [2] B. van der Heijde et al., Energy Conversion and Management 151 (2017) 158 (plug flow).
    """
    levels = _levels(start, end, rank)
    order = np.concatenate([group for _, group in levels])
    flow, held, into = flow_kg[order], content_kg[order][:, None], end[order]
    rate = (loss_w_k / (1000.0 * content_kg * heat_capacity_kj_kg_k))[order][:, None]
    way = _way(flow, held, step_s)
    kept = np.exp(-rate * way.age_out_s)
    nodes, steps = inject_kg.shape
    mass = inject_kg.copy()
    np.add.at(mass, into, flow)
    heat = inject_kg * np.where(inject_kg > 0.0, inject_c, 0.0)
    node_c = np.full((nodes, steps), np.nan)
    # Knots of the warmth of what ever entered each pipe, the first filling ahead of all.
    warmth = np.zeros((len(order), steps + 2))
    warmth_out = np.empty((len(order), steps + 1))
    low = 0
    for level, group in levels:
        node_c[level] = _mixed(mass[level], heat[level], ground_c)
        if not len(group):
            continue
        mine = slice(low, low + len(group))
        low = mine.stop
        inlet = node_c[start[group]]
        warmth[mine, 0] = -held[mine, 0] * inlet[:, 0]
        np.cumsum(flow[mine] * inlet, axis=1, out=warmth[mine, 2:])
        out = warmth_out[mine] = _at(warmth, way.left[mine], way.share[mine])
        raw = np.where(way.passes[mine], (out[:, 1:] - out[:, :-1]) / way.out_kg[mine], ground_c)
        outlet = ground_c + (raw - ground_c) * kept[mine]
        np.add.at(heat, into[mine], flow[mine] * outlet)
    content_c = np.empty((len(order), steps + 1))
    stays = _stays(way, rate, step_s)
    content_c[order] = ground_c + ((warmth[:, 1:] - warmth_out) / held - ground_c) * stays
    return Travel(content_c, node_c)


def _levels(start: IntArray, end: IntArray, rank: IntArray) -> list[tuple[IntArray, IntArray]]:
    """Nodes with the pipes that begin at them, each group after all that feed it."""
    depth = [0] * len(rank)
    by_rank = np.argsort(rank[start], kind="stable")
    for a, b in zip(start[by_rank].tolist(), end[by_rank].tolist(), strict=True):
        depth[b] = max(depth[b], depth[a] + 1)
    of_node = np.array(depth, dtype=np.int64)
    of_pipe = of_node[start]
    by_node, by_pipe = np.argsort(of_node, kind="stable"), np.argsort(of_pipe, kind="stable")
    count = int(of_node.max(initial=0)) + 1
    node_at = np.searchsorted(of_node[by_node], np.arange(count + 1))
    pipe_at = np.searchsorted(of_pipe[by_pipe], np.arange(count + 1))
    return [
        (by_node[node_at[n] : node_at[n + 1]], by_pipe[pipe_at[n] : pipe_at[n + 1]]) for n in range(count)
    ]


def _mixed(mass: FloatArray, heat: FloatArray, ground_c: float) -> FloatArray:
    """Temperature at nodes; where nothing flows the last that did, else the first that will."""
    flows = mass > _LEAST_KG
    mixed = np.where(flows, heat / np.where(flows, mass, 1.0), np.nan)
    if flows.all():
        return mixed
    steps = np.arange(mass.shape[1])
    last = np.maximum.accumulate(np.where(flows, steps, -1), axis=1)
    first = np.argmax(flows, axis=1)[:, None]
    filled = np.take_along_axis(mixed, np.where(last >= 0, last, first), axis=1)
    return np.where(flows.any(axis=1, keepdims=True), filled, ground_c)


@dataclass(frozen=True, slots=True)
class _Way:
    """Of the water that leaves pipes, when it came: all that hangs on flows alone.

    Attributes
    ----------
    left, share : ndarray, shape (pipes, steps + 1)
        Between which knots of what ever entered lies what leaves at each edge of the steps: the place of the
        earlier one in all pipes' knots one after the other, and how far it lies towards the next.
    age_s : ndarray, shape (pipes, steps + 1)
        Of the oldest water in each pipe.
    age_out_s, out_kg : ndarray, shape (pipes, steps)
        Age of what leaves in each step, and its mass; 1 where nothing does.
    passes : ndarray of bool, shape (pipes, steps)
    """

    left: IntArray
    share: FloatArray
    age_s: FloatArray
    age_out_s: FloatArray
    out_kg: FloatArray
    passes: NDArray[np.bool_]


def _way(flow_kg: FloatArray, held_kg: FloatArray, step_s: float) -> _Way:
    """Follow the mass of water through pipes."""
    pipes, steps = flow_kg.shape
    gone = np.zeros((pipes, steps + 1))
    np.cumsum(flow_kg, axis=1, out=gone[:, 1:])
    times = step_s * np.arange(steps + 1)
    usual = flow_kg.mean(axis=1, keepdims=True)
    flows = usual > _LEAST_KG
    before_s = np.where(flows, held_kg / np.where(flows, usual, 1.0) * step_s, np.inf)
    before_s = np.minimum(before_s, _OLDEST * steps * step_s)
    # Knots of what ever entered, the first filling ahead of all: mass and time, linear between.
    left, share = _between(np.concatenate([-held_kg, gone], axis=1), gone - held_kg)
    time_at = np.concatenate([-before_s, np.broadcast_to(times, (pipes, steps + 1))], axis=1)
    age_s = times - _at(time_at, left, share)
    out_kg = np.diff(gone, axis=1)
    passes = out_kg > _LEAST_KG
    age_out_s = (age_s[:, 1:] + age_s[:, :-1]) / 2.0
    return _Way(left, share, age_s, age_out_s, np.where(passes, out_kg, 1.0), passes)


def _stays(way: _Way, rate_1_s: FloatArray, step_s: float) -> FloatArray:
    """What cooling leaves of the content's warmth over the ground's, at the edges of the steps. [1]"""
    pipes, steps = way.passes.shape
    times = step_s * np.arange(steps + 1)
    # While nothing comes in, even the youngest water in the pipe grows older.
    came = np.concatenate([np.ones((pipes, 1), dtype=bool), way.passes], axis=1)
    youngest_s = times - np.maximum.accumulate(np.where(came, times, 0.0), axis=1)
    spent = rate_1_s * np.maximum(way.age_s - youngest_s, 0.0)
    some = spent > 1e-9
    shrink = np.where(some, -np.expm1(-spent) / np.where(some, spent, 1.0), 1.0)
    return np.asarray(shrink * np.exp(-rate_1_s * youngest_s))


def _between(knots: FloatArray, asked: FloatArray) -> tuple[IntArray, FloatArray]:
    """Row by row, the knot at or before each asked value and how far it lies towards the next.

    The knot is given by its place in all rows one after the other.
    """
    rows, width = knots.shape
    first = knots[:, :1]
    span = np.maximum(knots[:, -1:] - first, 1e-300)
    at = 2.0 * np.arange(rows)[:, None]
    found = np.searchsorted(
        ((knots - first) / span + at).ravel(), ((asked - first) / span + at).ravel(), "right"
    )
    begin = (np.arange(rows) * width)[:, None]
    left = np.clip(found.reshape(asked.shape) - 1, begin, begin + width - 2)
    flat = knots.ravel()
    low, high = flat.take(left), flat.take(left + 1)
    wide = high > low
    share = np.where(wide, (asked - low) / np.where(wide, high - low, 1.0), 0.0)
    return left, np.clip(share, 0.0, 1.0)


def _at(values: FloatArray, left: IntArray, share: FloatArray) -> FloatArray:
    """Values between knots that `_between` found."""
    flat = values.ravel()
    low = flat.take(left)
    return np.asarray(low + (flat.take(left + 1) - low) * share)
