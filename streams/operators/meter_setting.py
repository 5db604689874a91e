"""Heat meters whose calculator is set for the other pipe: their energy is off by the densities' quotient."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.anomaly import ANOMALY, Anomaly, Severity, State, anomaly_table
from models.meter_setting import LEAST_DAYS, computed_heat_gj, judged_setting
from streams.core.local_days import day_bounds_ms
from streams.core.network_rows import STEP_MS, Settled
from streams.core.operator import learner

__all__ = ["meter_setting"]

FloatArray = NDArray[np.float64]

VERSION: Final = 1
_DAYS: Final = 7
_MIN_DAY: Final = 0.5
_SUMS: Final = ("counted", "own", "other", "weight", "steps")
_CODE: Final = "wrong_mounting"


@learner(reads=("device_heat",), version=VERSION, writes=ANOMALY)
def meter_setting(state: Any, settled: Settled) -> tuple[Any, pa.Table | None]:
    """Compare each day's counted heat with that of volume and temperatures; tell of settings that are wrong.

    Where a meter has no energy counter, heat is computed by its registered mounting and never off.
    """
    day_ms, end_ms = day_bounds_ms(settled.start_ms, settled.site.site.timezone)
    state = state or {"day": day_ms, "sums": {}, "days": {}, "raised": {}}
    table = None
    if state["day"] != day_ms:
        state, table = _day_over(state, settled)
        state["day"] = day_ms
    state = {**state, "sums": _added(state["sums"], settled)}
    if settled.end_ms >= end_ms:
        state, late = _day_over(state, settled)
        state["day"] = end_ms
        table = late if table is None else pa.concat_tables([t for t in (table, late) if t is not None])
    return state, table


def _added(sums: dict[str, list[float]], settled: Settled) -> dict[str, list[float]]:
    """Sums by device index with those of a step."""
    count = len(settled.site.ids)
    subjects = settled.subjects("device_heat")
    final = settled.final("device_heat")
    heat, volume, hot, cold = (
        np.where(final, settled("device_heat", f), np.nan)
        for f in ("heat_gj", "volume_m3", "supply_c", "return_c")
    )
    on_supply = settled.site.meters.on_supply[subjects]
    own, other = (computed_heat_gj(volume, hot, cold, side) for side in (on_supply, ~on_supply))
    good = (heat > 0.0) & (own > 0.0) & (other > 0.0) & settled.site.meters.mounting_known[subjects]
    added = {}
    for name, value in zip(_SUMS, (heat, own, other, heat * (hot - cold), np.ones(len(heat))), strict=True):
        whole = np.zeros(count)
        before = sums.get(name, [])
        whole[: len(before)] = before
        whole[subjects[good]] += value[good]
        added[name] = [float(f"{x:.9g}") for x in whole.tolist()]
    return added


def _day_over(state: dict[str, Any], settled: Settled) -> tuple[dict[str, Any], pa.Table | None]:
    """Keep the day, judge the last seven, and tell of what is wrong or has come right."""
    start_ms, end_ms = day_bounds_ms(state["day"], settled.site.site.timezone)
    sums = {name: np.array(state["sums"].get(name, []), dtype=np.float64) for name in _SUMS}
    days: dict[str, list[list[float]]] = dict(state["days"])
    known = np.flatnonzero(sums["steps"] >= _MIN_DAY * (end_ms - start_ms) / STEP_MS)
    for at in known.tolist():
        counted, own, other, weight = (float(sums[n][at]) for n in ("counted", "own", "other", "weight"))
        row = [float(np.log(counted / own)), float(np.log(other / own)), weight / counted]
        name = settled.site.ids[at]
        days[name] = [*days.get(name, [])[1 - _DAYS :], [float(f"{x:.6g}") for x in row]]
    names = [settled.site.ids[at] for at in known.tolist()]
    state = {**state, "days": days, "sums": {}}
    if not names:
        return state, None
    told, raised = _judged(names, days, dict(state["raised"]), settled, (start_ms, end_ms))
    return {**state, "raised": raised}, anomaly_table(told, settled.stream) if told else None


def _judged(
    names: list[str],
    days: dict[str, list[list[float]]],
    raised: dict[str, int],
    settled: Settled,
    day: tuple[int, int],
) -> tuple[list[Anomaly], dict[str, int]]:
    table = np.full((_DAYS, 3, len(names)), np.nan)
    for at, name in enumerate(names):
        table[: len(days[name]), :, at] = days[name]
    index = {name: at for at, name in enumerate(settled.site.ids)}
    dt_min = settled.site.meters.dt_min_k[[index[n] for n in names]]
    verdict = judged_setting(table[:, 0], table[:, 1], np.nanmean(table[:, 2], axis=0), dt_min)
    told = []
    for at, name in enumerate(names):
        if not (verdict.wrong[at] or name in raised):
            continue
        first = raised.setdefault(name, day[0] - 86_400_000 * (LEAST_DAYS - 1))
        evidence = {
            "rule": "counted over computed heat is that of the other pipe's density",
            "ratio": round(float(verdict.ratio[at]), 5), "expected": round(float(verdict.expected[at]), 5),
            "difference_k": round(float(np.nanmean(table[:, 2, at])), 1), "days": len(days[name]),
            "registered": "supply" if settled.site.meters.on_supply[index[name]] else "return",
            "suspects": [name],
        }  # fmt: skip
        standing = State.ACTIVE if verdict.wrong[at] else State.ENDED
        where = index[name]
        told.append(Anomaly(
            name, _CODE, Severity.MINOR, float(verdict.score[at]), evidence, first,
            day[1] if verdict.wrong[at] else day[0], 86_400_000, str(settled.site.units[where]),
            str(settled.site.regions[where]), standing, f"meter_setting/{VERSION}",
        ))  # fmt: skip
        if standing is State.ENDED:
            del raised[name]
    return told, raised
