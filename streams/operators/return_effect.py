"""Excess flow and heat transfer of each substation beside its peers, and its effect on the return, by day."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.results import Status
from models.return_effect import rank_of
from models.return_effect import return_effect as effect_of
from models.water import density_kg_m3
from streams.core.local_days import day_bounds_ms
from streams.core.network_loads import HEAT, NetworkDevices, StepColumns, learnt_table, networks_of
from streams.core.network_rows import Settled
from streams.core.operator import learner
from streams.core.packing import packed, unpacked

__all__ = ["MIN_KNOWN", "MIN_WORKED", "return_effect"]

FloatArray = NDArray[np.float64]
State = dict[str, Any]

VERSION: Final = 2
MIN_KNOWN: Final = 0.9
"""Share of a day in which water and return temperature have to be known."""
MIN_WORKED: Final = 0.5
"""Share of a day in which heat transfer has to be known: loads stand still at night."""
_STEP_S: Final = 900.0
_SECONDARY: Final = "secondary_heat"
_KJ_PER_GJ: Final = 1e6
_SUMS: Final = 9
_FEW: Final = 3


@learner(reads=(HEAT, _SECONDARY), version=VERSION)
def return_effect(state: State | None, settled: Settled) -> tuple[State, pa.Table | None]:
    """Add up water, its warmth and excess over the local day, and compare the consumers at its end."""
    zone = settled.site.site.timezone
    if state is None:
        day_ms, end_ms = day_bounds_ms(settled.start_ms, zone)
        state = {"day_ms": day_ms, "end_ms": end_ms, "networks": {}}
    networks = networks_of(settled.site.site, settled.stream)
    kept = {n.network.id: _add(n, state["networks"].get(n.network.id), settled) for n in networks}
    if settled.end_ms < state["end_ms"]:
        return {**state, "networks": kept}, None
    tables = [_day(n, unpacked(kept[n.network.id]["sums"]), state, settled) for n in networks]
    day_ms, end_ms = day_bounds_ms(settled.end_ms, zone)
    return {"day_ms": day_ms, "end_ms": end_ms, "networks": {}}, pa.concat_tables(tables) if tables else None


def _add(each: NetworkDevices, kept: State | None, settled: Settled) -> State:
    """Add a step to a network's day.

    Mass [kg], warmth [kg °C], seconds; excess [m³], [kg], seconds; heat that passed exchangers [kJ], that
    over their heat transfer [K s], seconds.
    """
    ids = each.ids
    sums = np.zeros((_SUMS, len(ids)))
    if kept is not None:
        before = {name: at for at, name in enumerate(kept["ids"])}
        place = np.array([before.get(name, -1) for name in ids], dtype=np.int64)
        sums[:, place >= 0] = unpacked(kept["sums"])[:, place[place >= 0]]
    said = StepColumns(settled, HEAT, ids)
    volume, back, supply, excess = (said(f) for f in ("volume_m3", "return_c", "supply_c", "excess_m3"))
    # Water that stands has no temperature, and moves none.
    back = np.where(volume == 0.0, 0.0, back)
    on_supply = np.array([d.mounting == "supply" for d in each.devices], dtype=bool)
    density = np.where(volume == 0.0, 0.0, density_kg_m3(np.where(on_supply, supply, back)))
    excess = np.where(volume == 0.0, 0.0, excess)
    mass = volume * density
    known = ~np.isnan(mass * back)
    judged = known & ~np.isnan(excess)
    sums[:3] += np.where(known, [mass, mass * back, np.full(len(ids), _STEP_S)], 0.0)
    sums[3:6] += np.where(judged, [excess, excess * density, np.full(len(ids), _STEP_S)], 0.0)
    passed = StepColumns(settled, _SECONDARY, ids)
    heat_kj, ua = passed("heat_gj") * _KJ_PER_GJ, passed("ua_kw_k")
    worked = ~np.isnan(heat_kj * ua)
    with np.errstate(invalid="ignore"):
        sums[6:] += np.where(worked, [heat_kj, heat_kj / ua, np.full(len(ids), _STEP_S)], 0.0)
    return {"ids": ids, "sums": packed(sums)}


def _day(each: NetworkDevices, sums: FloatArray, state: State, settled: Settled) -> pa.Table:
    """Compare the consumers of a network over the day that ended."""
    takes = ~each.is_plant
    mass, warmth, seconds, excess, excess_kg, judged_s, passed_kj, lm_k_s, worked_s = sums[:, takes]
    length_s = (state["end_ms"] - state["day_ms"]) / 1000.0
    coverage = seconds / length_s
    known = coverage >= MIN_KNOWN
    with np.errstate(invalid="ignore", divide="ignore"):
        return_c = np.where(known & (mass > 0.0), warmth / mass, np.nan)
    judged = known & (judged_s >= MIN_KNOWN * length_s)
    excess, excess_kg = (np.where(judged, v, np.nan) for v in (excess, excess_kg))
    effect = effect_of(mass, return_c, excess_kg, each.network.return_ref_c)
    reason = np.full(len(mass), "", dtype=object)
    reason[~judged] = "no_excess"
    reason[np.isnan(effect.effect_k)] = "no_flow"
    if each.network.return_ref_c is None:
        reason[:] = "no_return_ref_c"
    reason[~known] = "coverage"
    with np.errstate(invalid="ignore", divide="ignore"):
        ua = np.where(worked_s >= MIN_WORKED * length_s, passed_kj / lm_k_s, np.nan)
    nominal = np.array([d.qp_m3_h or np.nan for d in each.devices], dtype=np.float64)[takes]
    by_flow = ua / nominal
    columns = {
        "return_c": return_c, "excess_m3": excess, **_among("excess", excess),
        "return_effect_k": effect.effect_k, "return_gain_k": effect.gain_k,
        "ua_kw_k": ua, "ua_kwh_m3_k": by_flow, "ua_usual_kwh_m3_k": _middle(by_flow),
        **_among("ua", -by_flow), "coverage": coverage,
    }  # fmt: skip
    n = len(mass)
    rest = {
        "key": [d.device for d in each.devices if d.device_class != "plant"],
        "window_start": [state["day_ms"]] * n,
        "window_ms": [state["end_ms"] - state["day_ms"]] * n,
        "status": [Status.UNKNOWN if r else Status.FINAL for r in reason],
        "reason": [str(r) for r in reason],
    }
    return learnt_table(settled, each.network, columns, rest, f"return_effect/{VERSION}")


def _among(what: str, values: FloatArray) -> dict[str, FloatArray]:
    """Rank of each among its peers, 1 for the most, and among how many."""
    rank = rank_of(values)
    return {f"{what}_rank": rank, f"{what}_of": np.where(np.isnan(rank), np.nan, (~np.isnan(rank)).sum())}


def _middle(values: FloatArray) -> FloatArray:
    """Median of all that are known, for each of them; NaN for the others and where under three are known."""
    known = ~np.isnan(values)
    return np.where(known, np.median(values[known]) if known.sum() >= _FEW else np.nan, np.nan)
