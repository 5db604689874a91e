"""Clocks, endpoints, ranges, the queue and the acknowledgements, each by itself."""

import itertools
import threading
import time
from types import SimpleNamespace

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.clock import SimulatedClock
from ingest.endpoint import Endpoint
from ingest.intake import Intake
from ingest.messages import Address, SafeNumbers
from ingest.outbound import AckOutbox
from ingest.packets import Publishes
from ingest.ranges import fewest, joined
from ingest.subscriber import Delivered
from tests.support.waiting import PATIENCE_S


def message(n=0, payload=b"x"):
    return Delivered.of(1, Publishes(["t"], [payload], [n], [False]))


def mids(batch):
    return [mid for delivered in batch for mid in delivered.publishes.mids]


def test_a_simulated_clock_runs_at_its_speed(monkeypatch):
    wall_ms, steady_s = 1_767_225_600_000, 5.0
    monkeypatch.setattr("ingest.clock.wall_clock", lambda: wall_ms)
    monkeypatch.setattr("ingest.clock.time", SimpleNamespace(monotonic=lambda: steady_s))
    clock = SimulatedClock(5000, 60.0, wall_ms - 1000)
    assert clock() == 5000 + 60_000
    steady_s += 0.5
    assert clock() == 5000 + 90_000
    wall_ms += 500
    assert SimulatedClock(5000, 60.0, wall_ms - 1500)() == clock(), "another process reads the same"
    wall_ms += 3_600_000  # the machine's clock is set
    assert clock() == 5000 + 90_000
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


NOBODY = []


def safe(rows, addresses=NOBODY):
    """Ranges as columns, of (sender, boot, first, last)."""
    columns = np.array(rows, dtype=np.int64).reshape(-1, 4).T
    return SafeNumbers(addresses, *columns)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 2), spans), max_size=12))
def test_many_senders_numbers_are_kept_in_the_fewest_ranges(parts):
    said = [safe([(sender, boot, *span) for span in of]) for sender, boot, of in parts]
    kept = fewest(joined([safe([]), *said]))
    found = {}
    for sender, boot, first, last in zip(
        *(getattr(kept, name).tolist() for name in ("sender", "boot", "first", "last")), strict=True
    ):
        found.setdefault((sender, boot), []).append((first, last))
    assert list(found) == sorted(found)
    wanted = {}
    for sender, boot, of in parts:
        wanted.setdefault((sender, boot), set()).update(numbers(of))
    assert {of: numbers(ranges) for of, ranges in found.items()} == {k: v for k, v in wanted.items() if v}
    assert all(b[0] > a[1] + 1 for ranges in found.values() for a, b in itertools.pairwise(ranges))


def test_the_largest_numbers_there_are_make_a_range_too():
    most = 2**63 - 1
    kept = fewest(safe([(0, most, most, most), (0, most, 1, most - 1)]))
    assert (kept.first.tolist(), kept.last.tolist()) == ([1], [most])


def test_a_batch_waits_for_others_but_not_longer():
    intake = Intake(0.1)
    began = time.monotonic()
    intake.put(message(1))
    intake.put(message(2))
    assert mids(intake.take(1)) == [1, 2]
    assert 0.09 <= time.monotonic() - began < PATIENCE_S
    assert intake.take(0.01) == []


def test_a_stalled_broker_gets_its_acknowledgements_at_once():
    intake = Intake(2 * PATIENCE_S)
    began = time.monotonic()
    for n in range(20):
        intake.put(message(n))
    assert len(intake.take(1)) == 20
    assert time.monotonic() - began < PATIENCE_S


def test_a_full_queue_holds_back_and_a_closed_one_lets_go():
    intake = Intake(0.0)
    for n in range(4):
        intake.put(message(n, bytes(16 * 1024 * 1024)))
    blocked = threading.Thread(target=intake.put, args=(message(9),))
    blocked.start()
    time.sleep(0.1)
    assert blocked.is_alive()
    assert len(intake.take(0)) == 4
    blocked.join(PATIENCE_S)
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


@pytest.fixture
def passed(monkeypatch):
    """Lets seconds pass for who acknowledges: they do not pass by themselves, however slow the machine is."""
    now_s = [1000.0]
    monkeypatch.setattr("ingest.outbound.time", SimpleNamespace(monotonic=lambda: now_s[0]))

    def passed(seconds):
        now_s[0] += seconds

    return passed


FLEET = [Address("r", "u", f"d{n}") for n in range(6000)]


def acks(devices, first=1, last=1):
    return [safe([(n, 7, first, last) for n in range(devices)], FLEET)]


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


def test_a_large_fleet_is_told_once_a_second_each(passed):
    line = Line()
    outbox = AckOutbox(line)
    outbox.add(acks(300))
    assert outbox.flush() == 300
    outbox.add(acks(300, 2, 2))
    passed(0.9)
    assert outbox.flush() == 0
    passed(0.15)
    outbox.add(acks(300, 3, 3))
    assert outbox.flush() == 300
    assert line.sent[-1][1]["ranges"] == [[2, 3]]


def test_long_lists_of_ranges_are_cut():
    line = Line()
    outbox = AckOutbox(line)
    outbox.add([safe([(0, 7, 2 * n, 2 * n) for n in range(1, 12_001)], FLEET)])
    assert outbox.flush() == 3
    assert sum(len(payload["ranges"]) for _, payload in line.sent) == 12_000


def test_what_has_no_room_is_told_next_time_and_nothing_is_left_out():
    line = Line()
    outbox = AckOutbox(line)
    line.room = 100
    outbox.add(acks(250))
    assert [outbox.flush(everything=True) for _ in range(4)] == [100, 100, 50, 0]
    assert len({topic for topic, _ in line.sent}) == 250


def test_who_waits_longest_is_told_first():
    line = Line()
    outbox = AckOutbox(line)
    line.room = 100
    outbox.add(acks(250))
    for n in (2, 3):
        outbox.flush(everything=True)
        outbox.add(acks(100, n, n))
    assert [topic for topic, _ in line.sent] == [address.ack_topic for address in FLEET[:200]]


def test_more_than_has_room_is_not_made_at_every_look(monkeypatch):
    line = Line()
    outbox = AckOutbox(line)
    made = []
    monkeypatch.setattr(
        Address, "ack_topic", property(lambda address: made.append(address) or address.device)
    )
    line.room = 0
    outbox.add(acks(6000))
    assert outbox.flush(everything=True) == 0
    assert len(made) <= 1000


def test_senders_that_are_numbered_anew_are_told_of_what_waited_and_of_what_comes():
    line = Line()
    outbox = AckOutbox(line)
    outbox.add(acks(1))
    outbox.add([safe([(0, 7, 2, 2)], [Address("r", "u", "other")])])
    assert outbox.flush() == 2
    assert {topic.split("/")[4] for topic, _ in line.sent} == {"d0", "other"}


def test_who_is_not_busy_tells_everybody_at_once():
    line = Line()
    outbox = AckOutbox(line)
    for n in (1, 2):
        outbox.add(acks(300, n, n))
        assert outbox.flush(everything=True) == 300


def test_a_busy_server_tells_a_very_large_fleet_less_often_than_once_a_second(passed):
    line = Line()
    outbox = AckOutbox(line)
    outbox.add(acks(6000))
    assert outbox.flush() == 6000
    passed(1.1)
    outbox.add(acks(6000, 2, 2))
    assert outbox.flush() == 0
    passed(1.0)
    assert outbox.flush() == 6000
