"""Local days of a site whose time zone changes."""

import json

import numpy as np

from streams.core.zones import Zones

HOUR = 3_600_000
DAY = 24 * HOUR


def moved() -> Zones:
    """At 21:00 of the second day, when that of Shanghai was over, and again on the fifth."""
    zones = Zones()
    zones.change("Asia/Shanghai", 0)
    zones.change("America/New_York", DAY + 16 * HOUR)
    zones.change("UTC", 4 * DAY)
    return zones


def test_many_times_have_the_days_that_each_has():
    times = np.arange(0, 8 * DAY, 900_000)
    zones = moved()
    assert zones.days(times).tolist() == [zones.day(int(t)) for t in times]
    assert sorted({t // HOUR for t in zones.days(times).tolist()}) == [
        -8, 16, 40, 53, 77, 96, 120, 144, 168,
    ]  # fmt: skip


def test_a_zone_that_comes_back_before_a_day_is_over_never_went():
    zones = moved()
    zones.change("Asia/Tokyo", 6 * DAY)
    zones.change("UTC", 6 * DAY)
    assert zones.to_json() == moved().to_json()
    zones.change("UTC", 7 * DAY)
    assert zones.to_json() == moved().to_json()


def test_zones_that_no_day_is_kept_of_are_forgotten():
    zones = moved()
    zones.forget_before(4 * DAY - 1)
    assert zones.to_json()["zones"] == [(0, "America/New_York"), (4 * DAY, "UTC")]
    zones.forget_before(9 * DAY)
    assert zones.to_json() == {"timezone": "UTC", "zones": [(0, "UTC")]}


def test_state_is_read_and_that_of_one_zone_alone():
    kept = json.loads(json.dumps(moved().to_json()))
    assert Zones.from_json(kept).to_json() == moved().to_json()
    assert Zones.from_json({"timezone": "Asia/Shanghai"}).day(20 * HOUR) == 16 * HOUR
