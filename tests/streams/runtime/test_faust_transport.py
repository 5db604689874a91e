"""Fetches that a rebalance overtakes: nothing of theirs is used, and nothing is lost."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from faust.types import TP

from streams.runtime.faust_transport import _LeasedThread, give_back

_CHANGELOG, _FRAMES = TP("changelog", 3), TP("frames", 3)


@dataclass
class _State:
    position: int
    has_valid_position: bool = True


class _Consumer:
    """Positions, and the partitions of the last fetch."""

    _max_poll_records = 10

    def __init__(self, **positions):
        self._states = {TP(topic, 3): _State(position) for topic, position in positions.items()}
        assignment = SimpleNamespace(state_value=self._states.get)
        self._subscription = SimpleNamespace(subscription=SimpleNamespace(assignment=assignment))

    def seek(self, tp, offset):
        self._states[tp].position = offset

    def position(self, tp):
        return self._states[tp].position


def _records(first, last):
    return [SimpleNamespace(offset=offset) for offset in range(first, last + 1)]


def test_what_is_given_back_is_fetched_again():
    consumer = _Consumer(changelog=3)
    give_back(consumer, {_CHANGELOG: _records(0, 2)})
    assert consumer.position(_CHANGELOG) == 0


@pytest.mark.parametrize("sought", [0, 1, 7])
def test_a_place_that_was_sought_meanwhile_stays(sought):
    consumer = _Consumer(changelog=sought)
    give_back(consumer, {_CHANGELOG: _records(2, 4)})
    assert consumer.position(_CHANGELOG) == sought


def test_a_partition_that_went_away_is_nobodys_concern():
    give_back(_Consumer(), {_CHANGELOG: _records(0, 2)})


class _Thread:
    """The parts of the consumer's thread that a fetch goes through."""

    _fetch_within = _LeasedThread._fetch_within

    def __init__(self, consumer, during):
        self._kafka = consumer
        self.consumer = SimpleNamespace(flow_active=True)
        self.app = SimpleNamespace(consumer_generation_id=1)
        self._during = during
        self.asked = None

    def _ensure_consumer(self):
        return self._kafka

    async def call_thread(self, function, *arguments):
        return await function(*arguments)

    async def _fetch_records(self, _consumer, partitions, **_):
        self._during(self)
        self.asked = partitions
        return {_CHANGELOG: _records(0, 2)}


def _fetch(during):
    consumer = _Consumer(changelog=3)
    thread = _Thread(consumer, during)
    records = asyncio.run(_LeasedThread.getmany(thread, {_FRAMES}, 1.0))
    return records, consumer.position(_CHANGELOG), thread


def test_a_fetch_within_its_generation_is_used():
    records, position, _ = _fetch(lambda _: None)
    assert len(records[_CHANGELOG]) == 3
    assert position == 3


@pytest.mark.parametrize(
    "during",
    [
        lambda thread: setattr(thread.consumer, "flow_active", False),
        lambda thread: setattr(thread.app, "consumer_generation_id", 2),
    ],
    ids=["flow stopped", "another generation"],
)
def test_a_fetch_that_a_rebalance_overtakes_is_given_back(during):
    assert _fetch(during)[:2] == ({}, 0)


def test_partitions_that_are_paused_under_a_fetch_do_not_turn_it_into_one_of_all():
    active = {_FRAMES}
    thread = _Thread(_Consumer(changelog=3), lambda _: active.clear())
    asyncio.run(_LeasedThread.getmany(thread, active, 1.0))
    assert thread.asked == {_FRAMES}
