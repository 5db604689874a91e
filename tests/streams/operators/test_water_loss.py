"""Leaks and draw-off as a stream of settled water balances tells of them."""

import json
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import pyarrow as pa
import pytest

from models.site import Network, Region, Site, Unit
from streams.core.network_events import NetworkEvents
from streams.core.network_rows import STEP_MS, Settled, Source
from streams.core.stream_site import StreamSite
from streams.core.window_state import FINAL, UNKNOWN, WindowState
from streams.operators.network_water import network_water
from streams.operators.water_loss import water_loss
from streams.operators.water_normal import water_normal

HOUR_MS = 3_600_000
T0 = 1_767_196_800_000  # midnight in Shanghai
USUAL = 1.5
LEARNT_H = 24 * 7


@cache
def site_of(window_h):
    network = Network("n", "u", "n", window_s=3600 * window_h, makeup_limit_pct=0.5)
    return StreamSite(
        Site("s", "s", "Asia/Shanghai", regions={"r": Region("r", "r")}, units={"u": Unit("u", "r", "u")},
             networks={"n": network}),
        (), {},
    )  # fmt: skip


@dataclass
class Watched:
    """Feeds hours of water to a learner, `window_h` at a time."""

    operator: object = water_loss
    window_h: int = 1
    state: object = None
    hour: int = 0
    rows: list = field(default_factory=list)
    events: NetworkEvents = field(default_factory=NetworkEvents)
    rng: object = field(default_factory=lambda: np.random.default_rng(5))

    def lose(self, lost, floor=None, *, booked=0.0, status=FINAL, circulated_m3_h=1000.0):
        """One window in which `lost` m³/h are lost over the usual."""
        hours = self.window_h
        lost = hours * (USUAL + lost + 0.03 * self.rng.standard_normal())
        told = {"makeup_m3": lost, "authorised_m3": booked, "storage_m3": 0.0, "tank_m3": 0.0,
                "leak_m3": lost - booked, "leak_u_m3": 0.1, "circulated_m3": circulated_m3_h * hours,
                "difference_m3": 3.0 * hours, "floor_m3_h": lost / hours if floor is None else USUAL + floor}  # fmt: skip
        values = np.array([[told.get(f, np.nan)] for f in network_water.fields])
        row = WindowState(len(network_water.fields))
        row.remember(np.array([0]), values, np.ones(1), np.array([status]), np.array([""], object),
                     np.zeros(1, np.int64))  # fmt: skip
        start = T0 + self.hour * HOUR_MS
        source = Source(network_water.fields, "network", {start: row}, np.array([hours * HOUR_MS]))
        end = start + hours * HOUR_MS
        settled = Settled(end - STEP_MS, end, site_of(hours), "u", ("n",),
                          {"network_water": source}, self.events)  # fmt: skip
        # What a checkpoint keeps is what the next step is given.
        self.state, table = self.operator.function(json.loads(json.dumps(self.state)), settled)
        told = [] if table is None else table.to_pylist()
        self.rows += told
        self.hour += hours
        return told

    def book(self, hour, volume_m3, event="flush"):
        """Book water that was taken until `hour`."""
        row = {"device": "desk", "t": T0 + hour * HOUR_MS, "boot": 1, "seq": hour, "pos": 0, "ref": str(hour),
               "event": event, "network": "n", "volume_m3": volume_m3}  # fmt: skip
        self.events.take(pa.RecordBatch.from_pylist([row]))


@pytest.fixture
def watched():
    watched = Watched()
    for _ in range(LEARNT_H):
        assert watched.lose(0.0) == []
    return watched


def test_a_window_whose_loss_is_not_known_is_passed_over(watched):
    fresh = Watched()
    assert fresh.lose(float("nan")) == fresh.lose(0.0) == []
    assert watched.lose(float("nan")) == []
    assert any(watched.lose(0.6) for _ in range(8))


def test_a_new_network_whose_plants_flow_is_silent_is_watched_by_what_circulated_before():
    watched, nobody_knows = Watched(), float("nan")
    assert watched.lose(0.0, circulated_m3_h=nobody_knows) == []
    assert watched.lose(0.0) == watched.lose(0.0, circulated_m3_h=nobody_knows) == []
    assert any(watched.lose(60.0, circulated_m3_h=nobody_knows) for _ in range(8))


def test_a_plant_s_flow_may_be_silent_for_long_before_and_amid_a_leak(watched):
    nobody_knows = float("nan")
    for _ in range(5 * 24):  # longer than windows are kept
        assert watched.lose(0.0, circulated_m3_h=nobody_knows) == []
    said = [watched.lose(0.6, circulated_m3_h=nobody_knows) for _ in range(8)]
    assert any(said)
    assert watched.rows[-1]["severity"] == "info", "little, by what circulated before"
    for _ in range(9):
        watched.lose(0.0, circulated_m3_h=nobody_knows)
    assert watched.rows[-1]["state"] == "ended"


def test_a_leak_in_a_network_that_never_told_its_flow_is_no_trifle():
    watched, nobody_knows = Watched(), float("nan")
    for _ in range(LEARNT_H):
        assert watched.lose(0.0, circulated_m3_h=nobody_knows) == []
    assert any(watched.lose(300.0, circulated_m3_h=nobody_knows) for _ in range(8))
    assert {r["severity"] for r in watched.rows} == {"major"}


def test_a_leak_is_said_once_it_has_held_and_ends_when_it_is_mended(watched):
    said = [watched.lose(0.6) for _ in range(8)]
    assert [bool(s) for s in said] == [False] * 3 + [True] * 5
    first = said[3][0]
    assert (first["code"], first["subject"], first["state"]) == ("primary_leak", "network:n", "active")
    assert first["key"] == f"network:n:primary_leak:{T0 + LEARNT_H * HOUR_MS}"
    assert first["score"] >= 1.0
    evidence = json.loads(first["evidence"])
    assert evidence["excess_m3_h"] == pytest.approx(0.6, abs=evidence["excess_u_m3_h"])
    assert evidence["usual_m3_h"] == pytest.approx(USUAL, abs=0.05)
    assert evidence["learning"] is False
    for _ in range(9):
        watched.lose(0.0)
    assert {r["key"] for r in watched.rows} == {first["key"]}, "one leak, one name"
    assert watched.rows[-1]["state"] == "ended"
    assert watched.rows[-1]["until"] == pytest.approx(T0 + (LEARNT_H + 8) * HOUR_MS, abs=HOUR_MS)
    ended = json.loads(watched.rows[-1]["evidence"])
    assert ended["excess_m3_h"] == pytest.approx(0.6, abs=ended["excess_u_m3_h"]), "while it was lost"
    assert [watched.lose(0.0) for _ in range(48)] == [[]] * 48, "what was lost then is no usual loss"


def test_windows_longer_than_it_takes_to_see_that_a_leak_is_mended_serve_too():
    watched = Watched(window_h=12)
    for _ in range(14):
        assert watched.lose(0.0) == []
    for lost in (0.6, 0.6, 0.6, 0.0, 0.0):
        watched.lose(lost)
    assert [(r["code"], r["state"]) for r in watched.rows] == [
        *[("primary_leak", "active")] * 3, ("primary_leak", "ended"),
    ]  # fmt: skip


def test_draw_off_goes_on_overnight(watched):
    for n in range(60):
        busy = (LEARNT_H + n) % 24 in {6, 7, 18, 19, 20, 21}
        watched.lose(4.0 if busy else 0.0, floor=0.0)
    assert {r["code"] for r in watched.rows} == {"water_theft"}
    assert len({r["key"] for r in watched.rows}) == 1
    assert watched.rows[-1]["state"] == "active"
    evidence = json.loads(watched.rows[-1]["evidence"])
    assert set(evidence["busiest_h"]) <= {6, 7, 18, 19, 20, 21}
    assert evidence["floor_share"] == pytest.approx(0.0, abs=0.1)


def test_flushing_that_is_booked_when_it_is_done_is_no_leak(watched):
    for _ in range(2):
        watched.lose(15.0)
    watched.book(watched.hour, 45.0)
    watched.lose(15.0, booked=45.0)
    for _ in range(24):
        watched.lose(0.0)
    assert watched.rows == []


def test_what_is_booked_a_day_late_takes_the_alarm_back(watched):
    for _ in range(6):
        watched.lose(6.0)
    for _ in range(24):
        watched.lose(0.0)
    assert watched.rows[-1]["state"] == "ended"
    watched.book(LEARNT_H + 5, 36.0)
    row = watched.lose(0.0)[-1]
    assert (row["status"], row["state"]) == ("withdrawn", "ended")
    assert row["key"] == watched.rows[0]["key"]
    assert [watched.lose(0.0) for _ in range(10)] == [[]] * 10


def test_what_is_booked_a_day_late_may_be_said_to_have_been_when_it_was_done(watched):
    for _ in range(3):
        watched.lose(7.0)
    for _ in range(24):
        watched.lose(0.0)
    assert watched.rows
    watched.book(LEARNT_H + 3, 21.0)
    for _ in range(30):
        watched.lose(0.0)
    last = {r["key"]: r for r in watched.rows}
    assert {r["status"] for r in last.values()} == {"withdrawn"}


@pytest.mark.parametrize(("after_h", "status"), [(0, "withdrawn"), (4, "withdrawn"), (7, "final")])
def test_what_is_booked_hours_after_it_ended_explains_it_and_what_came_later_does_not(
    watched, after_h, status
):
    for _ in range(6):
        watched.lose(6.0)
    for _ in range(24):
        watched.lose(0.0)
    watched.book(LEARNT_H + 6 + after_h, 36.0)
    for _ in range(10):
        watched.lose(0.0)
    last = {r["key"]: r for r in watched.rows}
    assert {r["status"] for r in last.values()} == {status}


def test_a_volume_that_nobody_can_have_booked_explains_nothing(watched):
    for volume in (-36.0, None):
        watched.book(LEARNT_H + (1 if volume is None else 2), volume)
    for _ in range(6):
        watched.lose(6.0)
    assert watched.rows[-1]["state"] == "active"


def test_a_burst_is_said_at_once(watched):
    assert watched.lose(60.0)[0]["severity"] == "critical"


def test_a_burst_in_the_midst_of_a_window_is_never_called_theft(watched):
    told = [*watched.lose(60.0, floor=0.0), *(row for _ in range(5) for row in watched.lose(100.0))]
    assert {r["code"] for r in told} == {"primary_leak"}
    assert json.loads(told[0]["evidence"])["confidence"] == 0.5, "not decided yet"
    assert json.loads(told[-1]["evidence"])["confidence"] > 0.95


def test_draw_off_is_told_from_a_leak_in_the_windows_after_the_first(watched):
    told = [row for _ in range(5) for row in watched.lose(100.0, floor=0.0)]
    assert [r["code"] for r in told if r["status"] != "withdrawn"][-1] == "water_theft"
    assert [r["code"] for r in told if r["status"] == "withdrawn"] == ["primary_leak"]


def test_before_a_week_is_learnt_only_more_than_the_norm_is_said():
    watched = Watched()
    for _ in range(12):
        watched.lose(1.0)
    assert watched.rows == []
    for _ in range(6):
        watched.lose(20.0)
    assert watched.rows
    assert json.loads(watched.rows[0]["evidence"])["learning"] is True


def test_windows_of_which_nothing_is_known_are_passed_over(watched):
    for _ in range(10):
        assert watched.lose(9.0, status=UNKNOWN) == []


def test_the_usual_is_told_daily_with_the_night_and_the_meters_disagreement():
    watched = Watched(operator=water_normal)
    for _ in range(LEARNT_H):
        watched.lose(0.0)
    assert [r["days"] for r in watched.rows] == [3.0, 4.0, 5.0]
    last = watched.rows[-1]
    assert last["usual_m3_h"] == pytest.approx(USUAL, abs=0.03)
    assert last["night_m3_h"] == pytest.approx(USUAL, abs=0.1)
    assert last["bias_pct"] == pytest.approx(0.3)
    assert last["bias_u_pct"] > 0.0
    assert last["model"] == "water_normal/1"
