"""Energy signature and heat index of each device and network, per local day, by the days of the last year."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.energy_signature import fit_signature
from models.heat_index import heat_index
from models.results import Status
from streams.core.local_days import day_bounds_ms
from streams.core.network_loads import HEAT, WEATHER, NetworkDevices, learnt_table, networks_of
from streams.core.network_rows import Settled
from streams.core.operator import learner
from streams.core.packing import packed, unpacked

__all__ = ["DAYS", "MIN_KNOWN", "signature"]

FloatArray = NDArray[np.float64]
State = dict[str, Any]

VERSION: Final = 1
FIELDS: Final = ("base_kw", "slope_kw_k", "balance_c", "sigma_kw", "w_m2", "gj_m2")
DAYS: Final = 366
"""Days that are remembered: a winter and a summer."""
MIN_KNOWN: Final = 0.9
"""Share of a day in which heat, and outdoor temperature, have to be known."""
_STEP_S: Final = 900.0
_NO_CLIMATE: Final = frozenset({"no_design_c", "no_season_c"})


@learner(reads=(HEAT, WEATHER), version=VERSION, fields=FIELDS)
def signature(state: State | None, settled: Settled) -> tuple[State, pa.Table | None]:
    """Add up the local day, and at its end fit the signature to all days that are remembered.

    A day that is not known enough is not learnt; its row says so, and gives what the other days tell.
    """
    zone = settled.site.site.timezone
    if state is None:
        day_ms, end_ms = day_bounds_ms(settled.start_ms, zone)
        state = {"day_ms": day_ms, "end_ms": end_ms, "networks": {}}
    networks = networks_of(settled.site.site, settled.stream)
    kept: dict[str, State] = {}
    for each in networks:
        kept[each.network.id] = _add(each, state["networks"].get(each.network.id), settled)
    state = {**state, "networks": kept}
    if settled.end_ms < state["end_ms"]:
        return state, None
    tables = []
    for each in networks:
        kept[each.network.id], table = _day(each, kept[each.network.id], state, settled)
        tables.append(table)
    day_ms, end_ms = day_bounds_ms(settled.end_ms, zone)
    return {"day_ms": day_ms, "end_ms": end_ms, "networks": kept}, pa.concat_tables(
        tables
    ) if tables else None


def _add(each: NetworkDevices, kept: Mapping[str, Any] | None, settled: Settled) -> State:
    """Add a step to a network's day."""
    subjects = each.subjects
    if kept is None or kept["subjects"] != subjects:
        kept = _joined(kept, subjects)
    heat, outdoor = each.heat_gj(settled), each.outdoor_c(settled)
    today = unpacked(kept["today"])  # heat [GJ], its seconds, by subject
    known = ~np.isnan(heat)
    today += np.where(known, np.array([np.nan_to_num(heat), np.full(len(heat), _STEP_S)]), 0.0)
    warmth = list(kept["warmth"])  # temperature · seconds [°C s], its seconds
    if not np.isnan(outdoor):
        warmth = [warmth[0] + outdoor * _STEP_S, warmth[1] + _STEP_S]
    return {**kept, "today": packed(today), "warmth": warmth}


def _joined(kept: Mapping[str, Any] | None, subjects: list[str]) -> State:
    """State for `subjects`, with what was known of those among them."""
    today = np.zeros((2, len(subjects)))
    if kept is None:
        days = np.empty((0, len(subjects)), dtype=np.float32)
        return {"subjects": subjects, "today": packed(today), "warmth": [0.0, 0.0], "days": packed(days),
                "outdoor": packed(np.empty(0, dtype=np.float32))}  # fmt: skip
    before = {name: at for at, name in enumerate(kept["subjects"])}
    place = np.array([before.get(name, -1) for name in subjects], dtype=np.int64)
    there = place >= 0
    old_today, old_days = unpacked(kept["today"]), unpacked(kept["days"])
    days = np.full((len(old_days), len(subjects)), np.nan, dtype=np.float32)
    today[:, there], days[:, there] = old_today[:, place[there]], old_days[:, place[there]]
    return {**kept, "subjects": subjects, "today": packed(today), "days": packed(days)}


def _day(each: NetworkDevices, kept: State, state: State, settled: Settled) -> tuple[State, pa.Table]:
    """Close a network's day."""
    length_s = (state["end_ms"] - state["day_ms"]) / 1000.0
    heat, seconds = unpacked(kept["today"])
    coverage = seconds / length_s
    with np.errstate(invalid="ignore", divide="ignore"):
        power = np.where(coverage >= MIN_KNOWN, heat / seconds * 1e6, np.nan)
    outdoor = kept["warmth"][0] / kept["warmth"][1] if kept["warmth"][1] >= MIN_KNOWN * length_s else np.nan
    days = np.append(unpacked(kept["days"]), power[None].astype(np.float32), axis=0)[-DAYS:]
    outdoors = np.append(unpacked(kept["outdoor"]), np.float32(outdoor)).astype(np.float32)[-DAYS:]
    fit = fit_signature(days, outdoors)
    network, area = each.network, _areas_m2(each)
    index = heat_index(days, outdoors, area, network.design_c, network.season_c, network.season_days)
    reason = _reasons(each, fit.reason, power, float(outdoor), area)
    final = [r == "" or r in _NO_CLIMATE for r in reason]
    n = len(reason)
    columns = {
        "base_kw": fit.base_kw, "slope_kw_k": fit.slope_kw_k, "balance_c": fit.balance_c,
        "sigma_kw": fit.sigma_kw, "w_m2": index.w_m2, "gj_m2": index.gj_m2, "coverage": coverage,
    }  # fmt: skip
    rest = {
        "key": kept["subjects"],
        "window_start": [state["day_ms"]] * n,
        "window_ms": [state["end_ms"] - state["day_ms"]] * n,
        "status": [Status.FINAL if f else Status.UNKNOWN for f in final],
        "reason": reason,
    }
    table = learnt_table(settled, network, columns, rest, f"signature/{VERSION}")
    begun = {"today": packed(np.zeros((2, n))), "warmth": [0.0, 0.0]}
    return {**kept, **begun, "days": packed(days), "outdoor": packed(outdoors)}, table


def _areas_m2(each: NetworkDevices) -> FloatArray:
    """Heated area of each subject: a plant's and the network's is that of all consumers, if it is known."""
    own = np.array([d.area_m2 or np.nan for d in each.devices])
    whole = own[~each.is_plant].sum() if not each.is_plant.all() else np.nan
    return np.append(np.where(each.is_plant, whole, own), whole)


def _reasons(
    each: NetworkDevices, of_fit: NDArray[np.object_], power: FloatArray, outdoor_c: float, area: FloatArray
) -> list[str]:
    """Why a row is unknown, or its index absent: of several reasons the one that goes deepest."""
    network = each.network
    reason = np.full(len(power), "", dtype=object)
    if network.season_c is None or network.season_days is None:
        reason[:] = "no_season_c"
    if network.design_c is None:
        reason[:] = "no_design_c"
    reason[np.isnan(area)] = "no_area"
    reason[np.isnan(power)] = "coverage"
    if np.isnan(outdoor_c):
        reason[:] = "no_outdoor"
    reason = np.where(of_fit != "", of_fit, reason)
    if not each.is_plant.any():
        reason[-1] = "no_plant"
    return [str(r) for r in reason]
