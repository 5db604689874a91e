"""What network operators share: the meters of a network, its water by step, and what lies in its pipes."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.accuracy import COVERAGE_FACTOR
from models.missing_heat import held_in_time
from models.network_content import Contents, Traffic, lumped_contents, piped_contents
from models.pipe_network import PipeNetwork
from models.water import HIGHEST_C, LOWEST_C, density_kg_m3
from streams.core.heat_meters import HeatMeters
from streams.core.network_rows import NetworkRows

__all__ = ["contents_of", "learnt_pipes_of", "pipes_of", "traffic_of", "why_no_traffic"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_BRIDGED_STEPS: Final = 4
"""Over so many steps temperatures of a plant are taken to go straight from one to the next that is known."""


def traffic_of(meters: HeatMeters, pipes: PipeNetwork | None) -> Traffic | None:
    """Flows and temperatures with what is missing filled in; None where no plant gives its temperatures."""
    plant, window = meters.is_plant, meters.window
    first = _first_seen(meters)
    upto = slice(first, window.stop)
    # Sensors of pipes that stand in the frost say a little less than 0 °C: what flows is water all the same.
    supply, back = (
        np.clip(held_in_time(meters[name][upto]), LOWEST_C, HIGHEST_C) for name in ("supply_c", "return_c")
    )
    _as_the_others(supply, back, plant, meters["volume_m3"][upto])
    if np.isnan(supply[:, plant]).any() or np.isnan(back[:, plant]).any() or _unseen(meters):
        return None
    # Of one that never said its temperatures those of the plants: the pipes have them within a few kelvin.
    supply = np.where(np.isnan(supply), supply[:, plant].mean(axis=1)[:, None], supply)
    back = np.where(np.isnan(back), back[:, plant].mean(axis=1)[:, None], back)
    on_supply = np.array([d.mounting == "supply" for d in meters.devices], dtype=bool)
    volume_m3 = held_in_time(meters["volume_m3"][upto])
    flow_kg = np.maximum(volume_m3 * density_kg_m3(np.where(on_supply, supply, back)), 0.0)
    nodes = pipes.nodes if pipes else {}
    node = np.array([nodes.get(d.node or "", -1) for d in meters.devices], dtype=np.int64)
    inside = slice(window.start - first, window.stop - first)
    return Traffic(_shared_flow(flow_kg, plant), supply, back, plant, node, inside)


def _first_seen(meters: HeatMeters) -> int:
    """Step at which history begins: where the plants' does, or after their last gap of more than an hour.

    Before it nobody saw what went into the pipes.
    """
    start = meters.window.start
    supply = meters["supply_c"][:start, meters.is_plant]
    seen = ~np.isnan(supply).all(axis=1)
    lost = (np.isnan(supply) & (meters["volume_m3"][:start, meters.is_plant] != 0.0)).any(axis=1)
    first, run = int(np.argmax(seen)) if seen.any() else start, 0
    for at, missing in enumerate(lost.tolist()):
        run = run + 1 if missing else 0
        if run > _BRIDGED_STEPS:
            first = max(first, at + 1)
    return first


def _unseen(meters: HeatMeters) -> bool:
    """Whether water passed a plant in the window whose temperature nothing tells, however it is filled in.

    That is over a gap of more than an hour, or for more than a step since it was last known.
    """
    begin, end = meters.window.start, meters.window.stop
    flows = meters["volume_m3"][:end, meters.is_plant] > 0.0
    for name in ("supply_c", "return_c"):
        for lacking in (flows & np.isnan(meters[name][:end, meters.is_plant])).T.tolist():
            run = 0
            for at, missing in enumerate(lacking):
                run = run + 1 if missing else 0
                if at >= begin and run > (_BRIDGED_STEPS if at < end - 1 else 1):
                    return True
    return False


def why_no_traffic(meters: HeatMeters) -> str:
    """Why `traffic_of` has nothing: temperatures are weighted by flow; where nothing flows there are none."""
    passed_m3 = np.nansum(meters["volume_m3"][: meters.window.stop, meters.is_plant])
    return "no_temperature" if passed_m3 > 0.0 else "no_flow"


def _as_the_others(supply: FloatArray, back: FloatArray, plant: BoolArray, volume_m3: FloatArray) -> None:
    """Give plants that stand idle, which therefore have no temperatures, those of the others, in place."""
    idle = plant & (volume_m3 == 0.0).any(axis=0) & ~(volume_m3 > 0.0).any(axis=0)
    at_work = plant & ~idle
    if idle.any() and at_work.any():
        for side in (supply, back):
            side[:, idle & np.isnan(side).any(axis=0)] = side[:, at_work].mean(axis=1, keepdims=True)


def _shared_flow(flow_kg: FloatArray, plant: BoolArray) -> FloatArray:
    """Let those that never said their flow share evenly in what the other side has and the rest leaves."""
    filled = flow_kg.copy()
    for mine, others in ((~plant, plant), (plant, ~plant)):
        silent = mine & np.isnan(filled).all(axis=0)
        if silent.any():
            rest = np.nansum(filled[:, others], axis=1) - np.nansum(filled[:, mine], axis=1)
            filled[:, silent] = (np.maximum(rest, 0.0) / silent.sum())[:, None]
    return filled


def pipes_of(rows: NetworkRows) -> PipeNetwork | None:
    """The registered pipes of the network; None where there are none."""
    registered = [p for p in rows.registry.pipes.values() if p.network == rows.network.id]
    return PipeNetwork.of(registered) if registered else None


def learnt_pipes_of(rows: NetworkRows) -> tuple[PipeNetwork | None, str]:
    """The registered pipes, with what was learnt of their U, and by which model; else as registered."""
    pipes = pipes_of(rows)
    if pipes is None or not rows.has("pipe_loss"):
        return pipes, ""
    factor, u = (float(rows.learnt("pipe_loss", name)) for name in ("u_factor", "u_factor_u"))
    if not (factor > 0.0 and np.isfinite(u)):
        return pipes, ""
    return pipes.losing(factor, u / COVERAGE_FACTOR / factor), rows.model("pipe_loss")


def contents_of(
    meters: HeatMeters,
    rows: NetworkRows,
    pipes: PipeNetwork | None,
    traffic: Traffic,
    ground_c: float | None,
    *,
    swelling: bool = True,
) -> tuple[Contents | None, str]:
    """What the pipes lost and stored, or why nobody can say it; with `swelling` how sure their mass is."""
    volume_m3 = rows.network.volume_m3
    if pipes is None:
        if volume_m3 is None:
            return None, "no_volume"
        return lumped_contents(volume_m3, traffic, None, np.nan), ""
    if ground_c is None:
        return None, "no_ground_c"
    roots = [d.node for d in meters.devices if d.device_class == "plant"]
    if all(node in pipes.nodes for node in roots):
        drawn_kg, placed = traffic.flow_kg[:, ~traffic.is_plant], traffic.node[~traffic.is_plant] >= 0
        apart = pipes.apart([node for node in roots if node]) is not None
        if apart or not drawn_kg.any():
            return None, "pipes_apart" if apart else "no_flow"
        # Water is followed to where it is drawn: where nobody knows that, there is none to follow.
        if drawn_kg[:, placed].any():
            return piped_contents(pipes, traffic, ground_c, swelling=swelling), ""
    loss_w_k = float(pipes.loss_w_k.sum())
    share = float((pipes.loss_w_k * pipes.loss_share).sum()) / max(loss_w_k, 1e-12)
    volume_m3 = 2.0 * float(pipes.volume_m3.sum()) if volume_m3 is None else volume_m3
    return lumped_contents(volume_m3, traffic, (loss_w_k, share), ground_c), ""
