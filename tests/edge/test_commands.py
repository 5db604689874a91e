"""Commands: obeyed once, while they are new, by the device that they are for."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from paho.mqtt.client import MQTTMessage
from pydantic import ValidationError

from edge.commands import AGE_MS, CommandBook, Obeyed, refusal
from edge.drivers.sparkplug import MOST_WAITING
from edge.network import Link
from models.wire import Command
from tests.edge.test_collector import Counting, Running, broker, device, server  # noqa: F401  fixtures
from tests.support.driving import driving
from tests.support.waiting import until

NOW, BOOT = 1_767_225_600_000, 1_767_000_000_000
SPARKPLUG = {"broker": "mqtt://127.0.0.1:9", "group": "g", "node": "n", "metrics": {"x_c": {"metric": "x"}}}
TOPIC = "hearthline/v1/r1/u1/a/command"


def command(**kw):
    return Command.model_validate({"id": "c1", "at": NOW, "do": "resend", **kw})


def judged(obeyed=None, *, retained=False, now_ms=NOW, **kw):
    return refusal(command(**kw), obeyed or Obeyed(), boot=BOOT, now_ms=now_ms, retained=retained)


def test_a_new_command_is_obeyed():
    assert judged() == ""
    assert judged(Obeyed(NOW, ("c0",))) == "", "two of one instant"
    assert judged(boot=BOOT) == ""


@pytest.mark.parametrize(
    ("kw", "why"),
    [
        ({"retained": True}, "expected a command that is said now, got a retained one"),
        ({"boot": BOOT + 1}, "expected boot 1767000000000, got one for boot 1767000000001"),
        ({"now_ms": NOW + AGE_MS + 1}, "expected a time within 10 minutes of"),
        ({"now_ms": NOW - AGE_MS - 1}, "expected a time within 10 minutes of"),
        ({"obeyed": Obeyed(NOW, ("c1",))}, "expected a new id, got 'c1' again"),
        ({"obeyed": Obeyed(NOW + 1, ("c0",))}, "expected a time not before that of the last one"),
    ],
)
def test_what_is_old_foreign_retained_or_doubled_is_not(kw, why):
    assert judged(**kw).startswith(why)


def test_what_was_obeyed_outlives_the_process_and_its_file_damage(tmp_path):
    path = tmp_path / "commands.json"
    book = CommandBook(path)
    book.note("a", command(do="set-interval", interval_s=60), 10.0)
    again = CommandBook(path)
    assert again.of("a") == Obeyed(NOW, ("c1",), (10.0, 60.0))
    assert (again.interval_s("a", 10.0), again.interval_s("a", 20.0), again.interval_s("b", 10.0)) == (
        60,
        20,
        10,
    )
    damaged = '{"a": {"at": 1, "ids": [], "interval": %s}}'
    intervals = ("[]", "[10, NaN]", "[10, -5]", "[10, 1e400]", "[10, 0]", "[" * 100_000)
    for text in ("", "{", "[]", '{"a": 1}', '{"a": {"at": 1}}', *(damaged % text for text in intervals)):
        path.write_text(text)
        assert CommandBook(path).of("a") == Obeyed()


@pytest.mark.parametrize(
    "kw",
    [
        {"do": "set-interval"},
        {"interval_s": 60},
        {"do": "set-interval", "interval_s": 0.01},
        {"do": "reboot"},
    ],
)
def test_commands_that_make_no_sense_are_none(kw):
    with pytest.raises(ValidationError):
        command(**kw)


def test_each_is_obeyed_once_and_the_state_says_so(server, broker, tmp_path):  # noqa: F811
    """Over a real broker, with a restart between: replayed commands change nothing."""
    units = [(device("a", interval_s=0.05), Counting()), (device("b", interval_s=0.05), Counting())]
    with Running(broker.port, tmp_path, units) as running:
        until(lambda: len(server.stored["a"]) > 2)
        asked = server.say(TOPIC, do="diagnose")
        until(lambda: any(s.get("command") == asked["id"] for s in server.states["a"]))
        (found,) = [s["diagnosis"] for s in server.states["a"] if "diagnosis" in s]
        assert found["interval_s"] == 0.05
        assert found["last_error"] == ""
        assert abs(found["clock"] - asked["at"]) < 60_000
        slow = server.say(TOPIC, do="set-interval", interval_s=3600)
        until(lambda: server.births["a"][-1]["interval_s"] == 3600)
        for _ in range(2):  # what was read before may come after it
            count, before = len(server.stored["a"]), len(server.stored["b"])
            until(lambda before=before: len(server.stored["b"]) > before + 20)
        assert len(server.stored["a"]) <= count + 1
        back = server.say(TOPIC, do="set-interval", interval_s=1)
        until(lambda: server.births["a"][-1]["interval_s"] == 1)
    with Running(broker.port, tmp_path, [(device("a", interval_s=0.05), Counting())]) as running:
        until(lambda: server.births["a"][-1]["interval_s"] == 1 and len(server.stored["a"]) > count + 3)
        births = len(server.births["a"])
        server.say(TOPIC, **slow)
        server.say(TOPIC, **back)
        server.say(TOPIC, do="set-interval", interval_s=7, at=back["at"] - 2 * AGE_MS)
        server.say(TOPIC, do="set-interval", interval_s=7, boot=1)
        server.say("hearthline/v1/r1/u1/b/command", do="set-interval", interval_s=7)
        until(lambda: running.fleet.complaints.counts["command a"] == 4)
        assert len(server.births["a"]) == births
    server.say(TOPIC, do="set-interval", interval_s=7, retain=True)
    with Running(broker.port, tmp_path, [(device("a", interval_s=0.05), Counting())]) as running:
        until(lambda: running.fleet.complaints.counts["command a"] == 1)
        assert "got a retained one" in " ".join(running.said)
        assert server.births["a"][-1]["interval_s"] == 1


def test_a_topic_that_is_no_text_is_passed_over():
    """A broker may send whatever it likes: the collector of all devices does not end by it."""
    heard = []

    peer = SimpleNamespace(heard=lambda topic, *_, **__: heard.append(topic))
    link = Link(None, peer)
    for topic in (b"\xff\xfe", b"ack"):
        link._on_message(None, None, MQTTMessage(topic=topic))
    assert heard == ["ack"]
    with driving("sparkplug", SPARKPLUG, device_class="substation") as driver:
        for topic in (b"\xff\xfe", b"spBv1.0/g/NDEATH/n"):
            driver._on_message(None, None, MQTTMessage(topic=topic))
        assert [topic for topic, _ in driver._heard] == ["spBv1.0/g/NDEATH/n"]
        assert driver.complaints.counts == {"d1 topic": 1}
        for _ in range(MOST_WAITING):
            driver._on_message(None, None, MQTTMessage(topic=b"spBv1.0/g/NDATA/n"))
        assert driver.complaints.counts == {"d1 topic": 1, "d1 full": 1}, "what is dropped is counted"
