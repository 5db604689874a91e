"""Histories of few devices that the ledger once told otherwise, each as short as it can be."""

from __future__ import annotations

import json

import pytest

from streams.core.deliveries import Deliveries
from streams.core.pipeline import Pipeline
from tests.support.fleet import Fleet, Moment, Report, Sent
from tests.support.fleet_streams import FleetStreams

SECOND, HOUR, DAY = 1_000, 3_600_000, 86_400_000
MIDNIGHT = 1_767_225_600_000
NOON = MIDNIGHT - 12 * HOUR
CLASSES = {"sub": "substation", "other": "substation", "bridge": "weighbridge"}
BOOT = NOON - HOUR


def fleet(timezone: str = "UTC", **stream_of: int) -> Fleet:
    return Fleet(timezone, stream_of, CLASSES)


def sent(seq: int, t: int, device: str = "sub", ticket: str = "") -> Sent:
    return Sent(device, BOOT, seq, ((t, ticket),), CLASSES[device])


def told(streams: FleetStreams, device: str, day_ms: int, *columns: str) -> tuple[object, ...]:
    row = streams.rows[device, day_ms]
    return tuple(row[c] for c in columns or ("sent", "stored", "unaccounted", "status"))


def run(*moments: Moment) -> FleetStreams:
    streams = FleetStreams()
    for moment in moments:
        streams.take(moment)
        streams.say(moment.at_ms)
    return streams


def test_of_two_events_of_a_name_in_one_batch_the_second_is_the_repeat() -> None:
    on_day_2 = sent(1, MIDNIGHT + 1, "bridge", "A")
    first, again = sent(2, MIDNIGHT - 1, "bridge", "B"), sent(3, MIDNIGHT + 2, "bridge", "B")
    streams = run(Moment(NOON, fleet(bridge=0)), Moment(MIDNIGHT + SECOND, messages=(on_day_2, first, again)))
    assert told(streams, "bridge", MIDNIGHT - DAY, "repeat") == (0,)
    assert told(streams, "bridge", MIDNIGHT, "repeat") == (1,)


def test_of_two_messages_under_a_number_in_one_batch_over_midnight_the_first_is_stored() -> None:
    two_with_a_gap = (sent(1, MIDNIGHT - 3 * SECOND), sent(3, MIDNIGHT - 2 * SECOND))
    streams = run(
        Moment(NOON, fleet(sub=0)),
        Moment(MIDNIGHT + SECOND, messages=(*two_with_a_gap, sent(1, MIDNIGHT + 1))),
    )
    names = ("stored", "dead_lettered", "duplicate")
    assert told(streams, "sub", MIDNIGHT, *names) == (2, 0, 0)  # the number stands as stored
    assert told(streams, "sub", MIDNIGHT - DAY, *names) == (2, 0, 0)


def test_a_silent_device_has_a_row_of_today_in_a_new_time_zone() -> None:
    day = MIDNIGHT - DAY
    streams = run(
        Moment(NOON, fleet(sub=0, other=0), ()),
        Moment(NOON + SECOND, messages=(sent(1, NOON),)),
        Moment(NOON + 2 * SECOND, fleet("Asia/Shanghai", sub=0, other=0)),
    )
    assert told(streams, "sub", day + 16 * HOUR - DAY) == (1, 1, 0, "provisional")


def test_a_day_that_was_over_when_the_time_zone_changed_goes_on_to_be_corrected() -> None:
    in_shanghai, of_today = NOON + 5 * HOUR, NOON - 7 * HOUR  # its midnight is at 16:00, New York's at 5:00
    streams = run(
        Moment(NOON, fleet("Asia/Shanghai", sub=0)),
        Moment(NOON + SECOND, messages=(sent(1, NOON), sent(3, NOON + 1))),
        Moment(in_shanghai, messages=(sent(4, in_shanghai),)),
        Moment(in_shanghai + SECOND, fleet("America/New_York", sub=0)),
    )
    over, cut_off = NOON + 4 * HOUR - DAY, NOON + 4 * HOUR
    assert told(streams, "sub", over) == (3, 2, 1, "final")
    assert told(streams, "sub", cut_off)[-1] == "withdrawn"
    assert told(streams, "sub", of_today) == (4, 3, 1, "provisional")
    streams.take(Moment(in_shanghai + HOUR, messages=(sent(2, NOON + 2), sent(5, in_shanghai + HOUR))))
    streams.say(in_shanghai + HOUR)
    assert told(streams, "sub", over, "sent", "stored", "status", "revision") == (3, 3, "final", 1)
    assert told(streams, "sub", of_today) == (5, 5, 0, "provisional")


def test_a_report_that_comes_first_after_a_silent_night_is_of_its_own_day() -> None:
    report = Report("sub", BOOT, MIDNIGHT + 6 * HOUR, 9, (), ())
    streams = run(
        Moment(NOON, fleet(sub=0)),
        Moment(NOON + SECOND, messages=(sent(1, NOON),)),
        Moment(MIDNIGHT + 6 * HOUR, told=(report,)),
    )
    assert told(streams, "sub", MIDNIGHT - DAY) == (1, 1, 0, "final")
    assert told(streams, "sub", MIDNIGHT) == (8, 1, 7, "provisional")


def test_a_word_of_a_device_that_moved_on_before_it_came_follows_it() -> None:
    streams = run(
        Moment(NOON, fleet(sub=0, other=1)),
        Moment(NOON + SECOND, messages=(sent(1, NOON), sent(2, NOON + 1))),
        Moment(NOON + 2 * SECOND, fleet(sub=1, other=1), words=False),
        Moment(NOON + 3 * SECOND, fleet(sub=2, other=1), words=False),
        Moment(NOON + 20 * SECOND, messages=(sent(3, NOON + 2),)),
    )
    assert told(streams, "sub", MIDNIGHT - DAY) == (3, 3, 0, "provisional")
    assert streams.rows["sub", MIDNIGHT - DAY]["stream"] == "s-2"


def test_a_word_goes_to_and_fro_until_its_device_s_stream_hears_of_the_registry_too() -> None:
    streams = run(
        Moment(NOON, fleet(sub=0, other=1)),
        Moment(NOON + SECOND, messages=(sent(1, NOON), sent(2, NOON + 1))),
    )
    behind = Pipeline.restore(streams.pipelines["s-1"].checkpoint())
    streams.take(Moment(NOON + 2 * SECOND, fleet(sub=1, other=1), words=False))
    streams.pipelines["s-1"] = behind
    for to in ("s-1", "s-0") * 3:
        ((stream, _),) = streams.forwards
        assert stream == to
        streams.hand_over(NOON + 3 * SECOND)
    assert len(streams.forwards) == 1
    streams.take(Moment(NOON + 20 * SECOND, fleet(sub=1, other=1), messages=(sent(3, NOON + 2),)))
    streams.say(NOON + 20 * SECOND)
    assert not streams.forwards
    assert told(streams, "sub", MIDNIGHT - DAY) == (3, 3, 0, "provisional")
    assert told(streams, "sub", MIDNIGHT - DAY, "duplicate", "stream") == (0, "s-1")


@pytest.mark.parametrize("to", [1, 2])
def test_a_word_that_goes_round_counts_though_a_later_one_of_its_stream_came_first(to: int) -> None:
    streams = run(
        Moment(NOON, fleet(sub=0, other=1)),
        Moment(NOON + SECOND, messages=(sent(1, NOON), sent(2, NOON + 1))),
        Moment(NOON + 2 * SECOND, fleet(sub=1, other=1), words=False),
        Moment(NOON + 3 * SECOND, fleet(sub=0, other=1), words=False),
        Moment(NOON + 4 * SECOND, messages=(sent(3, NOON + 2),), words=False),
    )
    words = streams.forwards
    words.append(words.pop(0))
    streams.take(Moment(NOON + 5 * SECOND, fleet(sub=to, other=1), words=False))
    words.append(words.pop(1))
    streams.take(Moment(NOON + 20 * SECOND, messages=(sent(4, NOON + 3),)))
    streams.say(NOON + 20 * SECOND)
    assert told(streams, "sub", MIDNIGHT - DAY) == (4, 4, 0, "provisional")


def test_words_are_known_again_that_were_kept_before_each_was() -> None:
    kept = json.loads(Deliveries().to_json()) | {"taken_over": {"s-0": 10}}
    deliveries = Deliveries.from_json(json.dumps(kept))
    for _ in range(2):
        deliveries = Deliveries.from_json(deliveries.to_json())
        assert not deliveries.take_over(Deliveries(), "s-0", 10)
        deliveries.take_over(Deliveries(), "s-0", 30)
    assert not deliveries.take_over(Deliveries(), "s-0", 30)
    assert deliveries.take_over(Deliveries(), "s-0", 20)


def test_a_word_that_is_told_again_after_its_device_moved_on_counts_once() -> None:
    streams = run(
        Moment(NOON, fleet(sub=0, other=1)),
        Moment(NOON + SECOND, messages=(sent(1, NOON), sent(2, NOON + 1))),
        Moment(NOON + 2 * SECOND, fleet(sub=1, other=1), words=False),
    )
    (word,) = streams.forwards
    for at, moved in ((10 * SECOND, 1), (20 * SECOND, 2)):
        streams.take(Moment(NOON + at, fleet(sub=moved, other=1)))
        streams.take(Moment(NOON + at + SECOND))
    streams.forwards.append(word)  # its stream was killed before it had a checkpoint
    streams.take(Moment(NOON + 30 * SECOND))
    streams.say(NOON + 30 * SECOND)
    assert told(streams, "sub", MIDNIGHT - DAY, "sent", "stored", "duplicate") == (2, 2, 0)


@pytest.mark.parametrize("speaks", [True, False])
def test_days_that_were_settled_before_a_word_came_are_told_by_it(speaks: bool) -> None:
    again, new = sent(2, NOON + 1), sent(3, MIDNIGHT + HOUR)  # the new stream cannot know what came twice
    streams = run(
        Moment(NOON, fleet(sub=0, other=1)),
        Moment(NOON + SECOND, messages=(sent(1, NOON), sent(2, NOON + 1))),
        Moment(NOON + 2 * SECOND, fleet(sub=1, other=1), words=False),
        Moment(MIDNIGHT + 2 * HOUR, messages=(again, new) if speaks else (), words=False),
        Moment(MIDNIGHT + DAY + 2 * HOUR, words=False),
        Moment(MIDNIGHT + DAY + 3 * HOUR),
    )
    assert told(streams, "sub", MIDNIGHT - DAY) == (2, 2, 0, "final")
    assert told(streams, "sub", MIDNIGHT) == (2 + speaks, 2 + speaks, 0, "final")


def test_a_device_that_the_registry_has_again_has_a_row_of_today_though_it_is_silent() -> None:
    streams = run(
        Moment(NOON, fleet(sub=0, other=0)),
        Moment(NOON + SECOND, messages=(sent(1, NOON),)),
        Moment(NOON + 2 * SECOND, fleet(other=0)),
        Moment(MIDNIGHT + HOUR),
        Moment(MIDNIGHT + 2 * HOUR, fleet(sub=0, other=0)),
    )
    assert told(streams, "sub", MIDNIGHT - DAY) == (1, 1, 0, "final")
    assert told(streams, "sub", MIDNIGHT) == (1, 1, 0, "provisional")


def test_a_device_that_comes_back_has_its_row_of_today_under_its_old_stream_though_it_is_silent() -> None:
    streams = run(
        Moment(NOON, fleet(sub=0, other=1)),
        Moment(NOON + SECOND, messages=(sent(1, NOON),)),
        Moment(NOON + 2 * SECOND, fleet(sub=1, other=1), words=False),
        Moment(NOON + 20 * SECOND),
        Moment(NOON + 30 * SECOND, fleet(sub=0, other=1), words=False),
        Moment(NOON + 60 * SECOND),
    )
    assert told(streams, "sub", MIDNIGHT - DAY, "stored", "stream", "status") == (1, "s-0", "provisional")


def test_a_number_that_a_settled_day_was_told_of_and_lacked_is_taken_back_when_it_comes_in_order() -> None:
    report = Report("sub", BOOT, NOON + HOUR, 4, (), ())
    streams = run(
        Moment(NOON, fleet(sub=0)),
        Moment(NOON + HOUR, messages=(sent(1, NOON),), told=(report,)),
        Moment(MIDNIGHT + HOUR),
        Moment(MIDNIGHT + 2 * HOUR, messages=(sent(2, MIDNIGHT + HOUR),)),
    )
    assert told(streams, "sub", MIDNIGHT - DAY) == (3, 2, 1, "final")
    assert told(streams, "sub", MIDNIGHT - DAY, "revision") == (1,)


def test_revisions_of_a_settled_day_go_on_where_its_device_moves_to() -> None:
    late = [sent(seq, NOON + seq) for seq in (2, 3)]
    streams = run(
        Moment(NOON, fleet(sub=0, other=1)),
        Moment(NOON + SECOND, messages=(sent(1, NOON),)),
        Moment(MIDNIGHT + HOUR, messages=(late[0],)),
        Moment(MIDNIGHT + 2 * HOUR, messages=(late[1],)),
        Moment(MIDNIGHT + 3 * HOUR, fleet(sub=1, other=1), words=False),
        Moment(MIDNIGHT + 4 * HOUR),
        Moment(MIDNIGHT + 5 * HOUR, messages=(sent(4, NOON + 4),)),
    )
    row = streams.rows["sub", MIDNIGHT - DAY]
    before = [
        r["revision"] for r in streams.told if r["stream"] == "s-0" and r["window_start"] == MIDNIGHT - DAY
    ]
    assert (row["stored"], row["stream"], row["revision"]) == (4, "s-1", max(before) + 1)
    assert max(before) > 0


@pytest.mark.parametrize("late", [False, True])
def test_of_two_reports_the_newer_stands_whichever_stream_heard_it(late: bool) -> None:
    waits, sent_all = (
        Report("sub", BOOT, at, 3, waiting, ()) for at, waiting in ((NOON - HOUR, ((2, 2),)), (NOON, ()))
    )
    first, then = (sent_all, waits) if late else (waits, sent_all)
    streams = run(
        Moment(NOON, fleet(sub=0, other=1)),
        Moment(NOON + SECOND, messages=(sent(1, NOON - HOUR),), told=(first,)),
        Moment(NOON + 2 * SECOND, fleet(sub=1, other=1), words=False),
        Moment(NOON + 20 * SECOND, told=(then,), words=False),
        Moment(NOON + 30 * SECOND),
    )
    assert told(streams, "sub", MIDNIGHT - DAY, "sent", "stored", "waiting", "unaccounted") == (2, 1, 0, 1)


def test_a_report_corrects_days_of_before_its_stream_began() -> None:
    messages = sent(1, NOON), sent(2, NOON + 1)
    streams = run(
        Moment(NOON, fleet(sub=0)),
        Moment(NOON + SECOND, messages=messages, told=(Report("sub", BOOT, NOON, 4, ((3, 3),), ()),)),
        Moment(MIDNIGHT + HOUR),
        Moment(MIDNIGHT + HOUR + SECOND, fleet(sub=1)),
    )
    # What was settled before it moved is not told again.
    assert told(streams, "sub", MIDNIGHT - DAY, "waiting", "unaccounted", "revision", "stream") == (
        1, 0, 0, "s-0",
    )  # fmt: skip
    thinned = Report("sub", BOOT, MIDNIGHT + 2 * HOUR, 4, (), ((3, 3),))
    streams.take(Moment(MIDNIGHT + 2 * HOUR, told=(thinned,)))
    streams.say(MIDNIGHT + 2 * HOUR)
    names = ("sent", "stored", "waiting", "thinned", "unaccounted", "status", "revision", "stream")
    assert told(streams, "sub", MIDNIGHT - DAY, *names) == (3, 2, 0, 1, 0, "final", 1, "s-1")


def test_days_that_a_stream_has_by_a_word_are_told_of_its_other_devices_too() -> None:
    morning = MIDNIGHT + HOUR
    streams = run(
        Moment(NOON, fleet(sub=0)),
        Moment(NOON + SECOND, messages=(sent(1, NOON),)),
        Moment(morning, fleet(sub=0, other=1)),
        Moment(morning + SECOND, told=(Report("other", BOOT, MIDNIGHT - HOUR, 3, (), ()),)),
    )
    assert ("other", MIDNIGHT - DAY) not in streams.rows
    for moment in (Moment(morning + 2 * SECOND, fleet(sub=1, other=1)), Moment(morning + 20 * SECOND)):
        streams.take(moment)
    streams.say(morning + 20 * SECOND)
    assert told(streams, "other", MIDNIGHT - DAY) == (2, 0, 2, "final")
    assert told(streams, "other", MIDNIGHT - DAY, "revision") == (0,)


def test_the_rest_of_a_day_that_a_time_zone_cut_off_is_no_day_of_the_new_one() -> None:
    cut_off, in_new_york = MIDNIGHT - DAY, MIDNIGHT - 19 * HOUR
    streams = run(
        Moment(NOON, fleet(sub=0)),
        Moment(NOON + SECOND, fleet("America/New_York", sub=0)),
        Moment(NOON + 2 * SECOND, messages=(sent(1, cut_off - HOUR), sent(2, cut_off + HOUR), sent(3, NOON))),
    )
    days = {day: row["stored"] for (_, day), row in streams.rows.items()}
    assert days == {cut_off - DAY: 1, in_new_york: 3}


def test_a_stream_that_hears_late_that_it_was_emptied_says_nothing_of_the_days_since() -> None:
    streams, number, boot, heard_h = FleetStreams(), 0, MIDNIGHT - 21 * HOUR, 40 * 24
    before: dict[tuple[str, int], tuple[object, ...]] = {}
    for h in range(-20, heard_h + 40, 3):
        at = MIDNIGHT + h * HOUR
        if h == -20:
            streams.take(Moment(at, fleet(sub=0, other=1)))
        if h == 4:
            passed_over = streams.pipelines.pop("s-0")
            streams.take(Moment(at, fleet(sub=1, other=1)))
            boot, number = at, 0  # of neither boot does anything ever lack
        if at >= MIDNIGHT + heard_h * HOUR and not before:
            before = {key: told(streams, *key) for key in streams.rows}
            streams.pipelines["s-0"], told_before = passed_over, len(streams.told)
            streams.take(Moment(at, fleet(sub=1, other=1)))
            late = [row["window_start"] for row in streams.told[told_before:] if row["stream"] == "s-0"]
        number += 1
        message = Sent("sub", boot, number, ((at + HOUR - SECOND, ""),), "substation")
        streams.take(Moment(at + HOUR, messages=(message,)))
        streams.say(at + HOUR)
    assert late == [MIDNIGHT], "the day on which it heard last"
    let_go = [key for key in before if MIDNIGHT < key[1] <= MIDNIGHT + 25 * DAY]
    assert len(let_go) > 20
    assert {key: told(streams, *key) for key in let_go} == {key: before[key] for key in let_go}
