"""Any history of a fleet: every device's ledger is what sets of numbers say, however its messages are batched."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
from hypothesis import example

from tests.support.examples import SEEDS, law
from tests.support.fleet import History, Moment, Traits
from tests.support.fleet_history import fleet_history
from tests.support.fleet_streams import FleetStreams, Row
from tests.support.naive_ledger import COLUMNS, NaiveFleet

STAYING = Traits(moves=False, leaves=False, zones=False)


def finished(history: History, streams: FleetStreams) -> FleetStreams:
    """Streams after a history, that said all they had to say before each registry and in the end.

    Else it would hang on when they were asked what is left of days that a time zone cuts off.
    """
    for moment, following in zip(history.moments, (*history.moments[1:], None), strict=True):
        streams.take(moment)
        if following is None or following.fleet is not None:
            streams.say(moment.at_ms)
    return streams


def differing(one: FleetStreams, other: FleetStreams, *without: str) -> list[tuple[object, ...]]:
    """Rows of the one that the other has not, or has otherwise."""
    kept = [
        {k: {c: v for c, v in row.items() if c not in without} for k, row in streams.rows.items()}
        for streams in (one, other)
    ]
    return [
        (name, *(of.get(name) for of in kept)) for name in sorted(kept[0].keys() | kept[1].keys())
        if kept[0].get(name) != kept[1].get(name)
    ]  # fmt: skip


@law(gate=6, soak=400, seed=SEEDS)
def test_every_day_of_every_device_is_what_plain_sets_of_numbers_say(seed: int) -> None:
    history, streams, naive = fleet_history(seed, Traits(long=seed % 5 == 4)), FleetStreams(), NaiveFleet()
    for n, moment in enumerate(history.moments):
        streams.take(moment)
        naive.take(moment)
        if moment.asked or moment is history.moments[-1]:
            streams.say(moment.at_ms)
            for name, row in naive.rows().items():
                told = streams.rows.get(name)
                assert told is not None, f"moment {n}: no row of {name}"
                assert dict(zip(COLUMNS, row.counts, strict=True)) == {c: told[c] for c in COLUMNS}, (n, name)
                assert (told["window_ms"], told["status"] == "final") == (row.length_ms, row.final), (n, name)
                # A settled day that is the same is not told again by the stream that a device moves to.
                assert row.final or told["stream"] == f"s-{row.stream}", (n, name)
                assert told["sent"] == sum(told[c] for c in COLUMNS[1:6])


@law(gate=2, soak=150, seed=SEEDS)
def test_batches_are_no_matter(seed: int) -> None:
    history = fleet_history(seed, Traits(zones=False))  # what a time zone that ended left behind is nobody's
    whole = finished(history, FleetStreams())
    for cut in range(2):
        parts = finished(history, FleetStreams(np.random.default_rng(seed + cut)))
        # Which of two streams told a settled day last, and how often, hangs on when it was looked at.
        assert not differing(parts, whole, "revision", "stream")


@law(gate=1, soak=150, seed=SEEDS)
def test_a_stream_goes_on_from_a_checkpoint_as_if_nothing_had_been(seed: int) -> None:
    history = fleet_history(seed)
    told = finished(history, FleetStreams()).told
    assert finished(history, FleetStreams(restore=0.3)).told == told


@law(gate=0, soak=150, seed=SEEDS)
@example(seed=1)
def test_words_end_where_they_belong_though_streams_hear_of_a_registry_one_after_the_other(seed: int) -> None:
    # What is a number that was used before hangs on what has come by then.
    history = fleet_history(seed, Traits(leaves=False, zones=False, reuse=False))
    last = Moment(history.moments[-1].at_ms + 1_000)
    history = replace(history, moments=(*history.moments, last))
    whole = finished(history, FleetStreams())
    torn = finished(history, FleetStreams(torn=np.random.default_rng(seed)))
    assert not torn.forwards
    ends = max(start for _, start in whole.rows)
    today = [
        {d: [row[c] for c in COLUMNS[:6]] for (d, t), row in s.rows.items() if t == ends}
        for s in (whole, torn)
    ]
    assert today[0] == today[1]


@law(gate=1, soak=150, seed=SEEDS)
def test_devices_in_one_stream_count_as_each_in_its_own(seed: int) -> None:
    history = fleet_history(seed, replace(STAYING, before=False))
    apart = finished(history, FleetStreams())
    together = finished(history, FleetStreams(together=True))
    # When a day is settled hangs on the longest lateness in its stream.
    assert not differing(together, apart, "revision", "stream", "status")


@law(gate=1, soak=150, seed=SEEDS)
def test_what_is_settled_changes_by_revisions_that_are_listed(seed: int) -> None:
    streams = finished(fleet_history(seed, STAYING), FleetStreams())
    listed = {(r["subject"], r["window_start"], r["revision"]): r for r in streams.restated}
    before: dict[tuple[str, int], Row] = {}
    for row in streams.told:
        name = (row["key"], row["window_start"])
        was = before.get(name)
        before[name] = row
        if was is None or was["status"] != "final":
            assert row["revision"] == 0
            assert was is None or row != was
            continue
        differ = [c for c in COLUMNS if row[c] != was[c]]
        assert differ
        assert (row["status"], row["revision"]) == ("final", was["revision"] + 1)
        of = listed[(*name, row["revision"])]
        assert json.loads(of["was"]) == {c: was[c] for c in differ}
        assert json.loads(of["became"]) == {c: row[c] for c in differ}
