"""How long each unit's coal lasts and how well it burns, per local day."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np
import pyarrow as pa

from models import fuel_heat as physics
from models.burning_days import KNOWN, BurningDays, foretold_loads, recent_loads
from models.fuel_heat import Loads, Trips, steady_loads
from models.local_month import local_days
from models.site import Site, Unit
from models.yard_account import STOCK_U, Lots, YardAccount, closure_u_kg, yard_account
from streams.core.coal_seen import AHEAD_H, BURNT, FORECAST, HEAT, ISSUE_H, SIGNATURE, SPAN_S, TRIP, CoalSeen
from streams.core.entity_operator import Entity, EntityRow, Item, by_unit, entity_operator

__all__ = ["FIELDS", "SUPPLIER_FIELDS", "fuel_heat", "of_unit"]

FIELDS: Final = {
    **dict.fromkeys(
        ("stock_t", "received_t", "burnt_t", "stock_residual_t", "stock_residual_u_t", "heat_gj", "heat_days",
         "heat_days_p10", "heat_days_p90", "kg_per_gj", "efficiency_pct", "heat_residual_pct",
         "heat_residual_u_pct", "q_mj_kg", "road_t", "reach_days", "below_min_p", "cost_cny_gj"),
        pa.float64(),
    ),
    "latest_departure": pa.int64(), "as_of": pa.int64(), "method": pa.string(), "missing": pa.string(),
}  # fmt: skip
SUPPLIER_FIELDS: Final = {
    "supplier": pa.string(),
    **dict.fromkeys(("burnt_t", "share_pct", "residual_pct", "residual_u_pct", "cost_cny_gj"), pa.float64()),
    "days": pa.int64(),
}
_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 86_400_000
_LOOK_BACK_D: Final = 45
"""Days over which lots and efficiency are followed: a pile of three weeks, and as long again."""
_REACH_D: Final = _LOOK_BACK_D + 1
_HORIZON_D: Final = 6
_SETTLES_MS: Final = 2 * _DAY_MS
"""Days wait as long as their last trips do for the laboratories. [ms]"""
_COLD_K: Final = 4.0
"""Standard deviation of a winter day's mean outdoor temperature about that of the season. [K]"""


def of_unit(item: Item, site: Site) -> Iterable[str]:
    """The unit that an item concerns."""
    if item.source not in {FORECAST, SIGNATURE}:
        return by_unit(item, site)
    subject, _, hours = item.device.partition(":")
    network = site.networks.get(subject)
    asked = not hours or (item.t // _HOUR_MS - int(hours) + 1) % ISSUE_H == 0
    return (network.unit,) if network is not None and asked else ()


def _plants(site: Site) -> list[str]:
    return [d.device for d in site.devices.values() if d.device_class == "plant"]


@entity_operator(
    by=of_unit,
    events=("yard", "office"),
    reads=(TRIP, BURNT, HEAT, FORECAST, SIGNATURE),
    optional=(BURNT, HEAT, FORECAST, SIGNATURE),
    keys={
        BURNT: _plants,
        HEAT: _plants,
        FORECAST: lambda site: [f"{n}:{h}" for n in site.networks for h in AHEAD_H],
        SIGNATURE: lambda site: site.networks,
    },
    writes={"fuel_heat": FIELDS, "supplier_fuel": SUPPLIER_FIELDS},
    horizon_s=_HORIZON_D * 86_400,
    reach_s=_REACH_D * 86_400,
    every_s=3_600,
    names=lambda site: {c.unit for c in site.contracts.values()},
)
def fuel_heat(entity: Entity) -> Iterator[EntityRow]:
    """Keep the yard's books and follow what it lasts for, to each day's end and to what is told of today.

    Only where the unit's plants are: the stream of its trucks knows nothing of its heat.
    """
    unit = entity.site.units.get(entity.name)
    if unit is None or entity.site.stream_of_unit(unit.id) != entity.stream:
        return
    seen = CoalSeen(entity)
    told = [t for t, _ in (*seen.gauges, *seen.surveys)] + [r.t_ms for r in seen.receipts]
    first_ms = min([*told, *seen.spans.end_ms[:1].tolist()], default=entity.now_ms)
    # Days that begin before the horizon are sealed.
    begin_ms = max(entity.from_ms + _REACH_D * _DAY_MS, first_ms - _DAY_MS)
    for start_ms, end_ms in local_days(begin_ms, entity.now_ms, entity.site.timezone):
        if end_ms > first_ms:
            yield from _Day.of(entity, unit, seen, start_ms, end_ms).rows()


@dataclass(frozen=True, slots=True)
class _Day:
    """One day of a unit, up to `at_ms`: its end, or what is told of while it is open."""

    unit: Unit
    seen: CoalSeen
    site: Site
    start_ms: int
    end_ms: int
    at_ms: int
    now_ms: int

    @classmethod
    def of(cls, entity: Entity, unit: Unit, seen: CoalSeen, start_ms: int, end_ms: int) -> _Day:
        at_ms = min(end_ms, entity.now_ms)
        if start_ms < seen.spans.until_ms < at_ms < end_ms:
            at_ms = seen.spans.until_ms
        return cls(unit, seen, entity.site, start_ms, end_ms, at_ms, entity.now_ms)

    @property
    def from_ms(self) -> int:
        """The row rests on nothing before. [ms UTC]"""
        return self.start_ms - _LOOK_BACK_D * _DAY_MS

    def rows(self) -> Iterator[EntityRow]:
        if self.end_ms > self.now_ms and 0 < self.seen.spans.until_ms <= self.start_ms:
            return  # nothing of today is known yet: yesterday's row is the newest word
        received = self._received()
        books = self._books()
        if books is None:
            reason = self._why_no_books()
            stock = dict.fromkeys(("stock_t",), self._measured()[-1][1] / 1e3) if self._measured() else {}
            yield self._row({"received_t": received, **stock, "as_of": self.at_ms, "missing": reason}, None,
                            reason)  # fmt: skip
            return
        days = self._burning(books)
        eta = days.usual()
        costs = self._costs(eta)
        yard = self._yard(books, days)
        values = {
            "received_t": received, **yard, **self._lasting(books, days, eta), "cost_cny_gj": costs.get(""),
            "as_of": self.at_ms,
        }  # fmt: skip
        covered = float(days.coverage[-1])
        values["missing"] = ";".join(self._missing(values, eta, covered)) or None
        yield self._row(values, covered, "" if covered >= KNOWN else "coverage")
        for each in days.suppliers():
            row = {**asdict(each), "cost_cny_gj": costs.get(each.supplier)}
            yield replace(
                self._row(row, covered, ""),
                measurement="supplier_fuel",
                key=f"{self.unit.id}:{each.supplier}",
            )

    def _row(self, values: dict[str, Any], covered: float | None, reason: str) -> EntityRow:
        settles_ms = self.end_ms + _SETTLES_MS + 1000 * self.site.lateness_s
        again_ms = min(self.end_ms, self.now_ms + _HOUR_MS) if self.end_ms > self.now_ms else None
        return EntityRow(
            "fuel_heat", self.unit.id, self.start_ms, self.end_ms - self.start_ms, self.unit.id, values,
            settles_ms, again_ms, covered, reason,
        )  # fmt: skip

    def _why_no_books(self) -> str:
        until_ms = self.seen.spans.until_ms
        if not until_ms:
            return "no_burn"
        return "coverage" if until_ms < self.at_ms else "no_stock"

    def _received(self) -> float:
        return sum(r.kg for r in self.seen.receipts if self.start_ms < r.t_ms <= self.at_ms) / 1e3

    def _measured(self) -> list[tuple[int, float]]:
        """Readings of the stock on this day, in order."""
        readings = sorted([*self.seen.surveys, *self.seen.gauges])
        return [(t, kg) for t, kg in readings if self.start_ms <= t <= self.at_ms]

    def _books(self) -> YardAccount | None:
        """The yard's account since the first reading from which on all that was burnt is told."""
        seen, spans = self.seen, self.seen.spans
        inside = (spans.end_ms > self.from_ms) & (spans.end_ms <= self.at_ms)
        if not spans.until_ms or not inside.any() or spans.until_ms < self.at_ms:
            return None
        first_ms = max(self.from_ms, int(spans.end_ms[inside][0]) - 1000 * SPAN_S)
        surveys = [(t, kg) for t, kg in seen.surveys if first_ms <= t <= self.at_ms]
        gauges = [(t, kg) for t, kg in seen.gauges if first_ms <= t <= self.at_ms]
        opening = min([*surveys, *gauges[:1]], default=None)
        if opening is None:
            return None
        lots = Lots.of(
            [
                (r.t_ms, r.kg, r.q_mj_kg, r.paper_mj_kg, r.supplier)
                for r in seen.receipts
                if opening[0] < r.t_ms <= self.at_ms
            ]
        )
        burnt = list(zip(spans.end_ms[inside].tolist(), spans.kg[inside].tolist(), strict=True))
        return yard_account([opening, *(s for s in surveys if s != opening)], lots, burnt, seen.usual_mj_kg)

    def _burning(self, books: YardAccount) -> BurningDays:
        """Heat, coal and how much of each day is known."""
        spans = self.seen.spans
        days = [
            (start, min(end, self.at_ms))
            for start, end in local_days(self.from_ms, self.start_ms, self.site.timezone)
        ]
        starts = np.array([start for start, _ in days], dtype=np.int64)
        place = np.searchsorted(starts, spans.end_ms, side="left") - 1
        mine = spans.known & (place >= 0) & (spans.end_ms <= self.at_ms)
        kg, gj, count = (
            np.bincount(place[mine], weights=w, minlength=len(days)).astype(np.float64)
            for w in (spans.kg[mine], spans.gj[mine], np.ones(int(mine.sum())))
        )
        hours = 0.5 * count
        length_h = np.array([(end - start) / _HOUR_MS for start, end in days])
        coverage = np.minimum(hours / np.maximum(length_h, 0.5), 1.0)
        # What is burnt until an instant belongs to the time before it.
        ended = [(start + 1, end + 1) for start, end in days]
        return BurningDays.of(books, ended, gj, kg, coverage, hours)

    def _yard(self, books: YardAccount, days: BurningDays) -> dict[str, float]:
        """The day's coal and heat."""
        spans = self.seen.spans
        today = (spans.end_ms > self.start_ms) & (spans.end_ms <= self.at_ms)
        residual, residual_u = self._closure(books)
        heat_residual, heat_residual_u = days.residual_pct
        known = float(days.coverage[-1]) >= KNOWN
        return {
            "stock_t": books.stock_kg(self.at_ms) / 1e3,
            "burnt_t": float(spans.kg[today].sum()) / 1e3,
            "stock_residual_t": residual / 1e3,
            "stock_residual_u_t": residual_u / 1e3,
            "heat_gj": float(spans.gj[today].sum()) if known else float("nan"),
            "kg_per_gj": float(physics.kg_per_gj(days.burnt_kg[-1], days.heat_gj[-1])),
            "efficiency_pct": float(days.efficiency_pct(paper=False)[-1]),
            "heat_residual_pct": heat_residual,
            "heat_residual_u_pct": heat_residual_u,
            "q_mj_kg": days.fired_mj_kg,
        }

    def _closure(self, books: YardAccount) -> tuple[float, float]:
        """What the books have more than the day's last survey, else its last gauge; its uncertainty. [kg]"""
        surveys = [(t, kg) for t, kg in self.seen.surveys if books.since_ms <= t]
        found = [(t, kg) for t, kg in self._measured() if t > books.since_ms]
        last = max((r for r in found if r in surveys), default=None) or max(found, default=None)
        if last is None:
            return float("nan"), float("nan")
        t_ms, kg = last
        first = max(((t, k) for t, k in surveys if t < t_ms), default=None)
        first_ms, first_kg = first or (books.since_ms, float(books.lots.kg[0]))
        surveyed = [off for at, off in books.residuals_kg if at == t_ms]
        spans = self.seen.spans
        between = (spans.end_ms > first_ms) & (spans.end_ms <= t_ms)
        tickets = sum(first_ms < r.t_ms <= t_ms for r in self.seen.receipts)
        u_kg = closure_u_kg(first_kg, kg, tickets, float(spans.kg[between].sum()))
        return (surveyed[0] if surveyed else books.stock_kg(t_ms) - kg), u_kg

    def _lasting(self, books: YardAccount, days: BurningDays, eta: float) -> dict[str, Any]:
        """How long the yard lasts, alone and with what is on the road."""
        seen, at_ms = self.seen, self.at_ms
        lying, road = books.lying_kg(at_ms), seen.on_the_road(at_ms)
        told: dict[str, Any] = {"road_t": sum(r.kg for r in road) / 1e3}
        lying_gj = eta * float(physics.heat_of_gj(lying, books.lots.q_mj_kg))
        road_gj = np.array([r.kg * r.q_mj_kg * eta / 1e3 for r in road])
        # Coal whose heat nobody knows is followed by mass: what was burnt of late says how long it lasts.
        by_mass = np.isnan(lying_gj) or np.isnan(road_gj).any()
        loads = recent_loads(days, by_mass=True) if by_mass else self._loads(days)
        if loads is None:
            return told
        stock_kg = float(lying.sum())
        stock = stock_kg if by_mass else lying_gj
        incoming = np.array([r.kg for r in road]) if by_mass else road_gj
        p10, p50, p90 = physics.days_left(stock, loads)
        least_t = float("nan") if self.unit.min_stock_t is None else self.unit.min_stock_t
        least = 1e3 * least_t * stock / stock_kg if stock_kg > 0.0 else float("nan")
        trips = Trips(incoming, *(np.array([(r.eta[n] - at_ms) / _HOUR_MS for r in road]) for n in range(3)))
        found = physics.reach(stock, STOCK_U * stock, least, loads, trips)
        departure = at_ms + (found.safe_h - seen.way_h(at_ms)) * _HOUR_MS
        return told | {
            "heat_days_p10": p10, "heat_days": p50, "heat_days_p90": p90, "reach_days": found.days,
            "below_min_p": found.below_min_p, "method": "burn" if by_mass else loads.basis,
            "latest_departure": None if np.isnan(departure) else round(departure),
        }  # fmt: skip

    def _loads(self, days: BurningDays) -> Loads | None:
        """The best that is known: a forecast and then a signature, or what was made of late."""
        networks = [n for n in self.site.networks.values() if n.unit == self.unit.id]
        then = recent_loads(days)
        signatures = [self.seen.signature(n.id, self.at_ms) for n in networks]
        cold = [n.season_c for n in networks]
        if networks and None not in signatures and None not in cold:
            powers = [
                (
                    s["base_kw"] + s["slope_kw_k"] * max(s["balance_c"] - t, 0.0),
                    s["slope_kw_k"],
                    s["sigma_kw"],
                )
                for s, t in zip(signatures, cold, strict=True)
                if s is not None and t is not None
            ]
            sigma = np.hypot(sum(slope for _, slope, _ in powers) * _COLD_K, sum(s for *_, s in powers))
            then = steady_loads(sum(p for p, _, _ in powers), float(sigma), "signature")
        points = [self.seen.forecast(n.id, self.at_ms) for n in networks]
        if then is None or not points or any(len(p) < len(AHEAD_H) for p in points):
            return then
        total = {h: tuple(sum(p[h][n] for p in points) for n in range(3)) for h in AHEAD_H}
        return foretold_loads({h: (low, mid, high) for h, (low, mid, high) in total.items()}, then)

    def _costs(self, eta: float) -> dict[str, float]:
        """Cost of a useful GJ by supplier, and of all under an empty name, where every term is known."""
        paid: dict[str, list[float]] = {}
        for receipt in self.seen.receipts:
            contract = receipt.contract
            if not self.from_ms <= receipt.t_ms <= self.at_ms or contract is None:
                continue
            if contract.price_cny_t is None:
                continue
            # A contract that names no freight is delivered.
            cost = physics.cost_cny_gj(
                contract.price_cny_t, contract.freight_cny_t or 0.0, receipt.loaded_kg, receipt.kg,
                receipt.q_mj_kg, eta,
            )  # fmt: skip
            useful = receipt.kg * receipt.q_mj_kg * eta
            for name in {receipt.supplier, ""}:
                sums = paid.setdefault(name, [0.0, 0.0])
                sums[0] += float(cost) * useful
                sums[1] += useful
        return {name: cost / useful for name, (cost, useful) in paid.items()}

    def _missing(self, values: dict[str, Any], eta: float, covered: float) -> Iterator[str]:
        """Terms for want of which fields are absent."""
        if covered < KNOWN:
            yield "coverage"
        if np.isnan(self.seen.usual_mj_kg):
            yield "no_quality"
        if np.isnan(eta):
            yield "no_efficiency"
        if values.get("method") is None:
            yield "no_load"
        elif np.isnan(values["heat_days"]) or np.isnan(values["heat_days_p90"]) > np.isnan(
            values["heat_days_p10"]
        ):
            yield "beyond_horizon"
        elif np.isnan(values["heat_days_p10"]):
            yield "few_days"
        if self.unit.min_stock_t is None:
            yield "no_min_stock"
        if values["cost_cny_gj"] is None and not np.isnan(eta):
            came = any(self.from_ms <= r.t_ms <= self.at_ms for r in self.seen.receipts)
            yield "no_price" if came else "no_receipts"
