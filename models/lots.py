"""Laboratories' results and the loads that they stand for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from math import nan
from typing import Final
from zoneinfo import ZoneInfo

__all__ = ["Assay", "assay_of", "day_of", "dry_mj_kg", "lot_day"]

_DATE: Final = re.compile(r"(?<!\d)(?:20)?(\d{2})-?(\d{2})-?(\d{2})$")
_SOON_MS: Final = 36 * 3_600_000
"""A result without a date of its own may stand for loads weighed so long before it. [ms]"""
_LATENT_MJ_KG: Final = 2.443
"""Heat to evaporate water at 25 °C (ISO 1928, annex on the net value at constant pressure). [MJ/kg]"""


@dataclass(frozen=True, slots=True)
class Assay:
    """A laboratory's result.

    Attributes
    ----------
    t_ms : int
        When it was there. [ms UTC]
    lot, contract, end, ticket : str
        `ticket` where it stands for one load alone.
    moisture_pct, q_net_ar_mj_kg : float or None
        Total moisture [%] and net calorific value as received [MJ/kg]; None when not known.
    """

    t_ms: int
    lot: str
    contract: str
    end: str
    ticket: str
    moisture_pct: float | None
    q_net_ar_mj_kg: float | None


def lot_day(lot: str) -> date | None:
    """The date at the end of a lot's name, as YYMMDD or YYYY-MM-DD; None without one that exists.

    Examples
    --------
    >>> lot_day("C05-2026-01-260117"), lot_day("C05-2026-13-45"), lot_day("C-T1001")
    (datetime.date(2026, 1, 17), None, None)
    """
    found = _DATE.search(lot)
    if found is None:
        return None
    year, month, day = (int(part) for part in found.groups())
    try:
        return date(2000 + year, month, day)
    except ValueError:
        return None


def day_of(t_ms: int, timezone: str) -> date:
    """The local day of a time (ms UTC)."""
    return (
        (datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=t_ms)).astimezone(ZoneInfo(timezone)).date()
    )


def assay_of(
    ticket: str, contract: str, end: str, weighed_ms: int, assays: Iterable[Assay], timezone: str
) -> Assay | None:
    """The result that stands for a load at one end: of its ticket, of its contract's day, else the next one.

    Parameters
    ----------
    ticket : str
        Of the load at that end.
    contract, end : str
    weighed_ms : int
        [ms UTC]
    assays : iterable of Assay
    timezone : str
        Of the site: a lot's date is a local day.
    """
    mine = sorted((a for a in assays if a.end == end), key=lambda a: (a.t_ms, a.lot))
    own = [a for a in mine if a.ticket == ticket]
    if own:
        return own[-1]
    lots: Sequence[Assay] = [a for a in mine if not a.ticket and a.contract == contract]
    today = day_of(weighed_ms, timezone)
    dated = [a for a in lots if lot_day(a.lot) == today]
    if dated:
        return dated[-1]
    undated = [a for a in lots if lot_day(a.lot) is None and weighed_ms <= a.t_ms <= weighed_ms + _SOON_MS]
    return undated[0] if undated else None


def dry_mj_kg(q_net_ar_mj_kg: float, moisture_pct: float) -> float:
    r"""Net calorific value of the dry coal from that as received, after ISO 1928. [MJ/kg]

    NaN for a moisture outside 0 to under 100 %.

    :math:`Q_{net,ar} = Q_{net,d}\,(100 - M)/100 - 2.443\,M/100`

    Examples
    --------
    >>> round(dry_mj_kg(21.0, 10.0), 3)
    23.605
    """
    if not 0.0 <= moisture_pct < 100.0:
        return nan
    return (q_net_ar_mj_kg + _LATENT_MJ_KG * moisture_pct / 100.0) / (1.0 - moisture_pct / 100.0)
