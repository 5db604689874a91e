"""Two modes, one proof: what a replay computes, the distributed mode computes too, whatever is killed in it."""

from __future__ import annotations

import time

import pytest

from hearthline.site_dir import open_site
from tests.support.one_process import OneProcess
from tests.support.two_modes import AFTER_MS, Chain, Day, differences, rows_of


def test_a_day_and_its_midnight_are_the_same_in_any_flushes_of_the_datas_clock(tmp_path):
    day = Day(tmp_path, substations=1, trucks=1, hours=17)  # local midnight is at 16:00
    live = OneProcess(open_site(day.site), tmp_path / "series.duckdb", seed=3)
    try:
        live.take(day.messages, most=120)
        for after_ms in AFTER_MS:
            live.beat(dict.fromkeys(day.streams, day.end_ms + after_ms))
        rows = rows_of(live.store)
    finally:
        live.store.close()
    found = differences(day.rows, rows)
    assert not found, f"{len(found)} differ:\n" + "\n".join(found[:20])
    assert {row["unaccounted"] for row in rows["ledger"].values()} == {0}
    assert len({start for _, start in day.rows["ledger"]}) == 3


@pytest.mark.soak
@pytest.mark.timeout(1500)
def test_a_worker_added_and_another_killed_in_mid_stream(tmp_path):
    day = Day(tmp_path, substations=3, trucks=2, hours=26)  # a whole local day, and parts of two
    began = time.monotonic()
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
    print(f"{len(day.messages)} messages, {sum(map(len, day.rows.values()))} rows equal,"
          f" {time.monotonic() - began:.0f} s")  # fmt: skip


@pytest.mark.soak
@pytest.mark.timeout(1500)
def test_a_store_away_for_hours_of_recorded_time(tmp_path):
    day = Day(tmp_path, substations=3, trucks=2, hours=18)
    began = time.monotonic()
    with Chain(tmp_path / "chain", day.site) as chain:
        chain.ingest()
        chain.worker("first")
        chain.ingest_ready()
        before, meanwhile, after = day.parts(3)
        chain.publish(before)
        chain.caught_up(0)
        chain.influxd.kill()
        kept_mb = chain.resident_mb()
        chain.publish(meanwhile)
        chain.until(lambda: "the store is away" in chain.said_by("first"))
        most_mb = dict(kept_mb)
        gone = time.monotonic()
        while time.monotonic() - gone < 60:
            most_mb = {name: max(mb, most_mb[name]) for name, mb in chain.resident_mb().items()}
            time.sleep(1)
        assert not chain.left, "a worker that waits for its store does not leave"
        chain.influxd.start()
        chain.publish(after)
        day.check(chain)
    risen_mb = {name: most_mb[name] - mb for name, mb in kept_mb.items()}
    assert max(risen_mb.values()) < 60, risen_mb
    print(f"{len(meanwhile)} of {len(day.messages)} messages while the store was away,"
          f" memory up by {risen_mb} MB; {time.monotonic() - began:.0f} s")  # fmt: skip
