"""The life of an alarm as a timeline: push at t, expect between t1 and t2."""

import pytest

from alerts.action import Action, ActionError, Deed
from alerts.alarm import LEGAL, Note, Phase
from alerts.terms import Shared, Terms
from models.anomaly import Severity
from tests.support.alarm_book import MIN, Driven, H, S, assert_legal, condition

ID = "sub-1:pump_trip:0"


def between(times, low, high):
    assert len(times) == 1, times
    assert low <= times[0] <= high, times


def test_an_alarm_is_raised_when_its_on_delay_is_over():
    d = Driven(Terms(on_delay_ms=60 * S))
    d.push(10 * S, condition())
    d.tick(11 * S, 100 * S)
    between(d.when(Note.PENDING), 10 * S, 10 * S)
    between(d.when(Note.RAISED), 70 * S, 71 * S)
    assert d.told() == [(d.when(Note.RAISED)[0], Note.RAISED)]


def test_what_passes_within_the_on_delay_is_told_to_nobody():
    d = Driven(Terms(on_delay_ms=60 * S))
    d.push(0, condition())
    d.push(30 * S, condition(until=30 * S, active=False, order=1))
    d.tick(31 * S, 200 * S)
    assert d.one().phase is Phase.CLOSED
    assert d.when(Note.PASSED) == [30 * S]
    assert not d.told()


def test_what_has_lasted_longer_than_its_on_delay_is_raised_at_once():
    d = Driven(Terms(on_delay_ms=60 * S))
    d.push(10 * MIN, condition(until=2 * MIN))
    between(d.when(Note.RAISED), 10 * MIN, 10 * MIN)


def test_an_alarm_is_acknowledged_cleared_and_closed():
    d = Driven(Terms(rearm_ms=5 * MIN))
    d.push(0, condition())
    d.act(1 * MIN, Deed.ACKNOWLEDGE, ID, who="王")
    assert d.one().phase is Phase.ACKNOWLEDGED
    assert d.one().acknowledged_by == "王"
    d.push(10 * MIN, condition(until=9 * MIN, active=False, order=1))
    between(d.when(Note.CLEARED), 10 * MIN, 10 * MIN)
    d.tick(10 * MIN, 20 * MIN)
    between(d.when(Note.CLOSED), 15 * MIN, 15 * MIN + S)
    assert [n for _, n in d.told()] == [Note.RAISED, Note.CLEARED]
    assert_legal(d.one())


def test_an_alarm_clears_only_after_its_off_delay_and_chatter_is_no_alarm():
    d = Driven(Terms(off_delay_ms=60 * S))
    d.push(0, condition())
    for n in range(1, 9):
        d.push(n * 10 * S, condition(until=n * 10 * S, active=n % 2 == 0, order=n))
    d.push(90 * S, condition(until=90 * S, active=False, order=9))
    d.tick(90 * S, 200 * S)
    between(d.when(Note.CLEARED), 150 * S, 151 * S)
    assert [n for _, n in d.told()] == [Note.RAISED, Note.CLEARED]


def test_an_alarm_that_comes_back_is_the_same_alarm_raised_again():
    d = Driven(Terms(rearm_ms=30 * MIN))
    d.push(0, condition())
    d.act(S, Deed.ACKNOWLEDGE, ID)
    d.push(10 * MIN, condition(until=9 * MIN, active=False, order=1))
    d.push(20 * MIN, condition(first=20 * MIN, order=2))
    between(d.when(Note.REALARMED), 20 * MIN, 20 * MIN)
    assert list(d.book.alarms) == [ID]
    assert d.one().phase is Phase.RAISED
    assert not d.one().acknowledged_by
    assert [n for _, n in d.told()] == [Note.RAISED, Note.CLEARED, Note.REALARMED]


def test_after_it_is_closed_a_new_episode_is_a_new_alarm():
    d = Driven(Terms(rearm_ms=5 * MIN))
    d.push(0, condition())
    d.act(S, Deed.ACKNOWLEDGE, ID)
    d.push(10 * MIN, condition(until=9 * MIN, active=False, order=1))
    d.tick(16 * MIN)
    d.push(20 * MIN, condition(first=20 * MIN, order=2))
    assert sorted(d.book.alarms) == [ID, f"sub-1:pump_trip:{20 * MIN}"]


def test_overlapping_episodes_merge_under_the_id_of_the_first():
    d = Driven()
    d.push(H, condition(first=30 * MIN, until=60 * MIN))
    d.push(H + S, condition(first=10 * MIN, until=40 * MIN, order=1))
    assert list(d.book.alarms) == [f"sub-1:pump_trip:{30 * MIN}"]
    alarm = d.one(f"sub-1:pump_trip:{30 * MIN}")
    assert (alarm.first_ms, alarm.until_ms) == (10 * MIN, 60 * MIN)
    assert len(d.told()) == 1


def test_an_acknowledged_alarm_that_worsens_is_raised_again():
    d = Driven()
    d.push(0, condition(severity=Severity.MINOR))
    d.act(S, Deed.ACKNOWLEDGE, ID)
    d.push(MIN, condition(severity=Severity.CRITICAL, until=MIN, order=1))
    assert d.one().phase is Phase.RAISED
    assert d.told()[-1] == (MIN, Note.WORSENED)
    d.push(2 * MIN, condition(severity=Severity.MINOR, until=2 * MIN, order=2))
    assert d.one().severity is Severity.MINOR
    assert d.told()[-1] == (MIN, Note.WORSENED)


def test_a_shelved_alarm_is_quiet_until_its_end_and_then_tells_again():
    d = Driven(Terms(steps=1))
    d.push(0, condition())
    d.act(MIN, Deed.SHELVE, ID, "pump is being changed", until=31 * MIN)
    d.push(5 * MIN, condition(until=5 * MIN, severity=Severity.CRITICAL, order=1))
    d.tick(2 * MIN, 40 * MIN)
    between(d.when(Note.UNSHELVED), 31 * MIN, 31 * MIN + S)
    assert [n for _, n in d.told()] == [Note.RAISED, Note.REALARMED]
    assert 31 * MIN <= d.told()[-1][0] <= 31 * MIN + S
    assert d.one().events[2].detail == "pump is being changed"


def test_maintenance_suppresses_what_it_is_about_and_nothing_else():
    d = Driven(Terms(steps=1))
    d.act(0, Deed.MAINTAIN, "sub-1", "new exchanger", until=2 * H, name="m1")
    d.push(MIN, condition("sub-1", MIN), condition("sub-2", MIN))
    assert d.one(f"sub-1:pump_trip:{MIN}").suppressed == "maintenance:m1"
    assert [h.alarm.subject for h in d.said if h.event.tell] == ["sub-2"]
    d.tick(2 * H - S, 2 * H + S)
    assert [h.alarm.subject for h in d.said if h.event.tell] == ["sub-2", "sub-1"]
    between(d.when(Note.UNSUPPRESSED, f"sub-1:pump_trip:{MIN}"), 2 * H, 2 * H)


def test_maintenance_may_end_early():
    d = Driven()
    d.act(0, Deed.MAINTAIN, "*", "inspection", until=2 * H, name="m1")
    d.push(MIN, condition())
    d.act(10 * MIN, Deed.END_MAINTENANCE, "*")
    assert d.told() == [(10 * MIN, Note.REALARMED)]


def test_an_alarm_that_nobody_acknowledges_goes_up_the_route_and_stops_at_its_end():
    d = Driven(Terms(escalate_ms=15 * MIN, steps=3))
    d.push(0, condition())
    d.tick(S, 2 * H, 10 * S)
    times = [t for t, n in d.told() if n is Note.ESCALATED]
    assert len(times) == 2
    assert 15 * MIN <= times[0] <= 15 * MIN + 10 * S
    assert 30 * MIN <= times[1] <= 30 * MIN + 10 * S


def test_an_acknowledged_alarm_does_not_escalate():
    d = Driven(Terms(escalate_ms=15 * MIN, steps=3))
    d.push(0, condition())
    d.act(14 * MIN, Deed.ACKNOWLEDGE, ID)
    d.tick(15 * MIN, H, 10 * S)
    assert [n for _, n in d.told()] == [Note.RAISED]


def test_an_episode_found_over_an_hour_after_its_end_is_recorded_and_not_told():
    d = Driven()
    d.push(3 * H, condition(until=2 * H - S, active=False))
    assert d.one().phase is Phase.CLOSED
    assert d.when(Note.RECORDED) == [3 * H]
    assert not d.told()


def test_an_episode_found_within_the_hour_is_told_with_its_end():
    d = Driven()
    d.push(3 * H, condition(until=2 * H + S, active=False))
    assert [n for _, n in d.told()] == [Note.RAISED, Note.CLEARED]


def test_what_never_was_is_withdrawn_and_told_to_those_who_know():
    d = Driven()
    d.push(0, condition())
    d.push(MIN, condition(active=False, withdrawn=True, order=1))
    assert d.one().phase is Phase.CLOSED
    assert [n for _, n in d.told()] == [Note.RAISED, Note.WITHDRAWN]
    d.push(2 * MIN, condition(until=2 * MIN, order=2))
    assert d.when(Note.REOPENED) == [2 * MIN]
    assert list(d.book.alarms) == [ID]
    assert_legal(d.one())


def test_what_was_withdrawn_before_it_was_heard_of_is_nothing():
    d = Driven()
    d.push(0, condition(active=False, withdrawn=True))
    assert not d.book.alarms


def test_a_cleared_alarm_that_nobody_acknowledged_stays_for_a_day():
    d = Driven(Terms(forget_ms=24 * H, steps=1))
    d.push(0, condition())
    d.push(MIN, condition(until=MIN, active=False, order=1))
    d.tick(MIN, 25 * H, MIN)
    between(d.when(Note.CLOSED), 24 * H, 24 * H + 2 * MIN)


def test_a_pump_trip_in_a_hundred_substations_of_one_branch_is_one_alert():
    d = Driven(Terms(steps=1))
    d.push(0, *(condition(f"east.{n:03}", n * S) for n in range(100)), condition("west.001", 0))
    told = [h.alarm for h in d.said if h.event.tell]
    assert sorted(a.subject for a in told) == ["branch:east", "west.001"]
    parent = next(a for a in told if a.code == "shared_cause")
    children = [a for a in d.book.alarms.values() if a.suppressed == f"cause:{parent.id}"]
    assert len(children) == 100
    assert parent.evidence["count"] == 100
    assert {a.phase for a in children} == {Phase.RAISED}
    late = condition("east.100", 5 * MIN, order=1)
    d.push(6 * MIN, late)
    assert d.one(late.key).suppressed == f"cause:{parent.id}"
    d.push(20 * MIN, *(condition(f"east.{n:03}", n * S, 19 * MIN, active=False, order=2) for n in range(100)))
    assert parent.phase is Phase.RAISED
    d.push(21 * MIN, condition("east.100", 5 * MIN, 20 * MIN, active=False, order=3))
    assert parent.phase is Phase.CLEARED
    assert [(h.alarm.subject, h.event.note) for h in d.said if h.event.tell][2:] == [
        ("branch:east", Note.CLEARED)
    ]
    for alarm in d.book.alarms.values():
        assert_legal(alarm)


def test_a_shared_cause_that_a_stream_tells_of_covers_the_alarms_it_names():
    d = Driven(Terms(steps=1), Shared(least=0))
    d.push(0, *(condition(f"sub-{n}", 0) for n in range(4)))
    assert len(d.told()) == 4
    cause = condition(
        "network:n1", 0, code="shared_cause", evidence={"code": "pump_trip", "children": ["sub-0", "sub-1"]}
    )
    d.push(S, cause)
    assert [a.subject for a in d.book.alarms.values() if a.suppressed] == ["sub-0", "sub-1"]
    d.push(MIN, condition("network:n1", 0, MIN, code="shared_cause", active=False, order=1))
    assert not [a for a in d.book.alarms.values() if a.suppressed]


def test_alarms_far_apart_in_time_share_no_cause():
    d = Driven(Terms(steps=1))
    d.push(5 * H, *(condition(f"east.{n}", n * H) for n in range(5)))
    assert len(d.told()) == 5


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"who": " "}, "name of a person"),
        ({"alarm": "nobody"}, "id of an alarm"),
        ({"deed": Deed.SHELVE, "until_ms": 10}, "a reason"),
        ({"deed": Deed.SHELVE, "reason": "x"}, "an end within the next 30 days"),
        ({"deed": Deed.SHELVE, "reason": "x", "until_ms": 40 * 24 * H}, "got 960.0 hours"),
        ({"deed": Deed.COMMENT}, "a text"),
        ({"deed": Deed.ASSIGN}, "name of the owner"),
        ({"deed": Deed.UNSHELVE}, "a shelved alarm"),
        ({"deed": Deed.END_MAINTENANCE}, "what is being maintained"),
        ({"reason": "x" * 2001}, "2000 characters"),
    ],
)
def test_a_deed_that_is_not_possible_says_why(change, words):
    d = Driven()
    d.push(0, condition())
    asked = {"id": "a", "deed": Deed.ACKNOWLEDGE, "alarm": ID, "who": "Li", "at_ms": 0, **change}
    with pytest.raises(ActionError, match=words):
        d.book.check(Action(**asked))
    before = d.one().to_json()
    d.book.act(Action(**asked), S)
    assert d.one().to_json() == before


def test_a_second_person_cannot_acknowledge():
    d = Driven()
    d.push(0, condition())
    d.act(S, Deed.ACKNOWLEDGE, ID, who="Li")
    with pytest.raises(ActionError, match="acknowledged by Li"):
        d.book.check(Action("b", Deed.ACKNOWLEDGE, ID, "Wang", 2 * S))


def test_what_is_due_next_is_known_to_the_millisecond():
    d = Driven(Terms(on_delay_ms=60 * S, off_delay_ms=30 * S, escalate_ms=15 * MIN, steps=2, rearm_ms=MIN))
    assert d.book.due_ms(0) is None
    seen = []
    d.push(10 * S, condition())
    d.act(10 * S, Deed.MAINTAIN, "nothing", "x", H)
    while (due := d.book.due_ms(max([10 * S, *seen]))) is not None and due < 2 * H:
        seen.append(due)
        d.tick(due)
    assert [seen[0], seen[1]] == [70 * S, 70 * S + 15 * MIN]
    assert [h.event.at_ms for h in d.said if h.event.note in {Note.RAISED, Note.ESCALATED}] == seen
    d.push(H, condition(until=H, active=False, order=1))
    assert d.book.due_ms(H) == H + 30 * S
    d.tick(H + 30 * S)
    assert d.one().phase is Phase.CLEARED


def test_every_passage_from_phase_to_phase_happens_at_its_time():
    """One alarm through each of the legal passages, every one at the second at which it is due."""
    d = Driven(Terms(on_delay_ms=60 * S, off_delay_ms=30 * S, rearm_ms=5 * MIN, steps=1))
    order = 0

    def say(at, **more):
        nonlocal order
        order += 1
        d.push(at, condition(until=at, order=order, **more))

    say(0)
    d.tick(S, 2 * MIN)  # pending, raised
    d.act(3 * MIN, Deed.ACKNOWLEDGE, ID)  # acknowledged
    say(4 * MIN, severity=Severity.CRITICAL)  # raised: it got worse
    say(5 * MIN, severity=Severity.CRITICAL, active=False)
    d.tick(5 * MIN, 6 * MIN)  # cleared
    say(7 * MIN)  # raised again
    d.act(8 * MIN, Deed.ACKNOWLEDGE, ID)
    say(9 * MIN, active=False)
    d.tick(9 * MIN, 10 * MIN)  # cleared, from acknowledged
    d.tick(10 * MIN, 16 * MIN)  # closed
    say(20 * MIN)  # its own episode once more: pending, and raised
    d.tick(20 * MIN, 22 * MIN)
    d.act(23 * MIN, Deed.ACKNOWLEDGE, ID)
    say(24 * MIN, active=False, withdrawn=True)  # closed, from acknowledged: it never was
    say(25 * MIN)
    say(26 * MIN, active=False, withdrawn=True)  # closed, from raised
    d.push(30 * MIN, condition("sub-2", 30 * MIN))
    d.push(
        31 * MIN, condition("sub-2", 30 * MIN, active=False, withdrawn=True, order=99)
    )  # closed, from pending
    events = [(d.one(a).events, a) for a in (ID, f"sub-2:pump_trip:{30 * MIN}")]
    passed, times = set(), []
    for history, alarm in events:
        phases = [None, *(e.phase for e in history)]
        for before, event in zip(phases, history, strict=False):
            if before is not event.phase:
                passed.add((before, event.phase))
                times.append((alarm.split(":")[0], event.phase.value, event.at_ms / MIN))
        assert_legal(d.one(alarm))
    assert passed == {(before, after) for before, after_all in LEGAL.items() for after in after_all}
    assert times == [
        ("sub-1", "pending", 0), ("sub-1", "raised", 1), ("sub-1", "acknowledged", 3), ("sub-1", "raised", 4),
        ("sub-1", "cleared", 5.5), ("sub-1", "raised", 7), ("sub-1", "acknowledged", 8),
        ("sub-1", "cleared", 9.5), ("sub-1", "closed", 14.5), ("sub-1", "pending", 20), ("sub-1", "raised", 20),
        ("sub-1", "acknowledged", 23), ("sub-1", "closed", 24), ("sub-1", "pending", 25), ("sub-1", "raised", 25),
        ("sub-1", "closed", 26), ("sub-2", "pending", 30), ("sub-2", "closed", 31),
    ]  # fmt: skip
