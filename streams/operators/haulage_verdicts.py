"""What many loads say together: losses by contract and plate, suppliers falling short, bridges drifting."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from math import isfinite
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from models.anomaly import ANOMALY, Anomaly, Severity, State
from models.lots import dry_mj_kg
from models.site import Site
from models.verdicts import Verdict, bridge_verdicts, judge_days, judge_truck, scatter
from streams.core.entity_operator import (
    ANOMALY_FIELDS,
    Entity,
    EntityRow,
    Item,
    Stands,
    anomaly_row,
    entity_operator,
)
from streams.operators.trip_match import HAUL

__all__ = ["DOUBTFUL", "LOSS_TOLERANCE", "haulage_verdicts"]

_DAY_S: Final = 86_400
_DAY_MS: Final = 86_400_000
_WAIT_MS: Final = 36 * 3_600_000
"""How long after a day the laboratories' results are awaited. [ms]"""
_QUIET_DAYS: Final = 7
LOSS_TOLERANCE: Final = 0.008
"""Usual contract tolerance of transit loss: 0.8 to 1 %."""
_BRIDGES: Final = 0.001
"""Standard uncertainty that two verified bridges leave in the mean of many net masses, as a share."""
HEAT_TOLERANCE: Final = 0.01
_LABORATORIES: Final = 0.004
"""Standard uncertainty between two laboratories' calorific values (ISO 1928: reproducibility 0.3 MJ/kg)."""
DOUBTFUL: Final = frozenset({
    "repeat", "gross_under_tare", "implausible_mass", "weighed_twice", "tag_mismatch", "contracts_differ",
    "corrected",
})  # fmt: skip
"""Flags of loads on which no verdict rests."""


def _everybody(_item: Item, _site: Site) -> Iterable[str]:
    return ("fleet",)


@entity_operator(
    by=_everybody,
    reads=(HAUL, "trip"),
    writes={ANOMALY: ANOMALY_FIELDS},
    horizon_s=30 * _DAY_S,
    reach_s=15 * _DAY_S,
    every_s=_DAY_S // 2,
    spares=True,
)
def haulage_verdicts(entity: Entity) -> Iterator[EntityRow | Stands]:
    """Judge contracts, suppliers, plates and bridges of a haulage group by all their loads of past weeks.

    A load that could not be computed counts nowhere, and takes nothing back that rests on it.
    """
    fleet = _Fleet(entity)
    yield from fleet.lacking()
    yield from fleet.contracts()
    yield from fleet.suppliers()
    yield from fleet.plates()
    yield from fleet.bridges()


@dataclass(frozen=True, slots=True)
class _Load:
    """One load that both ends weighed without a doubt."""

    t_ms: int
    day: int
    loaded: int
    plate: str
    contract: str
    loss: float
    moist: bool
    dry: float


class _Fleet:
    """All loads of past weeks, in order of time."""

    def __init__(self, entity: Entity):
        self.entity = entity
        self.site = entity.site
        zone = ZoneInfo(self.site.timezone)
        offset = datetime.fromtimestamp(entity.now_ms / 1000, zone).utcoffset()
        self.offset_ms = 0 if offset is None else int(offset.total_seconds() * 1000)
        self.until_day = (entity.now_ms - _WAIT_MS + self.offset_ms) // _DAY_MS - 1
        self.trucks = {h.device: h.values["truck"] for h in entity.of(HAUL)}
        self.loads = [x for x in (self._load(t) for t in entity.of("trip")) if x is not None]

    def lacking(self) -> Iterator[Stands]:
        """What rests on loads that could not be computed."""
        about = set[str]()
        bridges = [d.device for d in self.site.devices.values() if d.device_class == "weighbridge"]
        for item in (*self.entity.failed(HAUL), *self.entity.failed("trip")):
            v = item.values
            about |= {f"contract:{v.get('contract', '')}:transit_loss:"}
            about |= {f"bridge:{name}:" for name in bridges}
            about |= {f"plate:{v.get(n)}:transit_loss:" for n in ("truck", "plate") if v.get(n)}
            contract = self.site.contracts.get(v.get("contract", ""))
            if contract is not None:
                about.add(f"supplier:{contract.seller}:supplier_short_quality:")
        for key in sorted(about):
            yield Stands(ANOMALY, key)

    def _load(self, trip: Item) -> _Load | None:
        v = trip.values
        if v.get("loss_pct") is None or not v.get("received_ms"):
            return None
        if DOUBTFUL & set((v.get("flags") or "").split(";")):
            return None
        known = ("loaded_moisture_pct", "received_moisture_pct")
        moist = all(v.get(n) is not None for n in known)
        short = float("nan")
        if moist and v.get("loaded_q_mj_kg") and v.get("q_mj_kg"):
            certified = dry_mj_kg(v["loaded_q_mj_kg"], v[known[0]])
            short = 1.0 - dry_mj_kg(v["q_mj_kg"], v[known[1]]) / certified
        days = [(t + self.offset_ms) // _DAY_MS for t in (v["received_ms"], trip.t)]
        truck = self.trucks.get(trip.device, v["plate"])
        return _Load(trip.t, days[0], days[1], truck, v["contract"], v["loss_pct"] / 100.0, moist, short)

    def contracts(self) -> Iterator[EntityRow]:
        """Contracts that lose more on the way than is allowed for."""
        for name, loads in _grouped(self.loads, [x.contract for x in self.loads]):
            contract = self.site.contracts.get(name)
            mine = [x for x in loads if x.moist] or loads
            found = self._judge(mine, [x.loss for x in mine], LOSS_TOLERANCE, _BRIDGES)
            for verdict in found if contract is not None else ():
                evidence = {"rule": "mean loss of two weeks over 0.8 % by three standard errors"}
                unit = contract.unit if contract is not None else ""
                yield self._say(f"contract:{name}", "transit_loss", verdict, unit, "loss_pct", evidence)

    def suppliers(self) -> Iterator[EntityRow]:
        """Suppliers whose coal has less heat, dry, than their certificates say."""
        loads = [x for x in self.loads if isfinite(x.dry) and x.contract in self.site.contracts]
        sellers = [self.site.contracts[x.contract].seller for x in loads]
        for seller, mine in _grouped(loads, sellers):
            for verdict in self._judge(mine, [x.dry for x in mine], HEAT_TOLERANCE, _LABORATORIES):
                unit = self.site.contracts[mine[-1].contract].unit
                evidence = {"rule": "mean shortfall of the dry heat over 1 % by three standard errors"}
                yield self._say(
                    f"supplier:{seller}", "supplier_short_quality", verdict, unit, "short_pct", evidence
                )

    def _judge(
        self, loads: Sequence[_Load], values: Sequence[float], tolerance: float, common: float
    ) -> list[Verdict]:
        lots = {lot: at for at, lot in enumerate(dict.fromkeys((x.contract, x.loaded) for x in loads))}
        return judge_days(
            np.array([x.day for x in loads], np.int64),
            np.array([lots[x.contract, x.loaded] for x in loads], np.int64),
            np.array(values, np.float64), self.until_day, tolerance=tolerance, common=common,
        )  # fmt: skip

    def plates(self) -> Iterator[EntityRow]:
        """Trucks that lose more than others of the same lots."""
        loads = [x for x in self.loads if x.day <= self.until_day]
        if not loads:
            return
        usual = self._usual(loads)
        beyond = np.array([x.loss for x in loads]) - usual
        sigma = max(scatter(beyond), 1e-4)
        order = np.argsort(np.array([x.plate for x in loads]), kind="stable")
        names = np.array([x.plate for x in loads])[order]
        starts = np.flatnonzero(np.append(True, names[1:] != names[:-1]))
        for at, end in zip(starts, np.append(starts[1:], len(names)), strict=True):
            mine = order[at:end]
            for first, last, verdict in judge_truck(beyond[mine], sigma, LOSS_TOLERANCE):
                a, b = loads[mine[first]], loads[mine[last]]
                contract = self.site.contracts.get(b.contract)
                evidence = {
                    "rule": "mean of the last loads over others of their lots by 0.8 % and 3 standard errors"
                }
                yield self._say(
                    f"plate:{names[at]}", "transit_loss", verdict, contract.unit if contract else "",
                    "beyond_pct", evidence, (a.t_ms, b.t_ms),
                )  # fmt: skip

    def _usual(self, loads: Sequence[_Load]) -> NDArray[np.float64]:
        """Median loss of each load's lot, of its contract where the lot has under five loads."""
        usual = np.empty(len(loads))
        values = np.array([x.loss for x in loads])
        by_contract = _places([x.contract for x in loads])
        by_lot = _places([(x.contract, x.loaded, x.day) for x in loads])
        for places in by_contract.values():
            usual[places] = np.median(values[places])
        for places in by_lot.values():
            if len(places) >= 5:
                usual[places] = np.median(values[places])
        return usual

    def bridges(self) -> Iterator[EntityRow]:
        """Bridges that show another mass than they used to, by the trucks that they share with others."""
        devices = sorted({b for h in self.entity.of(HAUL) for b in h.values["bridges"] if b})
        number = {name: at for at, name in enumerate(devices)}
        for field, pair in (("tares_kg", (0, 2)), ("grosses_kg", (1, 3))):
            rows = [
                ((v["received_ms"] + self.offset_ms) // _DAY_MS, number[v["bridges"][pair[0]]],
                 number[v["bridges"][pair[1]]], v[field][0] / v[field][1] - 1.0)
                for v in (h.values for h in self.entity.of(HAUL))
                if v.get("received_ms") and v[field][0] and v[field][1] and not DOUBTFUL & set(v["flags"])
            ]  # fmt: skip
            if not rows:
                continue
            day, row, column = (np.array([r[n] for r in rows], np.int64) for n in range(3))
            value = np.array([r[3] for r in rows])
            for found in bridge_verdicts(day, row, column, value, len(devices), self.until_day):
                name = devices[found.bridge]
                verdict = Verdict(
                    found.first_day, found.last_day, found.change, found.error, found.trucks, 0, float("nan"),
                    max(1.0, abs(found.change) / 0.0015),
                )  # fmt: skip
                unit = self.site.devices[name].unit if name in self.site.devices else ""
                evidence = {"rule": "error changed by over 0.15 % against its first days, by other bridges"}
                yield self._say(f"bridge:{name}", "bridge_drift", verdict, unit, "change_pct", evidence)

    def _say(
        self,
        subject: str,
        code: str,
        verdict: Verdict,
        unit: str,
        name: str,
        evidence: dict[str, Any],
        times_ms: tuple[int, int] | None = None,
    ) -> EntityRow:
        first_ms, until_ms = times_ms or (
            verdict.first_day * _DAY_MS - self.offset_ms, (verdict.last_day + 1) * _DAY_MS - self.offset_ms,
        )  # fmt: skip
        ends_ms = until_ms + _QUIET_DAYS * _DAY_MS + _WAIT_MS
        evidence = {
            **evidence, name: round(100.0 * verdict.mean, 3),
            "standard_error_pct": round(100.0 * verdict.error, 3), "trucks": verdict.trucks,
            "last_day": str(date.fromordinal(date(1970, 1, 1).toordinal() + verdict.last_day)),
        }  # fmt: skip
        if verdict.lots:
            evidence["lots"] = verdict.lots
        if isfinite(verdict.needed):
            evidence["trucks_needed"] = int(verdict.needed)
        region = self.site.units[unit].region if unit in self.site.units else ""
        found = Anomaly(
            subject, code, Severity.MAJOR, verdict.score, evidence, first_ms, until_ms, _DAY_MS, unit, region,
            State.ENDED if self.entity.now_ms >= ends_ms else State.ACTIVE,
        )  # fmt: skip
        return anomaly_row(found, ends_ms)


def _places(names: Sequence[Any]) -> dict[Any, NDArray[np.int64]]:
    found: dict[Any, list[int]] = {}
    for at, name in enumerate(names):
        found.setdefault(name, []).append(at)
    return {name: np.array(places, np.int64) for name, places in found.items()}


def _grouped(loads: Sequence[_Load], names: Sequence[str]) -> Iterator[tuple[str, list[_Load]]]:
    for name, places in sorted(_places(names).items()):
        yield name, [loads[at] for at in places]
