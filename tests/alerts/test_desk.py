"""The desk with its records and journal on disk: nothing lost, nothing twice, whenever it is stopped."""

from dataclasses import replace
from itertools import count

import pytest
import sqlalchemy as sa

from alerts.action import ALARM_STREAM, Action, ActionError, Deed
from alerts.alarm import Alarm, Phase
from alerts.condition import conditions_of
from alerts.desk import Desk
from alerts.rehearsal import fast_conditions
from alerts.rules import SitePolicy
from journal.sqlite import SqliteJournal
from models.anomaly import ANOMALY, Anomaly, Severity, State, anomaly_table
from models.results import Outputs, Status
from store.duckdb_series import DuckdbSeries
from store.protocol import Select, StoreUnavailableError
from store.records import Records, RecordsError
from tests.support.alarm_book import MIN, H, assert_legal, condition
from tests.support.alert_site import RULES, rules, site

T0 = 1_767_585_600_000
SITE = site(110)


class Room:
    """A data directory whose desk may be stopped dead at any time, and its records there or elsewhere."""

    def __init__(self, folder, where):
        self.folder, self.where = folder, where
        self.now = T0
        self.journal = SqliteJournal(folder / "journal.sqlite3", lambda: self.now)
        self.series = DuckdbSeries(folder / "series.duckdb")
        self.open()

    def open(self, past=()):
        self.records = Records(self.where)
        policy = SitePolicy(rules(RULES.format(url="http://127.0.0.1:1/", wait=0), SITE), SITE)
        self.desk = Desk(self.records, policy, self.journal, lambda: self.now, lambda: self.now, self.series)
        if self.desk.fresh:
            self.desk._rebuild(past)
        else:
            self.desk._catch_up()

    def crash(self, past=()):
        self.records.close()
        self.open(past)

    def lose_records(self, past):
        with self.records._engine.begin() as connection:
            for table in sa.inspect(connection).get_table_names():
                connection.execute(sa.text(f"DROP TABLE {table}"))
        self.records.close()
        self.open(past)

    def turn(self, seconds=0):
        self.now += 1000 * seconds
        self.desk.turn()

    def act(self, deed, alarm, **more):
        self.desk.act(Action(f"{deed}{self.now}", deed, alarm, "王", self.now, **more))

    def letters(self):
        return sorted((x["alarm_id"], x["body"]["note"]) for x in self.records.letters())

    def close(self):
        self.records.close()
        self.journal.close()
        self.series.close()


@pytest.fixture
def room(tmp_path, records_at):
    made = Room(tmp_path, records_at)
    yield made
    made.close()


def anomaly(
    subject="sub-001", first=T0, until=T0, *, state=State.ACTIVE, status=Status.FINAL, code="pump_trip"
):
    return Anomaly(
        subject, code, Severity.CRITICAL, 2.0, {"rule": "Δp to 0"}, first, until, 900_000, "u1", "r1", state, None, status
    )  # fmt: skip


def said(offset, *anomalies, measurement=ANOMALY):
    outputs = Outputs("u1", offset)
    outputs.add(measurement, anomaly_table(anomalies, "u1"))
    return [outputs]


ID = f"sub-001:pump_trip:{T0}"


def test_a_condition_is_on_disk_when_it_was_received(room):
    room.desk.receive(said(5, anomaly()))
    room.crash()
    room.turn()
    assert room.desk.book.alarms[ID].phase is Phase.RAISED
    assert room.letters() == [(ID, "raised")]


@pytest.mark.parametrize("crashes", [(), (1,), (2,), (3,), (1, 2, 3)])
def test_a_crash_at_any_step_makes_no_letter_twice(room, crashes):
    for step in range(1, 4):
        room.desk.receive(said(5, anomaly()))  # said again by the streams after each crash
        if step in crashes:
            room.crash()
        room.turn(1)
    room.act(Deed.ACKNOWLEDGE, ID)
    if crashes:
        room.crash()
    room.desk.receive(said(9, anomaly(until=T0 + MIN, state=State.ENDED)))
    room.desk.receive(said(5, anomaly()))
    room.turn(1)
    assert room.desk.book.alarms[ID].phase is Phase.CLEARED
    assert room.letters() == [(ID, "cleared"), (ID, "raised")]
    assert room.desk.book.alarms[ID].acknowledged_by == "王"


def test_a_deed_is_in_the_journal_before_it_is_done(room):
    room.desk.receive(said(5, anomaly()))
    room.turn()
    room.act(Deed.COMMENT, ID, reason="looked at it")
    records = room.journal.read(ALARM_STREAM, -1)
    assert len(records) == 1
    # The records are as they were before the deed: the crash came between journal and records.
    room.records.save(_progress(-1))
    room.crash()
    notes = [e.detail for e in room.desk.book.alarms[ID].events if e.note == "commented"]
    assert notes == ["looked at it"]


def _progress(offset):
    from store.records import Batch

    return Batch(progress={"actions": offset})


def test_an_impossible_deed_is_not_journalled(room):
    with pytest.raises(ActionError, match="id of an alarm"):
        room.act(Deed.ACKNOWLEDGE, "nothing")
    assert ALARM_STREAM not in room.journal.streams()


@pytest.mark.parametrize(
    ("scope", "more", "told"),
    [
        ("unit:u2", {}, "got 'unit:u2' .like it are: unit:u1"),
        ("region:north", {}, "got 'region:north' .like it are: region:r1"),
        ("network:n2", {}, "got 'network:n2' .like it are: network:n1"),
        ("u1", {}, "got 'u1' .like it are: unit:u1.$"),
        ("sub-wst", {}, "got 'sub-wst' .like it are: sub-west"),
        ("substations everywhere?", {}, "got 'substations everywhere\\?'$"),
        ("sub-001", {"code": "pump_tripped"}, "code: .* got 'pump_tripped' .like it are: pump_trip"),
        ("sub-001", {"code": "§"}, "code: .* got '§'$"),
    ],
)
def test_maintenance_of_what_nobody_has_is_refused_with_names_like_it(room, scope, more, told):
    with pytest.raises(ActionError, match=told):
        room.act(Deed.MAINTAIN, scope, reason="new pump", until_ms=T0 + H, **more)
    assert ALARM_STREAM not in room.journal.streams()
    assert room.desk.book.maintenance == {}


@pytest.mark.parametrize(
    "scope",
    ["*", "sub-001", "unit:u1", "region:r1", "network:n1", "plate:京A1", "haulage:u1", "ticket:7", "gone-1"],
)
def test_what_the_registry_or_a_standing_alarm_names_can_be_maintained(room, scope):
    room.desk.receive(said(5, anomaly("gone-1")))
    room.turn()
    room.act(Deed.MAINTAIN, scope, reason="new pump", until_ms=T0 + H, code="pump_trip")
    assert [m.alarm for m in room.desk.book.maintenance.values()] == [scope]


def test_lost_records_are_made_again_from_the_journal_and_the_results(room):
    found = [anomaly(), anomaly("sub-002", T0 - 5 * H, T0 - 4 * H, state=State.ENDED), anomaly("sub-west")]
    room.series.write(said(5, *found))
    room.desk.receive(said(5, *found))
    room.turn(1)
    room.act(Deed.ACKNOWLEDGE, ID)
    room.act(Deed.ASSIGN, f"sub-west:pump_trip:{T0}", reason="李")
    room.act(Deed.MAINTAIN, "unit:u1", reason="works", until_ms=room.now + H)
    before = {i: (a.phase, a.owner, a.suppressed) for i, a in room.desk.book.alarms.items()}
    past = conditions_of([room.series.select(Select(ANOMALY))], -1)
    room.now += 2 * H
    room.turn()
    room.lose_records(past)
    after = {i: (a.phase, a.owner, a.suppressed) for i, a in room.desk.book.alarms.items()}
    assert after[ID] == (Phase.ACKNOWLEDGED, "", "")
    assert after[f"sub-west:pump_trip:{T0}"] == (Phase.RAISED, "李", "")
    assert not room.desk.book.alarms[f"sub-002:pump_trip:{T0 - 5 * H}"].active
    assert before.keys() == after.keys()
    # What still stands and nobody has acknowledged is told again: better twice than never.
    assert {i for i, _ in room.letters()} == {f"sub-west:pump_trip:{T0}"}


def test_a_pump_trip_in_a_hundred_substations_is_one_letter(room):
    room.desk.receive(said(5, *(anomaly(f"sub-{n:03}") for n in range(100))))
    room.turn(1)
    parent = f"branch:n1/east:shared_cause.pump_trip:{T0}"
    assert room.letters() == [(parent, "raised")]
    rows = room.series.select(Select("alarm_open")).to_pylist()
    assert sum(r["suppressed"] == f"cause:{parent}" for r in rows) == 100
    assert len(rows) == 101


def test_letters_of_children_that_wait_are_taken_back(room):
    room.desk.receive(said(5, *(anomaly(f"sub-{n:03}") for n in range(3))))
    room.turn(1)
    assert len(room.letters()) == 3
    room.desk.receive(said(6, *(anomaly(f"sub-{n:03}") for n in range(3, 9))))
    room.turn(1)
    assert room.letters() == [(f"branch:n1/east:shared_cause.pump_trip:{T0}", "raised")]


def test_boards_see_alarms_as_rows_and_closed_ones_in_the_history_only(room):
    room.desk.receive(said(5, anomaly()))
    room.turn(1)
    room.act(Deed.COMMENT, ID, reason="seen")
    room.turn(1)
    (row,) = room.series.select(Select("alarm_open")).to_pylist()
    assert (row["key"], row["state"], row["priority"], row["window_start"]) == (ID, "raised", 1, T0)
    assert "seen" in row["comments"]
    room.desk.receive(said(6, anomaly(status=Status.WITHDRAWN, state=State.ENDED)))
    room.turn(1)
    assert not room.series.select(Select("alarm_open")).num_rows
    assert room.series.select(Select("alarm")).to_pylist()[0]["state"] == "closed"
    room.turn(61)
    assert room.series.select(Select("alarm_quality")).to_pylist()[-1]["standing"] == 0


def test_each_region_and_unit_is_told_what_it_asks_of_the_desk(room):
    room.desk.receive(said(5, anomaly("sub-001"), anomaly("sub-west", code="air")))
    room.turn(601)
    rows = {r["key"]: r for r in room.series.select(Select("alarm_quality", latest=True)).to_pylist()}
    site = room.desk.policy.site
    assert set(rows) == {"desk", *(f"region:{r}" for r in site.regions), *(f"unit:{u}" for u in site.units)}
    for scope, row in rows.items():
        mine = [
            a
            for a in room.desk.book.alarms.values()
            if scope in {"desk", f"region:{a.region}", f"unit:{a.unit}"}
        ]
        assert row["standing"] == len(mine), scope
        unit = site.units.get(scope.removeprefix("unit:"))
        assert (row["unit"], row["region"]) == (
            (unit.id, unit.region) if unit else ("", scope.removeprefix("region:").removeprefix("desk"))
        )
    assert rows["desk"]["standing"] == 2


def test_the_worst_actors_are_the_same_after_a_restart(room):
    room.desk.receive(said(5, *(anomaly(f"sub-{n:03}") for n in range(9)), anomaly("sub-west", code="air")))
    room.turn(1)
    room.act(Deed.SHELVE, f"sub-west:air:{T0}", reason="bled", until_ms=room.now + 5 * MIN)
    room.turn(600)
    room.desk.receive(said(6, anomaly("sub-west", code="air", until=T0 + MIN, state=State.ENDED)))
    room.turn(600)
    room.turn(61)
    rows = room.series.select(Select("alarm_actor")).to_pylist()
    told = [
        (r["key"], r["subject"], r["code"], r["alarms"], r["share_pct"], r["cleared_alone"])
        for r in rows
        if r["key"].startswith("desk")
    ]
    # Nine pumps of a branch rang once, at the shared cause; what was put aside rang again after that.
    assert told == [
        ("desk:01", "sub-west", "air", 2, pytest.approx(200 / 3), 1),
        ("desk:02", "branch:n1/east", "shared_cause", 1, pytest.approx(100 / 3), 0),
    ]
    room.crash()
    room.turn()
    assert room.series.select(Select("alarm_actor")).to_pylist() == rows


def test_a_day_of_the_desk_is_reckoned_from_all_that_it_heard_before_a_restart_too(room):
    def told():
        (row,) = room.series.select(Select("alarm_quality", keys=("desk",), latest=True)).to_pylist()
        return row["a_day"], row["worst_10_min"], row["coverage"]

    room.turn()
    room.desk.receive(said(5, *(anomaly(f"sub-{n:03}", code="air") for n in (1, 2, 3))))
    room.turn(1)
    room.turn(5 * 3600)
    assert told() == (pytest.approx(3 * 24 / 5, rel=1e-3), 3, pytest.approx(5 / 24, rel=1e-3))
    room.crash()
    room.turn(3600)
    assert told() == (pytest.approx(3 * 24 / 6, rel=1e-3), 3, pytest.approx(6 / 24, rel=1e-3))


def test_an_alarm_forgotten_long_ago_comes_back_under_its_id(room):
    room.desk.receive(said(5, anomaly(until=T0 + MIN, state=State.ENDED)))
    room.turn(60)
    room.act(Deed.ACKNOWLEDGE, ID)
    room.turn(3600)
    room.turn(8 * 86_400)
    assert ID not in room.desk.book.alarms
    room.desk.receive(said(9, anomaly(status=Status.WITHDRAWN, state=State.ENDED)))
    room.turn(1)
    kept = Alarm.from_json(room.records.alarm_of_key(ID))
    assert kept.never_was
    assert_legal(kept)
    room.turn(1)
    assert ID not in room.desk.book.alarms


def test_records_that_cannot_be_written_hold_the_streams_back(room, monkeypatch):
    def full(*_):
        raise RecordsError("disk full")

    with monkeypatch.context() as broken:
        broken.setattr(room.records, "receive", full)
        with pytest.raises(RecordsError):
            room.desk.receive(said(5, anomaly()))
    room.desk.receive(said(5, anomaly()))
    with monkeypatch.context() as broken:
        broken.setattr(room.records, "save", full)
        with pytest.raises(RecordsError):
            room.turn()
    room.turn()
    assert room.letters() == [(ID, "raised")]


def test_fast_rules_speak_on_readings(tmp_path):
    from alerts.fast import FastWatch
    from tests.support.alarm_book import S

    watch = FastWatch(rules(FAST, SITE).fast)
    assert not watch.take("u1", 1, [readings((T0, 1000.0), (T0 + S, 99_999.0))])  # no pressure can be so high
    (began,) = watch.take("u1", 2, [readings((T0 + 10 * S, 1700.0))])
    assert (began.active, began.provisional, began.key) == (True, True, f"sub-001:too_much:{T0 + 10 * S}")
    assert began.evidence["provisional"] is True
    assert not watch.take(
        "u1", 3, [readings((T0 + 20 * S, 1550.0), (T0 + 5 * S, 900.0))]
    )  # not clear, and old
    assert not watch.take("u1", 3, [readings((T0 + 25 * S, 99_999.0))])  # nor is that an end
    (ended,) = watch.take("u1", 4, [readings((T0 + 30 * S, 1400.0))])
    assert (ended.active, ended.key, ended.until_ms) == (False, began.key, T0 + 25 * S)
    assert not watch.take("u1", 5, [readings((T0 + 40 * S, 1700.0), device="plant-1", of="plant")])


FAST = """
[[fast]]
code = "too_much"
measurement = "supply_kpa"
classes = ["substation"]
above = 1600
clear = 1500
"""


OFFSETS = count()


def readings(*samples, device="sub-001", of="substation"):
    import pyarrow as pa

    return pa.Table.from_pylist(
        [
            {
                "key": device,
                "unit": "u1",
                "region": "r1",
                "window_start": t,
                "class": of,
                "supply_kpa": v,
                "offset": next(OFFSETS),
            }
            for t, v in samples
        ]
    )


def test_a_restarted_watch_knows_what_stands(room):
    from alerts.fast import FastWatch

    fast = rules(FAST, SITE).fast
    room.desk.receive_conditions(FastWatch(fast).take("u1", 2, [readings((T0, 1700.0))]))
    room.turn()
    watch = FastWatch(fast, room.desk.book.alarms.values())
    (ended,) = watch.take("u1", 4, [readings((T0 + 30_000, 1400.0))])
    assert not ended.active
    room.desk.receive_conditions([ended])
    room.turn()
    assert [a.phase for a in room.desk.book.alarms.values()] == [Phase.CLEARED]


def test_conditions_travel_as_json():
    one = condition(evidence={"size": 1.5}, provisional=True)
    assert type(one).from_json(one.to_json()) == one


def test_what_a_board_could_not_be_given_is_given_later(room, monkeypatch):
    def away(*_):
        raise StoreUnavailableError("the store is away")

    room.desk.receive(said(5, anomaly()))
    with monkeypatch.context() as broken:
        broken.setattr(room.series, "write", away)
        room.turn()
    assert not room.series.select(Select("alarm_open")).num_rows
    room.turn()
    assert room.series.select(Select("alarm_open")).num_rows == 1


def test_a_crash_between_records_and_boards_leaves_no_board_behind(room, monkeypatch):
    room.desk.receive(said(5, anomaly()))
    with monkeypatch.context() as broken:
        broken.setattr(room.desk, "_show", lambda _now: None)
        room.turn()
    room.crash()
    room.turn()
    assert room.series.select(Select("alarm_open")).num_rows == 1


def test_what_fast_rules_said_survives_the_loss_of_the_records(room):
    from alerts.fast import FastWatch

    room.desk.receive_conditions(FastWatch(rules(FAST, SITE).fast).take("u1", 2, [readings((T0, 1700.0))]))
    room.turn()
    room.lose_records(fast_conditions(room.series.select(Select("alarm"))))
    (alarm,) = room.desk.book.alarms.values()
    assert (alarm.phase, alarm.provisional, alarm.active) == (Phase.RAISED, True, True)


def test_what_a_fast_rule_said_while_the_disk_was_full_is_not_lost(room, monkeypatch):
    from alerts.fast import FastWatch

    room.desk._fast = FastWatch(rules(FAST, SITE).fast)
    room.desk.policy.rules = replace(room.desk.policy.rules, fast=rules(FAST, SITE).fast)
    outputs = Outputs("u1", 7)
    outputs.readings.append(readings((T0, 1700.0)))

    def full(*_):
        raise RecordsError("disk full")

    with monkeypatch.context() as broken:
        broken.setattr(room.records, "receive", full)
        with pytest.raises(RecordsError):
            room.desk.receive([outputs])
    room.desk.receive([outputs])
    room.turn()
    assert [a.code for a in room.desk.book.alarms.values()] == ["too_much"]


def test_the_newest_step_of_the_records_is_the_one_that_is_named(tmp_path):
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    from store import records

    config = Config()
    config.set_main_option("script_location", str(records._MIGRATIONS))
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_current_head() == records._NEWEST
    with Records(tmp_path / "r.sqlite3") as made:
        assert made._version() == records._NEWEST
