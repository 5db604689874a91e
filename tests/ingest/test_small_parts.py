"""Clocks, endpoints, ranges, the queue and the acknowledgements, each by itself."""

import itertools
import threading
import time

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.clock import SimulatedClock, wall_clock
from ingest.endpoint import Endpoint
from ingest.intake import Intake
from ingest.messages import Address
from ingest.outbound import AckOutbox
from ingest.packets import Publishes
from ingest.ranges import merge, union
from ingest.subscriber import Delivered


def message(n=0, payload=b"x"):
    return Delivered.of(1, Publishes(["t"], [payload], [n], [False]))


def mids(batch):
    return [mid for delivered in batch for mid in delivered.publishes.mids]


def test_a_simulated_clock_runs_at_its_speed():
    anchor = wall_clock() - 1000
    clock = SimulatedClock(5000, 60.0, anchor)
    assert 5000 + 60_000 <= clock() < 5000 + 61_500
    assert SimulatedClock(5000, 60.0, anchor)() - clock() < 200
    assert clock.to_wall_s(60_000) == 1.0
    with pytest.raises(ValueError, match="expected a speed above 0, got 0"):
        SimulatedClock(0, 0)


def test_endpoints():
    assert Endpoint.parse("mqtt://h") == Endpoint("h", 1883)
    assert Endpoint.parse("mqtts://u@h:1", password="p") == Endpoint(
        "h", 1, tls=True, username="u", password="p"
    )
    assert "p4ss" not in repr(Endpoint.parse("mqtt://h", "u", "p4ss"))


@pytest.mark.parametrize(
    "url", ["h:1883", "http://h", "mqtt://", "mqtt://h:99999", "mqtt://u:p@h", "mqtt://h/x"]
)
def test_wrong_urls_say_what_was_expected(url):
    with pytest.raises(ValueError, match="expected mqtt://host:port"):
        Endpoint.parse(url)


spans = st.lists(
    st.tuples(st.integers(1, 30), st.integers(0, 5)).map(lambda s: (s[0], s[0] + s[1])), max_size=8
)


def numbers(ranges):
    return {n for first, last in ranges for n in range(first, last + 1)}


@given(spans)
def test_merge_keeps_the_numbers_in_the_fewest_ranges(ranges):
    merged = merge(ranges)
    assert numbers(merged) == numbers(ranges)
    assert all(b[0] > a[1] + 1 for a, b in itertools.pairwise(merged))


@given(spans, spans)
def test_union(a, b):
    address = Address("r", "u", "d")
    into = {address: {1: merge(a)}}
    union(into, {address: {1: merge(b), 2: [(1, 1)]}})
    assert numbers(into[address][1]) == numbers(a) | numbers(b)
    assert into[address][2] == [(1, 1)]


def test_a_batch_waits_for_others_but_not_longer():
    intake = Intake(0.1)
    began = time.monotonic()
    intake.put(message(1))
    intake.put(message(2))
    assert mids(intake.take(1)) == [1, 2]
    assert 0.09 <= time.monotonic() - began < 0.9
    assert intake.take(0.01) == []


def test_a_stalled_broker_gets_its_acknowledgements_at_once():
    intake = Intake(5.0)
    began = time.monotonic()
    for n in range(20):
        intake.put(message(n))
    assert len(intake.take(1)) == 20
    assert time.monotonic() - began < 0.5


def test_a_full_queue_holds_back_and_a_closed_one_lets_go():
    intake = Intake(0.0)
    for n in range(4):
        intake.put(message(n, bytes(16 * 1024 * 1024)))
    blocked = threading.Thread(target=intake.put, args=(message(9),))
    blocked.start()
    time.sleep(0.1)
    assert blocked.is_alive()
    assert len(intake.take(0)) == 4
    blocked.join(1)
    assert mids(intake.take(1)) == [9]
    intake.close()
    intake.put(message(10))
    assert len(intake) == 0


class Line:
    """Where acknowledgements go out; down when `up` is False."""

    def __init__(self):
        self.up = True
        self.room = 1_000_000
        self.sent = []

    def __call__(self, messages):
        taken = messages[: self.room] if self.up else []
        self.sent += [(topic, orjson.loads(payload)) for topic, payload in taken]
        return len(taken)


def acks(devices, first=1, last=1):
    return {Address("r", "u", f"d{n}"): {7: [(first, last)]} for n in range(devices)}


def test_acks_are_gathered_while_nobody_hears():
    line = Line()
    outbox = AckOutbox(line)
    line.up = False
    outbox.add(acks(1, 1, 3))
    assert outbox.flush() == 0
    outbox.add(acks(1, 4, 9))
    line.up = True
    assert outbox.flush() == 1
    assert line.sent == [("hearthline/v1/r/u/d0/ack", {"boot": 7, "ranges": [[1, 9]]})]
    assert outbox.flush() == 0


def test_a_large_fleet_is_told_once_a_second_each():
    line = Line()
    outbox = AckOutbox(line)
    outbox.add(acks(300))
    assert outbox.flush() == 300
    outbox.add(acks(300, 2, 2))
    assert outbox.flush() == 0
    time.sleep(1.05)
    outbox.add(acks(300, 3, 3))
    assert outbox.flush() == 300
    assert line.sent[-1][1]["ranges"] == [[2, 3]]


def test_long_lists_of_ranges_are_cut():
    line = Line()
    outbox = AckOutbox(line)
    outbox.add({Address("r", "u", "d"): {7: [(2 * n, 2 * n) for n in range(1, 12_001)]}})
    assert outbox.flush() == 3
    assert sum(len(payload["ranges"]) for _, payload in line.sent) == 12_000


def test_what_has_no_room_is_told_next_time_and_nothing_is_left_out():
    line = Line()
    outbox = AckOutbox(line)
    line.room = 100
    outbox.add(acks(250))
    assert [outbox.flush(everything=True) for _ in range(4)] == [100, 100, 50, 0]
    assert len({topic for topic, _ in line.sent}) == 250


def test_who_is_not_busy_tells_everybody_at_once():
    line = Line()
    outbox = AckOutbox(line)
    for n in (1, 2):
        outbox.add(acks(300, n, n))
        assert outbox.flush(everything=True) == 300


def test_a_busy_server_tells_a_very_large_fleet_less_often_than_once_a_second():
    line = Line()
    outbox = AckOutbox(line)
    outbox.add(acks(6000))
    assert outbox.flush() == 6000
    time.sleep(1.1)
    outbox.add(acks(6000, 2, 2))
    assert outbox.flush() == 0
    time.sleep(1.0)
    assert outbox.flush() == 6000
