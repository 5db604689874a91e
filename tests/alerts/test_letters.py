"""Who is told what, and when: rosters, steps, quiet hours, sirens, languages."""

from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from alerts.action import Deed
from alerts.alarm import Alarm
from alerts.book import Book
from alerts.letters import letters_of
from alerts.messages import Writer, names_of
from alerts.rebuild import standing
from alerts.rules import SitePolicy
from models.anomaly import Severity
from models.site import Unit
from tests.support.alarm_book import Driven, condition
from tests.support.alert_site import rules, site

ZONE = ZoneInfo("Asia/Shanghai")
SITE = site(12)
TEXT = """
[[channel]]
id = "hook"
kind = "webhook"
url = "http://127.0.0.1:9/"
[[channel]]
id = "hall"
kind = "mqtt"
topic = "sirens/hall"
[[person]]
id = "day"
channels = ["hook"]
[[person]]
id = "night"
channels = ["hook"]
quiet = "22:00-07:00"
[[person]]
id = "boss"
channels = ["hook"]
[[roster]]
id = "duty"
[[shift]]
roster = "duty"
persons = ["day"]
hours = "08:00-20:00"
[[shift]]
roster = "duty"
persons = ["night"]
hours = "20:00-08:00"
[[route]]
id = "all"
steps = ["duty", "boss"]
escalate_after_s = 600
group_wait_s = 10
sirens = ["hall"]
[[rule]]
route = "all"
"""


def at(hour, minute=0):
    return round(datetime(2026, 1, 5, hour, minute, tzinfo=ZONE).timestamp() * 1000)


class Told:
    def __init__(self, text=TEXT):
        self.policy = SitePolicy(rules(text, SITE), SITE)
        self.driven = Driven()
        self.driven.book = Book(self.policy)
        self.seen = 0
        self.id = f"sub-001:pump_trip:{at(12)}"
        self.bodies = {}

    def letters(self, now):
        new, self.seen = self.driven.said[self.seen :], len(self.driven.said)
        made = letters_of(new, self.policy, now, now)
        for x in made:
            self.bodies.setdefault(x["recipient"], []).append(x["body"])
        return [(x["recipient"], x["body"]["note"], (x["due_ms"] - now) / 1000) for x in made]


def test_the_person_on_duty_and_the_siren_are_told():
    t = Told()
    t.driven.push(at(12), condition("sub-001", at(12)))
    assert t.letters(at(12)) == [("siren:hall", "raised", 0), ("day", "raised", 10)]


@pytest.mark.parametrize(
    ("severity", "hour", "wait_s"),
    [
        (Severity.MAJOR, 23, 8 * 3600),
        (Severity.MAJOR, 21, 10),
        (Severity.CRITICAL, 23, 10),
        (Severity.MAJOR, 3, 4 * 3600),
    ],
)
def test_quiet_hours_hold_letters_back_and_never_the_highest_severity(severity, hour, wait_s):
    t = Told()
    t.driven.push(at(hour), condition("sub-001", at(hour), severity=severity))
    assert ("night", "raised", wait_s) in t.letters(at(hour))


def test_escalation_tells_the_next_step_and_the_end_is_told_to_all_who_know():
    t = Told()
    t.driven.push(at(12), condition("sub-001", at(12)))
    t.letters(at(12))
    t.driven.tick(at(12, 9), at(12, 11), 60_000)
    assert t.letters(at(12, 11)) == [("boss", "escalated", 10)]
    t.driven.push(at(12, 20), condition("sub-001", at(12), at(12, 19), active=False, order=1))
    assert t.letters(at(12, 20)) == [
        ("siren:hall", "cleared", 0),
        ("day", "cleared", 10),
        ("boss", "cleared", 10),
    ]


def test_a_pump_trip_in_a_branch_is_one_letter_a_person():
    t = Told()
    t.driven.push(at(12), *(condition(f"sub-{n:03}", at(12)) for n in range(12)))
    assert [x[0] for x in t.letters(at(12))] == ["siren:hall", "day"]


SHELVE = {"until": at(18), "reason": "valve on order"}
CASES = {
    "acknowledge": (Deed.ACKNOWLEDGE, {}, ["acknowledged"]),
    "shelve": (Deed.SHELVE, SHELVE, ["shelved"]),
    "maintain": (Deed.MAINTAIN, SHELVE, ["suppressed"]),
    "comment": (Deed.COMMENT, {"reason": "seen"}, []),
    "assign": (Deed.ASSIGN, {"reason": "王"}, []),
}


@pytest.mark.parametrize("name", CASES)
def test_a_siren_is_silenced_and_no_person_is_written_to(name):
    deed, more, notes = CASES[name]
    t = Told()
    t.driven.push(at(12), condition("sub-001", at(12)))
    t.letters(at(12))
    t.driven.act(at(12, 5), deed, "sub-001" if deed is Deed.MAINTAIN else t.id, **more)
    t.driven.tick(at(12, 5))
    assert t.letters(at(12, 5)) == [("siren:hall", note, 0) for note in notes]
    assert [x["sounds"] for x in t.bodies["siren:hall"]] == [True, *[False] * len(notes)]
    assert [x["n"] for x in t.bodies["siren:hall"]] == sorted({x["n"] for x in t.bodies["siren:hall"]})
    assert [x["who"] for x in t.bodies["siren:hall"]][1:] in ([], ["Li"], [""])


def test_a_siren_hears_that_an_alarm_is_closed_and_nothing_of_what_it_never_heard_of():
    t = Told()
    t.driven.push(at(12), condition("sub-001", at(12)))
    t.driven.act(at(12, 1), Deed.ACKNOWLEDGE, t.id)
    t.driven.push(at(12, 2), condition("sub-001", at(12), at(12, 1), active=False, order=1))
    t.letters(at(12, 2))
    t.driven.tick(at(12, 3), at(15), 60_000)
    assert t.letters(at(15)) == [("siren:hall", "closed", 0)]
    # Found long after its end: recorded, and closed in silence.
    t.driven.push(at(18), condition("sub-002", at(10), at(11), active=False))
    t.driven.tick(at(18), at(20), 60_000)
    assert t.letters(at(20)) == []


def test_a_shelved_alarm_writes_no_letter_to_people():
    t = Told()
    t.driven.push(at(12), condition("sub-001", at(12)))
    t.letters(at(12))
    t.driven.act(at(12), Deed.SHELVE, f"sub-001:pump_trip:{at(12)}", "known", at(13))
    t.driven.tick(at(12), at(12, 30), 60_000)
    assert t.letters(at(12, 30)) == [("siren:hall", "shelved", 0)]


def test_messages_speak_the_recipients_language_and_lead_to_the_page():
    t = Told()
    cause = [condition(f"sub-{n:03}", at(12), evidence={"rule": "Δp → 0", "dp_kpa": 0.4}) for n in range(12)]
    t.driven.push(at(12), *cause, condition("sub-west", at(12), code="air", severity=Severity.MINOR))
    bodies = [
        x["body"] for x in letters_of(t.driven.said, t.policy, at(12), at(12)) if x["recipient"] == "day"
    ]
    writer = Writer({"n1": "东网", "sub-west": "西站"}, ZONE, "http://board")
    subject, text = writer.write(bodies, "zh")
    assert subject == "2 条告警: [重要] branch:n1/east 共同原因: 循环泵跳闸 共 12 处: 发生"
    assert "[一般] 西站 (sub-west) 二次网积气: 发生" in text
    assert "自 2026-01-05 12:00 起" in text
    assert f"http://board/alarms?lang=zh&alarm=sub-west%3Aair%3A{at(12)}" in text
    subject, text = writer.write(bodies, "en")
    assert subject == "2 alarms: [major] branch:n1/east shared cause: 12 of circulation pump tripped: raised"
    assert "since 2026-01-05 12:00" in text


def test_a_message_says_the_rule_its_numbers_and_what_leaving_it_costs():
    evidence = {
        "rule": "UA down by over 15 %", "numbers": {"transfer_left": 0.83341, "approach_over_k": 4.33},
        "window_s": 900, "learning": False, "learnt_days": 9.0, "cost_gj_day": 12.34, "cost_m3_day": None,
    }  # fmt: skip
    t = Told()
    t.driven.push(at(12), condition("sub-001", at(12), code="fouled_exchanger", evidence=evidence))
    bodies = [
        x["body"] for x in letters_of(t.driven.said, t.policy, at(12), at(12)) if x["recipient"] == "day"
    ]
    _, text = Writer({}, ZONE, "http://board").write(bodies, "en")
    assert "UA down by over 15 %; transfer_left 0.8334; approach_over_k 4.33\n" in text
    assert "leaving it costs 12.3 GJ a day\n" in text
    assert "m³" not in text
    assert "不处理每日损失 12.3 GJ" in Writer({}, ZONE, "http://board").write(bodies, "zh")[1]


def test_a_message_names_a_place_as_people_do():
    t = Told()
    found = {
        "rule": "the truck was not inside of the fence within half an hour",
        "place": "y1",
        "plate": "A1",
    }
    t.driven.push(at(12), condition("sub-001", at(12), evidence=found))
    bodies = [
        x["body"] for x in letters_of(t.driven.said, t.policy, at(12), at(12)) if x["recipient"] == "day"
    ]
    assert (
        "; place 东煤场; plate A1\n" in Writer({"y1": "东煤场"}, ZONE, "http://board").write(bodies, "zh")[1]
    )


def test_where_a_roster_has_nobody_the_next_step_is_told():
    t = Told()
    day_only = TEXT.replace(
        'id = "duty"\n[[shift]]', 'id = "duty"\nhours = "08:00-20:00"\n[[shift]]'
    ).replace('hours = "20:00-08:00"', 'hours = "10:00-12:00"')
    t.policy = SitePolicy(rules(day_only, SITE), SITE)
    t.driven.book = Book(t.policy)
    t.driven.push(at(3), condition("sub-001", at(3)))
    assert [(who, note) for who, note, _ in t.letters(at(3))] == [
        ("siren:hall", "raised"),
        ("boss", "raised"),
    ]


BY_HOUR = TEXT.replace(
    '[[rule]]\nroute = "all"\n',
    """
[[channel]]
id = "gate"
kind = "mqtt"
topic = "sirens/gate"
[[route]]
id = "night"
steps = ["boss"]
group_wait_s = 10
sirens = ["gate"]
[[rule]]
route = "all"
hours = "06:00-18:00"
off_delay_s = 60
[[rule]]
codes = ["pump_trip"]
route = "night"
hours = "18:00-22:00"
""",
)


@pytest.mark.parametrize("end_hour", [19, 23])
def test_an_end_goes_where_its_beginning_went_though_another_rule_holds_by_then(end_hour):
    # At 19 another route holds, at 23 none: the siren in the hall must not sound on.
    t = Told(BY_HOUR)
    t.driven.push(at(12), condition("sub-001", at(12)))
    t.driven.act(at(12, 5), Deed.ACKNOWLEDGE, t.id)
    assert t.letters(at(12, 5)) == [
        ("siren:hall", "raised", 0),
        ("day", "raised", 10),
        ("siren:hall", "acknowledged", 0),
    ]
    over = at(end_hour)
    t.driven.push(over, condition("sub-001", at(12), over, active=False, order=1))
    told = t.letters(over)
    assert told[0] == ("siren:hall", "cleared", 0)
    assert not t.bodies["siren:hall"][-1]["sounds"]
    assert {x[0] for x in told} == {"siren:hall", "day" if end_hour < 20 else "night"}


def test_an_end_goes_to_every_route_that_told_of_it_and_a_new_beginning_by_its_own():
    t = Told(BY_HOUR)
    t.driven.push(at(17, 55), condition("sub-001", at(17, 55)))
    t.id = f"sub-001:pump_trip:{at(17, 55)}"
    t.driven.act(at(17, 56), Deed.ACKNOWLEDGE, t.id)
    t.driven.push(at(18, 5), condition("sub-001", at(17, 55), severity=Severity.CRITICAL, order=1))
    worse = [x for x in t.letters(at(18, 5)) if x[1] == "worsened"]
    assert worse == [("siren:gate", "worsened", 0), ("boss", "worsened", 10)]
    t.driven.restart()
    t.driven.push(at(18, 10), condition("sub-001", at(17, 55), at(18, 9), active=False, order=2))
    assert [x[:2] for x in t.letters(at(18, 10))] == [
        ("siren:hall", "cleared"),
        ("day", "cleared"),
        ("siren:gate", "cleared"),
        ("boss", "cleared"),
    ]
    # It comes back at night: by the night's route alone, and so does its second end.
    t.driven.push(at(18, 20), condition("sub-001", at(18, 20), order=3))
    assert {x[:2] for x in t.letters(at(18, 20))} == {("siren:gate", "realarmed"), ("boss", "realarmed")}
    t.driven.push(at(18, 30), condition("sub-001", at(18, 20), at(18, 29), active=False, order=4))
    assert {x[:2] for x in t.letters(at(18, 30))} == {("siren:gate", "cleared"), ("boss", "cleared")}


def test_what_is_told_once_more_ends_where_it_was_told_then():
    # A desk that starts anew at 19 tells what stands by the route of 19: its siren must be silenced too.
    t = Told(BY_HOUR)
    t.driven.push(at(12), condition("sub-001", at(12)))
    t.letters(at(12))
    again = letters_of(standing(t.driven.book, at(19)), t.policy, at(19), at(19))
    assert {x["recipient"] for x in again} == {"siren:gate", "boss"}
    t.driven.push(at(19, 30), condition("sub-001", at(12), at(19, 29), active=False, order=1))
    assert ("siren:gate", "cleared", 0) in t.letters(at(19, 30))


def test_a_history_without_routes_and_a_route_that_is_gone_end_by_the_rule_of_now():
    t = Told(BY_HOUR)
    t.driven.push(at(12), condition("sub-001", at(12)))
    t.letters(at(12))
    kept = t.driven.book.alarms[t.id].to_json()
    for event in kept["events"]:
        event["route"] = "gone" if event.pop("route") else ""
    t.driven.book = Book(t.policy)
    t.driven.book.restore([Alarm.from_json(kept)])
    t.driven.push(at(19), condition("sub-001", at(12), at(19), active=False, order=1))
    assert {x[:2] for x in t.letters(at(19))} == {("siren:gate", "cleared"), ("boss", "cleared")}


def test_a_message_names_units_as_people_do_and_takes_no_number_for_a_name():
    t = Told()
    found = {"unit": "u1", "count": 3}
    t.driven.push(at(12), condition("unit:u1", at(12), evidence=found))
    bodies = [
        x["body"] for x in letters_of(t.driven.said, t.policy, at(12), at(12)) if x["recipient"] == "day"
    ]
    names = names_of(replace(SITE, units={"u1": Unit("u1", "r", "东河供热公司")}))
    subject, text = Writer({**names, "3": "third"}, ZONE, "http://board").write(bodies, "zh")
    assert subject.startswith("[重要] 东河供热公司 (unit:u1) ")
    assert "unit 东河供热公司; count 3\n" in text
