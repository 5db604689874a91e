"""What has been told of one unit's coal and heat, in order: receipts, burn, stocks, loads to come."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.site import Contract
from streams.core.entity_operator import Entity, Item

__all__ = [
    "AHEAD_H", "BURNT", "FORECAST", "HEAT", "ISSUE_H", "SIGNATURE", "SPAN_S", "TRIP", "CoalSeen", "Deciles",
    "OnRoad", "Receipt", "Spans",
]  # fmt: skip

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Deciles = tuple[float, float, float]

TRIP: Final = "trip"
BURNT: Final = "fuel_burnt"
HEAT: Final = "device_heat"
FORECAST: Final = "load_forecast"
SIGNATURE: Final = "signature"
AHEAD_H: Final = (1, 2, 3, 6, 12, 24, 36, 48, 72)
"""Hours ahead of which a forecast is looked at; those between lie between. [h]"""
ISSUE_H: Final = 6
"""Forecasts said in one hour of so many are looked at. [h]"""
SPAN_S: Final = 1800
"""Time by which coal is counted. [s]"""
_SPAN_MS: Final = 1000 * SPAN_S
_HOUR_MS: Final = 3_600_000
_KNOWN: Final = 0.9
_LEAST_WAYS: Final = 10


@dataclass(frozen=True, slots=True)
class Receipt:
    """One load that was tipped: masses [kg], heat as best known and on paper [MJ/kg], time on the way [h]."""

    t_ms: int
    kg: float
    loaded_kg: float
    q_mj_kg: float
    paper_mj_kg: float
    contract: Contract | None
    way_h: float

    @property
    def supplier(self) -> str:
        """Who sold it; `?` where no registered contract says so."""
        return "?" if self.contract is None else self.contract.seller


@dataclass(frozen=True, slots=True)
class OnRoad:
    """One load under way: mass [kg], heat [MJ/kg], P10, P50 and P90 of its arrival [ms UTC], NaN unknown."""

    kg: float
    q_mj_kg: float
    eta: Deciles


@dataclass(frozen=True, slots=True)
class Spans:
    """Half hours, plants together; arrays of shape (n,).

    Attributes
    ----------
    end_ms : ndarray of int64
    kg, gj : ndarray
        Coal and heat; what is not told of heat is 0.
    known : ndarray of bool
        Whether coal and heat of every plant are.
    until_ms : int
        Up to which the coal of every plant is told; 0 where that of one never was.
    """

    end_ms: IntArray
    kg: FloatArray
    gj: FloatArray
    known: NDArray[np.bool_]
    until_ms: int


class CoalSeen:
    """What has been told of the unit of an entity, each kind in order of time.

    Attributes
    ----------
    usual_mj_kg : float
        Mean heat by contract, which stands for coal of which nothing else is known; NaN without one. [MJ/kg]
    gauges, surveys : list of (int, float)
        Readings of the yard. [ms UTC], [kg]
    receipts : list of Receipt
    spans : Spans
    """

    def __init__(self, entity: Entity) -> None:
        self.site = entity.site
        own = [c for c in entity.site.contracts.values() if c.unit == entity.name and c.q_ref_mj_kg]
        planned = sum(c.planned_t for c in own)
        weighed = sum(c.planned_t * (c.q_ref_mj_kg or 0.0) for c in own)
        self.usual_mj_kg = weighed / planned if planned else float("nan")
        self.gauges = _stocks(entity.of("yard"))
        self.surveys = _stocks(i for i in entity.of("office") if i.values.get("event") == "survey")
        self._trips = [i for i in entity.of(TRIP) if i.values.get("unit") == entity.name]
        self.receipts = sorted(
            (r for r in map(self._receipt, self._trips) if r is not None),
            key=lambda r: (r.t_ms, r.kg, r.supplier),
        )
        plants = sorted(
            d.device
            for d in entity.site.devices.values()
            if d.unit == entity.name and d.device_class == "plant" and d.stream == entity.stream
        )
        self.spans = _spans(plants, entity)
        self._forecasts = [i for i in entity.of(FORECAST) if i.values.get("p90_kw") is not None]
        self._signatures = [i for i in entity.of(SIGNATURE) if i.values.get("sigma_kw") is not None]

    def _receipt(self, trip: Item) -> Receipt | None:
        """A trip that has brought something; one without a positive mass is in no sum."""
        values, at = trip.values, trip.values.get("received_ms")
        kg = values.get("received_kg")
        if at is None or kg is None or kg <= 0 or values.get("state") == "open":
            return None
        best, paper, contract = self._quality(values)
        left = values.get("departed")
        way_h = (at - left) / _HOUR_MS if left is not None else float("nan")
        return Receipt(int(at), float(kg), float(values.get("loaded_kg") or kg), best, paper, contract, way_h)

    def _quality(self, values: Mapping[str, object]) -> tuple[float, float, Contract | None]:
        """Net calorific value as received, the best known and that on paper [MJ/kg], and the contract."""
        contract = self.site.contracts.get(str(values.get("contract", "")))
        paper = self.usual_mj_kg if contract is None else contract.q_ref_mj_kg or self.usual_mj_kg
        found = values.get("q_mj_kg")
        best = float(found) if isinstance(found, int | float) and found > 0.0 else paper
        return best, paper, contract

    def on_the_road(self, at_ms: int) -> list[OnRoad]:
        """Loads that were under way at an instant; one that has arrived since did so when it did."""
        found = []
        for trip in self._trips:
            values, ended = trip.values, trip.values.get("received_ms")
            under_way = values.get("state") == "open" if ended is None else ended > at_ms
            if trip.t > at_ms or not under_way or not (values.get("loaded_kg") or 0) > 0:
                continue
            told = (
                (ended,) * 3 if ended is not None else (values.get(n) for n in ("eta_p10", "eta", "eta_p90"))
            )
            low, middle, high = (float("nan") if t is None else float(t) for t in told)
            found.append(OnRoad(float(values["loaded_kg"]), self._quality(values)[0], (low, middle, high)))
        return found

    def way_h(self, at_ms: int) -> float:
        """Hours from departure to receipt that nine of ten trips took; NaN where too few are known. [h]"""
        ways = [r.way_h for r in self.receipts if r.t_ms <= at_ms and r.way_h > 0.0]
        return float(np.quantile(ways, 0.9)) if len(ways) >= _LEAST_WAYS else float("nan")

    def signature(self, network: str, at_ms: int) -> Mapping[str, float] | None:
        """Signature of a network as last learnt."""
        found = [i for i in self._signatures if i.device == network and i.t + i.values["window_ms"] <= at_ms]
        return found[-1].values if found else None

    def forecast(self, network: str, at_ms: int) -> dict[int, Deciles]:
        """Deciles by hours ahead of a network's newest forecast, unless it is older than `ISSUE_H` hours."""
        points: dict[int, tuple[int, Deciles]] = {}
        for item in self._forecasts:
            subject, _, hours = item.device.partition(":")
            said_ms = item.t - (int(hours) - 1) * _HOUR_MS
            if subject == network and at_ms - (ISSUE_H + 1) * _HOUR_MS < said_ms <= at_ms:
                v = item.values
                points[int(hours)] = (said_ms, (v["p10_kw"], v["p50_kw"], v["p90_kw"]))
        newest = max((said for said, _ in points.values()), default=0)
        return {hours: deciles for hours, (said, deciles) in points.items() if said == newest}


def _stocks(items: Iterable[Item]) -> list[tuple[int, float]]:
    return [(i.t, 1e3 * i.values["stock_t"]) for i in items if "stock_t" in i.values]


def _spans(plants: Sequence[str], entity: Entity) -> Spans:
    """Coal and heat of all plants by half hour."""
    coal, coal_ms, last = _summed(entity.of(BURNT), "burnt_kg", plants)
    heat, heat_ms, _ = _summed(entity.of(HEAT), "heat_gj", plants)
    ends = sorted(coal)
    whole_ms = len(plants) * _SPAN_MS
    known = [coal_ms[e] >= whole_ms and heat_ms.get(e, 0) >= whole_ms for e in ends]
    return Spans(
        np.array(ends, dtype=np.int64),
        np.array([coal[e] for e in ends], dtype=np.float64),
        np.array([heat.get(e, 0.0) for e in ends], dtype=np.float64),
        np.array(known, dtype=np.bool_),
        min(last.values(), default=0),
    )


def _summed(
    items: Iterable[Item], field: str, plants: Sequence[str]
) -> tuple[dict[int, float], dict[int, int], dict[str, int]]:
    """By the end of each half hour the sum of a field over plants and the time for which it is known.

    And when each plant was last told of.
    """
    total: dict[int, float] = {}
    known_ms: dict[int, int] = {}
    last = dict.fromkeys(plants, 0)
    for item in items:
        value = item.values.get(field)
        if item.device in last and value is not None:
            end_ms = (item.t // _SPAN_MS + 1) * _SPAN_MS
            known = item.values["window_ms"] * ((item.values.get("coverage") or 0.0) >= _KNOWN)
            total[end_ms] = total.get(end_ms, 0.0) + value
            known_ms[end_ms] = known_ms.get(end_ms, 0) + known
            told_ms = int(item.t + item.values["window_ms"]) // _SPAN_MS * _SPAN_MS
            last[item.device] = max(last[item.device], told_ms)
    return total, known_ms, last
