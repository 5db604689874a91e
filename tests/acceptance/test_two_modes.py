"""Two modes, one proof: what a replay computes, the distributed mode computes too, whatever is killed in it."""

from __future__ import annotations

import pytest

from tests.support.two_modes import Chain, Day


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
