"""A fault harness that cannot fail proves nothing: each promise taken out of the system turns the oracle red."""

from __future__ import annotations

import random
import time

import pytest

from tests.support import kill_points
from tests.support.oracle import Verdict, judge
from tests.support.recorded_fleet import record_fleet
from tests.support.running_system import RunningSystem
from tests.support.waiting import until

PACE = 600.0
soak = pytest.mark.soak
LOST = {"every sample is stored or dead-lettered", "nothing is unaccounted or waits"}
GONE = {"every sample is stored or dead-lettered"}
DOUBLED = {"nothing is stored twice or otherwise than sent", "reading_repeat equals the replay's"}
TWICE = {"nothing is stored twice or otherwise than sent", "a reading stands once"}


def leave_alone(_system: RunningSystem) -> None:
    """What is altered is fault enough."""


def kill_when_it_hurts(system: RunningSystem) -> None:
    until(system.marker.exists, "something is acknowledged and not journalled", every=0.01)
    system.kill("server", ready=True)


def cut_power(system: RunningSystem) -> None:
    for _ in range(2):
        system.await_progress()
        system.kill("server", ready=True, power_cut=True)


def kill_the_broker_while_the_server_is_away(system: RunningSystem) -> None:
    system.await_progress()
    system.server.kill()
    time.sleep(1.0)
    system.kill("broker", wipe=True)
    system.start("server", ready=True)


def kill_once_stored(system: RunningSystem) -> None:
    kill_points.arm(system.fleet.home, "server", "stored, no checkpoint", 3)
    until(lambda: not system.server.running, "the server passes the point", every=0.01)
    system.start("server", ready=True)


def run(home, altered: str, trouble=leave_alone, *, collector: str = "", hours: float = 0.75) -> Verdict:
    """A short run of a system with something altered, and what the oracle says of it."""
    fleet = record_fleet(home, seed=7, hours=hours, lateness_s=600)
    with RunningSystem(fleet, PACE, altered=altered, collector_altered=collector) as system:
        trouble(system)
        system.drain(240)
    verdict = judge(fleet.generated, system.data, home / "replay")
    print(verdict, verdict.faults)
    return verdict


def test_a_broker_that_delivers_twice_is_no_fault(tmp_path):
    verdict = run(tmp_path, "twice")
    assert not verdict.faults
    assert verdict.ledger["duplicate"] >= verdict.messages
    assert verdict.windows > 0


@pytest.mark.parametrize(
    ("altered", "trouble"),
    [
        ("power_cut", cut_power),
        pytest.param("kill_points", kill_once_stored, marks=soak),
        pytest.param("", kill_the_broker_while_the_server_is_away, marks=soak),
    ],
)
def test_the_same_trouble_is_no_fault_while_nothing_is_taken_out(tmp_path, altered, trouble):
    assert not run(tmp_path, altered, trouble, collector="hasty_collector").faults


@pytest.mark.parametrize(
    ("altered", "collector", "trouble", "promises"),
    [
        ("twice,no_duplicate_filter", "", leave_alone, DOUBLED),
        ("acks_before_commit", "", kill_when_it_hurts, LOST),
        ("power_cut,no_sync", "", cut_power, GONE),
        ("uncertainty_a_bit_off", "", leave_alone, {"device_heat equals the replay's"}),
        pytest.param("late_commit", "", kill_when_it_hurts, LOST, marks=soak),
        pytest.param("", "forgets_what_it_sent", kill_the_broker_while_the_server_is_away, LOST, marks=soak),
        pytest.param("checkpoint_before_store", "", kill_when_it_hurts, GONE, marks=soak),
        pytest.param("kill_points,readings_again", "", kill_once_stored, TWICE, marks=soak),
    ],
)
def test_turns_red(tmp_path, altered, collector, trouble, promises):
    assert promises <= run(tmp_path, altered, trouble, collector=collector).faults.keys()


@soak
@pytest.mark.parametrize(
    ("altered", "collector", "promises"),
    [
        ("no_duplicate_filter", "", {"nothing is stored twice or otherwise than sent"}),
        ("acks_before_commit", "", GONE),
        ("", "forgets_what_it_sent", GONE),
        ("readings_again", "", {"nothing is stored twice or otherwise than sent"}),
    ],
)
def test_random_kills_turn_red(tmp_path, altered, collector, promises):
    fleet = record_fleet(tmp_path, 606, 20.0, 14_400)
    server = ",".join(filter(None, ("hasty", altered)))
    edge = ",".join(filter(None, ("hasty_collector", collector)))
    with RunningSystem(fleet, PACE, altered=server, collector_altered=edge) as system:
        kills = system.kill_at_random(random.Random(606), 15, longest_s=2.5)
        system.drain(120, pace=2400.0)
    verdict = judge(fleet.generated, system.data, tmp_path / "replay")
    print(*kills, verdict, verdict.faults, sep="\n")
    assert promises <= verdict.faults.keys()
