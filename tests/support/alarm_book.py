"""A book of alarms that is driven by hand: a policy in a few words, and conditions of few."""

from dataclasses import dataclass, field

from alerts.action import Action, Deed
from alerts.alarm import LEGAL, Alarm, Note
from alerts.book import Book, Happened
from alerts.condition import Condition
from alerts.terms import Shared, Terms
from models.anomaly import Severity

S = 1_000
MIN = 60 * S
H = 60 * MIN


@dataclass
class Plain:
    """The same terms for every alarm; the branch of a subject is what stands before its dot."""

    each: Terms = field(default_factory=lambda: Terms(steps=3))
    shared: Shared = field(default_factory=Shared)

    def terms(self, _alarm, _now_ms):
        return self.each

    def group(self, subject, _unit):
        return f"branch:{subject.split('.')[0]}" if "." in subject else ""

    def covers(self, scope, alarm):
        return scope in {"*", alarm.subject, f"unit:{alarm.unit}"}


def condition(
    subject="sub-1",
    first=0,
    until=None,
    *,
    code="pump_trip",
    active=True,
    order=0,
    severity=Severity.MAJOR,
    **more,
) -> Condition:
    return Condition(
        f"{subject}:{code}:{first}", subject, code, severity, first, first if until is None else until,
        active, unit="u1", region="r1", stream="u1", order=order, **more,
    )  # fmt: skip


class Driven:
    """Pushes at t, and remembers what was told when."""

    def __init__(self, terms: Terms | None = None, shared: Shared | None = None):
        self.book = Book(Plain(terms or Terms(steps=3), shared or Shared()))
        self.said: list[Happened] = []
        self.acts = 0

    def push(self, at, *conditions: Condition):
        self._hear(self.book.take(conditions, at))

    def act(self, at, deed: Deed, alarm: str, reason="", until=None, who="Li", name="", code=""):
        self.acts += 1
        action = Action(name or f"a{self.acts}", deed, alarm, who, at, reason, until, code)
        self._hear(self.book.act(action, at))

    def tick(self, start, end=None, step=S):
        for at in range(start, (start if end is None else end) + 1, step):
            self._hear(self.book.tick(at))

    def restart(self):
        kept = [Alarm.from_json(a.to_json()) for a in self.book.alarms.values()]
        maintenance = [m.to_json() for m in self.book.maintenance.values()]
        self.book = Book(self.book.policy)
        self.book.restore(kept, maintenance)

    def _hear(self, happened):
        self.said += happened

    def when(self, note: Note, alarm="sub-1:pump_trip:0"):
        return [h.event.at_ms for h in self.said if h.event.note is note and h.alarm.id == alarm]

    def told(self, alarm=None):
        return [
            (h.event.at_ms, h.event.note) for h in self.said if h.event.tell and alarm in {None, h.alarm.id}
        ]

    def one(self, alarm="sub-1:pump_trip:0") -> Alarm:
        return self.book.alarms[alarm]


def assert_legal(alarm: Alarm):
    """The history names each event once, in order, and passes only from phase to phase as it may."""
    assert [e.n for e in alarm.events] == list(range(len(alarm.events)))
    assert [e.at_ms for e in alarm.events] == sorted(e.at_ms for e in alarm.events)
    before = None
    for event in alarm.events:
        if event.phase is not before:
            assert event.phase in LEGAL[before], f"{before} -> {event.phase} in {alarm.id}"
            before = event.phase
    assert before is alarm.phase
