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
    taken = sets.follow(runs((0, 3, 3), (1, 2, 2), (2, 2, 2), (2, 3, 3)), 0)
    assert taken.tolist() == [False, True, False, False]
    assert not sets.follow(runs((3, 2, 2), (8, 2, 2)), 2 * DAY).any(), (
        "its day is settled: somebody has to remember that"
    )
    assert not sets.follow(runs((9, 0, 2)), 0).any(), "there is no number 0"
    assert [list(sets[d].boots[7].stored) for d in range(4)] == [[(1, 1)], [(1, 2)], [(1, 1)], [(1, 1)]]
    assert sets.touched == {1}
    assert 8 not in sets
    assert 9 not in sets


def test_a_device_of_which_nothing_else_is_known_has_no_set_until_somebody_asks_for_it():
    sets = learnt(1)
    assert sets.follow(runs((2, 3, 5), (4, 1, 1)), 0).all()
    assert sets.follow(runs((2, 6, 6)), 0).all()
    assert len(sets) == 3
    assert list(sets._of) == [0]
    alone = Deliveries()
    alone.boot(7).follow(3, 6, DAY + 6, DAY)
    assert sets.texts()[2] == alone.to_json()
    assert list(sets._of) == [0]
    assert sets.look(2).to_json() == alone.to_json()
    assert sets.follow(runs((2, 7, 7), (4, 2, 2)), 0).all()
    assert [list(sets[d].boots[7].stored) for d in (2, 4)] == [[(3, 7)], [(1, 2)]]
    assert len(sets) == 3


def test_what_grew_is_told_until_it_is_said():
    sets = learnt(3)
    assert sets.follow(runs((0, 2, 4), (1, 2, 2), (5, 2, 3)), 0).all()
    grown = sets.grown({1})
    assert [grown.device.tolist(), grown.whole.tolist()] == [[0, 5], [False, True]]
    assert [grown.told.tolist(), grown.last.tolist(), int(grown.first[1])] == [[1, 0], [4, 3], 2]
    sets.look(0)
    assert sets.grown(()).device.tolist() == [0, 1, 5]
    sets.told()
    assert sets.grown(()).device.tolist() == []
    assert sets.follow(runs((5, 4, 4)), 0).all()
    assert sets[5].boots[7].stored.highest == 4
    assert (sets.touched, sets.grown(()).device.tolist()) == ({5}, [])


def test_what_grew_and_was_looked_at_is_touched_once_its_end_is_not_known_any_more():
    sets = learnt(2)
    assert sets.follow(runs((0, 2, 2)), 0).all()
    sets.look(0)
    sets.complete()
    assert sets.touched == {0}


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
        assert list(sets.look(0).boots[7].stored) == [(1, seq)]
        assert sets.texts()[1] == sets.look(1).to_json()
        assert not sets.touched
    assert list(sets[1].boots[7].stored) == [(1, 4)]
    assert sets.look(2) is None


@pytest.mark.parametrize("device", [1, 5])
def test_a_set_that_nobody_could_follow_yet_may_be_looked_at(device):
    sets = learnt(1)
    sets[device] = Deliveries()
    sets[device].boot(7).follow(1, 3, DAY, DAY)
    assert list(sets.look(device).boots[7].stored) == [(1, 3)]


def test_what_follows_is_of_no_day_that_is_told_no_more():
    sets = learnt(1)
    sets.look(0).forget_before(3 * DAY)
    assert sets.follow(runs((0, 2, 2)), 0).all()
    assert sets[0].boots[7].tops.before(3 * DAY) == 0
    assert sets[0].boots[7].tops.before(4 * DAY) == 2


def test_once_all_sets_were_asked_for_the_end_of_each_is_learnt_anew():
    sets = learnt(2)
    for deliveries in sets.values():
        deliveries.boots[7].dead.add(2, 2)
    sets.learn(runs((0, 2, 2)))
    assert sets.follow(runs((0, 3, 3), (1, 2, 2)), 0).tolist() == [True, False]
    assert not sets.follow(runs((1, 9, 9)), 0).any(), "there is a set: nothing begins"


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
    assert 0 not in sets
    assert sets.follow(runs((0, 4, 5)), 0).all()
    assert list(sets[0].boots[7].stored) == [(4, 5)]


def test_what_is_asked_of_a_device_that_the_stream_does_not_have_takes_nothing_of_the_last_one():
    sets = learnt(1)
    assert sets.follow(runs((0, 2, 2), (1, 1, 5)), 0).all()
    assert sets.pop(-1, None) is None
    assert sets.look(-1) is None
    assert sets.grown(()).device.tolist() == [0, 1]
    assert [list(sets[d].boots[7].stored) for d in (0, 1)] == [[(1, 2)], [(1, 5)]]
