"""kill -9 of every part of the distributed mode in mid-stream: unaccounted 0, every row equal to a replay's.

A worker that computed all anew would give equal rows, too: where each goes on is held to its checkpoint.
"""

from __future__ import annotations

import random
import time

import pytest

from tests.support.two_modes import Chain, Day

VICTIMS = ("ingest", "worker", "kafka", "influxd")
NAMES = frozenset({"device_heat", "fulfilment", "ledger", "network_heat", "reading", "track"})
HOURS, LONG_HOURS = 2, 3


def survive(home, seed, times, hours):
    """Kill each part `times` times, in a random order and at random moments, in one stream of messages."""
    rng, began = random.Random(seed), time.monotonic()
    victims = list(VICTIMS) * times
    rng.shuffle(victims)
    day = Day(home, substations=1, trucks=1, hours=hours)
    steady = day.parts(2 * len(victims) + 1)
    with Chain(home / "chain", day.site) as chain:
        chain.ingest()
        chain.worker("first")
        chain.ingest_ready()
        chain.publish(steady[0])
        chain.until(lambda: "goes on after" in chain.said_by("first"))
        for place, victim in enumerate(victims):
            before, meanwhile = steady[2 * place + 1 : 2 * place + 3]
            chain.publish(before)
            time.sleep(rng.uniform(0.0, 1.5))
            chain.kill_and_start(victim, meanwhile)
            chain.supervise()
        day.check(chain, NAMES)
        went_on = chain.went_on()
        assert went_on >= times, "a worker that was killed goes on from its checkpoints"
        print(
            f"seed {seed}: {victims}, {len(day.messages)} messages, workers that left by themselves:"
            f" {len(chain.left)}, gone on from a checkpoint {went_on} times; {time.monotonic() - began:.0f} s"
        )


def test_each_part_is_killed_once(tmp_path):
    survive(tmp_path, 32, 1, HOURS)


@pytest.mark.soak
@pytest.mark.timeout(1500)
def test_each_part_is_killed_five_times(tmp_path):
    survive(tmp_path, 34, 5, LONG_HOURS)
