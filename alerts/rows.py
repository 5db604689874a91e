"""Alarms as result rows, so that boards, exports and queries have them like everything else."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import pyarrow as pa

from alerts.actors import DAY_MS, MOST, Actor
from alerts.alarm import Alarm, Note, Phase
from models.anomaly import Severity
from models.results import Status, result_schema

__all__ = ["ACTORS", "ALARM", "ALARM_OPEN", "QUALITY", "actors_table", "alarm_tables", "quality_table"]

ALARM: Final = "alarm"
"""Every alarm there ever was."""
ALARM_OPEN: Final = "alarm_open"
"""The same while an alarm is not closed; withdrawn when it is, so that what follows it live stays small."""
QUALITY: Final = "alarm_quality"
"""What a desk had to bear, by 10 minutes."""
ACTORS: Final = "alarm_actor"
"""Which alarms rang most, by scope, place and day."""
_COMMENTS: Final = 20

_ALARM_SCHEMA: Final = result_schema([
    pa.field("subject", pa.string()), pa.field("code", pa.string()), pa.field("severity", pa.string()),
    pa.field("priority", pa.int64()), pa.field("state", pa.string()), pa.field("active", pa.bool_()),
    pa.field("since", pa.int64()), pa.field("raised", pa.int64()), pa.field("until", pa.int64()),
    pa.field("acknowledged_by", pa.string()), pa.field("owner", pa.string()),
    pa.field("shelved_until", pa.int64()), pa.field("shelf_reason", pa.string()),
    pa.field("suppressed", pa.string()), pa.field("level", pa.int64()), pa.field("score", pa.float64()),
    pa.field("provisional", pa.bool_()), pa.field("evidence", pa.string()),
    pa.field("comments", pa.string()), pa.field("told", pa.bool_()),
])  # fmt: skip
_QUALITY_SCHEMA: Final = result_schema([
    pa.field("alarms", pa.int64()), pa.field("standing", pa.int64()),
    pa.field("unacknowledged", pa.int64()), pa.field("stale", pa.int64()),
    pa.field("a_day", pa.float64()), pa.field("worst_10_min", pa.int64()),
    pa.field("flood_pct", pa.float64()), pa.field("chatter", pa.int64()),
])  # fmt: skip
_ACTORS_SCHEMA: Final = result_schema([
    pa.field("subject", pa.string()), pa.field("code", pa.string()), pa.field("rank", pa.int64()),
    pa.field("alarms", pa.int64()), pa.field("alarms_7d", pa.int64()), pa.field("share_pct", pa.float64()),
    pa.field("cleared_alone", pa.int64()), pa.field("chatter", pa.int64()),
])  # fmt: skip


def _row(alarm: Alarm, stream: str) -> dict[str, Any]:
    first = alarm.id.rsplit(":", 1)[-1]
    comments = [
        {"who": e.who, "at": e.at_ms, "text": e.detail} for e in alarm.events if e.note is Note.COMMENTED
    ]
    shelf = alarm.shelf
    return {
        "key": alarm.id, "unit": alarm.unit, "region": alarm.region, "stream": stream,
        "window_start": int(first) if first.lstrip("-").isdecimal() else alarm.known_ms, "window_ms": 0,
        "subject": alarm.subject, "code": alarm.code, "severity": str(alarm.severity),
        "priority": list(Severity).index(alarm.severity) + 1, "state": str(alarm.phase),
        "active": alarm.active, "since": alarm.since_ms, "raised": alarm.raised_ms, "until": alarm.until_ms,
        "acknowledged_by": alarm.acknowledged_by or None, "owner": alarm.owner or None,
        "shelved_until": shelf.until_ms if shelf else None, "shelf_reason": shelf.reason if shelf else None,
        "suppressed": alarm.suppressed or None, "level": alarm.level, "score": alarm.score,
        "provisional": alarm.provisional, "told": alarm.told,
        "evidence": json.dumps(dict(alarm.evidence), ensure_ascii=False, sort_keys=True),
        "comments": json.dumps(comments[-_COMMENTS:], ensure_ascii=False), "coverage": None,
        "status": str(Status.FINAL), "reason": None, "revision": 0, "model": None,
    }  # fmt: skip


def alarm_tables(alarms: Sequence[Alarm], stream: str) -> dict[str, pa.Table]:
    """Rows of `ALARM` and `ALARM_OPEN`."""
    rows = [_row(alarm, stream) for alarm in alarms]
    ended = {alarm.id for alarm in alarms if alarm.phase is Phase.CLOSED}
    standing = [{**r, "status": str(Status.WITHDRAWN)} if r["key"] in ended else r for r in rows]
    return {
        ALARM: pa.Table.from_pylist(rows, schema=_ALARM_SCHEMA),
        ALARM_OPEN: pa.Table.from_pylist(standing, schema=_ALARM_SCHEMA),
    }


def quality_table(
    start_ms: int, window_ms: int, figures: Mapping[str, Mapping[str, Any]], stream: str
) -> pa.Table:
    """Rows of `QUALITY`, by scope."""
    around = {
        "unit": "", "region": "", "stream": stream, "window_start": start_ms, "window_ms": window_ms,
        "coverage": None, "status": str(Status.FINAL), "reason": None, "revision": 0, "model": None,
    }  # fmt: skip
    rows = [{**around, "key": scope, **found} for scope, found in figures.items()]
    return pa.Table.from_pylist(rows, schema=_QUALITY_SCHEMA)


def actors_table(
    worst: Mapping[str, Sequence[Actor]],
    places: Mapping[str, Mapping[str, str]],
    start_ms: int,
    stream: str,
) -> pa.Table:
    """Rows of `ACTORS`, named by scope and place: one that nobody takes (any more today) is withdrawn.

    They bear the unit and region of their scope, which `places` has, and not those of whoever takes a place:
    some stores name a row by them too, and would keep the one before beside it.
    """
    around = {
        "stream": stream, "window_start": start_ms, "window_ms": DAY_MS, "coverage": None, "reason": None,
        "revision": 0, "model": None,
    }  # fmt: skip
    rows = [
        {
            **around, **actor._asdict(), **places[scope],
            "key": f"{scope}:{n:02}", "rank": n, "status": str(Status.FINAL),
        }
        for scope, actors in worst.items() if scope in places
        for n, actor in enumerate(actors, 1)
    ]  # fmt: skip
    rows += [
        {**around, **places[scope], "key": f"{scope}:{n:02}", "status": str(Status.WITHDRAWN)}
        for scope, actors in worst.items() if scope in places
        for n in range(len(actors) + 1, MOST + 1)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=_ACTORS_SCHEMA)
