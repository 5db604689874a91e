"""A device whose clock is wrong is named, one whose report waited on its way is not."""

from __future__ import annotations

import json

from ingest.device_clocks import DeviceClocks
from ingest.messages import Placed
from models.frame import Frame

NOW = 1_767_225_600_000


def state(device: str, at: int) -> Placed:
    payload = json.dumps({"boot": 1, "at": at, "next_seq": 1, "waiting": [], "thinned": []})
    return Placed("u1", Frame.events([{"device": device, "kind": "state", "payload": payload}]), NOW)


def test_a_clock_that_is_ahead_shows_at_once():
    clocks = DeviceClocks()
    clocks.notice([state("a", NOW + 75_000), state("b", NOW + 59_000)], NOW)
    assert clocks.wrong_s() == {"a": 75.0}


def test_a_clock_that_is_behind_shows_when_no_report_came_in_time():
    clocks = DeviceClocks()
    for minute in range(3):
        assert clocks.wrong_s() == {}
        wall = NOW + 60_000 * minute
        late = state("c", wall - (1000 if minute == 1 else 600_000))
        clocks.notice([state("a", wall - 3_600_000), late], wall)
    assert clocks.wrong_s() == {"a": -3600.0}


def test_a_clock_that_was_set_right_is_right_again():
    clocks = DeviceClocks()
    clocks.notice([state("a", NOW + 3_600_000)], NOW)
    for minute in range(1, 4):
        clocks.notice([state("a", NOW + 60_000 * minute)], NOW + 60_000 * minute)
    assert clocks.wrong_s() == {}
