"""Two modes, one proof: what a replay computes, the distributed mode computes too, whatever is killed in it."""

from __future__ import annotations

from itertools import pairwise

import pytest

from hearthline.site_dir import open_site
from tests.support.simulated_cases import simulated
from tests.support.two_modes import Chain, differences, replayed, with_heartbeats

STREAMS = ("sim-haulage", "sim-unit-1")
BOTH = {
    "device_heat", "device_water", "fuel_burnt", "fuel_heat", "fulfilment", "ledger", "network_heat",
    "network_water", "queue", "reading", "reconciled_heat", "track", "trip", "visit", "weighing",
}  # fmt: skip
"""Some of every kind of operator: windows, networks, learners, entities, of both streams."""


class Day:
    """A simulated unit with its haulage, and what a replay makes of its recording."""

    def __init__(self, out, **options):
        simulated(out / "sim", interval=300, **options)
        self.site = out / "sim" / "site"
        assert set(open_site(self.site).streams) == set(STREAMS)
        recording = out / "recording.parquet"
        self.messages, self.end_ms = with_heartbeats(out / "sim" / "telemetry.parquet", recording, STREAMS)
        self.numbered = sum(topic.endswith("/telemetry") for topic, _ in self.messages)
        self.rows = replayed(recording, self.site, out / "replayed")

    def parts(self, count):
        """Messages in `count` pieces, in order."""
        edges = [len(self.messages) * n // count for n in range(count + 1)]
        return [self.messages[a:b] for a, b in pairwise(edges)]

    def check(self, chain):
        """Every row of every name equal; nothing unaccounted."""
        chain.caught_up(self.numbered)
        chain.advance(STREAMS, self.end_ms)
        live = chain.rows()
        found = differences(self.rows, live)
        assert not found, f"{len(found)} differ:\n" + "\n".join(found[:20]) + chain.said()
        assert live.keys() >= BOTH
        assert all(start > 0 for rows in live.values() for _, start in rows), "rows of the beginning of time"
        assert {row["unaccounted"] for row in live["ledger"].values()} == {0}
        assert sum(row["status"] == "provisional" for row in live["device_heat"].values()) == 0


@pytest.mark.soak
@pytest.mark.timeout(1500)
def test_a_worker_added_and_another_killed_in_mid_stream(tmp_path):
    day = Day(tmp_path, substations=2, trucks=2, hours=10)
    with Chain(tmp_path / "chain", day.site) as chain:
        chain.ingest()
        chain.worker("first")
        chain.ingest_ready()
        one, two, three = day.parts(3)
        chain.publish(one)
        chain.until(lambda: "goes on after" in chain.said_by("first"))
        chain.worker("second")
        chain.publish(two)
        chain.until(lambda: chain.members() == 2)
        chain.kill_worker("first")
        chain.publish(three)
        day.check(chain)
