"""What goes away for long, hangs, or comes again and again in any order: nothing lost, nothing doubled."""

from __future__ import annotations

import random
import signal
import time

import pytest

from tests.support.mosquitto import Mosquitto
from tests.support.oracle import Generated, assert_whole
from tests.support.recorded_fleet import RecordedFleet, record_fleet
from tests.support.running_system import RunningSystem, until_restated
from tests.support.system import Publisher, Server, run
from tests.support.waiting import PATIENCE_S, until

PACE = 600.0
LATENESS_S = 14_400
LATEST_S = 60.0
"""Where 30 s are promised, on a machine that may stand still for a while itself."""
BOOT = 1_767_225_000_000
HASTY = {"altered": "hasty", "collector_altered": "hasty_collector"}


def away_for_long(home, away_s: float, hours: float, drained_s: float = 240.0, **altered: str) -> None:
    """The broker may keep ten messages for a server that is away while hundreds come."""
    fleet = record_fleet(home, 808, hours, LATENESS_S)
    broker = Mosquitto("max_queued_messages 10")
    with RunningSystem(fleet, PACE, broker=broker, **altered) as system:
        system.await_progress()
        system.server.kill()
        time.sleep(away_s)
        kept = system.journalled()
        system.start("server", ready=True)
        until(lambda: system.journalled() > kept, "it goes on", every=0.02)
        system.drain(drained_s, restated=True)
    verdict = assert_whole(fleet.generated, system.data, home / "replay")
    print(verdict)
    assert away_s * PACE / 60 * 7 > 20 * 10, "expected many more messages than the broker may keep"


def test_ingest_is_away_for_longer_than_the_broker_keeps(tmp_path):
    away_for_long(tmp_path, 6.0, hours=2.0, **HASTY)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_ingest_is_away_for_a_minute_at_the_real_delays(tmp_path):
    # What such a broker drops of a burst once more is sent again after 30 s, then 60, 120 and 240.
    away_for_long(tmp_path, 60.0, hours=15.0, drained_s=500.0)


def heat_revisions(server: Server) -> list[int]:
    return [row["revision"] for row in server.rows("device_heat") if row["status"] != "provisional"]


def messages(generated: Generated, rng: random.Random) -> list[tuple[str, dict]]:
    """Every device's samples as messages of one to five, in the order of their numbers."""
    made = []
    for device, samples in generated.items():
        seq, start = 0, 0
        while start < len(samples):
            seq, stop = seq + 1, start + rng.randint(1, 5)
            part = [{"t": t, **values} for t, values in samples[start:stop]]
            made.append((device, {"boot": BOOT, "seq": seq, "samples": part}))
            start = stop
    return made


def publish(fleet: RecordedFleet, server: Server, sent: list[tuple[str, dict]]) -> None:
    with Publisher(server.broker) as publisher:
        for device, payload in sent:
            publisher(f"hearthline/v1/r1/u1/{device}/telemetry", payload)
        wanted = {(device, payload["seq"]) for device, payload in sent}
        until(
            lambda: wanted <= {(d, n) for d, numbers in publisher.acknowledged().items() for n in numbers},
            "every message is acknowledged",
        )
    assert {device for device, _ in sent} == set(fleet.generated)


@pytest.mark.parametrize(
    ("seed", "hours"), [(901, 2), *(pytest.param(seed, 6, marks=pytest.mark.soak) for seed in (901, 902))]
)
def test_sent_up_to_five_times_and_shuffled_by_hours(tmp_path, seed, hours):
    rng = random.Random(seed)
    fleet = record_fleet(tmp_path, seed, hours=float(hours), lateness_s=900, repeated=0.0)
    made = messages(fleet.generated, rng)
    # Each copy comes up to half of it all later than its neighbours: far beyond the lateness.
    copies = [
        (p["samples"][0]["t"] + rng.uniform(0, hours * 1_800_000), d, p)
        for d, p in made
        for _ in range(rng.randint(1, 5))
    ]
    copies.sort(key=lambda copy: copy[0])
    with Server(tmp_path / "up", fleet.site, None, "--clock", "data") as server:
        server.ready_for_messages()
        publish(fleet, server, [(d, p) for _, d, p in copies])
        until_restated(server.status)
        server.stop()
    revised = heat_revisions(server)
    verdict = assert_whole(fleet.generated, server.data, tmp_path / "replay")
    print(f"seed {seed}: {len(made)} messages, {len(copies)} sent; {sum(r > 0 for r in revised)} of "
          f"{len(revised)} windows restated; {verdict}")  # fmt: skip
    assert verdict.ledger["duplicate"] == len(copies) - len(made)
    assert verdict.undisturbed >= hours * 4 * 4
    assert any(r > 0 for r in revised), "expected the revision to show what came later than the lateness"


@pytest.mark.parametrize("hours", [2, pytest.param(4, marks=pytest.mark.soak)])
def test_a_broker_that_hangs_is_degraded_within_30_s_and_nothing_is_doubled(tmp_path, hours):
    fleet = record_fleet(tmp_path, 1010, hours=float(hours), lateness_s=4 * 14_400)
    with RunningSystem(fleet, PACE * hours / 8) as system:  # it goes on for longer than the broker hangs
        system.await_progress()
        assert system.states()["ingest"] == "ok"
        system.broker.process.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        until(lambda: system.states()["ingest"] == "degraded", "status says that ingest is degraded")
        said_s = time.monotonic() - began
        system.broker.process.send_signal(signal.SIGCONT)
        until(lambda: system.states()["ingest"] == "ok", "status says that ingest is well again")
        system.drain(240)
    verdict = assert_whole(fleet.generated, system.data, tmp_path / "replay")
    print(f"status said so after {said_s:.1f} s; {verdict}")
    assert said_s < LATEST_S


@pytest.mark.parametrize("hours", [2, pytest.param(4, marks=pytest.mark.soak)])
def test_a_server_that_hangs_owns_its_data_alone_and_goes_on(tmp_path, hours):
    fleet = record_fleet(tmp_path, 1111, hours=float(hours), lateness_s=4 * 14_400)
    with RunningSystem(fleet, PACE * hours / 4) as system:
        system.await_progress()
        system.server.process.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        asked = run("status", "--data-dir", system.data, "--check", code=1)
        said_s = time.monotonic() - began
        second = run(
            "up", "--site", fleet.site, "--data-dir", system.data, "--mqtt", system.broker.url, "--port", 0,
            code=2, timeout=PATIENCE_S,
        )  # fmt: skip
        system.server.process.send_signal(signal.SIGCONT)
        until(lambda: set(system.states().values()) == {"ok"}, "all is well again")
        system.drain(240)
    verdict = assert_whole(fleet.generated, system.data, tmp_path / "replay")
    print(
        f"status said after {said_s:.1f} s: {asked.stderr.strip()}; a second server: {second.stderr.strip()}"
    )
    print(verdict)
    assert said_s < LATEST_S
    assert "no answer" in asked.stderr
    assert "stop that server first" in second.stderr


def test_a_collector_that_hangs_owns_its_outbox_alone_and_goes_on(tmp_path):
    fleet = record_fleet(tmp_path, 1212, hours=2.0, lateness_s=LATENESS_S)
    with RunningSystem(fleet, PACE, **HASTY) as system:
        system.await_progress()
        system.collector.process.send_signal(signal.SIGSTOP)
        second = run("edge", "--config", tmp_path / "collector.toml", code=2, timeout=PATIENCE_S)
        time.sleep(8.0)  # 1.5 keepalives: the broker gives it up meanwhile
        system.collector.process.send_signal(signal.SIGCONT)
        system.drain(240)
    verdict = assert_whole(fleet.generated, system.data, tmp_path / "replay")
    print(second.stderr.strip(), verdict)
    assert "another process holds" in second.stderr
