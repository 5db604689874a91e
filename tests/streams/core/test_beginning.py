"""What a stream can know of a time, by when it began."""

import pytest

from streams.core.beginning import BEGUN_LATER, FORGOTTEN, Beginning

ZONE = "Asia/Shanghai"
DAY = 86_400_000
T0 = 1_767_196_800_000  # 2026-01-01 in Asia/Shanghai
FIRST_END = T0 + DAY


@pytest.mark.parametrize(
    ("heard_ms", "told_ms", "why"),
    [
        (0, (), ""),  # it was always there
        (T0 - 1, (), ""),
        (FIRST_END - 1, (), ""),  # some of the first day was heard
        (FIRST_END, (), BEGUN_LATER),
        (None, (), BEGUN_LATER),  # nobody said a word yet
        (FIRST_END, (FIRST_END + 5,), BEGUN_LATER),
        (T0 + 9 * DAY, (T0 + 7 * DAY, T0 + 8 * DAY), BEGUN_LATER),  # what a collector held back is no history
        (T0 + 9 * DAY + 5, (T0 + 6 * DAY - 1, T0 + 7 * DAY - 1), ""),  # it was brought in
        (T0 + 9 * DAY + 5, (T0 + 6 * DAY, T0 + 7 * DAY - 1, T0 + 8 * DAY), BEGUN_LATER),  # of one day
        (T0 + 2 * DAY, (FIRST_END - 1,), ""),
        (T0 + 2 * DAY, (FIRST_END,), BEGUN_LATER),
    ],
)
def test_a_period_is_known_from_its_first_day_on_or_from_papers_that_were_brought_in(heard_ms, told_ms, why):
    assert Beginning(heard_ms).why_unknown(FIRST_END, told_ms, ZONE) == why


def test_what_is_forgotten_is_not_made_up_for_by_papers():
    beginning = Beginning(T0 + 9 * DAY, anew_to=7)
    assert beginning.why_unknown(FIRST_END, (T0,), ZONE) == FORGOTTEN
    assert beginning.why_unknown(T0 + 10 * DAY, (), ZONE) == ""


def test_what_was_said_stands_up_to_where_the_journal_ended():
    beginning = Beginning(T0, anew_to=7)
    assert not beginning.stepped(6, T0 + DAY)
    assert beginning.stands(T0 + 30 * DAY)
    assert beginning.anew
    assert beginning.stepped(7, T0 + 2 * DAY)
    assert not beginning.stepped(8, T0 + 3 * DAY)
    assert not beginning.anew
    assert beginning.stands(T0 + 2 * DAY)
    assert not beginning.stands(T0 + 2 * DAY + 1)
    assert not Beginning(T0).stands(T0)


def test_the_first_message_is_the_beginning():
    beginning = Beginning()
    assert beginning.hear(T0 - 5 * DAY, T0)  # samples may be older: they are what was brought in
    assert not beginning.hear(T0 - 9 * DAY, T0 + 1)
    assert beginning.heard_ms == T0


def test_where_the_data_are_the_clock_the_oldest_sample_is_the_beginning():
    beginning = Beginning()
    assert not beginning.hear(0, 0)  # a birth, before any sample
    assert beginning.hear(T0 + DAY, 0)
    assert beginning.hear(T0, 0)
    assert not beginning.hear(T0 + DAY, 0)
    assert not beginning.hear(T0 - DAY, T0 + 2 * DAY)
    assert beginning.heard_ms == T0


def test_a_checkpoint_keeps_it_and_one_of_before_knew_everything():
    beginning = Beginning(T0, 7, T0 + 5)
    assert Beginning.load(beginning.asdict()) == beginning
    assert Beginning.load(None).why_unknown(FIRST_END, (), ZONE) == ""
