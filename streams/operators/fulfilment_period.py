"""Whether the contracts of a quarter and a year will be fulfilled, all together and by supplier."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import pyarrow as pa

from models.contract_periods import PERIODS, PeriodLine, period_lines
from models.fulfilment_forecast import rules_of
from models.local_month import days_ms, months_of, period_of
from models.site import Site
from streams.core.entity_operator import Entity, EntityRow, Item, entity_operator
from streams.operators.fulfilment import NEWEST

__all__ = ["FIELDS", "fulfilment_period"]

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
    writes={"fulfilment_period": FIELDS},
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
    zone, months = entity.site.timezone, months_of(entity.name)
    start_ms = days_ms(months[0], zone)[0]
    end_ms = days_ms(months[-1], zone)[-1]
    units = {values.get("unit") or "" for values in newest.values()}
    unit = units.pop() if len(units) == 1 else ""
    for line in period_lines(newest, max(month for _, month in newest), rules_of(entity.site)):
        if line.name == entity.name:
            yield EntityRow(
                "fulfilment_period", _key(entity.stream, line), start_ms, end_ms - start_ms, unit,
                _fields(line), end_ms + 1000 * (_AFTER_D - 1) * _DAY_S,
            )  # fmt: skip


def _key(stream: str, line: PeriodLine) -> str:
    """Without the period's name, so that the newest row of a key is the period that runs."""
    return f"{stream}:{line.period}" + (f":{line.seller}" if line.seller else "")


def _fields(line: PeriodLine) -> dict[str, object]:
    values = line.model_dump(exclude={"reason"})
    return values | {"warned": None if line.warned is None else int(line.warned)}
