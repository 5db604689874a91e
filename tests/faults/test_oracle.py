"""A fault harness that cannot fail proves nothing: each promise taken out of the server turns the oracle red."""

from __future__ import annotations

import pytest

from tests.support.oracle import Verdict, judge
from tests.support.recorded_fleet import record_fleet
from tests.support.running_system import RunningSystem
from tests.support.system import until

PACE = 600.0
LOST = {"every sample is stored or dead-lettered", "nothing is unaccounted or waits"}
DOUBLED = {"nothing is stored twice or otherwise than sent", "reading_repeat equals the replay's"}


def run(home, altered: str, *, kill: bool) -> Verdict:
    """A short run of a server with something altered, killed when that hurts, and what the oracle says of it."""
    fleet = record_fleet(home, seed=7, hours=0.75, lateness_s=600)
    with RunningSystem(fleet, PACE, altered=altered) as system:
        if kill:
            until(system.marker.exists, 30, "something is acknowledged and not journalled", every=0.01)
            system.kill("server", ready=True)
        system.drain(60)
    verdict = judge(fleet.generated, system.data, home / "replay")
    print(verdict, verdict.faults)
    return verdict


@pytest.mark.timeout(120)
def test_a_broker_that_delivers_twice_is_no_fault(tmp_path):
    verdict = run(tmp_path, "twice", kill=False)
    assert not verdict.faults
    assert verdict.ledger["duplicate"] >= verdict.messages
    assert verdict.windows > 0


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("altered", "kill", "promises"),
    [
        ("twice,no_duplicate_filter", False, DOUBLED),
        ("acks_before_commit", True, LOST),
        ("late_commit", True, LOST),
        ("checkpoint_before_store", True, {"every sample is stored or dead-lettered"}),
        ("uncertainty_a_bit_off", False, {"device_heat equals the replay's"}),
    ],
)
def test_turns_red(tmp_path, altered, kill, promises):
    assert promises <= run(tmp_path, altered, kill=kill).faults.keys()
