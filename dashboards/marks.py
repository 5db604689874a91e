"""Alarms of a device, as marks on its charts: what was wrong belongs beside what was measured."""

from __future__ import annotations

from typing import Any, Final

import pyarrow.compute as pc

from dashboards.shared import Answers
from models.site import Site
from store.protocol import Select

__all__ = ["LONGEST_MS", "MOST_MARKS", "alarm_marks"]

MOST_MARKS: Final = 12
"""Of a chart; more would hide the lines."""
LONGEST_MS: Final = 366 * 86_400_000
"""Of a longer range there are none: each alarm is a series of its own to InfluxDB, which may be thousands."""
_FIELDS: Final = ("subject", "code", "priority")


def alarm_marks(store: Answers, site: Site, device: str, from_ms: int, to_ms: int) -> list[dict[str, Any]]:
    """Alarms of `device` that began in [from_ms, to_ms), oldest first; of too many the gravest and newest.

    Of a range over `LONGEST_MS` there are none.

    Returns
    -------
    list of dict
        ``t`` [ms UTC], ``code`` and ``priority`` (1 is the gravest).
    """
    if device not in site.devices or to_ms - from_ms > LONGEST_MS:
        return []
    # By how its alarms' ids begin, which InfluxDB looks up; it may have been in another unit.
    asked = Select(
        "alarm", fields=_FIELDS, key_prefix=f"{device}:", from_ms=from_ms, to_ms=to_ms, narrow=True
    )
    table = store.select(asked)
    if not table.num_rows:
        return []
    mine = table.filter(pc.equal(table["subject"], device))
    found = [
        {"t": row["window_start"], "code": row["code"], "priority": int(row["priority"])}
        for row in mine.select(["window_start", "code", "priority"]).to_pylist()
    ]
    gravest = sorted(found, key=lambda m: (m["priority"], -m["t"], m["code"]))[:MOST_MARKS]
    return sorted(gravest, key=lambda m: (m["t"], m["priority"], m["code"]))
