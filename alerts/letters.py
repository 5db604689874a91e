"""Who is to be told what: what happened to an alarm becomes a letter to each person on its route."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from alerts.alarm import Alarm, Event, Note, Phase
from alerts.book import Happened
from alerts.rules import Person, Route, SitePolicy
from models.anomaly import Severity

__all__ = ["SIREN", "letters_of", "withdrawn_by"]

SIREN: Final = "siren:"
"""Before the id of a channel that is told by itself, for no person."""
_ENDS: Final = frozenset({Note.CLEARED, Note.WITHDRAWN, Note.CLOSED})
_SILENCES: Final = frozenset({Note.ACKNOWLEDGED, Note.SHELVED, Note.SUPPRESSED, Note.CLOSED})


def letters_of(
    happened: Iterable[Happened], policy: SitePolicy, now_ms: int, wall_ms: int
) -> list[dict[str, Any]]:
    """Letters about what happened, as rows of the records.

    Parameters
    ----------
    now_ms : int
        The site's now: rosters and quiet hours go by it. [ms UTC]
    wall_ms : int
        When letters are due goes by this. [ms UTC]
    """
    out = []
    for one in happened:
        alarm, event = one.alarm, one.event
        if not event.tell and not _silences(alarm, event):
            continue
        waits_ms: dict[str, int] = {}
        for route in _routes(alarm, event, policy, now_ms):
            for recipient in _recipients(alarm, event, route, policy, now_ms):
                person = policy.rules.persons.get(recipient)
                wait_ms = 0 if person is None else round(1000 * route.group_wait_s)
                quiet_ms = 0 if person is None else _quiet_ms(person, alarm, policy, now_ms)
                waits_ms.setdefault(recipient, max(wait_ms, quiet_ms))
        for recipient, held_ms in waits_ms.items():
            out.append({
                "id": f"{alarm.id}#{event.n}#{recipient}", "recipient": recipient, "alarm_id": alarm.id,
                "due_ms": wall_ms + held_ms, "delivery": "", "body": _body(alarm, event),
            })  # fmt: skip
    return out


def _routes(alarm: Alarm, event: Event, policy: SitePolicy, now_ms: int) -> list[Route]:
    """Where it is told: a beginning by the route of now, its end wherever the beginning was told.

    Rules change by the hour, and a siren that was told of a beginning sounds until it hears of the end.
    """
    names = [] if event.route else _announced(alarm, event)
    routes = [policy.rules.routes[name] for name in dict.fromkeys(names) if name in policy.rules.routes]
    now = policy.rules.routes.get(policy.rule(alarm, now_ms).route)
    return routes or ([] if now is None else [now])


def _announced(alarm: Alarm, event: Event) -> list[str]:
    """Routes by which people and sirens heard of an alarm since it was last over."""
    names: list[str] = []
    for earlier in reversed(alarm.events[: event.n]):
        if earlier.note in _ENDS and names:
            break
        if earlier.route:
            names.append(earlier.route)
    return names[::-1]


def _silences(alarm: Alarm, event: Event) -> bool:
    """Whether sirens that were told of an alarm hear of it although no person does."""
    return event.note in _SILENCES and any(e.tell for e in alarm.events[: event.n])


def withdrawn_by(happened: Iterable[Happened]) -> list[str]:
    """Alarms that nobody needs to hear of any more: another stands for them, or they are maintained."""
    return [one.alarm.id for one in happened if one.event.note is Note.SUPPRESSED]


def _recipients(alarm: Alarm, event: Event, route: Route, policy: SitePolicy, now_ms: int) -> list[str]:
    if not event.tell:
        return [SIREN + channel for channel in route.sirens]
    if event.note is Note.ESCALATED:
        level = int(event.detail)
        steps = route.steps[level : level + 1]
    else:
        steps = route.steps[: alarm.level + 1]
    persons = [person for step in steps for person in policy.on_duty(step, now_ms)]
    for step in route.steps[alarm.level + 1 :]:
        if persons:  # a roster need not have somebody at every hour: then the next step is told
            break
        persons += policy.on_duty(step, now_ms)
    sirens = [] if event.note is Note.ESCALATED else [SIREN + channel for channel in route.sirens]
    return list(dict.fromkeys([*sirens, *persons]))


def _quiet_ms(person: Person, alarm: Alarm, policy: SitePolicy, now_ms: int) -> int:
    """For how long a person's quiet hours still hold; the highest severity knows none. [ms]"""
    if person.quiet is None or alarm.severity is Severity.CRITICAL:
        return 0
    return person.quiet.end_after(now_ms, policy.zone) - now_ms


def _body(alarm: Alarm, event: Event) -> dict[str, Any]:
    return {
        "alarm": alarm.id, "note": str(event.note), "at_ms": event.at_ms, "subject": alarm.subject,
        "code": alarm.code, "severity": str(alarm.severity), "unit": alarm.unit, "region": alarm.region,
        "first_ms": alarm.first_ms, "until_ms": alarm.until_ms, "score": alarm.score, "owner": alarm.owner,
        "provisional": alarm.provisional, "evidence": dict(alarm.evidence), "n": event.n, "who": event.who,
        "state": str(event.phase), "sounds": event.phase is Phase.RAISED and not alarm.quiet,
    }  # fmt: skip
