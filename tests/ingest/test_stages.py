"""What waits behind the journal: in messages and seconds, however the streams get on."""

import random

import pytest

from ingest.stages import _MOST, StageLog


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def batch(log, messages, **tails):
    log.appended(tails)
    log.counted(messages)


def test_what_waits_is_counted_from_the_oldest_batch_that_is_not_done(clock):
    log = StageLog(clock)
    assert log.behind({}) == (0, 0.0)
    batch(log, 10, u1=0, u2=0)
    clock.now += 2
    batch(log, 5, u1=1)
    clock.now += 3
    assert log.behind({}) == (15, 5.0)
    assert log.behind({"u1": 0}) == (15, 5.0)  # u2 has not come to its record of the first batch
    assert log.behind({"u1": 0, "u2": 0}) == (5, 3.0)
    assert log.behind({"u1": 1, "u2": 0}) == (0, 0.0)


def test_a_heartbeat_that_is_not_computed_shows_in_seconds(clock):
    log = StageLog(clock)
    log.appended({"u1": 0})
    clock.now += 7
    assert log.behind({}) == (0, 7.0)


def test_what_is_stored_is_forgotten_and_the_other_stage_is_told_the_same_as_before(clock):
    log = StageLog(clock)
    for n in range(10):
        batch(log, 3, u1=n)
        clock.now += 1
    before = log.behind({"u1": 6})
    log.forget({"u1": 4})
    assert len(log) == 5
    assert log.behind({"u1": 6}) == before == (9, 3.0)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_it_stays_small_while_nothing_is_done_and_then_only_gets_coarser(clock, seed):
    log = StageLog(clock)
    rng, given = random.Random(seed), []
    for n in range(3 * _MOST):
        given.append(rng.randrange(20))
        batch(log, given[-1], **{f"u{rng.randrange(3)}": n})
        clock.now += 0.1
    assert len(log) <= _MOST
    assert log.behind({}) == (sum(given), pytest.approx(0.3 * _MOST))
    for done in (_MOST // 2, 3 * _MOST // 2, 3 * _MOST - 100):
        waiting = sum(given[done + 1 :])
        said = log.behind({f"u{i}": done for i in range(3)})
        # Never too few; too many by less than what was taken together: five times by twos.
        assert waiting <= said.messages < waiting + 2**5 * 20, done
        assert -1e-6 < said.seconds - 0.1 * (3 * _MOST - done - 1) < 2**5 * 0.1, done
    assert log.behind({f"u{i}": 3 * _MOST for i in range(3)}) == (0, 0.0)
