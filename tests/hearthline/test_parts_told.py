"""What a process says of its parts, through a real store, to a board that runs elsewhere."""

import time

import pytest

from dashboards.live import _status_rows
from hearthline.commands.board import _status
from hearthline.health import Part, Watch
from hearthline.parts_told import PART, PartsTold, parts_elsewhere
from ingest.clock import wall_clock
from models.wording import listed, worded
from store.duckdb_series import DuckdbSeries
from store.protocol import Select, StoreUnavailableError
from tests.support.waiting import until

T0 = 1_767_225_600_000 + 86_400_000 - 120_000  # two minutes before a day's end
BEHIND = worded("computing is behind Kafka")
WAIT = worded("wait if it shrinks; else start another worker")


class Health:
    def __init__(self) -> None:
        self.watch = Watch(lambda: T0)
        self.parts = [
            Part.judged("streams", [(BEHIND, worded("{n} s", n="40"), WAIT)], worded("nothing")),
            Part("store", "ok", listed(["influx"])),
        ]

    def components(self):
        return self.watch.see(self.parts)

    def lag(self):
        return {"streams": {"stage": "stepped", "queued": 12, "lag_s": 40.5}}


@pytest.fixture
def store(tmp_path):
    made = DuckdbSeries(tmp_path / "series.duckdb")
    yield made
    made.close()


def told(store, at=lambda: T0, process="w 1", every_s=0.02, health=None):
    """Have a process say how it fares at least twice; still running when this returns."""
    made = PartsTold(health or Health(), store, process, at, every_s)
    made.__enter__()
    until(lambda: store.select(Select(PART)).num_rows)
    time.sleep(3 * every_s)
    return made


def test_a_board_elsewhere_says_what_the_process_says_in_its_own_words(store):
    running = told(store)
    assert store.counts()[PART] == 2  # a row a part, however often it is said
    first, second = parts_elsewhere(store, T0 + 5000)
    running.__exit__()
    assert first == {"name": "store · w 1", "part": "store", "process": "w 1", "state": "ok",
                     "detail": "influx"}  # fmt: skip
    expected = {"state": "degraded", "stage": "stepped", "queued": 12.0, "lag_s": 40.5, "since": T0}
    assert {name: second[name] for name in expected} == expected
    shown = _status_rows({"components": [second]})["streams · w 1"]
    assert shown["what"]["with"]["reason"] == {"say": "computing is behind Kafka", "with": {}}
    assert shown["advice"] == {"say": WAIT.wording, "with": {}}
    assert "computing is behind Kafka" in second["what"], "as a command prints it"


def test_a_board_of_its_own_has_the_stages_of_workers_beside_the_store(store):
    running = told(store, wall_clock)
    looked = _status(store, "the store's address")()
    running.__exit__()
    assert [c["name"] for c in looked["components"]] == ["store", "store · w 1", "streams · w 1"]
    shown = _status_rows(looked)["streams · w 1"]
    assert (shown["stage"], shown["queued"], shown["lag_s"], shown["process"]) == ("stepped", 12, 40.5, "w 1")


def test_who_is_silent_is_shown_as_silent_and_after_a_while_no_more_also_across_midnight(store):
    told(store, every_s=0.1)  # and is killed: it says no more of itself
    said = parts_elsewhere(store, T0 + 61_000)
    assert [(c["state"], c["since"]) for c in said] == [("degraded", T0)] * 2
    assert said[0]["what"] == "nothing was heard of it for 61 s"
    assert not {"stage", "queued", "lag_s", "reason"} & said[1].keys()
    assert len(parts_elsewhere(store, T0 + 180_000)) == 2  # the next day
    assert parts_elsewhere(store, T0 + 901_000) == []


def test_who_stopped_cleanly_and_this_process_itself_are_left_out(store):
    running = told(store)
    assert parts_elsewhere(store, T0, but="w 1") == []
    running.__exit__()
    assert parts_elsewhere(store, T0) == []
    assert set(store.select(Select(PART))["state"].to_pylist()) == {"stopped"}


def test_a_store_that_is_away_and_comes_back_is_told_again(store, monkeypatch):
    health = Health()
    running = told(store, health=health)

    def away(_outputs):
        raise StoreUnavailableError("away")

    with monkeypatch.context() as patched:
        patched.setattr(store, "write", away)
        time.sleep(0.2)
        health.parts = [Part("streams", "ok", worded("{n} streams", n="3"))]
    until(lambda: parts_elsewhere(store, T0)[-1]["state"] == "ok")
    running.__exit__()


def test_a_store_that_no_process_told_anything_has_no_parts(store):
    assert parts_elsewhere(store, T0) == []
