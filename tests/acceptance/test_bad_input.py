"""What must not be taken over a real broker: a dead letter each with its reason, and the neighbours stored."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.mosquitto import Mosquitto
from tests.support.system import Publisher, Server, device_rows, run, write_site
from tests.support.waiting import until

SITE_TOML = (
    '[site]\nname = "three"\ntimezone = "{noon}"\nretention_days = 30\n'
    '[[region]]\nid = "r1"\nname = "north"\n'
    '[[unit]]\nid = "u1"\nregion = "r1"\nname = "one"\n[[unit]]\nid = "u2"\nregion = "r1"\nname = "two"\n'
)
DEVICES = (
    "device,class,unit,interval_s\nsub-1,substation,u1,10\nsub-2,substation,u1,10\nsub-3,substation,u2,10\n"
)
DAY_MS = 86_400_000
BOOT = 1_700_000_000_001
OUTSIDE = 900
"""Numbers from here on belong to messages that anybody can forge: the ledger leaves them out."""


def topic(device: str, unit: str = "u1") -> str:
    return f"hearthline/v1/r1/{unit}/{device}/telemetry"


def message(seq: int, t: int, **values: object) -> dict[str, object]:
    return {"boot": BOOT, "seq": seq, "samples": [{"t": t, **(values or {"supply_c": 90.0})}]}


@dataclass
class Bad:
    """One message that has to be refused."""

    reason: str
    topic: str
    payload: bytes
    said: str
    retain: bool = False


def bad_messages(now: int) -> list[Bad]:
    """Each kind once; those that name a device of the site truly take its numbers 2 to 7."""
    nan = json.dumps(message(3, now, supply_c=float("nan"))).encode()
    assert b"NaN" in nan
    large = json.dumps(
        {"boot": BOOT, "seq": 4, "samples": [{"t": now + i, "supply_c": 90.0} for i in range(9000)]}
    )
    assert 300 * 1024 < len(large) < 1024 * 1024
    own = topic("sub-1")
    return [
        Bad("wrong_class", own, _bytes(message(2, now, speed_m_s=3.0, lat_deg=40.0)), "speed_m_s"),
        Bad("schema", own, nan, "finite"),
        Bad("too_large", own, large.encode(), "262144"),
        Bad("future", own, _bytes(message(5, now + 700_000)), "10 minutes"),
        Bad("too_old", own, _bytes(message(6, now - 31 * DAY_MS)), "30 days"),
        Bad("schema", own, _bytes(message(7, now, supply_c=None)), "supply_c"),
        Bad("not_json", own, b'{"boot": 1, "seq": 8, "samples": [', "JSON"),
        Bad("unknown_device", topic("ghost"), _bytes(message(OUTSIDE, now, supply_c=77.0)), "'ghost'"),
        Bad("topic_mismatch", topic("sub-1", "u2"), _bytes(message(OUTSIDE + 1, now)), "'r1/u1'"),
        Bad("seq_reused", topic("sub-2"), _bytes(message(1, now + 60_000)), "newer samples"),
    ]  # fmt: skip


def _bytes(payload: dict[str, object]) -> bytes:
    return json.dumps(payload).encode()


@dataclass
class Ran:
    home: Path
    site: Path
    data: Path
    bad: list[Bad]
    acknowledged: dict[str, set[int]]


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Everything sent once to a server that then stopped."""
    home = tmp_path_factory.mktemp("bad")
    now = time.time_ns() // 1_000_000
    hours_from_noon = time.gmtime(now // 1000).tm_hour - 12
    # Where it is noon: the ledger counts by day, and no day may end meanwhile.
    texts = {"site.toml": SITE_TOML.format(noon=f"Etc/GMT{hours_from_noon:+d}"), "devices.csv": DEVICES}
    site = write_site(home / "site", texts)
    with Mosquitto() as broker, Publisher(broker.url) as publish:
        kept = Bad(
            "retained", topic("sub-3", "u2"), _bytes(message(OUTSIDE + 2, now)), "retained", retain=True
        )
        publish(kept.topic, kept.payload, retain=True)
        with Server(home / "up", site, broker.url) as server:
            server.ready_for_messages()
            publish(topic("sub-1"), message(1, now - 20_000, supply_c=91.0))
            publish(topic("sub-2"), message(1, now - 20_000, supply_c=81.0))
            seq = 1
            for bad in bad_messages(now):
                publish(bad.topic, bad.payload)
                seq += 1
                publish(topic("sub-2"), message(seq, now - 20_000 + seq * 1000, supply_c=80.0 + seq / 100))
            publish(topic("sub-1"), message(8, now, supply_c=92.0))
            publish(topic("sub-3", "u2"), message(1, now, supply_c=70.0, vibration_mm_s=1.5))
            publish(topic("sub-3", "u2"), message(2, now + 1000, supply_c=9999.0))
            until(lambda: server.status()["rows"].get("dead_letter", 0) >= 11, "eleven dead letters")
            until(lambda: server.status()["ledger"]["stored"] >= 2 + 11 + 2, "the neighbours stored")
            wanted = {"sub-1": set(range(1, 9)), "sub-2": set(range(1, 12)), "sub-3": {1, 2}}
            until(
                lambda: all(publish.acknowledged().get(d, set()) >= seqs for d, seqs in wanted.items()),
                publish.acknowledged,
            )
            acknowledged = publish.acknowledged()
            server.stop()
    return Ran(home, site, server.data, [*bad_messages(now), kept], acknowledged)


def letters(ran: Ran, *options: object) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(
        run("dead-letters", "list", "--json", "--data-dir", ran.data, *options).stdout
    )
    return found


def test_each_is_a_dead_letter_with_its_reason(ran):
    found = letters(ran)
    print("\n".join(f"{letter['reason']:<15} {letter['detail']}" for letter in found))
    assert sorted(str(letter["reason"]) for letter in found) == sorted(bad.reason for bad in ran.bad)
    for bad in ran.bad:
        assert any(
            letter["reason"] == bad.reason
            and letter["topic"] == bad.topic
            and bad.said in str(letter["detail"])
            for letter in found
        ), f"no letter says {bad.said!r} of {bad.reason}"
    [retained] = [str(letter["id"]) for letter in found if letter["reason"] == "retained"]
    shown = json.loads(run("dead-letters", "show", retained, "--json", "--data-dir", ran.data).stdout)
    assert shown["retained"] is True


def test_dead_letters_are_listed_and_shown_to_people(ran):
    table = run("dead-letters", "list", "--data-dir", ran.data).stdout.splitlines()
    assert len(table) == 1 + len(ran.bad)
    only = letters(ran, "--reason", "not_json")
    assert [letter["reason"] for letter in only] == ["not_json"]
    shown = run("dead-letters", "show", str(only[0]["id"]), "--data-dir", ran.data).stdout
    assert '{"boot": 1, "seq": 8, "samples": [' in shown
    assert "reason:   not_json" in shown


def test_neighbours_are_stored_and_every_number_is_accounted_for(ran):
    readings = device_rows(ran.data, "reading")
    values = {(r["key"], r["seq"]): r["supply_c"] for r in readings}
    expected = {
        ("sub-1", 1): 91.0,
        ("sub-1", 8): 92.0,
        ("sub-2", 1): 81.0,
        ("sub-3", 1): 70.0,
        ("sub-3", 2): 9999.0,
    }
    expected |= {("sub-2", seq): 80.0 + seq / 100 for seq in range(2, 12)}
    assert values == pytest.approx(expected)
    rows = {row["key"]: row for row in device_rows(ran.data, "ledger", "--latest")}
    counts = {
        device: tuple(rows[device][name] for name in ("sent", "stored", "dead_lettered", "unaccounted"))
        for device in ("sub-1", "sub-2", "sub-3")
    }
    print(f"(sent, stored, dead-lettered, unaccounted) {counts}")
    assert counts == {"sub-1": (8, 2, 6, 0), "sub-2": (11, 11, 0, 0), "sub-3": (2, 2, 0, 0)}
    assert "ghost" not in rows


def test_refused_numbers_are_acknowledged_so_that_no_outbox_keeps_them(ran):
    assert ran.acknowledged["sub-1"] >= set(range(1, 9))
    assert ran.acknowledged["sub-2"] == set(range(1, 12))
    assert OUTSIDE + 2 not in ran.acknowledged["sub-3"], (
        "whoever sent the retained one may still wait with it"
    )


def test_what_is_not_known_or_not_plausible_is_kept_and_flagged(ran):
    kept = {r["seq"]: r for r in device_rows(ran.data, "reading", "--key", "sub-3")}
    assert kept[1]["quality"] == "unknown_measurement"
    assert json.loads(kept[1]["extra"]) == {"vibration_mm_s": 1.5}
    assert kept[2]["quality"] == "implausible:supply_c"
    assert {r["quality"] for r in device_rows(ran.data, "reading", "--key", "sub-2")} == {None}


def test_a_dead_letter_is_stored_once_its_cause_is_mended(ran):
    [letter] = letters(ran, "--reason", "unknown_device")
    dead = str(letter["id"])
    run("dead-letters", "retry", dead, "--data-dir", ran.data, code=1)  # no server runs
    with Mosquitto() as broker:
        with Server(ran.home / "up", ran.site, broker.url) as server:
            refused = run("dead-letters", "retry", dead, "--data-dir", ran.data, code=1)
            assert "unknown_device" in refused.stderr
            server.stop()
        write_site(ran.site, {"devices.csv": DEVICES + "ghost,substation,u1,10\n"})
        with Server(ran.home / "up", ran.site, broker.url) as server:
            assert dead in run("dead-letters", "retry", dead, "--data-dir", ran.data).stdout
            until(lambda: server.rows("reading", "--key", "ghost"), "the reading is stored")
            again = run("dead-letters", "retry", dead, "--data-dir", ran.data, code=1)
            assert "retried before" in again.stderr
            server.stop()
    [reading] = device_rows(ran.data, "reading", "--key", "ghost")
    assert (reading["supply_c"], reading["seq"], reading["unit"]) == (77.0, OUTSIDE, "u1")
    assert letters(ran, "--reason", "unknown_device") == []
    [told] = letters(ran, "--reason", "unknown_device", "--all")
    assert (told["id"], told["state"]) == (dead, "retried")
    [counted] = device_rows(ran.data, "ledger", "--latest", "--key", "ghost")
    assert counted["stored"] == 1


def test_a_message_under_a_used_number_is_taken_in_once_somebody_says_so(ran):
    [letter] = letters(ran, "--reason", "seq_reused")
    dead = str(letter["id"])
    with Mosquitto() as broker, Server(ran.home / "up", ran.site, broker.url) as server:
        assert dead in run("dead-letters", "retry", dead, "--data-dir", ran.data).stdout
        until(lambda: len(server.rows("reading", "--key", "sub-2")) == 12, "the reading is stored")
        assert "retried before" in run("dead-letters", "retry", dead, "--data-dir", ran.data, code=1).stderr
        server.stop()
    [taken] = [r for r in device_rows(ran.data, "reading", "--key", "sub-2") if r["boot"] == 0]
    payload = json.loads(run("dead-letters", "show", dead, "--json", "--data-dir", ran.data).stdout)[
        "payload"
    ]
    [sample] = json.loads(payload)["samples"]
    assert (taken["seq"], taken["window_start"], taken["supply_c"]) == (1, sample["t"], sample["supply_c"])
    assert letters(ran, "--reason", "seq_reused") == []
    [counted] = device_rows(ran.data, "ledger", "--latest", "--key", "sub-2")
    assert {name: counted[name] for name in ("sent", "stored", "dead_lettered", "unaccounted")} == {
        "sent": 12, "stored": 12, "dead_lettered": 0, "unaccounted": 0,
    }  # fmt: skip
