"""The rules of a site: which alarm waits how long, matters how much, and goes to whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from alerts.alarm import Alarm
from alerts.hours import Week
from alerts.shared_cause import SHARED_CAUSE
from alerts.terms import Shared, Terms
from models.anomaly import Severity
from models.branches import branches_of
from models.site import Site

__all__ = ["Channel", "FastRule", "Limits", "Person", "Roster", "Route", "Rule", "RuleSet", "SitePolicy"]


@dataclass(frozen=True, slots=True, repr=False)
class Channel:
    """A way to reach somebody, or something.

    Attributes
    ----------
    id : str
    kind : str
        ``email``, ``webhook``, ``mqtt``, or a service that Apprise knows.
    url : str
        Where it is; with its secret for a service.
    to, sender, user, secret, topic : str
    ca_file : str
        Certificates to trust instead of the system's; empty for those.
    fallback : str
        Channel that is tried when this one does not take a message; empty for none.
    timeout_s : float
        [s]
    retry_unconfirmed : bool
        Whether a message whose fate is unknown is sent again: it may then arrive twice.
    """

    id: str
    kind: str
    url: str = ""
    to: tuple[str, ...] = ()
    sender: str = ""
    user: str = ""
    secret: str = ""
    topic: str = ""
    ca_file: str = ""
    fallback: str = ""
    timeout_s: float = 10.0
    retry_unconfirmed: bool = False

    def __repr__(self) -> str:
        return f"Channel({self.id!r}, {self.kind!r})"  # never its secret


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who is told.

    Attributes
    ----------
    id, name, language : str
    channels : tuple of str
        The first is tried first.
    quiet : Week or None
        Hours in which only the highest severity is sent.
    limit_per_hour : int
        More messages than this in an hour are gathered into one digest.
    """

    id: str
    name: str
    language: str = "zh"
    channels: tuple[str, ...] = ()
    quiet: Week | None = None
    limit_per_hour: int = 20


@dataclass(frozen=True, slots=True)
class Roster:
    """Who is on duty when: persons by the hours of their shifts."""

    id: str
    cover: Week
    shifts: tuple[tuple[str, Week], ...] = ()

    def on_duty(self, at: datetime) -> tuple[str, ...]:
        """Persons on duty at local time `at`."""
        return tuple(dict.fromkeys(person for person, week in self.shifts if week.holds(at)))


@dataclass(frozen=True, slots=True)
class Route:
    """Whom an alarm goes to, step by step while nobody acknowledges it.

    Attributes
    ----------
    id : str
    steps : tuple of str
        Rosters or persons.
    escalate_after_s, group_wait_s : float
        Between two steps; and for how long alarms gather into one message. [s]
    sirens : tuple of str
        Channels that are told of every alarm at once, such as an MQTT topic.
    """

    id: str
    steps: tuple[str, ...]
    escalate_after_s: float = 900.0
    group_wait_s: float = 10.0
    sirens: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """What holds for alarms of some codes, scopes, severities and hours; the first that fits, counts."""

    codes: frozenset[str] = frozenset()
    scopes: tuple[str, ...] = ()
    severities: frozenset[Severity] = frozenset()
    week: Week = field(default_factory=Week)
    on_delay_s: float = 0.0
    off_delay_s: float = 0.0
    rearm_s: float = 1800.0
    forget_s: float = 86_400.0
    severity: Severity | None = None
    route: str = ""


@dataclass(frozen=True, slots=True)
class FastRule:
    """A limit that is watched on readings as they come, before any window is final.

    Attributes
    ----------
    code : str
    measurement : str
    classes : tuple of str
        Classes of devices; empty for all.
    above, below : float or None
        In the unit of the measurement; beyond it the condition is.
    clear : float
        It is gone when the value is back within this.
    severity : Severity
    """

    code: str
    measurement: str
    clear: float
    above: float | None = None
    below: float | None = None
    classes: tuple[str, ...] = ()
    severity: Severity = Severity.MAJOR


@dataclass(frozen=True, slots=True)
class Limits:
    """What a desk can bear, after EEMUA 191 and ISA-18.2.

    Attributes
    ----------
    a_day : float
        Alarms a desk a day.
    worst_10_min : int
        More in 10 minutes is a flood.
    flood_pct : float
        Share of time in flood. [%]
    chatter : int
        Alarms that are raised three times in a minute.
    stale : int
        Alarms that stand for over 24 h.
    """

    a_day: float = 150.0
    worst_10_min: int = 10
    flood_pct: float = 1.0
    chatter: int = 0
    stale: int = 0

    def stricter(self, other: Limits) -> Limits:
        """The lower of each.

        Examples
        --------
        >>> Limits(a_day=1000.0).stricter(Limits(stale=3)).a_day
        150.0
        """
        return Limits(*(min(getattr(self, n), getattr(other, n)) for n in self.__slots__))


@dataclass(frozen=True, slots=True)
class RuleSet:
    """All of a rules file."""

    rules: tuple[Rule, ...] = ()
    routes: Mapping[str, Route] = field(default_factory=dict)
    rosters: Mapping[str, Roster] = field(default_factory=dict)
    persons: Mapping[str, Person] = field(default_factory=dict)
    channels: Mapping[str, Channel] = field(default_factory=dict)
    fast: tuple[FastRule, ...] = ()
    limits: Limits = field(default_factory=Limits)
    shared: Shared = field(default_factory=Shared)
    board_url: str = "http://127.0.0.1:8080"
    desks: int = 1


_NONE: Final = Rule()


class SitePolicy:
    """A rule set and a site, as the machine asks them.

    Parameters
    ----------
    rules : RuleSet
    site : Site
    """

    def __init__(self, rules: RuleSet, site: Site):
        self.rules = rules
        self.site = site
        self.zone = ZoneInfo(site.timezone)
        self._branch = branches_of(site)
        self._hour: tuple[int, datetime] = (0, datetime.fromtimestamp(0, self.zone))

    @property
    def shared(self) -> Shared:
        """When alarms have one cause."""
        return self.rules.shared

    def local(self, now_ms: int) -> datetime:
        """`now_ms` by the site's clock."""
        if self._hour[0] != now_ms // 60_000:
            self._hour = (now_ms // 60_000, datetime.fromtimestamp(now_ms / 1000, self.zone))
        return self._hour[1]

    def rule(self, alarm: Alarm, now_ms: int) -> Rule:
        """The first rule that fits."""
        at = self.local(now_ms)
        for rule in self.rules.rules:
            if rule.codes and alarm.code not in rule.codes:
                continue
            if rule.scopes and not any(self.covers(s, alarm) for s in rule.scopes):
                continue
            # By its own conditions: what a rule makes of it must not choose the rule.
            own = {m.severity for m in alarm.members.values() if not m.withdrawn} or {alarm.severity}
            if rule.severities and not rule.severities & own:
                continue
            if rule.week.holds(at):
                return rule
        return _NONE

    def terms(self, alarm: Alarm, now_ms: int) -> Terms:
        """What holds for `alarm` now."""
        rule = self.rule(alarm, now_ms)
        route = self.rules.routes.get(rule.route)
        return Terms(
            on_delay_ms=round(1000 * rule.on_delay_s),
            off_delay_ms=round(1000 * rule.off_delay_s),
            rearm_ms=round(1000 * rule.rearm_s),
            forget_ms=round(1000 * rule.forget_s),
            escalate_ms=round(1000 * route.escalate_after_s) if route else 0,
            steps=len(route.steps) if route else 1,
            severity=rule.severity,
            notify=route is not None,
            route=rule.route,
        )

    def group(self, subject: str, unit: str) -> str:  # noqa: ARG002  part of the protocol
        """Branch or network of a subject."""
        return self._branch.get(subject, "")

    def covers(self, scope: str, alarm: Alarm) -> bool:
        """Whether a scope is about `alarm`."""
        if scope in {"*", alarm.subject, f"unit:{alarm.unit}", f"region:{alarm.region}"}:
            return True
        device = self.site.devices.get(alarm.subject)
        if device is not None and device.network and scope == f"network:{device.network}":
            return True
        return alarm.code == SHARED_CAUSE and alarm.group == scope

    def on_duty(self, step: str, now_ms: int) -> tuple[str, ...]:
        """Persons that a step of a route means now."""
        roster = self.rules.rosters.get(step)
        return roster.on_duty(self.local(now_ms)) if roster else (step,)
