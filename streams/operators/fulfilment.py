"""Where each contract's coal is and whether it will all come, per contract month and local day."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from datetime import datetime
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa

from models.anomaly import ANOMALY, Anomaly, Severity, State
from models.contract_papers import OfficePaper, Side, TripState, Weighed, moved, nets, papers_judged
from models.fulfilment import Funnel, funnel, rate_pct, reported_pct
from models.fulfilment_forecast import Outlook, outlook, rules_of
from models.local_month import days_ms
from models.site import Contract, Site
from models.trip import LONGEST_MS
from streams.core.containing import FAILED
from streams.core.entity_operator import (
    ANOMALY_FIELDS,
    Entity,
    EntityRow,
    Item,
    anomaly_row,
    by_contract,
    entity_operator,
)
from streams.core.local_days import day_bounds_ms
from streams.operators.weighing import CORRECT, WEIGHED

__all__ = ["FIELDS", "NEWEST", "SHORTFALL", "fulfilment"]

NEWEST: Final = "contract_newest"
"""Measurement for other operators: a contract month's newest day, one row of the whole month."""

SHORTFALL: Final = "contract_shortfall"
"""Code of the anomaly: the month's contract will likely not be fulfilled."""
_AHEAD: Final = "contract_ahead"
"""For nobody: a month that has not begun, so that it is computed when it begins though no paper comes."""
_MASSES: Final = tuple(f.name for f in fields(Funnel))
FIELDS: Final = {
    **dict.fromkeys((*_MASSES, "planned_to_date_kg", "refused"), pa.int64()),
    **dict.fromkeys(
        ("rate_pct", "reported_pct", "run_rate_kg_d", "expected_kg", "expected_u_kg", "forecast_pct",
         "shortfall_p"),
        pa.float64(),
    ),
    **dict.fromkeys(("refusals", "contract", "month", "seller", "buyer", "grade", "origin", "destination"),
                    pa.string()),
}  # fmt: skip
_TERMS: Final = ("contract", "month", "seller", "buyer", "grade", "origin", "destination")
_OF_A_PERIOD: Final = (
    "contract", "month", "seller", "planned_kg", "cancelled_kg", "received_kg", "expected_kg",
    "expected_u_kg",
)  # fmt: skip
_BEFORE_MS: Final = 7 * 86_400_000
"""How long before its month a contract's papers count: releases are agreed in advance."""
_AFTER_D: Final = 30
"""Days after the month in which the last coal arrives and is settled."""
_DAY_S: Final = 86_400
_HOUR_MS: Final = 3_600_000
_SHOWN_REFUSALS: Final = 5


def _unsummed(entity: Entity) -> Iterator[EntityRow]:
    """What names the days of a contract's month up to now."""
    contract = entity.site.contracts.get(entity.name)
    if contract is not None and contract.stream == entity.stream:
        days = days_ms(contract.month, entity.site.timezone, _AFTER_D)
        if days[0] <= entity.now_ms:
            yield from _not_known(entity, contract, days, FAILED)


@entity_operator(
    by=by_contract,
    events=("office",),
    reads=("trip", WEIGHED),
    writes={"fulfilment": FIELDS, ANOMALY: ANOMALY_FIELDS, NEWEST: {}, _AHEAD: {}},
    hidden=(NEWEST, _AHEAD),
    horizon_s=(31 + _AFTER_D) * _DAY_S,
    reach_s=(31 + _AFTER_D + 9) * _DAY_S,
    every_s=900,
    names=lambda site: site.contracts,
    instead=_unsummed,
)
def fulfilment(entity: Entity) -> Iterable[EntityRow]:
    """Add up the month to each day's end, and to now while the day is open.

    A ticket of a contract that nobody registered is counted and refused; it is in no sum. The sums of a month
    that began before the stream did are unknown, unless its tickets are brought in.
    """
    contract = entity.site.contracts.get(entity.name)
    if contract is None:
        return _unknown(entity)
    # A unit's stream knows of trips too; a contract is told of where its haulage is.
    return _known(entity, contract) if contract.stream == entity.stream else ()


def _unknown(entity: Entity) -> Iterator[EntityRow]:
    """Papers that name a contract which is not registered, by day."""
    zone, days = entity.site.timezone, dict[tuple[int, int], int]()
    for item in entity.items:
        if item.source != "trip" and item.values.get("event") != CORRECT:
            day = day_bounds_ms(item.t, zone)
            days[day] = days.get(day, 0) + 1
    for (start_ms, end_ms), count in days.items():
        month = f"{datetime.fromtimestamp(start_ms / 1000, ZoneInfo(zone)):%Y-%m}"
        yield EntityRow(
            "fulfilment", f"{entity.name}:{month}", start_ms, end_ms - start_ms, "",
            {"refused": count, "contract": entity.name}, _settles_ms(entity.site, end_ms),
            reason="unknown_contract",
        )  # fmt: skip


def _settles_ms(site: Site, end_ms: int) -> int:
    return end_ms + 1000 * site.lateness_s


def _known(entity: Entity, contract: Contract) -> Iterator[EntityRow]:
    site = entity.site
    days = days_ms(contract.month, site.timezone, _AFTER_D)
    month_end = days[-1 - _AFTER_D]
    items = [i for i in entity.items if i.t >= days[0] - _BEFORE_MS]
    begun = [day for day in days[:-1] if day <= entity.now_ms]
    if not begun:
        yield EntityRow(_AHEAD, contract.contract, days[0], 0, contract.unit, {}, days[0])
        return
    told_ms = (i.t for i in items if i.source == WEIGHED and _mass(i) is not None)
    why = entity.beginning.why_unknown(days[1], told_ms, site.timezone)
    if why:
        yield from _not_known(entity, contract, days, why)
        return
    # A correction is no paper of its own: it is in the weighings as they stand.
    offices, refused = papers_judged(
        _office(i) for i in items if i.source == "office" and i.values.get("event") != CORRECT
    )
    tickets, bad = nets(_weighed(i, contract) for i in items if i.source == WEIGHED)
    refused = sorted([*refused, *bad], key=lambda r: (r.t_ms, r.name, r.reason))
    movements = moved(offices, tickets, (_trip(i) for i in items if i.source == "trip"))
    planned_kg = round(1000.0 * contract.planned_t)
    ends = np.minimum(days[1 : len(begun) + 1], entity.now_ms)
    sums = funnel(planned_kg, movements, ends)
    outlooks = _outlooks(sums, days, ends, month_end, min((i.t for i in items), default=entity.now_ms))
    rule = rules_of(site)["month"]
    least_kg = rule.least_pct / 100.0 * planned_kg
    over, values = 0, dict[str, object]()
    for n, start_ms in enumerate(begun):
        if start_ms >= month_end and not _open(sums, n - 1):
            break
        end_ms = days[n + 1]
        until = [r for r in refused if r.t_ms <= ends[n]]
        gone = min(1.0, (int(ends[n]) - days[0]) / (month_end - days[0]))
        values = {
            **{name: getattr(contract, name) for name in _TERMS},
            **sums.at(n),
            "planned_to_date_kg": round(planned_kg * gone),
            "refused": len(until),
            "refusals": "; ".join(f"{r.name}: {r.reason}" for r in until[-_SHOWN_REFUSALS:]) or None,
            "rate_pct": float(rate_pct(sums.received_kg[n], planned_kg)),
            "reported_pct": _reported(sums, n, planned_kg),
            **_foretold(outlooks[n], planned_kg, least_kg),
        }
        yield EntityRow(
            "fulfilment", f"{contract.contract}:{contract.month}", start_ms, end_ms - start_ms,
            contract.unit, values, _settles_ms(site, end_ms), _again_ms(entity.now_ms, end_ms, month_end),
        )  # fmt: skip
        over = n + 1
    yield EntityRow(
        NEWEST, f"{contract.contract}:{contract.month}", days[0], month_end - days[0], contract.unit,
        {name: values.get(name) for name in _OF_A_PERIOD}, _settles_ms(site, days[-1]),
    )  # fmt: skip
    yield from _shortfalls(entity, contract, days, outlooks[:over], least_kg)


def _again_ms(now_ms: int, end_ms: int, month_end: int) -> int:
    """When a day's row is other though no paper comes: while its month runs, what is due by now grows."""
    return min(end_ms, (now_ms // _HOUR_MS + 1) * _HOUR_MS) if now_ms < month_end else end_ms


def _not_known(entity: Entity, contract: Contract, days: Sequence[int], why: str) -> Iterator[EntityRow]:
    """What the contract asks for, on the days of the month that nobody said more of."""
    key, month_end = f"{contract.contract}:{contract.month}", days[-1 - _AFTER_D]
    values = {name: getattr(contract, name) for name in _TERMS}
    values["planned_kg"] = round(1000.0 * contract.planned_t)
    for start_ms, end_ms in pairwise(days[:-_AFTER_D]):
        settles_ms = _settles_ms(entity.site, end_ms)
        if start_ms <= entity.now_ms and not entity.beginning.stands(settles_ms):
            yield EntityRow(
                "fulfilment", key, start_ms, end_ms - start_ms, contract.unit, values,
                settles_ms, end_ms, reason=why, at_once=True,
            )  # fmt: skip
    yield EntityRow(
        NEWEST, key, days[0], month_end - days[0], contract.unit,
        {name: values.get(name) for name in _OF_A_PERIOD}, _settles_ms(entity.site, days[-1]),
        reason=why, at_once=True,
    )  # fmt: skip


def _open(sums: Funnel, n: int) -> bool:
    """Whether at the end of a day something was still to come or to be settled."""
    return bool(sums.in_transit_kg[n] or sums.unsettled_kg[n])


def _reported(sums: Funnel, n: int, planned_kg: int) -> float:
    """The lower of both sides; a side without any ticket reports nothing."""
    seller = float(sums.loaded_kg[n]) if sums.loaded_kg[n] else float("nan")
    buyer = float(sums.received_kg[n]) if sums.received_kg[n] else float("nan")
    return float(reported_pct(seller, buyer, planned_kg))


def _outlooks(
    sums: Funnel,
    days: Sequence[int],
    ends: np.ndarray[tuple[int], np.dtype[np.int64]],
    month_end: int,
    known_ms: int,
) -> list[Outlook | None]:
    """What the month will end with, as seen from the end of each day.

    Days before the contract's first paper, at `known_ms`, tell of no pace: that nothing came on them is told
    apart by nothing from that nobody had been asked yet. [ms UTC]
    """
    month = days.index(month_end)
    known = max(0, bisect_right(days, known_ms) - 1)
    daily = np.diff(np.concatenate(([0], sums.received_kg)))
    found: list[Outlook | None] = []
    for n, end in enumerate(ends.tolist()):
        whole = min(n + 1 if end == days[n + 1] else n, month)
        today = float(daily[whole : n + 1].sum()) if n < month else 0.0
        most = float(sums.planned_kg[n] - sums.cancelled_kg[n])
        ahead_d = max(0.0, (month_end - end) / 86_400_000.0)
        found.append(
            outlook(
                daily[known:whole], sums.unloaded_kg[known:whole], today, ahead_d, sums.in_transit_kg[n], most
            )
        )
    return found


def _foretold(seen: Outlook | None, planned_kg: int, least_kg: float) -> dict[str, float]:
    if seen is None:
        return {}
    return {
        "run_rate_kg_d": seen.run_rate_kg_d,
        "expected_kg": seen.expected_kg,
        "expected_u_kg": 2.0 * seen.spread_kg,
        "forecast_pct": float(rate_pct(seen.expected_kg, planned_kg)),
        "shortfall_p": seen.shortfall_p(least_kg),
    }


def _shortfalls(
    entity: Entity,
    contract: Contract,
    days: Sequence[int],
    outlooks: Sequence[Outlook | None],
    least_kg: float,
) -> Iterator[EntityRow]:
    """Each run of days on which a shortfall is likelier than the rule allows."""
    rule = rules_of(entity.site)["month"]
    chances = [0.0 if seen is None else seen.shortfall_p(least_kg) for seen in outlooks]
    for first, last in _runs([p > rule.warn_p for p in chances]):
        if days[last + 1] <= entity.from_ms:
            continue
        worst = max(chances[first : last + 1])
        found = Anomaly(
            f"contract:{contract.contract}", SHORTFALL, Severity.MAJOR if worst > 0.5 else Severity.MINOR,
            worst / rule.warn_p if rule.warn_p else 10.0,
            {"shortfall_p": round(chances[last], 4), "worst_p": round(worst, 4),
             "rule": f"P(received < {rule.least_pct:g} % of plan) > {rule.warn_p:g}",
             "month": contract.month, "seller": contract.seller},
            days[first], days[last + 1], days[first + 1] - days[first], contract.unit,
            entity.site.units[contract.unit].region,
            State.ACTIVE if last == len(chances) - 1 else State.ENDED,
        )  # fmt: skip
        yield anomaly_row(found)


def _runs(flags: Sequence[bool]) -> Iterator[tuple[int, int]]:
    """First and last place of each run of true ones."""
    first = None
    for n, flag in enumerate([*flags, False]):
        if flag and first is None:
            first = n
        elif not flag and first is not None:
            yield first, n - 1
            first = None


def _mass(item: Item) -> float | None:
    value = item.values.get("mass_kg")
    return None if value is None else float(value)


def _office(item: Item) -> OfficePaper:
    return OfficePaper(
        item.t, str(item.values.get("ref", "")), str(item.values.get("event", "")), _mass(item)
    )


def _weighed(item: Item, contract: Contract) -> Weighed:
    """A weighing as it stands, corrected: trips go by the same."""
    place = item.values["place"]
    side: Side | None = None
    if place == contract.origin:
        side = "origin"
    elif place == contract.destination:
        side = "destination"
    return Weighed(
        item.t, str(item.values.get("ticket", "")), str(item.values.get("step", "")), _mass(item), side
    )


def _trip(item: Item) -> TripState:
    """A trip's row; one that has not ended has no time of it."""
    values = item.values
    state = str(values.get("state", "open"))
    ended = values.get("received_ms")
    if ended is None and state == "lost":
        ended = item.t + LONGEST_MS
    return TripState(
        str(values.get("origin_ticket", item.device)),
        str(values.get("destination_ticket", "")),
        item.t,
        None if ended is None else int(ended),
        _whole(values.get("loaded_kg")),
        _whole(values.get("received_kg")),
        state,
    )


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)
