"""Whatever the order of conditions, deeds, restarts, late data and repeats: each alarm once, with a legal history."""

from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.action import Deed
from alerts.alarm import Note, Phase
from alerts.terms import Shared, Terms
from models.anomaly import Severity
from tests.support.alarm_book import MIN, Driven, assert_legal, condition

SUBJECTS = ("east.1", "east.2", "east.3", "west.1")
CODES = ("pump_trip", "high_return")
ONSETS = (0, 5 * MIN, 20 * MIN, 200 * MIN)

conditions = st.tuples(
    st.just("condition"), st.sampled_from(SUBJECTS), st.sampled_from(CODES), st.sampled_from(ONSETS),
    st.integers(0, 30), st.sampled_from(["active", "ended", "withdrawn"]), st.sampled_from(list(Severity)),
    st.integers(0, 2),  # how often it is said again
)  # fmt: skip
deeds = st.tuples(
    st.just("deed"), st.sampled_from(list(Deed)), st.integers(0, 5), st.integers(1, 60), st.booleans()
)
waits = st.tuples(st.just("wait"), st.sampled_from([0, 1, 7, 40, 90, 1500]))
restarts = st.just(("restart",))
again = st.just(("again",))
steps = st.lists(st.one_of(conditions, conditions, deeds, waits, restarts, again), max_size=40)
terms = st.builds(
    Terms,
    on_delay_ms=st.sampled_from([0, 10 * MIN]),
    off_delay_ms=st.sampled_from([0, 5 * MIN]),
    rearm_ms=st.sampled_from([0, 30 * MIN]),
    escalate_ms=st.sampled_from([0, 15 * MIN]),
    steps=st.integers(1, 3),
    notify=st.booleans(),
)


class Play:
    """Plays steps, and keeps what was said so that it can be said again."""

    def __init__(self, each: Terms, shared: Shared):
        self.driven = Driven(each, shared)
        self.now = 300 * MIN
        self.order = 0
        self.said = []
        self.ids: list[str] = []

    def step(self, step):
        kind = step[0]
        if kind == "condition":
            self._condition(*step[1:])
        elif kind == "deed":
            self._deed(*step[1:])
        elif kind == "wait":
            self.now += step[1] * MIN
            self.driven.tick(self.now)
        elif kind == "restart":
            self.driven.restart()
        else:  # after a crash the streams say again what they said since their last checkpoint
            for told in self.said[-6:]:
                self.driven.push(self.now, told)
        self._check()

    def _condition(self, subject, code, first, minutes, state, severity, repeats):
        self.order += 1
        told = condition(
            subject, first, first + minutes * MIN, code=code, active=state == "active",
            withdrawn=state == "withdrawn", severity=severity, order=self.order,
        )  # fmt: skip
        self.said.append(told)
        for _ in range(repeats + 1):
            self.driven.push(self.now, told)

    def _deed(self, deed, which, minutes, twice):
        known = sorted(self.driven.book.alarms)
        alarm = known[which % len(known)] if known else "none"
        if deed is Deed.MAINTAIN:
            alarm = SUBJECTS[which % len(SUBJECTS)]
        elif deed is Deed.END_MAINTENANCE:
            alarm = next(iter(self.driven.book.maintenance), "none")
        name = f"deed{self.driven.acts}"
        for _ in range(1 + twice):
            self.driven.act(self.now, deed, alarm, "why", self.now + minutes * MIN, name=name)

    def _check(self):
        book = self.driven.book
        keys = [key for alarm in book.alarms.values() for key in alarm.members]
        assert len(keys) == len(set(keys)), "a condition is of two alarms"
        for id_, alarm in book.alarms.items():
            assert id_ == alarm.id
            assert_legal(alarm)
            if alarm.code != "shared_cause":
                assert alarm.id in alarm.members, "an id that is no key of its own"
            if alarm.active and alarm.open:
                assert alarm.phase is not Phase.CLEARED
        assert self.ids == [i for i in self.ids if i in book.alarms], "an alarm is gone"
        self.ids = sorted(book.alarms)


def assert_told_once(driven: Driven):
    """People hear of each raising once, of each end only after a beginning, and of nothing quiet."""
    hearing: dict[str, bool] = {}
    seen = set()
    for happened in driven.said:
        event, name = happened.event, happened.alarm.id
        assert (name, event.n) not in seen, "an event happened twice"
        seen.add((name, event.n))
        if not event.tell:
            continue
        if event.note in {Note.RAISED, Note.REALARMED}:
            hearing[name] = True
        elif event.note in {Note.CLEARED, Note.WITHDRAWN, Note.ESCALATED}:
            assert hearing.get(name) or event.note is Note.ESCALATED, f"the end of an untold alarm {name}"


@settings(max_examples=100, deadline=None)
@given(steps, terms, st.sampled_from([0, 2, 3]))
def test_each_alarm_once_with_a_legal_history(played, each, least):
    play = Play(each, Shared(least, 30 * MIN))
    for step in played:
        play.step(step)
    assert_told_once(play.driven)
    if not each.notify:
        assert not play.driven.told()


@settings(max_examples=40, deadline=None)
@given(steps, terms)
def test_a_restart_after_every_step_changes_nothing(played, each):
    plain, restarted = Play(each, Shared(3, 30 * MIN)), Play(each, Shared(3, 30 * MIN))
    for step in played:
        plain.step(step)
        restarted.step(step)
        restarted.driven.restart()
    assert [(h.alarm.id, h.event) for h in plain.driven.said] == [
        (h.alarm.id, h.event) for h in restarted.driven.said
    ]


@settings(max_examples=40, deadline=None)
@given(st.lists(conditions, max_size=12), terms)
def test_what_is_said_again_of_old_raises_nothing(told, each):
    play = Play(each, Shared(0))
    for step in told:
        play.step(step)
    before = len(play.driven.said)
    for old in play.said:
        if any(later.key == old.key and later.order > old.order for later in play.said):
            play.driven.push(play.now, old)
    assert len(play.driven.said) == before
