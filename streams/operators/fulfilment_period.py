"""Whether the contracts of a quarter and a year will be fulfilled, all together and by supplier."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

import pyarrow as pa

from models.anomaly import ANOMALY, Anomaly, Severity, State
from models.contract_periods import PERIODS, PeriodLine, period_lines
from models.fulfilment_forecast import rules_of
from models.local_month import days_ms, months_of, period_of
from models.site import Site
from streams.core.beginning import FORGOTTEN
from streams.core.entity_operator import (
    ANOMALY_FIELDS,
    Entity,
    EntityRow,
    Item,
    anomaly_row,
    entity_operator,
)
from streams.operators.fulfilment import NEWEST

__all__ = ["FIELDS", "SHORTFALLS", "fulfilment_period"]

SHORTFALLS: Final = {"quarter": "quarter_shortfall", "year": "year_shortfall"}
"""Codes of the anomalies: the period's contracts will likely not be fulfilled."""

FIELDS: Final = {
    **dict.fromkeys(("period", "name", "seller", "first_month", "last_month", "missing"), pa.string()),
    **dict.fromkeys(("contracts", "planned_kg", "received_kg", "expected_kg", "warned"), pa.int64()),
    **dict.fromkeys(("rate_pct", "forecast_pct", "least_pct", "shortfall_p"), pa.float64()),
}
_AFTER_D: Final = 31
"""Days after a period in which its last contracts are settled, with the local day before it begins."""
_DAY_S: Final = 86_400


def _periods(item: Item, _site: Site) -> Iterable[str]:
    return tuple(period_of(str(item.values["month"]), period) for period in PERIODS)


@entity_operator(
    by=_periods,
    reads=(NEWEST,),
    writes={"fulfilment_period": FIELDS, ANOMALY: ANOMALY_FIELDS},
    horizon_s=(366 + _AFTER_D) * _DAY_S,
    reach_s=_DAY_S,
    every_s=900,
)
def fulfilment_period(entity: Entity) -> Iterator[EntityRow]:
    """Add up a haulage group's contract months, from the period's begin up to the newest that has begun.

    The same lines as in the monthly report of that month; decision 91 says what they rest on.
    """
    newest = {(i.values["contract"], i.values["month"]): i.values for i in entity.of(NEWEST)}
    if not newest:
        return
    newest |= _never_told(entity, newest)
    zone, months = entity.site.timezone, months_of(entity.name)
    start_ms = days_ms(months[0], zone)[0]
    end_ms = days_ms(months[-1], zone)[-1]
    units = {values.get("unit") or "" for values in newest.values()}
    unit = units.pop() if len(units) == 1 else ""
    settles_ms = end_ms + 1000 * (_AFTER_D - 1) * _DAY_S
    for line in period_lines(newest, max(month for _, month in newest), rules_of(entity.site)):
        why = _why_unknown(newest.values(), line)
        # What was said before the beginning was forgotten stands while all is computed anew, and if settled.
        if line.name == entity.name and not (why == FORGOTTEN and entity.beginning.stands(settles_ms)):
            yield EntityRow(
                "fulfilment_period", _key(entity.stream, line), start_ms, end_ms - start_ms, unit,
                _fields(line), settles_ms, reason=why, at_once=True,
            )  # fmt: skip
            if line.warned or why == FORGOTTEN:
                told = _shortfall(entity, line, unit, start_ms, end_ms, settles_ms)
                # Whoever was warned before it was forgotten hears that nobody can tell any more.
                yield told if line.warned else replace(told, withdrawn=True)


def _never_told(
    entity: Entity, newest: Collection[tuple[str, str]]
) -> dict[tuple[str, str], Mapping[str, Any]]:
    """Contract months up to the newest of which nothing was told, since they are unknown and too old."""
    last, zone = max(month for _, month in newest), entity.site.timezone
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    for contract in entity.site.contracts.values():
        name = (contract.contract, contract.month)
        if contract.stream != entity.stream or name in newest or contract.month > last:
            continue
        if contract.month in months_of(entity.name):
            why = entity.beginning.why_unknown(days_ms(contract.month, zone)[1], (), zone)
            if why:
                found[name] = {
                    "contract": contract.contract, "month": contract.month, "seller": contract.seller,
                    "planned_kg": round(1000.0 * contract.planned_t), "unit": contract.unit, "reason": why,
                }  # fmt: skip
    return found


def _why_unknown(newest: Iterable[Mapping[str, Any]], line: PeriodLine) -> str:
    """Why what a line's contracts received is unknown; empty where it is known."""
    if line.received_kg is not None:
        return ""
    return next(
        str(values.get("reason", ""))
        for values in newest
        if values.get("received_kg") is None and line.seller in {None, values.get("seller")}
    )


def _shortfall(
    entity: Entity, line: PeriodLine, unit: str, start_ms: int, end_ms: int, settles_ms: int
) -> EntityRow:
    """The anomaly of a period of which a shortfall is likelier than its rule allows.

    It is what is foretold now: where that is so no more it is taken back, as the row of the period has it.
    """
    rule, chance = rules_of(entity.site)[line.period], line.shortfall_p or 0.0
    found = Anomaly(
        f"supplier:{line.seller}" if line.seller else f"haulage:{entity.stream}", SHORTFALLS[line.period],
        Severity.MAJOR if chance > 0.5 else Severity.MINOR, chance / rule.warn_p if rule.warn_p else 10.0,
        {"shortfall_p": round(chance, 2), "forecast_pct": round(line.forecast_pct or 0.0, 1),
         "rule": f"P(received < {rule.least_pct:g} % of plan) > {rule.warn_p:g}", "period": line.name,
         "contracts": line.contracts, "last_month": line.last_month},
        start_ms, end_ms, end_ms - start_ms, unit,
        entity.site.units[unit].region if unit in entity.site.units else "",
        State.ENDED if entity.now_ms >= settles_ms else State.ACTIVE,
    )  # fmt: skip
    return anomaly_row(found, settles_ms)


def _key(stream: str, line: PeriodLine) -> str:
    """Without the period's name, so that the newest row of a key is the period that runs."""
    return f"{stream}:{line.period}" + (f":{line.seller}" if line.seller else "")


def _fields(line: PeriodLine) -> dict[str, object]:
    values = line.model_dump(exclude={"reason"})
    return values | {"warned": None if line.warned is None else int(line.warned)}
