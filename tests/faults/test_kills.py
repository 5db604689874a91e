"""kill -9 of server, collector and broker in mid-stream: nothing lost, nothing doubled, results as of a clean replay."""

from __future__ import annotations

import random
import signal
import time

import pytest

from tests.support.kill_points import (
    COLLECTOR_POINTS,
    SERVER_POINTS,
    STARTING_COLLECTOR_POINTS,
    STARTING_SERVER_POINTS,
)
from tests.support.oracle import Verdict, assert_whole
from tests.support.recorded_fleet import record_fleet
from tests.support.running_system import RunningSystem
from tests.support.waiting import until

PACE = 160.0  # recorded seconds a second: a sample of each device every 0.38 s, a window every 5.6 s
LATENESS_S = 14_400  # what a fault holds back is there after seconds, each of them minutes of recorded time
HOURS = 9.0  # played within 200 s, and killing takes 45 to 100
QUICK_PACE, LONG_HOURS = 250.0, 14.0  # as long, and more in it
REST_PACE = 3600.0
KILLS = 20
PASSAGES = 5
HASTY = {
    "altered": "hasty,frequent_checkpoints,kill_points",
    "collector_altered": "hasty_collector,collector_kill_points",
}


def assert_survived(system: RunningSystem, scratch, least_windows: int) -> Verdict:
    """The oracle is content, and had something of every kind to compare."""
    verdict = assert_whole(system.fleet.generated, system.data, scratch)
    print(f"{verdict}; server back after {[round(s, 2) for s in system.back_s]} s")
    assert min(verdict.readings, verdict.repeats, verdict.dead_letters) > 0
    assert min(verdict.windows, verdict.undisturbed) >= least_windows, "expected the windows of some hours"
    return verdict


def survive_random_kills(home, seed: int, pace: float = PACE, hours: float = HOURS) -> None:
    """Kill at random, and wait for what came later than the lateness, as on a machine that is busy."""
    began = time.monotonic()
    fleet = record_fleet(home, seed, hours, LATENESS_S)
    with RunningSystem(fleet, pace, **HASTY) as system:
        kills = system.kill_at_random(random.Random(seed), KILLS, longest_s=2.5)
        system.drain(120, pace=REST_PACE, restated=True)
    print(f"seed {seed}, killed:", *kills, sep="\n")
    assert len(kills) == KILLS
    assert {kill["victim"] for kill in kills} == {"server", "collector", "broker"}
    assert 0 < kills[-1]["checkpointed"] <= kills[-1]["journalled"]
    assert_survived(system, home / "replay", 6 * 12)
    print(f"{time.monotonic() - began:.0f} s")


def test_killed_at_random_in_changing_weather(tmp_path):
    survive_random_kills(tmp_path, seed=101)


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(1001, 1011))
def test_killed_at_random_for_long(tmp_path, seed):
    survive_random_kills(tmp_path, seed, QUICK_PACE, LONG_HOURS)


def test_killed_at_every_point(tmp_path):
    began = time.monotonic()
    rng = random.Random(505)
    fleet = record_fleet(tmp_path, 505, HOURS, LATENESS_S)
    points = [
        *(("server", point, rng.randint(1, PASSAGES)) for point in SERVER_POINTS),
        *(("server", point, 1) for point in STARTING_SERVER_POINTS),
        *(("collector", point, 1) for point in STARTING_COLLECTOR_POINTS),
        *(("collector", point, rng.randint(1, PASSAGES)) for point in COLLECTOR_POINTS),
    ]
    rng.shuffle(points)
    with RunningSystem(fleet, PACE, **HASTY) as system:
        for victim, point, passage in points:
            print(victim, passage, system.kill_at_point(victim, point, passage))
        system.drain(120, pace=REST_PACE, restated=True)
    assert_survived(system, tmp_path / "replay", 6 * 12)
    print(f"{time.monotonic() - began:.0f} s")


def test_what_a_broker_dropped_while_the_server_was_away_comes_at_once(tmp_path):
    seed = 404
    fleet = record_fleet(tmp_path, seed, hours=1.0, lateness_s=LATENESS_S)
    with RunningSystem(fleet, QUICK_PACE, collector_altered="patient_collector") as system:
        until(lambda: system.journalled() > 3, "something is journalled")
        system.server.process.send_signal(signal.SIGSTOP)
        system.kill(
            "broker"
        )  # the collector is back before the server, and the broker has nowhere to keep it for
        time.sleep(3.0)
        system.server.process.send_signal(signal.SIGCONT)
        began = time.monotonic()
        # The server asks for what was dropped: by itself the collector would wait for longer than this.
        system.drain(240)
        drained_s = time.monotonic() - began
    verdict = assert_whole(fleet.generated, system.data, tmp_path / "replay")
    print(f"drained {drained_s:.1f} s after the server went on; {verdict}")
    assert verdict.ledger["duplicate"] < verdict.messages / 2
