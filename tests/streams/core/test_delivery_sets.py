"""What follows on the ends of many devices' sets is taken in at once, and is in them when they are asked for."""

import numpy as np
import pytest

from streams.core.deliveries import Deliveries
from streams.core.delivery_sets import DeliverySets, Runs

DAY = 86_400_000


def runs(*rows):
    """Gapless runs of (device, first, last), of boot 7 and the first day."""
    columns = np.array(rows, dtype=np.int64).reshape(-1, 3).T
    n = len(rows)
    return Runs(
        columns[0],
        np.full(n, 7),
        columns[1],
        columns[2],
        DAY + columns[2],
        np.ones(n, bool),
        np.full(n, DAY),
    )


def learnt(devices):
    sets = DeliverySets()
    for device in range(devices):
        sets[device] = Deliveries()
        sets[device].boot(7).follow(1, 1, DAY + 1, DAY)
    sets.learn(runs(*((device, 1, 1) for device in range(devices))))
    return sets


def test_what_follows_is_in_the_sets_when_they_are_asked_for():
    sets = learnt(3)
    assert sets.follow(runs((0, 2, 4), (1, 2, 2), (2, 2, 2)), 0).all()
    assert sets.follow(runs((0, 5, 5), (2, 3, 9)), 0).all()
    of_boot = [sets[device].boots[7] for device in range(3)]
    assert [list(d.stored) for d in of_boot] == [[(1, 5)], [(1, 2)], [(1, 9)]]
    assert [d.newest_t - DAY for d in of_boot] == [5, 2, 9]
    assert [d.tops.before(2 * DAY) for d in of_boot] == [5, 2, 9]
    assert sets.touched == {0, 1, 2}


def test_what_does_not_follow_is_left_to_others():
    sets = learnt(4)
    taken = sets.follow(runs((0, 3, 3), (1, 2, 2), (2, 2, 2), (2, 3, 3), (9, 2, 2)), 0)
    assert taken.tolist() == [False, True, False, False, False]
    assert not sets.follow(runs((3, 2, 2)), 2 * DAY).any(), (
        "its day is settled: somebody has to remember that"
    )
    assert [list(sets[d].boots[7].stored) for d in range(4)] == [[(1, 1)], [(1, 2)], [(1, 1)], [(1, 1)]]
    assert sets.touched == {1}


def test_two_boots_of_a_device_are_left_to_others_in_their_order():
    sets = learnt(1)
    both = runs((0, 8, 8), (0, 2, 2))
    both.boot[0] = 6
    assert not sets.follow(both, 0).any()


def test_whose_set_was_asked_for_may_be_another_and_is_learnt_anew():
    sets = learnt(2)
    sets[0].boots[7].dead.add(2, 2)
    assert sets.follow(runs((0, 2, 2), (1, 2, 2)), 0).tolist() == [False, True]
    assert list(sets) == [0, 1]
    assert not sets.follow(runs((0, 2, 2), (1, 3, 3)), 0).any()


def test_whose_set_was_only_looked_at_is_followed_as_before():
    sets = learnt(2)
    for seq in (2, 3, 4):
        assert sets.follow(runs((0, seq, seq), (1, seq, seq)), 0).all()
        assert list(sets.seen(0).boots[7].stored) == [(1, seq)]
        assert sets.touched == {0} if seq == 2 else {0, 1}
        sets.fill()
        assert sets.touched == {0, 1}
    assert list(sets[1].boots[7].stored) == [(1, 4)]


@pytest.mark.parametrize("device", [1, 5])
def test_a_set_that_nobody_could_follow_yet_may_be_looked_at(device):
    sets = learnt(1)
    sets[device] = Deliveries()
    sets[device].boot(7).follow(1, 3, DAY, DAY)
    assert list(sets.seen(device).boots[7].stored) == [(1, 3)]


def test_what_follows_is_of_no_day_that_is_told_no_more():
    sets = learnt(1)
    sets.seen(0).forget_before(3 * DAY)
    assert sets.follow(runs((0, 2, 2)), 0).all()
    sets.fill()
    assert sets[0].boots[7].tops.before(3 * DAY) == 0
    assert sets[0].boots[7].tops.before(4 * DAY) == 2


def test_once_all_sets_were_asked_for_the_end_of_each_is_learnt_anew():
    sets = learnt(2)
    for deliveries in sets.values():
        deliveries.boots[7].dead.add(2, 2)
    sets.learn(runs((0, 2, 2)))
    assert sets.follow(runs((0, 3, 3), (1, 2, 2)), 0).tolist() == [True, False]


def test_a_newest_sample_stays_the_newest():
    sets = learnt(1)
    first, second = runs((0, 2, 2)), runs((0, 3, 3))
    first.newest_t[:] = DAY + 50
    assert sets.follow(first, 0).all()
    assert sets.follow(second, 0).all()
    assert sets[0].boots[7].newest_t == DAY + 50


def test_a_set_that_goes_takes_its_end_along():
    sets = learnt(1)
    sets.follow(runs((0, 2, 2)), 0)
    gone = sets.pop(0)
    assert list(gone.boots[7].stored) == [(1, 2)]
    assert not sets.follow(runs((0, 3, 3)), 0).any()
    assert 0 not in sets
