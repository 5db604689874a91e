"""Rules tried on the past: what had begun before, and what of the truth people were told of."""

from dataclasses import replace

from alerts.rehearsal import Word, caught, rehearse, within
from alerts.rules import SitePolicy
from tests.support.alarm_book import MIN, H, condition
from tests.support.alert_site import RULES, rules, site

DAY = 24 * H
SITE = site(12)


def policy():
    return SitePolicy(rules(RULES.format(url="http://127.0.0.1:1/", wait=0), SITE), SITE)


def words(*spans, code="air"):
    """Subject, beginning and end of each; without an end it stands."""
    found = []
    for subject, first, until in spans:
        began = condition(subject, first, code=code)
        found.append(Word(first, began))
        if until is not None:
            found.append(Word(until, replace(began, until_ms=until, active=False, order=1)))
    return sorted(found, key=lambda w: w.at_ms)


def test_what_began_before_the_days_that_are_measured_rings_no_bell_in_them():
    said = words(
        ("sub-001", DAY, 9 * DAY), ("sub-002", 2 * DAY, 3 * DAY), ("sub-003", 4 * DAY, None),
        ("sub-004", 9 * DAY + H, None),
    )  # fmt: skip
    kept = within(said, 8 * DAY)
    assert {w.condition.subject for w in kept} == {"sub-001", "sub-003", "sub-004"}
    told = rehearse(kept, policy(), 8 * DAY, 10 * DAY)
    assert [r["subject"] for r in told.rung] == ["sub-004"]
    assert told.figures.stale == 2  # the two that had stood for days


def fault(place, onset=H, deadline=DAY):
    return {"kind": "fault", "place": place, "onset_ms": onset, "deadline_ms": deadline}


def test_a_fault_is_caught_by_what_is_told_of_it_and_by_nothing_else():
    network = words(("network:n1", 2 * H, None), code="primary_leak")
    told = rehearse(network, policy(), 0, DAY)
    faults = [fault("sub-001"), fault("east"), fault("e3"), fault("n1"), fault("truck-1"), fault("n1", 3 * H)]
    assert caught(told, faults, SITE) == (
        ["fault at east", "fault at e3", "fault at n1"], ["fault at sub-001", "fault at truck-1", "fault at n1"]
    )  # fmt: skip
    many = rehearse(words(*((f"sub-{n:03}", 2 * H + n * MIN, None) for n in range(8))), policy(), 0, DAY)
    yes, no = caught(many, [fault("sub-003"), fault("sub-west"), fault("sub-003", deadline=H)], SITE)
    assert (yes, no) == (["fault at sub-003"], ["fault at sub-west", "fault at sub-003"])
    plate = rehearse(words(("plate:A1", 2 * H, None), code="overload"), policy(), 0, DAY)
    assert caught(plate, [fault("A1"), fault("A2")], SITE) == (["fault at A1"], ["fault at A2"])
