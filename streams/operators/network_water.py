"""Water balance of each network, per window of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.accuracy import COVERAGE_FACTOR
from models.network_content import Contents, Traffic
from models.network_heat import DEFAULT_MAKEUP_C
from models.water import HIGHEST_C, LOWEST_C, density_kg_m3
from models.water_balance import Booked, Tank, water_balance
from streams.core.heat_meters import HeatMeters, heat_meters
from streams.core.network_events import OFFICE
from streams.core.network_rows import NetworkRows
from streams.core.network_traffic import contents_of, pipes_of, traffic_of, why_no_traffic
from streams.core.operator import network_operator

__all__ = ["NetworkWater", "network_water"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

MIN_COVERAGE: Final = 0.9
"""Share of the window that the make-up counters must cover for the row to become final."""
_ALL_METERED: Final = 0.99
_GROUND_C: Final = 8.0  # where unknown: what pipes swell by hangs on it by a thousandth
_STEP_H: Final = 0.25


@dataclass(frozen=True, slots=True)
class NetworkWater:
    """Rows of `network_water`; NaN is absent. Volumes are those of make-up water.

    Attributes
    ----------
    floor_m3_h : float
        The least rate of loss over any 5 minutes of the window: a leak is there all the time.
    circulated_m3 : float
        What passed the plants' meters.
    difference_m3 : float
        Of the side that the plants' meters sit on: what entered it less what left it, by all meters, less
        what its pipes took up.
    unbiased_m3, unbiased_u_m3 : float
        The same less the meters' usual disagreement, and its uncertainty (k = 2).
    """

    makeup_m3: float
    authorised_m3: float
    storage_m3: float
    tank_m3: float
    leak_m3: float
    leak_u_m3: float
    makeup_pct: float
    circulated_m3: float
    floor_m3_h: float
    difference_m3: float
    unbiased_m3: float
    unbiased_u_m3: float
    coverage: float
    reason: str
    model: str = ""


_NAN: Final = float("nan")
_NOTHING: Final = NetworkWater(
    _NAN, _NAN, _NAN, _NAN, _NAN, _NAN, _NAN, _NAN, _NAN, _NAN, _NAN, _NAN, 0.0, ""
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Plants:
    """Rows of `device_water` of those that make water up, shape (steps of the window so far, plants)."""

    makeup_m3: FloatArray
    makeup_c: FloatArray
    tank_m3: FloatArray
    level_m3: FloatArray
    least_m3_h: FloatArray
    coverage: FloatArray


@network_operator(
    reads=("device_heat", "device_water", OFFICE),
    optional=("water_normal",),
    history_s=6 * 3600,
    writes=NetworkWater,
)
def network_water(rows: NetworkRows) -> NetworkWater | None:
    """Water made up, used with leave, stored in pipes and tank, and lost, over the quarters that have passed.

    A plant that makes no water up has no counter for it; one that has must be heard throughout.
    """
    meters = heat_meters(rows)
    if not meters.is_plant.any():
        return replace(_NOTHING, reason="no_plant")
    inside = meters.window
    if rows.filling and inside.start == inside.stop:
        return None
    plants, reason = _plants(rows, meters)
    if plants is None:
        return replace(_NOTHING, reason=reason)
    covered = np.nan_to_num(plants.coverage)
    begun = (inside.stop - inside.start) / (rows.window.stop - rows.window.start)
    known = replace(
        _NOTHING,
        makeup_m3=float(plants.makeup_m3.sum()),
        circulated_m3=float(meters["volume_m3"][inside][:, meters.is_plant].sum()),
        coverage=float(covered.mean(axis=0).min()) * begun,
    )
    if known.circulated_m3 > 0.0:
        known = replace(known, makeup_pct=100.0 * known.makeup_m3 / known.circulated_m3)
    booked = _booked(rows, meters.until_ms)
    if booked is not None:
        known = replace(known, authorised_m3=float(sum(b.volume_m3 for b in booked)))
    pipes = pipes_of(rows)
    traffic = traffic_of(meters, pipes)
    reason = _lacking(plants, booked is not None, meters, traffic, float(covered.mean(axis=0).min()))
    contents: Contents | None = None
    if traffic is not None:
        ground_c = _GROUND_C if rows.network.ground_c is None else rows.network.ground_c
        contents, apart = contents_of(meters, rows, pipes, traffic, ground_c)
        reason = reason or apart
    if contents is None or traffic is None:
        return replace(known, reason=reason)
    makeup_c = _makeup_c(rows, plants)
    known = replace(known, storage_m3=contents.stored_kg / float(density_kg_m3(makeup_c)))
    known = _channel(rows, meters, traffic, contents, makeup_c, known)
    if reason or booked is None:
        return replace(known, reason=reason)
    return _closed(known, plants, booked, traffic, contents, makeup_c)


def _plants(rows: NetworkRows, meters: HeatMeters) -> tuple[_Plants | None, str]:
    """What the plants that make water up say; else why nobody knows it."""
    place = {rows.site.ids[n]: at for at, n in enumerate(rows.devices.tolist())}
    names = [d.device for d in meters.devices if d.device_class == "plant"]
    if any(name not in place for name in names):
        return None, "makeup_gap"
    columns = [place[name] for name in names]
    metered = rows("device_water", "metered")[meters.window][:, columns]
    if not len(metered) or np.isnan(metered).any():
        return None, "makeup_gap"
    made_up = [at for at, has in zip(columns, metered[-1], strict=True) if has > 0.0]
    if not made_up:
        return None, "no_makeup"
    said = (rows("device_water", field)[meters.window][:, made_up] for field in _Plants.__slots__)
    return _Plants(*said), ""


def _booked(rows: NetworkRows, until_ms: int) -> list[Booked] | None:
    """What people booked in what is looked at of the window; None where a volume is missing or is none."""
    volumes = [(e.event, e.volume_m3) for e in rows.events if e.t < until_ms]
    if any(v is None or not 0.0 <= v < np.inf for _, v in volumes):
        return None
    return [Booked(event, float(v or 0.0)) for event, v in volumes]


def _lacking(
    plants: _Plants, booked: bool, meters: HeatMeters, traffic: Traffic | None, covered: float
) -> str:
    """Why the balance cannot be closed, as far as meters and people go."""
    if np.isnan(plants.makeup_m3).any() or covered < MIN_COVERAGE:
        return "makeup_gap"
    if np.isnan(plants.level_m3).all(axis=0).any():
        return "no_tank"
    if np.isnan(plants.tank_m3).any():
        return "tank_gap"
    if not booked:
        return "no_volume_booked"
    if traffic is None:
        return why_no_traffic(meters)
    return "" if traffic.flow_kg.any() else "no_flow"


def _makeup_c(rows: NetworkRows, plants: _Plants) -> float:
    """Temperature of the make-up water: as measured, as registered, or that of mains in winter.

    Water that a sensor says is a little below freezing flows all the same.
    """
    if not np.isnan(plants.makeup_c).all():
        return float(np.clip(np.nanmean(plants.makeup_c), LOWEST_C, HIGHEST_C))
    return DEFAULT_MAKEUP_C if rows.network.makeup_c is None else rows.network.makeup_c


def _closed(
    known: NetworkWater,
    plants: _Plants,
    booked: list[Booked],
    traffic: Traffic,
    contents: Contents,
    makeup_c: float,
) -> NetworkWater:
    """The balance, all of its terms being known."""
    inside = traffic.window
    return_c = float(traffic.return_c[inside][:, traffic.is_plant].mean())
    tank = Tank(
        plants.tank_m3.sum(axis=0), plants.level_m3[-1], min(makeup_c, return_c), max(makeup_c, return_c)
    )
    balance = water_balance(
        plants.makeup_m3.sum(axis=0), booked, tank, contents.stored_kg, contents.stored_u_kg, makeup_c
    )
    hours = len(plants.makeup_m3) * _STEP_H
    least = plants.least_m3_h.sum(axis=1)
    floor = float(least.min()) - balance.storage_m3 / hours if np.isfinite(least).all() else np.nan
    return replace(
        known,
        storage_m3=balance.storage_m3,
        tank_m3=balance.tank_m3,
        leak_m3=balance.leak_m3,
        leak_u_m3=balance.leak_u_m3,
        floor_m3_h=floor,
    )


def _channel(
    rows: NetworkRows,
    meters: HeatMeters,
    traffic: Traffic,
    contents: Contents,
    makeup_c: float,
    known: NetworkWater,
) -> NetworkWater:
    """The second, weaker channel: supply flow less return flow, where all of it is metered."""
    inside, takes = meters.window, ~meters.is_plant
    covered = np.nan_to_num(meters["coverage"][inside])
    if not takes.any() or not len(covered) or covered.mean(axis=0).min() < _ALL_METERED:
        return known
    mountings = {d.mounting for d in meters.devices if d.device_class == "plant"}
    if len(mountings) != 1:
        return known
    flow = traffic.flow_kg[traffic.window]
    given_kg, taken_kg = float(flow[:, meters.is_plant].sum()), float(flow[:, takes].sum())
    if mountings == {"supply"}:
        raw_kg = given_kg - taken_kg - contents.supply_kg
    else:
        raw_kg = taken_kg - given_kg - (contents.stored_kg - contents.supply_kg)
    density = float(density_kg_m3(makeup_c))
    known = replace(known, difference_m3=raw_kg / density)
    if not rows.has("water_normal"):
        return known
    bias, bias_u = (float(rows.learnt("water_normal", name)) for name in ("bias_pct", "bias_u_pct"))
    return replace(
        known,
        unbiased_m3=known.difference_m3 - bias / 100.0 * known.circulated_m3,
        unbiased_u_m3=COVERAGE_FACTOR * bias_u / 100.0 * known.circulated_m3,
        model=rows.model("water_normal") if np.isfinite(bias) else "",
    )
