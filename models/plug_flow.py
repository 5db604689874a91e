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
    nodes, steps = inject_kg.shape
    mass = inject_kg.copy()
    heat = inject_kg * np.where(inject_kg > 0.0, inject_c, 0.0)
    node_c = np.full((nodes, steps), np.nan)
    content_c = np.full((len(start), steps + 1), np.nan)
    rate = loss_w_k / (1000.0 * content_kg * heat_capacity_kj_kg_k)
    for level, group in _levels(start, end, rank):
        node_c[level] = _mixed(mass[level], heat[level], ground_c)
        if len(group):
            inlet = node_c[start[group]]
            outlet, content_c[group] = _through(
                inlet, flow_kg[group], content_kg[group], rate[group], ground_c, step_s
            )
            np.add.at(mass, end[group], flow_kg[group])
            np.add.at(heat, end[group], flow_kg[group] * outlet)
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


def _through(
    inlet_c: FloatArray,
    flow_kg: FloatArray,
    content_kg: FloatArray,
    rate_1_s: FloatArray,
    ground_c: float,
    step_s: float,
) -> tuple[FloatArray, FloatArray]:
    """Temperature that leaves pipes in each step and that of their content at its edges."""
    pipes, steps = flow_kg.shape
    held = content_kg[:, None]
    gone = np.zeros((pipes, steps + 1))
    np.cumsum(flow_kg, axis=1, out=gone[:, 1:])
    warmth = np.zeros((pipes, steps + 1))
    np.cumsum(flow_kg * inlet_c, axis=1, out=warmth[:, 1:])
    times = step_s * np.arange(steps + 1)
    usual = flow_kg.mean(axis=1, keepdims=True)
    flows = usual > _LEAST_KG
    before_s = np.where(flows, held / np.where(flows, usual, 1.0) * step_s, np.inf)
    before_s = np.minimum(before_s, _OLDEST * steps * step_s)
    # Knots of what ever entered, the first filling ahead of all: mass, warmth and time, linear between.
    mass_at = np.concatenate([-held, gone], axis=1)
    warmth_at = np.concatenate([-held * inlet_c[:, :1], warmth], axis=1)
    time_at = np.concatenate([-before_s, np.broadcast_to(times, (pipes, steps + 1))], axis=1)
    left, share = _between(mass_at, gone - held)
    warmth_out = _at(warmth_at, left, share)
    age_s = times - _at(time_at, left, share)
    out_kg = np.diff(gone, axis=1)
    passes = out_kg > _LEAST_KG
    raw_out = np.where(passes, np.diff(warmth_out, axis=1) / np.where(passes, out_kg, 1.0), ground_c)
    rate = rate_1_s[:, None]
    age_out_s = (age_s[:, 1:] + age_s[:, :-1]) / 2.0
    outlet = ground_c + (raw_out - ground_c) * np.exp(-rate * age_out_s)
    # While nothing comes in, even the youngest water in the pipe grows older.
    came = np.concatenate([np.ones((pipes, 1), dtype=bool), passes], axis=1)
    youngest_s = times - np.maximum.accumulate(np.where(came, times, 0.0), axis=1)
    spent = rate * np.maximum(age_s - youngest_s, 0.0)
    shrink = np.where(spent > 1e-9, -np.expm1(-spent) / np.where(spent > 1e-9, spent, 1.0), 1.0)
    shrink *= np.exp(-rate * youngest_s)
    content = ground_c + ((warmth - warmth_out) / held - ground_c) * shrink
    return outlet, content


def _between(knots: FloatArray, asked: FloatArray) -> tuple[IntArray, FloatArray]:
    """Row by row, the knot at or before each asked value and how far it lies towards the next."""
    rows, width = knots.shape
    span = float((knots[:, -1] - knots[:, 0]).max(initial=0.0)) + 1.0
    shift = (np.arange(rows) * 2.0 * span)[:, None] - knots[:, :1]
    found = np.searchsorted((knots + shift).ravel(), (asked + shift).ravel(), side="right") - 1
    left = np.clip(found.reshape(asked.shape) - (np.arange(rows) * width)[:, None], 0, width - 2)
    low, high = np.take_along_axis(knots, left, axis=1), np.take_along_axis(knots, left + 1, axis=1)
    wide = high > low
    share = np.where(wide, (asked - low) / np.where(wide, high - low, 1.0), 0.0)
    return left, np.clip(share, 0.0, 1.0)


def _at(values: FloatArray, left: IntArray, share: FloatArray) -> FloatArray:
    low, high = np.take_along_axis(values, left, axis=1), np.take_along_axis(values, left + 1, axis=1)
    return np.asarray(low + (high - low) * share)
