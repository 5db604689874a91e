from __future__ import annotations

from edge.pacing import Pacer


def pump(pacer, waiting, now):
    """What a collector does with the backlog."""
    sent = []
    for seq in sorted(waiting):
        if seq > pacer.cursor and pacer.room and pacer.wanted(seq):
            pacer.backlog(seq, now)
            sent.append(seq)
    return sent


def test_backlog_is_bounded_and_paced_by_acks():
    pacer = Pacer(window=4)
    waiting = set(range(1, 11))
    assert pump(pacer, waiting, 0.0) == [1, 2, 3, 4]
    assert pump(pacer, waiting, 1.0) == []
    pacer.acked([(1, 2)], 2.0)
    assert pump(pacer, waiting - {1, 2}, 2.0) == [5, 6]


def test_live_is_not_held_back_by_a_full_window_nor_sent_twice():
    pacer = Pacer(window=2)
    pump(pacer, {1, 2, 3}, 0.0)
    pacer.live(4, 0.0)
    pacer.acked([(1, 2)], 0.1)
    assert pump(pacer, {3, 4}, 0.1) == [3]
    assert pacer.expire(29.0) == []
    assert pump(pacer, {3, 4}, 29.0) == []


def test_unanswered_live_joins_the_backlog_after_30_s():
    pacer = Pacer()
    for seq in (1, 2, 3):
        pacer.live(seq, float(seq))
    assert pacer.cursor == 3
    assert pacer.expire(31.5) == []
    assert pump(pacer, {1, 2, 3}, 31.5) == [1]
    pacer.expire(33.1)
    assert pump(pacer, {1, 2, 3}, 33.1) == [2, 3]


def test_retries_double_from_30_s_to_10_minutes():
    pacer = Pacer()
    pump(pacer, {1}, 0.0)
    sent = [t for t in range(3000) if pacer.expire(float(t))]
    assert sent == [30, 90, 210, 450, 930, 1530, 2130, 2730]


def test_a_server_that_is_back_is_not_kept_waiting():
    pacer = Pacer()
    pump(pacer, {1, 2}, 0.0)
    for t in range(1000):
        pacer.expire(float(t))
    pacer.acked([(1, 1)], 1000.0)
    assert pacer.expire(1000.0) == [2], "sent at 930, due again at 1530 before the ack"


def test_resend_on_request():
    pacer = Pacer()
    pump(pacer, {1, 2, 3, 4}, 0.0)
    pacer.live(5, 0.0)
    pacer.resend([(2, 3), (5, 9)])
    assert pump(pacer, {1, 2, 3, 4, 5}, 1.0) == [2, 3, 5]
    pacer.resend([])
    assert pump(pacer, {1, 2, 3, 4, 5}, 2.0) == [1, 2, 3, 4, 5]


def test_a_new_connection_sends_everything():
    pacer = Pacer()
    pump(pacer, {1, 2}, 0.0)
    pacer.live(3, 0.0)
    pacer.restart()
    assert pump(pacer, {1, 2, 3}, 0.0) == [1, 2, 3]
