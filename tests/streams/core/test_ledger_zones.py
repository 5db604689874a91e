"""Days of the ledger around changes of the time zone that were put right, met a move, or left days that overlap."""

from __future__ import annotations

import pytest

from tests.support.fleet import Fleet, Moment, Sent
from tests.support.fleet_streams import FleetStreams

HOUR = 3_600_000
DAY = 24 * HOUR
MIDNIGHT = 1_767_225_600_000
SHANGHAI = "Asia/Shanghai"


class Hourly:
    """A device that sends a message in the middle of each hour, and what it had sent by a time."""

    def __init__(self, from_h: int) -> None:
        self.from_h = from_h
        self.streams = FleetStreams()
        self.messages: dict[int, Sent] = {}

    def run(self, to_h: int, registries: dict[int, tuple[str, int]], again: dict[int, int]) -> FleetStreams:
        for h in range(self.from_h, to_h):
            at = MIDNIGHT + h * HOUR
            if h in registries:
                timezone, stream = registries[h]
                self.streams.take(Moment(at, Fleet(timezone, {"sub": stream}, {"sub": "substation"})))
            sample = ((at + HOUR // 2 - 1000, ""),)
            boot = MIDNIGHT + self.from_h * HOUR
            self.messages[h] = Sent("sub", boot, h - self.from_h + 1, sample, "substation")
            more = (self.messages[again[h]],) if h in again else ()
            self.streams.take(Moment(at + HOUR // 2, messages=(self.messages[h], *more)))
            self.streams.say(at + HOUR // 2)
        return self.streams

    def by(self, end_ms: int) -> int:
        return (end_ms - MIDNIGHT) // HOUR - self.from_h


@pytest.mark.parametrize(("timezone", "out", "back"), [
    ("Pacific/Kiritimati", 23, 25), ("Pacific/Pago_Pago", 11, 25), (SHANGHAI, 20, 26), ("America/New_York", 3, 5),
])  # fmt: skip
def test_a_day_is_whole_again_once_its_time_zone_is_put_right(timezone: str, out: int, back: int) -> None:
    device = Hourly(-20)
    streams = device.run(80, {-20: ("UTC", 0), out: (timezone, 0), back: ("UTC", 0)}, {})
    until = max(24, back)  # what came while the day was another one counted on that
    for start, most in ((MIDNIGHT, until + 20), (MIDNIGHT + DAY, 48 + 20)):
        row, least = streams.rows["sub", start], device.by(start + DAY)
        assert (row["status"], row["unaccounted"], row["stored"]) == ("final", 0, row["sent"])
        assert least <= row["sent"] <= most


def test_revisions_of_a_day_that_a_later_one_overlaps_go_on() -> None:
    streams = Hourly(0).run(14 * 24, {0: (SHANGHAI, 0), 41: ("UTC", 0)}, {90: 20, 140: 20, 12 * 24 + 3: 20})
    revisions = [r["revision"] for r in streams.restated if r["window_start"] == MIDNIGHT + 16 * HOUR]
    assert revisions == [1, 2, 3]


def test_a_stream_that_begins_with_a_time_zone_tells_no_day_that_began_before_it() -> None:
    device = Hourly(-20)
    streams = device.run(130, {-20: (SHANGHAI, 0), 64: ("UTC", 2)}, {})
    told = [(t, r) for (_, t), r in streams.rows.items() if r["status"] == "final" and r["stream"] == "s-2"]
    assert told
    assert [t for t, r in told if r["sent"] != device.by(t + r["window_ms"])] == []
