"""Heat of every device of a network made to balance, and how far each meter stands out, per window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.accuracy import COVERAGE_FACTOR
from models.metered_tree import MeteredTree
from models.network_heat import meter_u_gj
from models.reconcile import Reconciled, Suspect, reconcile, serial_elimination
from streams.core.heat_meters import HeatMeters, heat_meters
from streams.core.network_rows import NetworkRows
from streams.core.network_traffic import learnt_pipes_of
from streams.core.operator import network_operator

__all__ = ["ReconciledHeat", "reconciled_heat"]

FloatArray = NDArray[np.float64]

_NET: Final = "network"
_LEAST_GJ: Final = 1e-6  # a counter's last digit: no meter is exact
_UNSOUND: Final = 0.001
"""How often sound meters of a window are taken for unsound ones: once in some forty days of hours."""


@dataclass(frozen=True, slots=True)
class ReconciledHeat:
    """Rows of `reconciled_heat`, one a device; NaN is absent. `model` is that of the balance."""

    heat_gj: FloatArray
    adjustment_gj: FloatArray
    test_statistic: FloatArray
    off_gj: FloatArray
    off_u_gj: FloatArray
    suspect: FloatArray
    coverage: FloatArray
    reason: NDArray[np.object_]
    model: str = ""


@dataclass(frozen=True, slots=True)
class _Measured:
    """What is known of a window: heat of each registered meter, and of what stands behind it."""

    heat_gj: FloatArray
    u_gj: FloatArray
    secondary_gj: FloatArray
    secondary_u_gj: FloatArray


@network_operator(
    reads=("device_heat", "network_heat"), optional=("secondary_heat", "signature", "pipe_loss"),
    subject="device", writes=ReconciledHeat,
)  # fmt: skip
def reconciled_heat(rows: NetworkRows) -> ReconciledHeat | None:
    """Weighted least squares over plants, consumers and their secondary loops, by the meters' classes.

    What the network lost, stored and leaked is a stream like any other, of the balance's own uncertainty.
    Without a balance only substations with a secondary flow meter are checked. Where sound meters would not
    disagree as much, the likeliest fault is taken out, and the next, until the rest agrees.
    """
    meters = heat_meters(rows)
    if rows.filling and meters.window.start == meters.window.stop:
        return None
    got = _measured(rows, meters)
    rest_gj, rest_u_gj = _rest(rows, meters, got)
    tree, values, u, first = _tree(meters, got, rest_gj, rest_u_gj)
    done, settled, suspects = _settled(tree, values, u)
    place = {device.device: at for at, device in enumerate(meters.devices)}
    count = len(rows.devices)
    numbers = _numbered(tree, suspects)
    heat, moved_by, statistic, off, off_u, number = np.full((6, count), np.nan)
    out = ReconciledHeat(
        heat, moved_by, statistic, off, off_u, number, np.zeros(count),
        np.full(count, "no_heat", dtype=object), _model(rows, meters),
    )  # fmt: skip
    coverage = _coverage(rows, meters)
    for row, index in enumerate(rows.devices.tolist()):
        at = place.get(rows.site.ids[index])
        if at is None:
            continue
        stream = first[at]
        out.coverage[row] = coverage[at]
        out.reason[row] = "gap"
        if stream < 0:
            continue
        kept = done if np.isnan(settled.value[stream]) else settled
        moved, plain = kept.adjustment[stream], float(kept.value[stream] - values[stream])
        out.heat_gj[row] = kept.value[stream]
        out.adjustment_gj[row] = plain if np.isnan(moved) else moved
        out.test_statistic[row] = done.statistic[stream]
        out.off_gj[row], out.off_u_gj[row] = done.size[stream], done.size_u[stream]
        out.suspect[row] = numbers[stream]
        out.reason[row] = "no_balance" if np.isnan(done.statistic[stream]) else ""
    return out


def _settled(
    tree: MeteredTree, values: FloatArray, u: FloatArray
) -> tuple[Reconciled, Reconciled, tuple[Suspect, ...]]:
    """All streams reconciled, the same without what is wrong, and what that is.

    A fault that looks like another one is named with it and stays in: which of them to leave out is a guess.
    """
    done = reconcile(tree, values, u)
    if not done.fails(_UNSOUND):
        return done, done, ()
    without, suspects = serial_elimination(tree, values, u, alpha=_UNSOUND)
    alone = all(len(s.streams) + len(s.nodes) == 1 for s in suspects)
    return done, without if alone else done, suspects


def _numbered(tree: MeteredTree, suspects: Sequence[Suspect]) -> FloatArray:
    """Per stream the first fault that its meter, what is behind it, or its second meter would explain."""
    numbers = np.full(len(tree.sink), np.nan)
    for number in range(len(suspects), 0, -1):
        suspect = suspects[number - 1]
        streams = np.asarray(suspect.streams, dtype=np.int64)
        nodes = np.union1d(np.asarray(suspect.nodes, dtype=np.int64), tree.source[streams])
        numbers[np.isin(tree.sink, nodes[nodes > 0])] = number
        numbers[streams] = number
    return numbers


def _model(rows: NetworkRows, meters: HeatMeters) -> str:
    """What the balance of the window rests on of that which was learnt."""
    _, of_pipes = learnt_pipes_of(rows)
    lacking = np.isnan(meters["heat_gj"][meters.window][:, ~meters.is_plant]).any()
    signed = rows.has("signature") and bool(np.isfinite(rows.learnt("signature", "slope_kw_k")).any())
    return ",".join(m for m in (of_pipes, rows.model("signature") if lacking and signed else "") if m)


def _measured(rows: NetworkRows, meters: HeatMeters) -> _Measured:
    """Sums over the steps of the window that count, NaN where one lacks a value. [GJ]"""
    inside = meters.window
    if inside.start == inside.stop:
        nothing = np.full((4, len(meters.devices)), np.nan)
        return _Measured(*nothing)
    heat = meters["heat_gj"][inside]
    u = meter_u_gj(
        heat, meters["heat_u_gj"][inside], (meters["supply_c"] - meters["return_c"])[inside],
        meters["coverage"][inside],
    )  # fmt: skip
    behind, behind_u = np.full((2, len(meters.devices)), np.nan)
    if rows.has("secondary_heat"):
        column = {name: at for at, name in enumerate(rows.site.ids[n] for n in rows.devices)}
        mine = np.array([column.get(d.device, -1) for d in meters.devices], dtype=np.int64)
        said = [rows("secondary_heat", name)[inside].sum(axis=0) for name in ("heat_gj", "heat_u_gj")]
        is_here = mine >= 0
        behind[is_here], behind_u[is_here] = (s[mine[is_here]] for s in said)
    return _Measured(heat.sum(axis=0), np.maximum(u, _LEAST_GJ), behind, behind_u / COVERAGE_FACTOR)


def _rest(rows: NetworkRows, meters: HeatMeters, got: _Measured) -> tuple[float, float]:
    """What left the network otherwise than through a meter, and its standard uncertainty. [GJ]"""
    at = rows.window.start
    residual, residual_u = (float(rows("network_heat", n)[at]) for n in ("residual_gj", "residual_u_gj"))
    plants = got.heat_gj[meters.is_plant]
    known = ~meters.is_plant & ~np.isnan(got.heat_gj)
    rest = float(plants.sum()) - float(got.heat_gj[known].sum()) - residual
    squares = (residual_u / COVERAGE_FACTOR) ** 2 - float((got.u_gj[meters.is_plant] ** 2).sum())
    squares -= float((got.u_gj[known] ** 2).sum())
    return rest, float(np.sqrt(max(squares, _LEAST_GJ**2))) if np.isfinite(squares) else np.nan


def _tree(
    meters: HeatMeters, got: _Measured, rest_gj: float, rest_u_gj: float
) -> tuple[MeteredTree, FloatArray, FloatArray, list[int]]:
    """Streams with what is measured of them, and the stream of each device's meter, -1 where it has none."""
    nodes, values, u, first = [_NET], [rest_gj], [rest_u_gj], list[int]()
    streams: list[tuple[str, str | None, str | None]] = [("rest", _NET, None)]
    checked = ~np.isnan(got.secondary_gj) & ~np.isnan(got.secondary_u_gj) & (got.secondary_gj > 0.0)
    for at, device in enumerate(meters.devices):
        if np.isnan(got.heat_gj[at]):
            # Of a consumer the rest has an estimate; without a plant there is no rest.
            first.append(-1)
            continue
        name = device.device
        first.append(len(streams))
        behind = name if checked[at] and not meters.is_plant[at] else None
        streams.append((name, None, _NET) if meters.is_plant[at] else (name, _NET, behind))
        values.append(float(got.heat_gj[at]))
        u.append(float(got.u_gj[at]))
        if behind is not None:
            nodes.append(behind)
            streams.append((f"{name} secondary", behind, None))
            values.append(float(got.secondary_gj[at]))
            u.append(max(float(got.secondary_u_gj[at]), _LEAST_GJ))
    return MeteredTree.of(nodes, streams), np.array(values), np.array(u), first


def _coverage(rows: NetworkRows, meters: HeatMeters) -> FloatArray:
    """Share of the window that readings of each meter cover."""
    inside = np.nan_to_num(meters["coverage"][meters.window])
    return np.asarray(inside.sum(axis=0) / (rows.window.stop - rows.window.start))
