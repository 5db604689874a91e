"""What is told of a day is counted in columns where sets only grew, and one by one where they did not."""

import json

import numpy as np

from streams.core.deliveries import Deliveries, LedgerCounts
from streams.core.delivery_sets import Runs
from streams.core.ledger_book import LedgerBook
from streams.core.said_counts import MOST, SaidCounts, as_counts, grown_by

DAY = 86_400_000
SENT, STORED, UNACCOUNTED = (LedgerCounts._fields.index(n) for n in ("sent", "stored", "unaccounted"))


def opened():
    book = LedgerBook()
    book.open(DAY)
    book.open(2 * DAY)
    return book


def arrive(book, device, first, last, day=DAY):
    columns = (device, 7, first, last, day + last, True, day)
    assert book.arrive_runs(Runs(*(np.array([value]) for value in columns))) == []


def told(book):
    """(sent, stored, unaccounted) by day and device, of what is told now."""
    rows = {}
    for said in book.changed(0, whole=True):
        for device, counts in zip(said.devices.tolist(), said.counts.tolist(), strict=True):
            assert (said.day_ms // DAY, device) not in rows
            rows[said.day_ms // DAY, device] = (counts[SENT], counts[STORED], counts[UNACCOUNTED])
    return rows


def test_a_device_that_only_its_numbers_tell_of_lacks_those_before_the_first():
    book = opened()
    arrive(book, 0, 4, 6)
    arrive(book, 2, 1, 2, day=2 * DAY)
    assert told(book) == {(1, 0): (6, 3, 3), (2, 0): (6, 3, 3), (2, 2): (2, 2, 0)}
    arrive(book, 0, 7, 7)
    assert told(book) == {(1, 0): (7, 4, 3), (2, 0): (7, 4, 3)}
    assert told(book) == {}


def test_a_device_that_was_looked_at_before_it_was_told_of_is_counted():
    book = opened()
    arrive(book, 3, 2, 2)
    book.deliveries.look(3)
    arrive(book, 3, 3, 3)
    assert told(book) == {(1, 3): (3, 2, 1), (2, 3): (3, 2, 1)}


def test_what_grew_before_a_checkpoint_is_told_after_it():
    book = opened()
    arrive(book, 0, 1, 2)
    assert len(told(book)) == 2
    arrive(book, 0, 3, 3)
    arrive(book, 1, 1, 1)
    again = LedgerBook.from_bytes(book.to_bytes())
    assert told(again) == told(book) == {(d, n): (3 - 2 * n,) * 2 + (0,) for d in (1, 2) for n in (0, 1)}
    arrive(book, 0, 4, 4)
    arrive(again, 0, 4, 4)
    assert told(again) == told(book) == {(1, 0): (4, 4, 0), (2, 0): (4, 4, 0)}


def test_what_a_day_comes_to_is_not_what_the_next_one_brings():
    book = opened()
    arrive(book, 0, 1, 2)
    assert told(book) == {(1, 0): (2, 2, 0), (2, 0): (2, 2, 0)}
    arrive(book, 0, 3, 3, day=2 * DAY)
    assert told(book) == {(2, 0): (3, 3, 0)}
    arrive(book, 0, 4, 9, day=2 * DAY)
    assert told(book) == {(2, 0): (9, 9, 0)}


def test_rows_are_told_in_order_of_devices_however_they_were_counted():
    book = opened()
    for device in (4, 1, 3):
        arrive(book, device, 1, 1)
    book.of(3).refuse(7, 5, DAY, altered=False)
    (said, _) = book.changed(0)
    assert said.devices.tolist() == [1, 3, 4]
    assert said.counts[:, SENT].tolist() == [1, 5, 1]
    book.deliveries.look(4)
    for device, number in ((4, 2), (0, 1)):
        arrive(book, device, number, number)
    (said, _) = book.changed(0)
    assert said.devices.tolist() == [0, 4]
    assert said.counts[:, SENT].tolist() == [1, 2]


def test_what_was_said_in_a_time_zone_that_was_not_the_right_one_is_not_added_to():
    book, now = LedgerBook(), 10 * DAY + DAY // 2
    book.open(now)
    arrive(book, 0, 1, 2, day=10 * DAY)
    book.deliveries.look(0)
    told(book)
    arrive(book, 0, 3, 3, day=10 * DAY)
    book.days.set_timezone("Asia/Shanghai", now)
    assert list(told(book).values()) == [(3, 3, 0)]
    book.days.set_timezone("UTC", now)
    arrive(book, 0, 4, 4, day=10 * DAY)
    assert told(book) == {(10, 0): (4, 4, 0)}


def test_nothing_is_added_to_a_day_of_which_the_stream_before_tells_nothing_any_more():
    book, theirs = opened(), Deliveries()
    arrive(book, 0, 1, 2)
    theirs.forget_before(4 * DAY)
    book.take_over(0, json.dumps({"deliveries": theirs.to_json(), "names": ""}), "before", 1)
    told(book)
    for number in (3, 4):
        arrive(book, 0, number, number)
        assert told(book) == {}
    assert book.deliveries[0].counts(2 * DAY).sent == 2


def test_nothing_is_added_to_what_was_said_before_a_device_went_to_another_stream():
    book = opened()
    arrive(book, 0, 1, 2)
    told(book)
    assert book.give_away(0) is not None
    arrive(book, 0, 3, 3)
    book.deliveries.look(0)
    assert told(book) == {(1, 0): (3, 1, 2), (2, 0): (3, 1, 2)}


def test_wild_numbers_are_told_as_the_largest_there_is():
    of_all = LedgerCounts(2 * MOST, MOST, 0, 0, 0, MOST, 0, 0, 0)
    (counts,) = as_counts([of_all, [1] * 9])[:1]
    assert counts.tolist() == [MOST, MOST, 0, 0, 0, MOST, 0, 0, 0]
    grown = grown_by(np.array([counts, counts - counts]), np.array([7, 7]))
    assert grown[:, SENT].tolist() == [MOST, 7]


def test_what_was_said_is_there_again_after_a_checkpoint_also_of_before_lateness_was_counted():
    said = SaidCounts.from_json({"2": [5, 4, 0, 0, 0, 1, 0, 0], "0": [1, 1, 0, 0, 0, 0, 0, 0, 3]})
    assert said.there(np.array([0, 1, 2, 3])).tolist() == [True, False, True, False]
    assert said.to_json() == {"0": [1, 1, 0, 0, 0, 0, 0, 0, 3], "2": [5, 4, 0, 0, 0, 1, 0, 0, 0]}
    said.forget(2)
    said.forget(9)
    assert list(said.to_json()) == ["0"]
    again = np.array([0, 2])
    assert said.say(again, as_counts([[1, 1, 0, 0, 0, 0, 0, 0, 3], [0] * 9])).tolist() == [False, True]
    assert SaidCounts.from_json({}).to_json() == {}
