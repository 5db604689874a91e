"""Worst actors: counted while the desk runs, and counted again to the same after a restart."""

from alerts.actors import DAY_MS, MOST, Actor, Actors, Heard, heard_again
from alerts.alarm import Note
from alerts.rows import actors_table
from alerts.scopes import DESK

NOW = 100 * DAY_MS + 3_600_000


def heard(at_ms, subject="s1", note=Note.RAISED, code="air", *, alone=True):
    return Heard(at_ms, note, subject, code, "u1", "r1", alone)


def worst(*told, now_ms=NOW):
    actors = Actors()
    for one in sorted(told):
        actors.note(one)
    return actors.worst(now_ms)[DESK]


def test_the_worst_come_first_with_their_share_and_no_more_than_ten():
    found = worst(*(heard(NOW - 3_600_000 * n, f"s{k:02}") for k in range(12) for n in range(k + 1)))
    assert [a.subject for a in found] == [f"s{k:02}" for k in range(11, 1, -1)]
    assert (found[0].alarms, round(found[0].share_pct, 3)) == (12, round(100 * 12 / 78, 3))
    assert (found[0].code, found[0].unit, found[0].region) == ("air", "u1", "r1")
    assert worst(heard(NOW, "b"), heard(NOW, "a"))[0].subject == "a"
    assert worst() == []


def test_each_region_and_unit_has_its_own_ten_with_their_share_there():
    actors = Actors()
    told = [
        ("big", "u1", "r1", 30),
        ("other", "u2", "r1", 10),
        ("small", "u3", "r2", 3),
        ("tiny", "u3", "r2", 1),
    ]
    many = [(f"s{n:02}", "u1", "r1", 20) for n in range(10)]
    for subject, unit, region, times in [*told, *many, ("mail", "", "", 2)]:
        for n in range(times):
            actors.note(Heard(NOW - 3_600_000 * n, Note.RAISED, subject, "air", unit, region, alone=True))
    found = actors.worst(NOW)
    assert set(found) == {"desk", "region:r1", "region:r2", "unit:u1", "unit:u2", "unit:u3"}
    assert all(len(found[scope]) == MOST for scope in ("desk", "region:r1", "unit:u1"))
    assert [(a.subject, a.share_pct) for a in found["region:r2"]] == [("small", 75.0), ("tiny", 25.0)]
    assert found["region:r2"] == found["unit:u3"]
    assert [(a.subject, a.alarms, a.share_pct) for a in found["unit:u2"]] == [("other", 10, 100.0)]
    assert found["desk"][0].subject == "big"


def test_a_place_bears_the_unit_and_region_of_its_scope_whoever_takes_it():
    one, other = (Actor("s", "air", unit, "r1", 5, 5, 50.0, 0, 0) for unit in ("u1", "u2"))
    places = {DESK: {"unit": "", "region": ""}, "region:r1": {"unit": "", "region": "r1"}}
    named = set()
    for taken in ([one, other], [other, one], [other], []):
        table = actors_table({DESK: taken, "region:r1": taken, "unit:gone": taken}, places, 0, "alarm")
        named |= {(r["key"], r["unit"], r["region"]) for r in table.to_pylist()}
    ten = [f"{n:02}" for n in range(1, MOST + 1)]
    assert named == {*((f"desk:{n}", "", "") for n in ten), *((f"region:r1:{n}", "", "r1") for n in ten)}


def test_thirty_days_and_seven_are_days_and_older_ones_are_forgotten():
    day = NOW // DAY_MS * DAY_MS
    at = (day - 29 * DAY_MS, day - 29 * DAY_MS - 1, day - 6 * DAY_MS, day - 6 * DAY_MS - 1, NOW)
    (one,) = worst(*map(heard, at))
    assert (one.alarms, one.alarms_7d, one.share_pct) == (4, 2, 100.0)
    assert worst(heard(NOW), now_ms=NOW + 30 * DAY_MS) == []


def test_what_clears_unacknowledged_cleared_by_itself():
    (one,) = worst(
        heard(NOW - 5), heard(NOW - 4, note=Note.CLEARED), heard(NOW - 3),
        heard(NOW - 2, note=Note.CLEARED, alone=False), heard(NOW - 1, note=Note.COMMENTED),
    )  # fmt: skip
    assert (one.alarms, one.cleared_alone) == (2, 1)
    assert worst(heard(NOW, note=Note.CLEARED)) == []


def test_three_in_a_minute_chatter_once():
    at = [NOW - 500_000 + 20_000 * n for n in range(6)]
    (one,) = worst(*map(heard, at))
    assert one.chatter == 2
    assert worst(*(heard(NOW - 30_000 * n) for n in range(3)))[0].chatter == 0


def event(at_ms, note, alarm="a"):
    return {
        "alarm_id": alarm, "at_ms": at_ms, "note": str(note), "subject": "s1", "code": "air", "unit": "u1",
        "region": "r1",
    }  # fmt: skip


def test_records_tell_who_acknowledged_and_what_was_quiet_by_the_end_of_its_turn():
    told = heard_again([
        event(1, Note.RAISED), event(2, Note.ACKNOWLEDGED), event(3, Note.CLEARED), event(4, Note.REALARMED),
        event(5, Note.CLEARED), event(6, Note.CLOSED),
        event(7, Note.RAISED, "child"), event(7, Note.SUPPRESSED, "child"), event(8, Note.REALARMED, "child"),
        event(9, Note.UNSUPPRESSED, "child"), event(9, Note.REALARMED, "child"),
    ])  # fmt: skip
    assert [(h.at_ms, h.note, h.alone) for h in told if h.note in {"raised", "realarmed", "cleared"}] == [
        (1, "raised", True), (3, "cleared", False), (4, "realarmed", True), (5, "cleared", True),
        (9, "realarmed", True),
    ]  # fmt: skip
