"""Heat balance of each network, per window of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.accuracy import COVERAGE_FACTOR
from models.energy_signature import signature_power_kw
from models.missing_heat import Expected, estimated_heat
from models.network_content import Traffic
from models.network_heat import (
    DEFAULT_LEAK_PCT,
    DEFAULT_MAKEUP_C,
    Leak,
    Source,
    heat_balance,
    meter_u_gj,
)
from streams.core.heat_meters import HeatMeters, heat_meters
from streams.core.network_rows import STEP_MS, WEATHER, NetworkRows
from streams.core.network_traffic import contents_of, learnt_pipes_of, traffic_of, why_no_traffic
from streams.core.operator import network_operator
from streams.core.window_state import UNKNOWN

__all__ = ["MIN_MEASURED", "NetworkHeat", "network_heat"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

MIN_MEASURED: Final = 0.5
"""Share of the delivered heat that has to be measured for the row to become final."""
_MIN_PLANT: Final = 0.5


@dataclass(frozen=True, slots=True)
class NetworkHeat:
    """Rows of `network_heat`; NaN is absent. `model`: which learners' rows it rests on."""

    supplied_gj: float
    delivered_gj: float
    loss_gj: float
    storage_gj: float
    leak_gj: float
    residual_gj: float
    residual_u_gj: float
    coverage: float
    reason: str
    model: str = ""


_NOTHING: Final = NetworkHeat(np.nan, np.nan, np.nan, np.nan, np.nan, np.nan, np.nan, 0.0, "")


@network_operator(
    reads=("device_heat",),
    optional=("network_water", "signature", "pipe_loss", WEATHER),
    history_s=6 * 3600,
    writes=NetworkHeat,
)
def network_heat(rows: NetworkRows) -> NetworkHeat | None:
    """Supplied less delivered, lost, stored and leaked heat, over the quarters that have passed.

    Everything that consumes from the network counts: its substations and the meters registered in it.
    """
    meters = heat_meters(rows)
    plant, takes = meters.is_plant, ~meters.is_plant
    if not plant.any():
        return replace(_NOTHING, reason="no_plant")
    if not takes.any():
        return replace(_NOTHING, reason="no_device")
    inside = meters.window
    if inside.start == inside.stop:
        return None if rows.filling else replace(_NOTHING, reason="plant_gap")
    area = np.array([d.area_m2 or np.nan for d in meters.devices])
    heat = meters["heat_gj"][: inside.stop, takes]
    expected = _expected(meters, rows) if np.isnan(heat[inside]).any() else None
    filled = estimated_heat(heat, area[takes], inside, expected)
    delivered = filled.heat_gj[inside]
    coverage = _coverage(meters, delivered, rows)
    known = replace(
        _NOTHING,
        supplied_gj=float(meters["heat_gj"][inside][:, plant].sum()),
        delivered_gj=float(delivered.sum()),
        coverage=coverage,
        model=rows.model("signature") if filled.by_signature.any() else "",
    )
    pipes, learnt = learnt_pipes_of(rows)
    known = replace(known, model=",".join(m for m in (learnt, known.model) if m))
    traffic = traffic_of(meters, pipes)
    reason = _lacking(meters, known, traffic)
    if reason or traffic is None:
        return replace(known, reason=reason)
    contents, reason = contents_of(meters, rows, pipes, traffic, rows.network.ground_c, swelling=False)
    if contents is None:
        return replace(known, reason=reason)
    balance = heat_balance(
        _source(meters, traffic),
        delivered.sum(axis=0),
        np.hypot(_measured_u_gj(meters), filled.u_gj),
        contents,
        _leak(rows),
        _makeup_c(rows),
    )
    short = coverage < MIN_MEASURED
    return NetworkHeat(
        balance.supplied_gj, balance.delivered_gj, balance.loss_gj, balance.storage_gj, balance.leak_gj,
        balance.residual_gj, balance.residual_u_gj, coverage, "coverage" if short else "", known.model,
    )  # fmt: skip


def _coverage(meters: HeatMeters, delivered_gj: FloatArray, rows: NetworkRows) -> float:
    """Share of the window's delivered heat that readings cover, of the steps to come none."""
    weight = np.abs(np.nan_to_num(delivered_gj)) + 1e-12
    measured = np.nan_to_num(meters["coverage"][meters.window][:, ~meters.is_plant])
    begun = len(weight) / (rows.window.stop - rows.window.start)
    return float((weight * measured).sum() / weight.sum() * begun) if len(weight) else 0.0


def _lacking(meters: HeatMeters, known: NetworkHeat, traffic: Traffic | None) -> str:
    """Why the balance cannot be closed, as far as meters go."""
    covered = np.nan_to_num(meters["coverage"][meters.window][:, meters.is_plant])
    if np.isnan(known.supplied_gj) or covered.mean(axis=0).min() < _MIN_PLANT:
        return "plant_gap"
    if np.isnan(known.delivered_gj):
        return "no_estimate"
    if traffic is None:
        return why_no_traffic(meters)
    return "" if traffic.flow_kg.any() else "no_flow"


def _source(meters: HeatMeters, traffic: Traffic) -> Source:
    plant, inside = meters.is_plant, meters.window
    heat, flow = meters["heat_gj"][inside][:, plant], traffic.flow_kg[traffic.window][:, plant]
    supply, back = traffic.supply_c[traffic.window][:, plant], traffic.return_c[traffic.window][:, plant]
    weight = flow + 1e-9
    return Source(
        heat.sum(axis=0),
        meter_u_gj(
            heat, meters["heat_u_gj"][inside][:, plant], supply - back, meters["coverage"][inside][:, plant]
        ),
        flow.sum(axis=0),
        (weight * supply).sum(axis=0) / weight.sum(axis=0),
        (weight * back).sum(axis=0) / weight.sum(axis=0),
        np.array([d.mounting == "supply" for d in meters.devices if d.device_class == "plant"], dtype=bool),
    )


def _expected(meters: HeatMeters, rows: NetworkRows) -> Expected | None:
    """What consumers' signatures say at these hours' outdoor temperature; None where nobody knows it."""
    if not (rows.has("signature") and rows.has(WEATHER)):
        return None
    outdoor = rows.outdoor_c()[: meters.window.stop]
    if np.isnan(outdoor[meters.window]).all():
        return None
    # Buildings feel the weather of hours, and a signature that of days: all that is at hand.
    outdoor_c = float(np.nanmean(outdoor))
    base, slope, balance, sigma = (
        meters.of_devices(rows.learnt("signature", name))[~meters.is_plant]
        for name in ("base_kw", "slope_kw_k", "balance_c", "sigma_kw")
    )
    power_kw = signature_power_kw(base, slope, balance, outdoor_c)
    return Expected(power_kw * STEP_MS * 1e-9, sigma * STEP_MS * 1e-9)


def _measured_u_gj(meters: HeatMeters) -> FloatArray:
    """Standard uncertainty of each consumer's heat as far as it was measured. [GJ]"""
    inside, takes = meters.window, ~meters.is_plant
    heat = meters["heat_gj"][inside][:, takes]
    difference = meters["supply_c"][inside][:, takes] - meters["return_c"][inside][:, takes]
    return meter_u_gj(
        heat, meters["heat_u_gj"][inside][:, takes], difference, meters["coverage"][inside][:, takes]
    )


def _leak(rows: NetworkRows) -> Leak:
    """What the water balance says of this window, or else nothing but a bound."""
    most = rows.network.makeup_limit_pct
    most = DEFAULT_LEAK_PCT if most is None else most
    if rows.has("network_water"):
        at = rows.window.start
        leak, u = (float(rows("network_water", name)[at]) for name in ("leak_m3", "leak_u_m3"))
        if np.isfinite(leak) and np.isfinite(u) and rows.status("network_water")[at] != UNKNOWN:
            return Leak(leak, u / COVERAGE_FACTOR, most)
    return Leak(None, None, most)


def _makeup_c(rows: NetworkRows) -> float:
    return DEFAULT_MAKEUP_C if rows.network.makeup_c is None else rows.network.makeup_c
