"""The monthly report upward, and how it differs from what the other side has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict

from models.contract_periods import PeriodLine, period_lines
from models.site import FulfilmentRule

__all__ = [
    "COMPARED", "SCHEMA", "ContractLine", "Difference", "MonthlyReport", "NotCounted", "Totals", "compare",
    "compare_tickets", "monthly_report",
]  # fmt: skip

SCHEMA: Final = "hearthline.report.monthly/1"
"""Name and version of the report's form. It grows by addition; another meaning is another number."""
COMPARED: Final = (
    "planned_kg", "released_kg", "loaded_kg", "received_kg", "settled_kg", "rejected_kg",
)  # fmt: skip
"""Masses that the other side may have an opinion of."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ContractLine(_Strict):
    """One contract's month. Masses are whole kilograms; what is unknown is null, never zero."""

    contract: str
    month: str
    unit: str
    seller: str | None = None
    buyer: str | None = None
    grade: str | None = None
    origin: str | None = None
    destination: str | None = None
    planned_kg: int | None = None
    released_kg: int | None = None
    unreleased_kg: int | None = None
    cancelled_kg: int | None = None
    unloaded_kg: int | None = None
    loaded_kg: int | None = None
    in_transit_kg: int | None = None
    lost_kg: int | None = None
    received_kg: int | None = None
    unmatched_kg: int | None = None
    settled_kg: int | None = None
    unsettled_kg: int | None = None
    rejected_kg: int | None = None
    rate_pct: float | None = None
    reported_pct: float | None = None
    forecast_pct: float | None = None
    shortfall_p: float | None = None
    release_residual_kg: int | None = None
    load_residual_kg: int | None = None
    transit_residual_kg: int | None = None
    receipt_residual_kg: int | None = None
    refused: int | None = None
    status: str
    until_ms: int


class NotCounted(_Strict):
    """Papers that stand in no total, and why."""

    contract: str
    refused: int
    reason: str


class Totals(_Strict):
    """Sums over the contracts. [kg], [%]"""

    contracts: int
    planned_kg: int
    loaded_kg: int
    in_transit_kg: int
    lost_kg: int
    received_kg: int
    settled_kg: int
    rate_pct: float | None
    reported_pct: float | None


class MonthlyReport(_Strict):
    """What is reported upward of a month of contracts.

    Attributes
    ----------
    until_ms : int
        The newest that any line rests on. [ms UTC]
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)
    form: Literal["hearthline.report.monthly/1"] = SCHEMA
    month: str
    until_ms: int
    contracts: tuple[ContractLine, ...]
    totals: Totals
    not_counted: tuple[NotCounted, ...]
    periods: tuple[PeriodLine, ...] = ()


def monthly_report(
    rows: Iterable[Mapping[str, Any]], month: str, rules: Mapping[str, FulfilmentRule] | None = None
) -> MonthlyReport:
    """The report from rows of `fulfilment`, of which the newest of each contract counts.

    Parameters
    ----------
    rows : iterable of mapping
        With `key` and the columns of results; None is absent.
    month : str
        YYYY-MM.
    rules : mapping of str to FulfilmentRule, optional
        Of quarter and year.
    """
    newest: dict[tuple[str, str], Mapping[str, Any]] = {}
    for row in rows:
        name, _, of = str(row["key"]).rpartition(":")
        known = newest.get((name, of))
        if known is None or row["window_start"] >= known["window_start"]:
            newest[name, of] = row
    lines, left_out = [], []
    for (name, of), row in sorted(newest.items()):
        if of != month:
            continue
        if row.get("planned_kg") is None:
            reason = str(row.get("reason") or "unknown_contract")
            left_out.append(NotCounted(contract=name, refused=int(row.get("refused") or 0), reason=reason))
            continue
        if row.get("received_kg") is None and row.get("reason"):
            left_out.append(NotCounted(contract=name, refused=0, reason=str(row["reason"])))
            continue
        lines.append(_line(name, month, row))
        if row.get("refused"):
            reason = str(row.get("refusals") or "refused")
            left_out.append(NotCounted(contract=name, refused=int(row["refused"]), reason=reason))
    return MonthlyReport(
        month=month, until_ms=max((line.until_ms for line in lines), default=0), contracts=tuple(lines),
        totals=_totals(lines), not_counted=tuple(left_out), periods=period_lines(newest, month, rules),
    )  # fmt: skip


def _line(name: str, month: str, row: Mapping[str, Any]) -> ContractLine:
    own = {"contract", "month", "until_ms"}
    values: dict[str, Any] = {f: row.get(f) for f in ContractLine.model_fields if f not in own}
    for field in ("rate_pct", "reported_pct", "forecast_pct", "shortfall_p"):
        values[field] = None if values[field] is None else round(float(values[field]), 4)
    until_ms = int(row["window_start"]) + int(row["window_ms"])
    return ContractLine(contract=name, month=month, until_ms=until_ms, **values)


def _totals(lines: Sequence[ContractLine]) -> Totals:
    def total(field: str) -> int:
        return sum(getattr(line, field) or 0 for line in lines)

    planned = total("planned_kg")
    # The lower of both sides counts contract by contract: one's plenty does not make up for another's want.
    reported = sum((line.reported_pct or 0.0) / 100.0 * (line.planned_kg or 0) for line in lines)
    return Totals(
        contracts=len(lines), planned_kg=planned, loaded_kg=total("loaded_kg"),
        in_transit_kg=total("in_transit_kg"), lost_kg=total("lost_kg"), received_kg=total("received_kg"),
        settled_kg=total("settled_kg"),
        rate_pct=round(100.0 * total("received_kg") / planned, 4) if planned else None,
        reported_pct=round(100.0 * reported / planned, 4) if planned else None,
    )  # fmt: skip


class Difference(_Strict):
    """One thing on which both sides do not agree.

    Attributes
    ----------
    what : str
        `differs`, `missing_here`, `missing_there`, `twice_there` or `unreadable_there`.
    """

    contract: str
    ticket: str | None = None
    field: str
    ours_kg: int | None = None
    theirs_kg: int | None = None
    difference_kg: int | None = None
    what: str
    detail: str = ""


def compare(
    ours: MonthlyReport, theirs: Sequence[Mapping[str, str]], tolerance_kg: int = 0
) -> list[Difference]:
    """Differences contract by contract; only masses that the other side gives are compared.

    Parameters
    ----------
    ours : MonthlyReport
    theirs : sequence of mapping
        Rows of text by column: `contract`, and masses in kg, or in t by names that end in ``_t``.
    tolerance_kg : int
        What is no difference.
    """
    mine = {line.contract: line for line in ours.contracts}
    found: list[Difference] = []
    seen: set[str] = set()
    for row in theirs:
        name = row.get("contract", "").strip()
        if row.get("month", ours.month).strip() not in ("", ours.month):
            continue
        if name in seen:
            found.append(Difference(contract=name, field="contract", what="twice_there"))
            continue
        seen.add(name)
        if name not in mine:
            found.append(Difference(contract=name, field="contract", what="missing_here"))
            continue
        for field in COMPARED:
            given = _given(row, field)
            if given is not None:
                found += _differing(name, None, field, getattr(mine[name], field), given, tolerance_kg)
    missing = sorted(mine.keys() - seen)
    return found + [Difference(contract=name, field="contract", what="missing_there") for name in missing]


def compare_tickets(
    ours: Mapping[str, tuple[str, int | None]], theirs: Sequence[Mapping[str, str]], tolerance_kg: int = 0
) -> list[Difference]:
    """Differences ticket by ticket, by net mass.

    Parameters
    ----------
    ours : mapping of str to (str, int or None)
        Contract and net mass by ticket. [kg]
    theirs : sequence of mapping
        With `ticket` and `net_kg` or `net_t`.
    tolerance_kg : int
    """
    found: list[Difference] = []
    seen: set[str] = set()
    for row in theirs:
        ticket, named = row.get("ticket", "").strip(), row.get("contract", "").strip()
        if ticket in seen:
            found.append(Difference(contract=named, ticket=ticket, field="net_kg", what="twice_there"))
            continue
        seen.add(ticket)
        if ticket not in ours:
            found.append(Difference(contract=named, ticket=ticket, field="net_kg", what="missing_here"))
            continue
        contract, kg = ours[ticket]
        given = _given(row, "net_kg")
        if given is not None:
            found += _differing(contract, ticket, "net_kg", kg, given, tolerance_kg)
    for ticket in sorted(ours.keys() - seen):
        contract, kg = ours[ticket]
        found.append(
            Difference(contract=contract, ticket=ticket, field="net_kg", ours_kg=kg, what="missing_there")
        )
    return found


def _given(row: Mapping[str, str], field: str) -> str | int | None:
    """What the other side says of a mass: whole kg, its text where that is no number, None for nothing."""
    for name, scale in ((field, 1.0), (field.removesuffix("_kg") + "_t", 1000.0)):
        text = row.get(name, "").strip().replace(",", "")
        if text:
            try:
                value = float(text) * scale
            except ValueError:
                return text
            return round(value) if abs(value) < 1e12 else text
    return None


def _differing(
    contract: str, ticket: str | None, field: str, ours: int | None, given: str | int, tolerance_kg: int
) -> list[Difference]:
    if isinstance(given, str):
        what, detail = "unreadable_there", f"expected a mass, got {given[:40]!r}"
        return [Difference(contract=contract, ticket=ticket, field=field, what=what, detail=detail)]
    if ours is None:
        return [
            Difference(contract=contract, ticket=ticket, field=field, theirs_kg=given, what="missing_here")
        ]
    if abs(ours - given) <= tolerance_kg:
        return []
    return [
        Difference(
            contract=contract, ticket=ticket, field=field, ours_kg=ours, theirs_kg=given,
            difference_kg=ours - given, what="differs",
        )
    ]  # fmt: skip
