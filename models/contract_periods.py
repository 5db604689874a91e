"""Quarters and years of contracts: how likely too little will have been received, by the site's rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite, sqrt
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from models.fulfilment_forecast import RULES, Outlook
from models.local_month import months_of, period_of
from models.site import FulfilmentRule

__all__ = ["PERIODS", "PeriodLine", "period_lines"]

PERIODS: Final = ("quarter", "year")
_NAMED: Final = 2


class PeriodLine(BaseModel):
    """One supplier's contracts of a quarter or a year so far, or everybody's.

    Masses are whole kilograms. What is unknown is null; `reason` says why, and `missing` of which contracts.

    Attributes
    ----------
    period, name : str
        "quarter" or "year", and which: 2026-Q1, 2026.
    seller : str or None
        None stands for all of them.
    contracts : int
        Of the months from the period's first one to that of the report, as far as there are any.
    received_kg : int or None
        None where it is unknown of one of them.
    first_month, last_month : str
        The first and last of those that have contracts.
    expected_kg : int or None
        What will have been received by each contract's month's end.
    shortfall_p : float or None
        Probability that it is less than `least_pct` of the plan.
    warned : bool or None
        Whether that is more than the rule allows.
    missing : str or None
        The first contracts of which nothing is foretold, and how many more there are: B, C + 2.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    period: str
    name: str
    seller: str | None
    contracts: int
    first_month: str
    last_month: str
    planned_kg: int
    received_kg: int | None
    expected_kg: int | None
    rate_pct: float | None
    forecast_pct: float | None
    least_pct: float
    shortfall_p: float | None
    warned: bool | None
    reason: str | None = None
    missing: str | None = None


def period_lines(
    rows: Mapping[tuple[str, str], Mapping[str, Any]],
    month: str,
    rules: Mapping[str, FulfilmentRule] | None = None,
) -> tuple[PeriodLine, ...]:
    """Quarter and year of a month, each for all suppliers and for each of them.

    Contracts count as independent of each other. Months after `month` do not count: nothing is known of them.

    Parameters
    ----------
    rows : mapping of (contract, month) to mapping
        The newest row of `fulfilment` of each; those without a plan are left out.
    month : str
        YYYY-MM.
    rules : mapping of str to FulfilmentRule, optional
        By period; `RULES` for those that it does not have.
    """
    by_period = {rule.period: rule for rule in RULES} | dict(rules or {})
    lines = []
    for period in PERIODS:
        name = period_of(month, period)
        months = [m for m in months_of(name) if m <= month]
        mine = {k: row for k, row in sorted(rows.items()) if k[1] in months and row.get("planned_kg")}
        if not mine:
            continue
        lines.append(_line(period, name, None, mine, by_period[period]))
        for seller in sorted({str(row["seller"]) for row in mine.values() if row.get("seller")}):
            of_seller = {k: row for k, row in mine.items() if row.get("seller") == seller}
            lines.append(_line(period, name, seller, of_seller, by_period[period]))
    return tuple(lines)


def _line(
    period: str,
    name: str,
    seller: str | None,
    rows: Mapping[tuple[str, str], Mapping[str, Any]],
    rule: FulfilmentRule,
) -> PeriodLine:
    parts = {key: _outlook(row) for key, row in rows.items()}
    unknown = [contract for (contract, _), part in parts.items() if part is None]
    planned = _sum(row["planned_kg"] for row in rows.values())
    received = _whole([row.get("received_kg") for row in rows.values()])
    seen = None if unknown else _summed([part for part in parts.values() if part is not None])
    months = sorted(month for _, month in rows)
    chance = None if seen is None else round(seen.shortfall_p(rule.least_pct / 100.0 * planned), 4)
    missing = _named(unknown)
    return PeriodLine(
        period=period, name=name, seller=seller, contracts=len(rows), first_month=months[0],
        last_month=months[-1], planned_kg=planned, received_kg=received,
        expected_kg=None if seen is None else round(seen.mean_kg),
        rate_pct=None if received is None else round(100.0 * received / planned, 4),
        forecast_pct=None if seen is None else round(100.0 * seen.mean_kg / planned, 4),
        least_pct=rule.least_pct, shortfall_p=chance, warned=None if chance is None else chance > rule.warn_p,
        reason=missing and f"nothing is foretold of {missing}", missing=missing,
    )  # fmt: skip


def _named(contracts: Sequence[str]) -> str | None:
    """The first few by name and the others by number, as the cell of a table holds them."""
    if not contracts:
        return None
    more = len(contracts) - _NAMED
    return ", ".join(contracts[:_NAMED]) + (f" + {more}" if more > 0 else "")


def _outlook(row: Mapping[str, Any]) -> Outlook | None:
    """What a row foretells of its month; None where it does not."""
    expected, spread = row.get("expected_kg"), row.get("expected_u_kg")
    if expected is None or spread is None or not (isfinite(expected) and isfinite(spread)):
        return None
    if spread <= 0.0:  # the month is over: what came later is in received_kg and does not count for it
        return Outlook(expected, expected, expected, 0.0)
    received = float(row.get("received_kg") or 0)
    most = max(float(row["planned_kg"] - (row.get("cancelled_kg") or 0)), received)
    return Outlook(received, most, float(expected), spread / 2.0)


def _summed(parts: Sequence[Outlook]) -> Outlook:
    """All as one; each one's mean and spread have its bounds in them already."""
    return Outlook(
        sum(part.so_far_kg for part in parts),
        sum(part.most_kg for part in parts),
        sum(part.mean_kg for part in parts),
        sqrt(sum(part.sigma_kg**2 for part in parts)),
    )


def _whole(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _sum(values: Iterable[int | None]) -> int:
    return sum(value or 0 for value in values)
