"""Real mail and webhook servers that refuse, hang, answer 500 and close after 200."""

import asyncio
import contextlib
import json
import socket
import threading
import time
from zoneinfo import ZoneInfo

import pytest
from aiosmtpd.controller import Controller

from alerts.channels import Fate, Message, email, webhook
from alerts.messages import Writer
from alerts.post import Pace, Post, unsent
from alerts.rules import Channel, Person, RuleSet
from store.records import Batch, Records
from tests.support.mosquitto import free_port
from tests.support.waiting import PATIENCE_S, until

HASTY_S = 3.0
"""A channel's time where one answer does not come and the next has to."""
FAST = Pace(first_s=0.05, longest_s=0.2, before_fallback=2, give_up_s=10 * PATIENCE_S)


class HookServer:
    """Speaks just enough HTTP to misbehave; counts what it has answered with 200."""

    def __init__(self, *manners):
        self.manners = list(manners)  # of the first requests; "ok" ever after
        self.arrived = []
        self.read = 0
        self.go_on = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection):
        manner = self.manners.pop(0) if self.manners else "ok"
        with connection:
            data = b""
            while b"\r\n\r\n" not in data:
                data += connection.recv(65536)
            head, _, body = data.partition(b"\r\n\r\n")
            length = int(
                next(x for x in head.split(b"\r\n") if x.lower().startswith(b"content-length")).split()[1]
            )
            while len(body) < length:
                body += connection.recv(65536)
            self.read += 1
            if manner == "hang":
                self.go_on.wait(PATIENCE_S)
                return
            if manner == "500":
                connection.sendall(b"HTTP/1.1 500 no\r\nContent-Length: 0\r\n\r\n")
                return
            self.arrived.append(json.loads(body))
            # "close": promises more than it gives, and goes.
            promised = b"1000" if manner == "close" else b"0"
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: " + promised + b"\r\n\r\n")

    def stop(self):
        self.go_on.set()
        self._socket.shutdown(socket.SHUT_RDWR)  # or its thread might take who calls the next test's
        self._socket.close()


class Mailbox:
    def __init__(self, *manners):
        self.manners = list(manners)
        self.arrived = []

    async def handle_EHLO(self, _server, session, _envelope, hostname, responses):  # noqa: N802  aiosmtpd's name
        session.host_name = hostname
        if self.manners and self.manners[0] == "mute":
            self.manners.pop(0)
            await asyncio.sleep(3)
        return responses

    async def handle_RCPT(self, _server, _session, envelope, address, _options):  # noqa: N802  aiosmtpd's name
        if self.manners and self.manners[0] == "refuse":
            self.manners.pop(0)
            return "550 not here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, _session, envelope):  # noqa: N802  aiosmtpd's name
        manner = self.manners.pop(0) if self.manners else "ok"
        if manner == "500":
            return "451 try again"
        if manner == "hang":
            await asyncio.sleep(3)
        if manner == "drop":
            server.transport.close()
            return "250 OK"
        self.arrived.append(envelope.content)
        if manner == "close":
            server.transport.write(b"250 OK\r\n")
            server.transport.close()
        return "250 OK"


@pytest.fixture
def mail():
    started = []

    def start(*manners):
        box = Mailbox(*manners)
        controller = Controller(box, hostname="127.0.0.1", port=0)
        # Its own way of seeing whether it answers asks the port that was wanted, which was any.
        controller._trigger_server = lambda: socket.create_connection(
            controller.server.sockets[0].getsockname()[:2], 10
        ).close()
        controller.start()
        started.append(controller)
        box.url = f"smtp://127.0.0.1:{controller.server.sockets[0].getsockname()[1]}"
        return box

    yield start
    for controller in started:
        controller.stop()


@pytest.fixture
def hooks():
    started = []

    def start(*manners):
        started.append(HookServer(*manners))
        return started[-1]

    yield start
    for server in started:
        server.stop()


def letter(n=0, recipient="li", alarm="sub-1:pump_trip:0", note="raised", due_ms=0, severity="major"):
    body = {
        "alarm": alarm, "note": note, "at_ms": 1000 * n, "subject": alarm.split(":")[0], "code": "pump_trip",
        "severity": severity, "unit": "u1", "region": "r1", "first_ms": 0, "until_ms": 0, "score": 1.5, "owner": "",
        "provisional": False, "evidence": {"rule": "secondary Δp to 0"},
    }  # fmt: skip
    return {
        "id": f"{alarm}#{n}#{recipient}", "recipient": recipient, "alarm_id": alarm, "due_ms": due_ms,
        "delivery": "", "body": body,
    }  # fmt: skip


class Office:
    """A post with its records, on channels by id."""

    def __init__(self, where, *channels, limit=20, pace=FAST, wall=None):
        self.records = Records(where)
        person = Person("li", "李", "en", (channels[0].id,), limit_per_hour=limit)
        rules = RuleSet(persons={"li": person}, channels={c.id: c for c in channels})
        made = {"email": email.make, "webhook": webhook.make}
        senders = {c.id: made[c.kind](c) for c in channels}
        writer = Writer({"sub-1": "North"}, ZoneInfo("Asia/Shanghai"), "http://board.example")
        self.wall = wall or (lambda: round(time.time() * 1000))
        self.post = Post(self.records, rules, senders, writer, self.wall, pace)

    def give(self, *letters):
        self.records.save(Batch(letters=list(letters)))
        self.post.gather()

    def until(self, condition):
        until(condition, lambda: self.records.deliveries("waiting", "sending", "sent", "unconfirmed"))

    def states(self):
        return [
            r["state"]
            for r in self.records.deliveries("waiting", "sending", "sent", "unconfirmed", "given up")
        ]

    def close(self):
        self.post.stop(1)
        self.records.close()


def hook(id_, url, **more):
    return Channel(id_, "webhook", url, **{"timeout_s": PATIENCE_S} | more)


def post_box(id_, url, **more):
    more = {"timeout_s": PATIENCE_S} | more
    return Channel(id_, "email", url, ("li@example.org",), "alerts@example.org", **more)


@pytest.mark.parametrize("manners", [["ok"], ["500", "500"], ["close"], ["500", "close"]])
def test_a_webhook_gets_every_alert_once(records_at, hooks, manners):
    server = hooks(*manners)
    office = Office(records_at, hook("a", server.url))
    office.post.start()
    office.give(letter())
    office.until(lambda: office.states() == ["sent"])
    time.sleep(0.3)
    office.close()
    assert [m["alarms"][0]["alarm"] for m in server.arrived] == ["sub-1:pump_trip:0"]
    assert "North (sub-1)" in server.arrived[0]["subject"]
    assert "http://board.example/alarms?lang=en&alarm=sub-1%3Apump_trip%3A0" in server.arrived[0]["text"]


def test_a_webhook_that_hangs_is_not_asked_twice_and_is_shown(records_at, hooks):
    server = hooks("hang")
    office = Office(records_at, hook("a", server.url, timeout_s=0.5))
    office.post.start()
    office.give(letter())
    office.until(lambda: office.states() == ["unconfirmed"])
    time.sleep(0.3)
    office.close()
    assert server.read == 1
    assert "expected an answer" in unsent(Records(records_at), 0)[0]["error"]


def test_a_webhook_that_knows_our_ids_is_asked_again(records_at, hooks):
    server = hooks("hang")
    office = Office(records_at, hook("a", server.url, retry_unconfirmed=True, timeout_s=HASTY_S))
    office.post.start()
    office.give(letter())
    office.until(lambda: office.states() == ["sent"])
    office.close()
    assert len(server.arrived) == 1


def test_what_refuses_is_shown_and_falls_back(records_at, hooks, mail):
    box = mail()
    office = Office(
        records_at, hook("a", f"http://127.0.0.1:{free_port()}/", fallback="b"), post_box("b", box.url)
    )
    office.post.start()
    office.give(letter())
    office.until(lambda: office.states() == ["sent"])
    tried = office.records.deliveries("sent")[0]["body"]["tried"]
    office.close()
    assert [(t["channel"], t["attempts"]) for t in tried] == [("a", 2)]
    assert len(box.arrived) == 1


def test_what_refuses_and_has_no_fallback_waits_visibly(records_at):
    office = Office(records_at, hook("a", f"http://127.0.0.1:{free_port()}/"))
    office.post.start()
    office.give(letter())
    office.until(lambda: unsent(office.records, 0) and unsent(office.records, 0)[0]["attempts"] >= 2)
    office.close()
    assert office.states() == ["waiting"]


@pytest.mark.parametrize("manners", [["ok"], ["refuse", "ok"], ["500", "500"], ["close"]])
def test_a_mailbox_gets_every_alert_once(records_at, mail, manners):
    box = mail(*manners)
    office = Office(records_at, post_box("a", box.url))
    office.post.start()
    office.give(letter())
    office.until(lambda: office.states() == ["sent"])
    time.sleep(0.3)
    office.close()
    assert len(box.arrived) == 1
    assert b"Message-ID: <" in box.arrived[0]


def test_a_mail_server_that_goes_without_a_word_is_shown(records_at, mail):
    box = mail("drop")
    office = Office(records_at, post_box("a", box.url))
    office.post.start()
    office.give(letter())
    office.until(lambda: office.states() == ["unconfirmed"])
    assert unsent(office.records, 0)
    office.close()


def test_a_channel_that_hangs_holds_up_no_other(records_at, hooks):
    slow, quick = hooks(*["hang"] * 20), hooks()
    office = Office(records_at, hook("a", slow.url), hook("b", quick.url))
    office.post.start()
    office.give(*(letter(n, alarm=f"sub-{n}:pump_trip:0") for n in range(3)))
    office.give(letter(9, recipient="siren:b", alarm="sub-9:pump_trip:0"))
    office.until(lambda: len(quick.arrived) == 1)
    assert slow.read <= 1, "the first of the other channel still waits for its answer"
    slow.go_on.set()
    office.close()


def test_what_was_under_way_at_a_crash_is_shown_and_not_sent_twice(records_at, hooks):
    server = hooks()
    office = Office(records_at, hook("a", server.url))
    office.give(letter())
    office.records.update(office.records.deliveries("waiting")[0]["id"], state="sending")
    office.post.start()  # the start after
    office.until(lambda: office.states() == ["unconfirmed"])
    office.close()
    assert not server.arrived


def test_letters_that_are_due_together_are_one_message_and_an_end_goes_with_its_beginning(records_at, hooks):
    server = hooks()
    office = Office(records_at, hook("a", server.url))
    office.give(
        letter(0), letter(1, alarm="sub-2:pump_trip:0", severity="critical"),
        letter(2, note="cleared", due_ms=2**45), letter(3, alarm="sub-3:pump_trip:0", due_ms=2**45),
    )  # fmt: skip
    office.post.start()
    office.until(lambda: office.states() == ["sent"])
    office.close()
    (message,) = server.arrived
    assert [a["note"] for a in message["alarms"]] == ["raised", "raised", "cleared"]
    assert message["subject"].startswith("2 alarms: [critical] sub-2")
    assert "raised, and cleared since" in message["text"]
    assert [x["alarm_id"] for x in office.records.letters()] == ["sub-3:pump_trip:0"]


def test_more_than_a_person_can_bear_is_a_digest_and_the_highest_severity_is_not_held(records_at, hooks):
    server, now = hooks(), [10_000_000]
    office = Office(records_at, hook("a", server.url), limit=2, wall=lambda: now[0])
    for n in range(6):
        office.give(letter(n, alarm=f"sub-{n}:pump_trip:0"))
    assert len(office.records.deliveries("waiting")) == 2
    office.give(letter(7, alarm="sub-7:pump_trip:0", severity="critical", due_ms=now[0]))
    assert len(office.records.deliveries("waiting")) == 3
    now[0] += 3_600_001
    office.give(letter(8, alarm="sub-8:pump_trip:0"))
    office.post.start()
    office.until(lambda: len(server.arrived) == 4 or office.states() == ["sent"] * len(office.states()))
    office.close()
    told = [a["alarm"] for m in server.arrived for a in m["alarms"]]
    assert sorted(told) == sorted(f"sub-{n}:pump_trip:0" for n in (0, 1, 2, 3, 4, 5, 7, 8))
    assert len(told) == len(set(told))


def test_messages_are_forgotten_after_their_time_and_what_waits_is_not(records_at):
    office = Office(records_at, hook("a", "http://127.0.0.1:1/"))
    office.give(letter(0, alarm="sub-0:pump_trip:0"))
    office.give(letter(1, alarm="sub-1:pump_trip:0"))
    first, second = office.records.deliveries("waiting")
    office.records.update(first["id"], state="sent", ended_ms=1000)
    office.records.expire(1001)
    assert [d["id"] for d in office.records.deliveries("sent", "waiting")] == [second["id"]]
    assert not office.records.letters()
    office.close()


def test_a_message_made_again_after_a_crash_is_the_same_message(records_at, hooks):
    office = Office(records_at, hook("a", "http://127.0.0.1:1/"))
    office.give(letter())
    (first,) = office.records.deliveries("waiting")
    office.records.save(Batch(letters=[letter()]))
    office.post.gather()
    assert [d["id"] for d in office.records.deliveries("waiting")] == [first["id"]]
    office.close()


def test_what_waits_on_a_channel_that_the_rules_no_longer_have_goes_on_another(records_at, hooks):
    server = hooks()
    before = Office(records_at, hook("old", "http://127.0.0.1:9/"))
    before.give(letter())
    before.close()
    after = Office(records_at, hook("new", server.url))
    after.post.start()
    after.until(lambda: after.states() == ["sent"])
    after.close()
    assert len(server.arrived) == 1


def test_what_waits_for_somebody_whom_the_rules_no_longer_have_is_shown(records_at, hooks):
    before = Office(records_at, hook("old", "http://127.0.0.1:9/"))
    before.give(letter(recipient="siren:old"))
    before.close()
    after = Office(records_at, hook("new", hooks().url))
    after.post.start()
    (shown,) = unsent(after.records, 0)
    after.close()
    assert shown["error"] == "expected a channel of the rules, got 'old'"


@pytest.mark.parametrize("make", [hook, post_box])
def test_a_server_that_trickles_is_cut_off(make, trickling):
    scheme = "http" if make is hook else "smtp"
    channel = make("a", f"{scheme}://127.0.0.1:{trickling}", timeout_s=0.5)
    began = time.monotonic()
    sender = webhook.make(channel) if make is hook else email.make(channel)
    outcome = sender.send(Message("m1", "subject", "text", 0))
    # It would trickle for five minutes, and no pause of it is as long as the timeout.
    assert time.monotonic() - began < PATIENCE_S
    assert outcome.fate is (Fate.UNCONFIRMED if make is hook else Fate.REFUSED)


@pytest.fixture
def trickling():
    """Port of a server that says a byte now and then, and never comes to an end."""

    def one(connection):
        with connection, contextlib.suppress(OSError):
            connection.settimeout(0.3)
            with contextlib.suppress(TimeoutError):
                connection.recv(65536)
            for byte in b"HTTP/1.1 " + b" " * 2990:
                connection.sendall(bytes([byte]))
                time.sleep(0.1)

    def serve(server):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=one, args=(server.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, args=(server,), daemon=True).start()
        yield server.getsockname()[1]
