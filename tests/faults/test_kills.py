"""kill -9 of server, collector and broker in mid-stream: nothing lost, nothing doubled, results as of a clean replay."""

from __future__ import annotations

import random
import signal
import time

import pytest

from tests.support.oracle import assert_whole
from tests.support.recorded_fleet import record_fleet
from tests.support.running_system import RunningSystem
from tests.support.system import until

PACE = 600.0  # recorded seconds a second: a sample of each device every 0.1 s, a window every 1.5 s
LATENESS_S = 7200  # what a broker forgot is back after some seconds, each ten minutes of recorded time
HOURS = 5.5
KILLS = 5


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("victim", "seed"), [("server", 101), ("collector", 202), ("broker", 303)])
def test_killed_in_mid_stream(tmp_path, victim, seed):
    began = time.monotonic()
    fleet = record_fleet(tmp_path, seed, HOURS, LATENESS_S)
    with RunningSystem(fleet, PACE, altered="frequent_checkpoints") as system:
        kills = system.kill_at(victim, random.Random(seed), KILLS, longest_s=4.0)
        system.drain(120)
    print(
        f"{victim}, seed {seed}, killed {kills}, server back after {[round(s, 2) for s in system.back_s]} s"
    )
    verdict = assert_whole(fleet.generated, system.data, tmp_path / "replay")
    print(f"{verdict}; {time.monotonic() - began:.0f} s")
    assert len(kills) == KILLS
    assert 0 < kills[-1]["checkpointed"] <= kills[-1]["journalled"]
    assert min(verdict.readings, verdict.repeats, verdict.dead_letters) > 0
    assert verdict.windows >= 6 * 12, "expected the final windows of some hours to compare"
    assert max(system.back_s, default=0.0) < 10.0


@pytest.mark.timeout(120)
def test_what_a_broker_dropped_while_the_server_was_away_comes_at_once(tmp_path):
    seed = 404
    fleet = record_fleet(tmp_path, seed, hours=1.0, lateness_s=LATENESS_S)
    with RunningSystem(fleet, PACE) as system:
        until(lambda: system.journalled() > 3, 20, "something is journalled")
        system.server.process.send_signal(signal.SIGSTOP)
        system.kill(
            "broker"
        )  # the collector is back before the server, and the broker has nowhere to keep it for
        time.sleep(3.0)
        system.server.process.send_signal(signal.SIGCONT)
        began = time.monotonic()
        system.drain(60)
        drained_s = time.monotonic() - began
    verdict = assert_whole(fleet.generated, system.data, tmp_path / "replay")
    print(f"drained {drained_s:.1f} s after the server went on; {verdict}")
    assert verdict.ledger["duplicate"] < verdict.messages / 2
    assert drained_s < 20.0, (
        "expected the server to ask for what was dropped, not to wait for the collector's delay"
    )
