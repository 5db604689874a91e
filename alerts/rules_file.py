"""The rules file ``alerts.toml``: read into a rule set, or every fault of it by line and field."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from alerts.codes import NAMES
from alerts.hours import ALWAYS, Week, hole, read_days, read_hours
from alerts.rules import FastRule, Limits, Person, Roster, Route, Rule, RuleSet
from alerts.rules_cells import MAIL_ADDRESS, TRUTH, WEB_ADDRESS, Read, list_of
from alerts.rules_channels import KINDS, Channels, Secrets
from alerts.subjects import is_scope
from alerts.terms import Shared
from models.anomaly import Severity
from models.measurements import DEVICE_CLASSES, Kind, known
from models.site import Site
from models.site_cells import Choice, Id, Number, Text
from models.site_table import Column, Fault, Report, Row, Table
from models.site_toml import read_toml

__all__ = ["FILE", "RulesError", "Secrets", "read_fast", "read_rules"]

FILE: Final = "alerts.toml"
_SECONDS: Final = Number(0, 604_800)


class RulesError(ValueError):
    """A rules file with faults, every one named by file, line and field."""

    def __init__(self, faults: list[Fault]):
        self.faults = tuple(sorted(faults))
        super().__init__("\n".join(str(fault) for fault in self.faults))


_SEVERITY: Final = Choice(tuple(Severity))
_HOURS, _DAYS = Read(read_hours), Read(read_days)
_TABLES: Final[dict[str, tuple[Column, ...]]] = {
    "alerts": (
        Column("board_url", WEB_ADDRESS),
        Column("desks", Number(1, 1000, whole=True)),
        Column("shared_cause_least", Number(0, 10_000, whole=True)),
        Column("shared_cause_within_s", _SECONDS),
    ),
    "limits": (
        Column("a_day", Number(positive=True)),
        Column("worst_10_min", Number(0, whole=True)),
        Column("flood_pct", Number(0, 100)),
        Column("chatter", Number(0, whole=True)),
        Column("stale", Number(0, whole=True)),
    ),
    "channel": (
        Column("id", Id(), required=True),
        Column("kind", Choice(KINDS), required=True),
        Column("url", Text()),
        Column("to", list_of(MAIL_ADDRESS)),
        Column("from", MAIL_ADDRESS),
        Column("user", Text()),
        Column("secret_env", Text()),
        Column("secret_file", Text()),
        Column("topic", Text()),
        Column("ca_file", Text()),
        Column("fallback", Text(), refers="channel"),
        Column("timeout_s", Number(positive=True, high=300)),
        Column("retry_unconfirmed", TRUTH),
    ),
    "person": (
        Column("id", Id(), required=True),
        Column("name", Text()),
        Column("language", Choice(("zh", "en"))),
        Column("channels", list_of(Text()), required=True, refers="channel"),
        Column("quiet", _HOURS),
        Column("limit_per_hour", Number(1, 10_000, whole=True)),
    ),
    "roster": (Column("id", Id(), required=True), Column("hours", _HOURS), Column("days", _DAYS)),
    "shift": (
        Column("roster", Text(), required=True, refers="roster"),
        Column("persons", list_of(Text()), required=True, refers="person"),
        Column("hours", _HOURS),
        Column("days", _DAYS),
    ),
    "route": (
        Column("id", Id(), required=True),
        Column("steps", list_of(Text()), required=True, refers="roster person"),
        Column("escalate_after_s", _SECONDS),
        Column("group_wait_s", _SECONDS),
        Column("sirens", list_of(Text()), refers="channel"),
    ),
    "fast": (
        Column("code", Id(), required=True),
        Column("measurement", Text(), required=True),
        Column("classes", list_of(Choice(DEVICE_CLASSES))),
        Column("above", Number()),
        Column("below", Number()),
        Column("clear", Number()),
        Column("severity", _SEVERITY),
    ),
    "rule": (
        Column("codes", list_of(Text())),
        Column("scopes", list_of(Text())),
        Column("severities", list_of(_SEVERITY)),
        Column("hours", _HOURS),
        Column("days", _DAYS),
        Column("on_delay_s", _SECONDS),
        Column("off_delay_s", _SECONDS),
        Column("rearm_s", _SECONDS),
        Column("forget_s", _SECONDS),
        Column("severity", _SEVERITY),
        Column("route", Text(), refers="route"),
    ),
}  # fmt: skip


def read_rules(text: str, site: Site | None, secrets: Secrets, file: str = FILE) -> RuleSet:
    """The rule set that `text` says; without a site its scopes are not looked at.

    Raises
    ------
    RulesError
        With every fault, by file, line and field. An unknown key is one: what is misspelt would not hold.
    """
    report = Report()
    tables = read_toml(file, _TABLES, text, report, single=("alerts", "limits"))
    report.faults += report.warnings
    reading = _Reading(tables, site, secrets, report)
    rules = reading.rules()
    if report.faults:
        raise RulesError(report.faults)
    return rules


def read_fast(text: str, site: Site, file: str = FILE) -> tuple[FastRule, ...]:
    """The fast rules that `text` says; of the other rules only that their keys are known is looked at."""
    report = Report()
    tables = read_toml(file, _TABLES, text, report, single=("alerts", "limits"))
    report.faults += report.warnings
    fast = _Reading(tables, site, Secrets({}, Path()), report).fast()
    if report.faults:
        raise RulesError(report.faults)
    return fast


class _Reading:
    """Tables on their way into a rule set."""

    def __init__(self, tables: dict[str, Table], site: Site | None, secrets: Secrets, report: Report):
        self._tables = tables
        self._site = site
        self._channels = Channels(tables["channel"], secrets, report)
        self._report = report

    def rules(self) -> RuleSet:
        self._refer()
        self._channels.look_round()
        alerts = self._one("alerts")
        fast = self.fast()
        codes = {*NAMES, *(f.code for f in fast), *(str(r.values.get("code")) for r in self._rows("fast"))}
        routes, rosters = self._named("route", self._route), self._named("roster", self._roster)
        rules = tuple(self._rule(row, codes) for row in self._rows("rule"))
        self._reached(rules, routes, rosters)
        return RuleSet(
            rules=rules,
            routes=routes,
            rosters=rosters,
            persons=self._named("person", self._person),
            channels=self._named("channel", self._channels.read),
            fast=fast,
            limits=Limits(**self._one("limits")),
            shared=Shared(
                alerts.get("shared_cause_least", 5),
                round(1000 * alerts.get("shared_cause_within_s", 900)),
            ),
            board_url=str(alerts.get("board_url", "http://127.0.0.1:8080")).rstrip("/"),
            desks=alerts.get("desks", 1),
        )

    def fast(self) -> tuple[FastRule, ...]:
        found: list[FastRule] = []
        for row in self._rows("fast"):
            rule = self._fast(row)
            if rule is None:
                continue
            if any(_meet(rule, other) for other in found):
                # What one says is gone, the other would say is there.
                self._fault(
                    "fast", row, "code", f"expected one rule a code and class, got {rule.code!r} twice"
                )
            found.append(rule)
        return tuple(found)

    def _rows(self, name: str) -> list[Row]:
        return self._tables[name].rows

    def _one(self, name: str) -> dict[str, Any]:
        rows = self._rows(name)
        return rows[0].values if rows else {}

    def _fault(self, name: str, row: Row, column: str, message: str) -> None:
        self._report.cell(self._tables[name], row, column, message)

    def _named(self, name: str, make: Any) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for row in self._rows(name):
            id_ = row.values.get("id")
            if id_ is None:
                continue
            if id_ in out:
                self._fault(name, row, "id", f"expected a name of its own, got {id_!r} twice")
            made = make(row)
            if made is not None:
                out[id_] = made
        return out

    def _refer(self) -> None:
        """Every name that is referred to must be there."""
        ids = {
            name: {str(r.values["id"]) for r in table.rows if "id" in r.values}
            for name, table in self._tables.items()
        }
        for name, columns in _TABLES.items():
            for column in (c for c in columns if c.refers):
                targets = column.refers.split()
                there = set().union(*(ids[t] for t in targets))
                for row in self._rows(name):
                    said = row.values.get(column.name, ())
                    for one in (said,) if isinstance(said, str) else said:
                        if one not in there:
                            expected = " or ".join(targets)
                            self._fault(
                                name, row, column.name, f"expected the id of a {expected}, got {one!r}"
                            )

    def _rule(self, row: Row, codes: set[str]) -> Rule:
        said = dict(row.values)
        for code in said.get("codes", ()):
            if code not in codes:
                self._fault("rule", row, "codes", f"expected known codes, got {code!r}")
        for scope in said.get("scopes", ()):
            if self._site is not None and not is_scope(self._site, scope):
                expected = "*, region:, unit:, network:, bridge: and an id of the site, a device, haulage:"
                expected += " and a stream, or plate:, supplier:, contract:, ticket: and a name"
                self._fault("rule", row, "scopes", f"expected {expected}, got {scope!r}")
        severity = said.pop("severity", None)
        return Rule(
            codes=frozenset(said.pop("codes", ())),
            scopes=said.pop("scopes", ()),
            severities=frozenset(map(Severity, said.pop("severities", ()))),
            week=_week(said),
            severity=Severity(severity) if severity else None,
            **{name: value for name, value in said.items() if name not in {"hours", "days"}},
        )

    def _route(self, row: Row) -> Route | None:
        return None if row.bad else Route(**row.values)

    def _roster(self, row: Row) -> Roster:
        if any(person.values.get("id") == row.values["id"] for person in self._rows("person")):
            # A step of a route would mean either.
            self._fault("roster", row, "id", f"expected no person's id, got {row.values['id']!r}")
        mine = [r for r in self._rows("shift") if r.values.get("roster") == row.values["id"]]
        cover = _week(row.values)
        gap = hole([_week(r.values) for r in mine if not r.bad], cover)
        if gap and not any(r.bad for r in mine):
            self._fault(
                "roster", row, "id", f"expected somebody at every hour, got nobody on duty from {gap}"
            )
        shifts = tuple((p, _week(r.values)) for r in mine for p in r.values.get("persons", ()))
        return Roster(row.values["id"], cover, shifts)

    def _reached(
        self, rules: tuple[Rule, ...], routes: Mapping[str, Route], rosters: Mapping[str, Roster]
    ) -> None:
        """At every hour at which a rule sends alarms on a route, a step of that must have somebody."""
        for row, rule in zip(self._rows("rule"), rules, strict=True):
            route = routes.get(rule.route)
            if row.bad or route is None or not all(s in rosters for s in route.steps):
                continue  # a person is there at every hour
            shifts = [week for step in route.steps for _, week in rosters[step].shifts]
            if gap := hole(shifts, rule.week):
                self._fault(
                    "rule",
                    row,
                    "route",
                    f"expected somebody at every hour of the rule, got nobody from {gap}",
                )

    def _person(self, row: Row) -> Person | None:
        if row.bad:
            return None
        said = dict(row.values)
        quiet = said.pop("quiet", None)
        return Person(**{"name": said["id"], **said}, quiet=None if quiet is None else Week(hours=quiet))

    def _fast(self, row: Row) -> FastRule | None:
        said = row.values
        measurement = said.get("measurement")
        if measurement is not None and (
            measurement not in known or known[measurement].kind is not Kind.GAUGE
        ):
            self._fault(
                "fast", row, "measurement", f"expected a gauge of the measurement table, got {measurement!r}"
            )
        if ("above" in said) == ("below" in said):
            self._fault(
                "fast",
                row,
                "code",
                "expected either above or below, got " + ("both" if "above" in said else "none"),
            )
        if row.bad:
            return None
        limit: float = said["above"] if "above" in said else said["below"]
        clear: float = said.get("clear", limit)
        if clear > limit if "above" in said else clear < limit:
            self._fault("fast", row, "clear", f"expected it on the good side of {limit:g}, got {clear:g}")
        kept = {n: said[n] for n in ("code", "measurement", "above", "below", "classes") if n in said}
        return FastRule(**kept, clear=clear, severity=Severity(said.get("severity", Severity.MAJOR)))


def _meet(one: FastRule, other: FastRule) -> bool:
    """Whether two fast rules may raise one alarm."""
    classes = set(one.classes or DEVICE_CLASSES) & set(other.classes or DEVICE_CLASSES)
    return one.code == other.code and bool(classes)


def _week(said: Mapping[str, Any]) -> Week:
    return Week(said.get("days", frozenset(range(7))), said.get("hours", ALWAYS))
