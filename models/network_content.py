"""What stands in a network's pipes over a window: heat lost through their walls, heat and water stored."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.pipe import GROUND_K
from models.pipe_network import PipeNetwork
from models.plug_flow import travel
from models.secondary_heat import sensor_mpe_k
from models.water import density_kg_m3, enthalpy_kj_kg, heat_capacity_kj_kg_k

__all__ = ["Contents", "Traffic", "lumped_contents", "piped_contents"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

STEP_S: Final = 900.0
_PARTS: Final = 3  # of a step: a front stays sharp to a few minutes over many pipes
_STORED_SHARE: Final = 0.05  # steel of the walls (up to 8 % of the water's), diameters, flows
_SWELLING_SHARE: Final = 0.05 / np.sqrt(3.0)
# Walls widen by 2 to 3 times 12e-6 /K where water does by 6e-4 /K, and what was laid is not what was drawn.
_LUMPED_SHARE: Final = 0.30
_UNSEEN_K: Final = 1.0  # at least: temperature of water that entered before the history began
_GJ: Final = 1e-6  # of a kJ


@dataclass(frozen=True, slots=True)
class Traffic:
    """Water through plants and substations by step of 15 minutes; arrays of shape (steps, devices).

    Attributes
    ----------
    flow_kg : ndarray
        Mass in each step, zero or more. [kg]
    supply_c, return_c : ndarray
        [°C]
    is_plant : ndarray of bool, shape (devices,)
    node : ndarray of int64, shape (devices,)
        Where each is joined to the pipes, -1 where that is unknown.
    window : slice
        The steps of the window; those before it are history.
    """

    flow_kg: FloatArray
    supply_c: FloatArray
    return_c: FloatArray
    is_plant: BoolArray
    node: IntArray
    window: slice


@dataclass(frozen=True, slots=True)
class Contents:
    """What pipes lost and stored over a window.

    Attributes
    ----------
    loss_gj : float
    stored_gj, stored_kg : float
        Rise of the pipes' content, enthalpy over 0 °C and mass. [GJ], [kg]
    u_gj : float
        Standard uncertainty of loss and storage together. [GJ]
    supply_kg : float
        The part of `stored_kg` in the supply pipes. [kg]
    stored_u_kg : float
        Standard uncertainty of `stored_kg`. [kg]
    """

    loss_gj: float
    stored_gj: float
    stored_kg: float
    u_gj: float
    supply_kg: float = 0.0
    stored_u_kg: float = 0.0


def piped_contents(
    pipes: PipeNetwork, traffic: Traffic, ground_c: float, *, swelling: bool = True
) -> Contents:
    r"""Follow water through registered pipes.

    Flows are those that the substations take; plants share in them as they measure. Loss is
    :math:`\sum U L (\bar T - T_g)` over both pipes of every pair, storage
    :math:`\sum V [\rho h(t_1) - \rho h(t_0)]` with the mean temperature of each pipe's content.

    Parameters
    ----------
    pipes : PipeNetwork
        Joined to every plant.
    traffic : Traffic
        Without NaN; each plant has its node.
    ground_c : float
        [°C]
    swelling : bool
        Whether `stored_u_kg` is wanted: water is followed once more for it, through wider pipes.

    References
    ----------
    .. [1] EN 13941-1, heat loss; S. Frederiksen, S. Werner, District Heating and Cooling, 2013, chapter 5.
    """
    drawn, given = _at_nodes(pipes, traffic)
    root = int(traffic.node[traffic.is_plant][0])
    flow_kg, rank = pipes.flows((drawn.kg - given.kg) / STEP_S, root)
    forward = rank[pipes.up] < rank[pipes.down]
    start, end = np.where(forward, pipes.up, pipes.down), np.where(forward, pipes.down, pipes.up)
    # Around a loop water may turn for a while: it then stands here.
    moved = np.maximum(np.where(forward, 1.0, -1.0)[:, None] * flow_kg * STEP_S, 0.0)
    supply = _Side(start, end, rank, given.kg, given.supply_c)
    back = _Side(end, start, len(rank) - 1 - rank, drawn.kg, drawn.return_c)
    low, high = (traffic.window.start * _PARTS, traffic.window.stop * _PARTS)
    seconds = STEP_S * (traffic.window.stop - traffic.window.start)
    loss_gj = stored_gj = own_gj = squares = unseen_kg2 = single_kg2 = wider_kg = 0.0
    gained_kg = []
    for side in (supply, back):
        content_c = _content_c(pipes, side, moved, ground_c)
        before, after = content_c[:, low], content_c[:, high]
        mean_c = np.trapezoid(content_c[:, low : high + 1], axis=1) / (high - low)
        lost_gj = pipes.loss_w_k * (mean_c - ground_c) * seconds * 1e-9
        # One foam, one trench: what U is off by it is off by in all pipes alike.
        own_gj += float((pipes.loss_share * np.abs(lost_gj)).sum())
        gained_gj = _stored_gj(pipes.volume_m3, before, after)
        loss_gj, stored_gj = loss_gj + float(lost_gj.sum()), stored_gj + gained_gj
        swelling_kg = pipes.volume_m3 * (density_kg_m3(after) - density_kg_m3(before))
        gained_kg.append(float(swelling_kg.sum()))
        single_kg2 += float((_SWELLING_SHARE * swelling_kg) @ (_SWELLING_SHARE * swelling_kg))
        if swelling:
            wider_kg += _wider_kg(pipes, side, moved, ground_c, (low, high)) - gained_kg[-1]
            single_kg2 += _blurred_kg(side) ** 2
        squares += (_STORED_SHARE * gained_gj) ** 2
        unseen_gj = _unseen_gj(pipes, side, content_c, traffic.window)
        squares += unseen_gj**2
        unseen_kg2 += (unseen_gj * _shrinking_kg_gj(float(content_c.mean()))) ** 2
    ground_gj = 2.0 * float(pipes.loss_w_k.sum()) * GROUND_K * seconds * 1e-9
    u_gj = float(np.sqrt(squares + own_gj**2 + ground_gj**2))
    stored_kg = sum(gained_kg)
    u_kg = float(np.sqrt(wider_kg**2 + single_kg2 + unseen_kg2)) if swelling else np.nan
    return Contents(loss_gj, stored_gj, stored_kg, u_gj, gained_kg[0], u_kg)


@dataclass(frozen=True, slots=True)
class _Drawn:
    """Water at nodes, shape (nodes, steps): mass [kg] and the temperatures of its supply and return [°C]."""

    kg: FloatArray
    supply_c: FloatArray
    return_c: FloatArray


@dataclass(frozen=True, slots=True)
class _Side:
    """One pipe of every pair: which way its water goes, and what enters it."""

    start: IntArray
    end: IntArray
    rank: IntArray
    inject_kg: FloatArray
    inject_c: FloatArray


def _at_nodes(pipes: PipeNetwork, traffic: Traffic) -> tuple[_Drawn, _Drawn]:
    """What substations draw and what plants give at each node, the same in all."""
    size = len(pipes.nodes)
    takes, gives = ~traffic.is_plant, traffic.is_plant
    drawn = _summed(traffic, takes & (traffic.node >= 0), size)
    nowhere = traffic.flow_kg[:, takes & (traffic.node < 0)].sum(axis=1)
    if nowhere.any() and drawn.kg.any():
        # Nobody says where they stand: as the others do.
        whole = drawn.kg.sum(axis=0)
        drawn.kg[:] *= 1.0 + np.where(whole > 0.0, nowhere / np.where(whole > 0.0, whole, 1.0), 0.0)
    given = _summed(traffic, gives & (traffic.node >= 0), size)
    whole, metered = drawn.kg.sum(axis=0), given.kg.sum(axis=0)
    even = np.zeros(size)
    even[traffic.node[gives]] = 1.0 / len(np.unique(traffic.node[gives]))
    share = np.where(metered > 0.0, given.kg / np.where(metered > 0.0, metered, 1.0), even[:, None])
    given.kg[:] = share * whole
    return drawn, given


def _summed(traffic: Traffic, members: BoolArray, size: int) -> _Drawn:
    kg, hot, cold, number = (np.zeros((size, len(traffic.flow_kg))) for _ in range(4))
    flow, node = traffic.flow_kg[:, members].T, traffic.node[members]
    # A little weight for those without flow, so that their temperature stands where nobody's flows.
    weight = flow + 1e-9
    np.add.at(kg, node, flow)
    np.add.at(number, node, weight)
    np.add.at(hot, node, weight * traffic.supply_c[:, members].T)
    np.add.at(cold, node, weight * traffic.return_c[:, members].T)
    some = np.where(number > 0.0, number, 1.0)
    return _Drawn(kg, hot / some, cold / some)


def _content_c(pipes: PipeNetwork, side: _Side, moved_kg: FloatArray, ground_c: float) -> FloatArray:
    """Mean temperature of each pipe's content at the edges of parts of steps. [°C]"""
    whole = float(side.inject_kg.sum())
    usual_c = float((side.inject_kg * side.inject_c).sum() / whole) if whole > 0.0 else ground_c
    return travel(
        side.start,
        side.end,
        side.rank,
        np.repeat(moved_kg / _PARTS, _PARTS, axis=1),
        np.repeat(side.inject_kg / _PARTS, _PARTS, axis=1),
        np.repeat(side.inject_c, _PARTS, axis=1),
        pipes.volume_m3 * density_kg_m3(usual_c),
        pipes.loss_w_k,
        ground_c,
        float(heat_capacity_kj_kg_k(usual_c)),
        STEP_S / _PARTS,
    ).content_c


def _wider_kg(
    pipes: PipeNetwork, side: _Side, moved_kg: FloatArray, ground_c: float, edges: tuple[int, int]
) -> float:
    """What a side's pipes would take up if all held more than registered, by its standard uncertainty. [kg]

    They swell by more; and they are passed later, so that other water is in them.
    """
    wider = replace(pipes, volume_m3=pipes.volume_m3 * (1.0 + _SWELLING_SHARE))
    content_c = _content_c(wider, side, moved_kg, ground_c)
    before, after = (density_kg_m3(content_c[:, edge]) for edge in edges)
    return float((wider.volume_m3 * (after - before)).sum())


def _blurred_kg(side: _Side) -> float:
    """What is unsure of a content at both edges of a window, for temperatures are means of steps. [kg]

    A temperature that rises evenly over a step is off by a half of its change at the ends of it; what has
    left by then in the middle of the step is off by an eighth of the step's mass times that change.
    """
    density = density_kg_m3(side.inject_c)
    change = np.abs(np.diff(density, axis=1)) / density[:, 1:]
    off_kg = (side.inject_kg[:, 1:] * change).sum(axis=0) / 8.0
    return float(np.sqrt(2.0 * np.mean(off_kg**2))) if off_kg.size else 0.0


def _stored_gj(volume_m3: FloatArray, before_c: FloatArray, after_c: FloatArray) -> float:
    held = [density_kg_m3(t) * enthalpy_kj_kg(t) for t in (before_c, after_c)]
    return float((volume_m3 * (held[1] - held[0])).sum() * _GJ)


def _unseen_gj(pipes: PipeNetwork, side: _Side, content_c: FloatArray, window: slice) -> float:
    """Standard uncertainty from water of before the history that leaves in the window. [GJ]"""
    held_kg = float(pipes.volume_m3.sum() * density_kg_m3(float(content_c.mean())))
    passed = np.append(0.0, np.cumsum(side.inject_kg.sum(axis=0)))
    left = np.maximum(held_kg - passed, 0.0)
    spread_k = max(float(np.std(content_c.mean(axis=0))), _UNSEEN_K)
    capacity = float(heat_capacity_kj_kg_k(float(content_c.mean())))
    return float(left[window.start] - left[window.stop]) * capacity * spread_k * _GJ


def _shrinking_kg_gj(temperature_c: float) -> float:
    """Water that a full pipe takes up for each GJ that its content cools by. [kg/GJ]"""
    colder, warmer = density_kg_m3(temperature_c - 1.0), density_kg_m3(temperature_c + 1.0)
    share_1_k = float(colder - warmer) / 2.0 / float(density_kg_m3(temperature_c))
    return share_1_k / float(heat_capacity_kj_kg_k(temperature_c)) / _GJ


def lumped_contents(
    volume_m3: float, traffic: Traffic, loss_w_k: tuple[float, float] | None, ground_c: float
) -> Contents:
    """Loss and storage where nobody knows how the pipes run: two stores of half the volume.

    Each is as warm as the mean of its ends, the plants' and the substations'. Without `loss_w_k` the heat
    that temperatures fall by on the way is what was lost and stored together; its uncertainty is that of
    the sensors, for one pair may be off by as much as its class allows.

    Parameters
    ----------
    volume_m3 : float
        Water in supply and return pipes together. [m³]
    traffic : Traffic
        Without NaN.
    loss_w_k : tuple of float or None
        U times length of all pipes of one side [W/K], and its standard uncertainty over itself.
    ground_c : float
        Not used without `loss_w_k`. [°C]
    """
    window = traffic.window
    seconds = STEP_S * (window.stop - window.start)
    ends = [(_mean_c(c, traffic, traffic.is_plant), _mean_c(c, traffic, ~traffic.is_plant))
            for c in (traffic.supply_c, traffic.return_c)]  # fmt: skip
    sides = [(a + b) / 2.0 for a, b in ends]
    stored_gj = 0.0
    gained_kg = []
    for side_c in sides:
        before, after = _edge_c(side_c, window.start), _edge_c(side_c, window.stop)
        half = np.array([volume_m3 / 2.0])
        stored_gj += _stored_gj(half, before, after)
        gained_kg.append(float((half * (density_kg_m3(after) - density_kg_m3(before)))[0]))
    stored_kg, u_kg = sum(gained_kg), _LUMPED_SHARE * float(np.hypot(gained_kg[0], gained_kg[1]))
    if loss_w_k is not None:
        above = sum(float(side_c[window].mean()) for side_c in sides) - 2.0 * ground_c
        loss_gj = loss_w_k[0] * above * seconds * 1e-9
        ground_gj = 2.0 * loss_w_k[0] * GROUND_K * seconds * 1e-9
        u = np.sqrt((loss_w_k[1] * loss_gj) ** 2 + ground_gj**2 + (_LUMPED_SHARE * stored_gj) ** 2)
        return Contents(loss_gj, stored_gj, stored_kg, float(u), gained_kg[0], u_kg)
    dropped_gj, u_gj = _dropped_gj(ends, traffic)
    return Contents(dropped_gj - stored_gj, stored_gj, stored_kg, u_gj, gained_kg[0], u_kg)


def _mean_c(temperature_c: FloatArray, traffic: Traffic, members: BoolArray) -> FloatArray:
    """Mean over devices weighted by flow, shape (steps,). [°C]"""
    weight = traffic.flow_kg[:, members] + 1e-9
    return np.asarray((weight * temperature_c[:, members]).sum(axis=1) / weight.sum(axis=1))


def _edge_c(side_c: FloatArray, step: int) -> FloatArray:
    """Temperature at the beginning of a step: midway between two means, at the ends straight on."""
    if len(side_c) == 1:
        return side_c[:1]
    low = min(max(step - 1, 0), len(side_c) - 2)
    return np.asarray(side_c[low : low + 1] + (side_c[low + 1] - side_c[low]) * (step - low - 0.5))


def _dropped_gj(ends: list[tuple[FloatArray, FloatArray]], traffic: Traffic) -> tuple[float, float]:
    """Heat that temperatures fall by between plants and substations, and its standard uncertainty. [GJ]"""
    window, takes = traffic.window, ~traffic.is_plant
    flow = traffic.flow_kg[window][:, takes]
    (given_c, _), (returned_c, _) = ends
    out = enthalpy_kj_kg(given_c[window])[:, None] - enthalpy_kj_kg(traffic.supply_c[window][:, takes])
    home = enthalpy_kj_kg(traffic.return_c[window][:, takes]) - enthalpy_kj_kg(returned_c[window])[:, None]
    dropped = float((flow * (out + home)).sum() * _GJ)
    each_kj_k = flow.sum(axis=0) * 4.19
    hot_k, cold_k = (float(sensor_mpe_k(c[window].mean())) / np.sqrt(3.0) for c in (given_c, returned_c))
    squares = (hot_k**2 + cold_k**2) * (each_kj_k.sum() ** 2 + (each_kj_k**2).sum())
    return dropped, float(np.sqrt(squares)) * _GJ
