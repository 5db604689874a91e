"""From a real broker to the journal: the broker and the collectors are told only after the commit."""

import json
import threading
import time

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from ingest import service
from ingest.broker import EmbeddedBroker
from ingest.endpoint import Endpoint
from ingest.messages import ClockMode, Message
from ingest.service import Ingest
from journal.protocol import Append, JournalError
from journal.sqlite import SqliteJournal
from models.frame import REFUSED_STREAM, Frame, FrameKind
from models.wire import Command
from tests.support.mosquitto import Mosquitto, free_port
from tests.support.payloads import BOOT, NOW, event, site, state, telemetry, topic
from tests.support.waiting import PATIENCE_S, until


def clock():
    return NOW


class Gate:
    """A journal that keeps, refuses or holds back what it is given."""

    def __init__(self, journal):
        self._journal = journal
        self.open = threading.Event()
        self.open.set()
        self.fault = None
        self.refused = 0

    def append(self, items):
        if any(Frame.decode(i.frame).kind in (FrameKind.TELEMETRY, FrameKind.REFUSAL) for i in items):
            self.open.wait(PATIENCE_S)
            if self.fault is not None:
                self.refused += 1
                raise self.fault
        return self._journal.append(items)

    def __getattr__(self, name):
        return getattr(self._journal, name)


@pytest.fixture
def journal(tmp_path):
    opened = SqliteJournal(tmp_path / "journal.sqlite3", clock)
    yield opened
    opened.close()


@pytest.fixture
def gate(journal):
    return Gate(journal)


@pytest.fixture(params=["mosquitto", "embedded"])
def broker(request):
    with Mosquitto() if request.param == "mosquitto" else EmbeddedBroker() as started:
        yield started


@pytest.fixture
def mosquitto():
    with Mosquitto() as started:
        yield started


class Device:
    """A client that publishes at QoS 1 and hears acknowledgements."""

    def __init__(self, port, client_id="device"):
        self.acks = []
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=client_id)
        self.client.max_inflight_messages_set(1000)
        self.client.on_message = lambda _c, _d, m: self.acks.append(
            (m.topic, json.loads(m.payload), m.retain)
        )
        self.client.connect("127.0.0.1", port)
        self.client.subscribe("hearthline/v1/+/+/+/ack", 1)
        self.client.loop_start()

    def send(self, *messages):
        for message in messages:
            info = self.client.publish(message.topic, message.payload, qos=1, retain=message.retained)
            info.wait_for_publish(PATIENCE_S)

    def acked(self, boot=BOOT):
        """Every acknowledged number of `boot`, by device."""
        numbers = {}
        for topic_, ack, _ in self.acks:
            if ack["boot"] == boot:
                spans = [range(first, last + 1) for first, last in ack["ranges"]]
                numbers.setdefault(topic_.split("/")[4], set()).update(n for span in spans for n in span)
        return numbers

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def devices():
    opened = []

    def make(port, client_id="device"):
        opened.append(Device(port, client_id))
        return opened[-1]

    yield make
    for device in opened:
        device.close()


@pytest.fixture
def ingests():
    started = []

    def make(journal, port, **options):
        endpoint = Endpoint("127.0.0.1", port)
        started.append(
            Ingest(journal, options.pop("site", site()), endpoint, options.pop("clock", clock), **options)
        )
        started[-1].start()
        return started[-1]

    yield make
    for ingest in started:
        ingest.stop()


def up(ingest):
    until(lambda: ingest.ready and ingest.status.state == "ok", what=str(ingest.status))


def rows(journal, kind=FrameKind.TELEMETRY):
    frames = [(r, Frame.decode(r.frame)) for r in journal.scan()]
    return [{"stream": r.stream, **row} for r, f in frames if f.kind is kind for row in f.batch.to_pylist()]


def seqs(journal, device="sub-1"):
    return [row["seq"] for row in rows(journal) if row["device"] == device]


def test_from_device_to_journal_and_back(broker, journal, devices, ingests):
    ingest = ingests(journal, broker.port)
    up(ingest)
    device = devices(broker.port)
    messages = [telemetry("sub-1", n, supply_c=float(n)) for n in range(1, 51)]
    device.send(*messages, telemetry("sub-3", 1), state("sub-1", 51), telemetry("sub-1", 60, supply_c="no"))
    until(lambda: device.acked() == {"sub-1": {*range(1, 51), 60}, "sub-3": {1}}, what=str(device.acks))
    assert not any(retained for _, _, retained in device.acks)
    assert sorted(seqs(journal)) == list(range(1, 51))
    assert [row["device"] for row in rows(journal, FrameKind.EVENT)] == ["sub-1"]
    assert [row["reason"] for row in rows(journal, FrameKind.REFUSAL)] == ["schema"]
    status = ingest.status
    assert (status.received, status.journalled, status.samples, status.events) == (53, 53, 51, 1)
    assert status.refused == {"schema": 1}
    assert status.rate_per_s > 0


def test_what_the_broker_lets_through_and_we_do_not(broker, journal, devices, ingests):
    device = devices(broker.port)
    device.send(
        telemetry("sub-2", 9, retained=True),
        event("sub-2", "birth", True, at=NOW, **{"class": "x"}, interval_s=1),
    )
    up(ingests(journal, broker.port))
    big = b'{"boot": 1, "seq": 2, "samples": []' + b" " * 300 * 1024 + b"}"
    device.send(telemetry("sub-1", 1), Message(topic("sub-1"), big), Message(topic("sub-1"), b"no json"))
    device.send(Message("hearthline/v1/r1/u1/站/telemetry", b"{}"), telemetry("sub-1", 3))
    until(lambda: device.acked().get("sub-1") == {1, 3} and device.acked(boot=1) == {"sub-1": {2}})
    assert sorted(seqs(journal)) == [1, 3]
    until(lambda: len(rows(journal, FrameKind.REFUSAL)) == 4)
    reasons = {row["reason"]: row["stream"] for row in rows(journal, FrameKind.REFUSAL)}
    assert reasons == {
        "retained": REFUSED_STREAM,
        "too_large": "u1",
        "not_json": REFUSED_STREAM,
        "unknown_device": REFUSED_STREAM,
    }
    assert "sub-2" not in device.acked()
    until(lambda: [row["kind"] for row in rows(journal, FrameKind.EVENT)] == ["birth"])


def inflight(port, client_id, least=0):
    """What the broker still holds for a session, by taking it over; at `least` so many are waited for."""
    got = []
    client = mqtt.Client(
        CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=False, manual_ack=True
    )
    client.on_message = lambda _c, _d, m: got.append((m.topic, m.payload))
    client.connect("127.0.0.1", port)
    client.loop_start()
    until(lambda: len(got) >= least)
    time.sleep(0.5)
    client.disconnect()
    client.loop_stop()
    return got


@pytest.mark.parametrize("how", ["held", "refused"])
def test_no_puback_before_the_commit(mosquitto, gate, devices, ingests, how):
    ingest = ingests(gate, mosquitto.port, client_id="front")
    up(ingest)
    device = devices(mosquitto.port)
    if how == "held":
        gate.open.clear()
    else:
        gate.fault = JournalError("journal x: cannot append: database or disk is full")
    messages = [telemetry("sub-1", n) for n in range(1, 11)]
    device.send(*messages)
    until(lambda: len(ingest._intake) == 0 and ingest.status.received == 10)
    time.sleep(0.3)
    assert not device.acks
    assert not seqs(gate)
    held = inflight(mosquitto.port, "front", 10)  # takes the session away, as a second server would
    assert sorted(held) == sorted((m.topic, m.payload) for m in messages)
    gate.fault = None
    gate.open.set()
    until(lambda: device.acked() == {"sub-1": set(range(1, 11))})
    assert set(seqs(gate)) == set(range(1, 11))
    until(lambda: ingest.status.journalled == 20)  # once more, because the first connection was taken away

    def told_of_all():
        until(lambda: ingest.status.state == "ok")
        time.sleep(0.3)
        return inflight(mosquitto.port, "front") == []

    until(told_of_all, "the broker is told of all")


def test_a_refusing_journal_is_degraded_and_then_caught_up(mosquitto, gate, devices, ingests):
    ingest = ingests(gate, mosquitto.port)
    up(ingest)
    gate.fault = JournalError("journal x: cannot append: database or disk is full")
    device = devices(mosquitto.port)
    device.send(*(telemetry("sub-1", n) for n in range(1, 6)))
    until(lambda: ingest.status.state == "degraded")
    assert "database or disk is full" in ingest.status.detail
    until(lambda: gate.refused >= 2)
    assert ingest.status.journalled == 0
    gate.fault = None
    until(lambda: ingest.status.state == "ok")
    assert sorted(seqs(gate)) == [1, 2, 3, 4, 5]
    until(lambda: device.acked() == {"sub-1": {1, 2, 3, 4, 5}})


def test_a_restarted_broker_gets_no_acknowledgement_of_another_connection(mosquitto, gate, devices, ingests):
    ingest = ingests(gate, mosquitto.port, client_id="front")
    up(ingest)
    device = devices(mosquitto.port)
    gate.open.clear()
    connection = ingest._subscriber._epoch
    device.send(*(telemetry("sub-1", n) for n in range(1, 6)))
    until(lambda: ingest.status.received == 5)
    mosquitto.restart(wipe=True)  # numbers of messages begin at 1 again
    until(lambda: ingest._subscriber._epoch > connection and ingest.status.state == "ok")
    device.send(*(telemetry("sub-1", n) for n in range(11, 16)))
    until(lambda: ingest.status.received == 10)
    acknowledged = []
    ack = ingest._subscriber._client.ack_all
    ingest._subscriber._client.ack_all = lambda mids: acknowledged.extend(mids) or ack(mids)
    gate.open.set()
    until(lambda: sorted(seqs(gate)) == [1, 2, 3, 4, 5, 11, 12, 13, 14, 15])
    until(lambda: len(acknowledged) >= 5)
    time.sleep(0.5)
    assert acknowledged == [1, 2, 3, 4, 5]  # each once: those of the new connection
    assert ingest.status.state == "ok"


def test_an_unreachable_broker_is_degraded_and_found_when_it_comes(journal, devices, ingests):
    port = free_port()
    ingest = ingests(journal, port)
    until(lambda: "expected a broker there" in ingest.status.detail)
    assert ingest.status.state == "degraded"
    with EmbeddedBroker(port):
        until(lambda: ingest.status.state == "ok")
        device = devices(port)
        device.send(telemetry("sub-1", 1))
        until(lambda: seqs(journal) == [1])
    until(lambda: ingest.status.state == "degraded")


def test_messages_that_came_while_the_server_was_away(mosquitto, journal, devices, ingests):
    first = ingests(journal, mosquitto.port)
    up(first)
    first.stop()
    device = devices(mosquitto.port)
    device.send(*(telemetry("sub-1", n) for n in range(1, 31)))
    up(ingests(journal, mosquitto.port))
    until(lambda: sorted(seqs(journal)) == list(range(1, 31)))


def test_stop_journals_what_has_come(mosquitto, journal, devices, ingests):
    ingest = ingests(journal, mosquitto.port, flush_s=5.0)
    up(ingest)
    device = devices(mosquitto.port)
    device.send(*(telemetry("sub-1", n) for n in range(1, 6)))
    until(lambda: ingest.status.received == 5)
    ingest.stop()
    assert seqs(journal) == [1, 2, 3, 4, 5]


def test_a_message_that_breaks_the_decoder_ends_as_a_dead_letter(
    mosquitto, journal, devices, ingests, monkeypatch
):
    ingest = ingests(journal, mosquitto.port)
    up(ingest)
    decode = ingest._decoder.decode_columns

    def brittle(topics, payloads, **options):
        if any(b"poison" in payload for payload in payloads.to_pylist()):
            raise RuntimeError("a fault of ours")
        return decode(topics, payloads, **options)

    monkeypatch.setattr(ingest._decoder, "decode_columns", brittle)
    device = devices(mosquitto.port)
    device.send(telemetry("sub-1", 1), telemetry("sub-1", 2, poison=1), telemetry("sub-1", 3))
    until(lambda: sorted(seqs(journal)) == [1, 3])
    (row,) = until(lambda: rows(journal, FrameKind.REFUSAL))
    assert b"poison" in row["payload"]
    assert ingest.status.state == "ok"


def test_a_fault_of_ours_before_the_decoder_is_tried_again(mosquitto, journal, devices, ingests, monkeypatch):
    make = service.columns_of
    faults = [AttributeError("a library that another thread is importing")]

    def columns_of(batch):
        if batch and faults:
            raise faults.pop()
        return make(batch)

    ingest = ingests(journal, mosquitto.port)
    up(ingest)
    monkeypatch.setattr(service, "columns_of", columns_of)
    device = devices(mosquitto.port)
    device.send(*(telemetry("sub-1", n) for n in range(1, 31)))  # more than Mosquitto has out at a time
    until(
        lambda: device.acked().get("sub-1") == set(range(1, 31)), what="the broker waits for what was dropped"
    )
    until(lambda: ingest.status.state == "ok")
    assert not faults
    assert sorted(seqs(journal)) == list(range(1, 31))


def test_registry_once_and_heartbeats_while_nothing_comes(mosquitto, journal, ingests):
    now = [NOW]
    first = ingests(journal, mosquitto.port, clock=lambda: now[0])
    up(first)
    first.stop()
    now[0] += 5000
    second = ingests(journal, mosquitto.port, clock=lambda: now[0])
    up(second)
    until(lambda: all(ms == NOW + 5000 for _, ms in journal.streams().values()))
    second.stop()
    registries = [r.stream for r in journal.scan() if Frame.decode(r.frame).kind is FrameKind.REGISTRY]
    assert registries == list(site().streams)
    other = site()
    object.__setattr__(other, "texts", {**other.texts, "pipes.csv": ""})
    up(ingests(journal, mosquitto.port, site=other))
    assert len(journal.registries()) == 2 * len(site().streams)
    assert REFUSED_STREAM not in journal.streams()


def test_heartbeats_come_once_a_second_and_only_where_nothing_is_written(
    mosquitto, journal, devices, ingests
):
    up(ingests(journal, mosquitto.port))
    device = devices(mosquitto.port)
    began = said = time.monotonic()
    pauses, n = 0, 0

    def beats(stream):
        records = [r for r in journal.scan() if r.stream == stream]
        return sum(Frame.decode(r.frame).kind is FrameKind.HEARTBEAT for r in records)

    while n < 30 or beats("u2") < 2:
        n += 1
        assert n < 600, "no heartbeat in a minute"
        device.send(telemetry("sub-1", n))
        until(lambda n=n: seqs(journal)[-1:] == [n])
        pauses += int(
            time.monotonic() - said
        )  # of the machine: a stream that is silent for a second has a beat
        said = time.monotonic()
        time.sleep(0.1)
    assert beats("u2") <= time.monotonic() - began + 3
    assert beats("u1") <= pauses + 2


def test_the_data_clock(mosquitto, journal, devices, ingests):
    up(ingests(journal, mosquitto.port, clock_mode=ClockMode.DATA))
    device = devices(mosquitto.port)
    device.send(telemetry("sub-1", 1, [{"t": 5000, "supply_c": 1}]))
    until(lambda: journal.streams()["u1"][1] == 5000)
    device.send(telemetry("sub-1", 2, [{"t": 4000, "supply_c": 1}]))
    until(lambda: seqs(journal) == [1, 2])
    assert journal.streams()["u1"][1] == 5000
    assert journal.streams()["u2"][1] == 0
    time.sleep(1.5)
    assert all(Frame.decode(r.frame).kind is not FrameKind.HEARTBEAT for r in journal.scan())


def test_a_stream_that_falls_quiet_on_the_data_clock_is_told_so_once(mosquitto, journal, devices, ingests):
    up(ingests(journal, mosquitto.port, clock_mode=ClockMode.DATA, say_quiet=True))
    device = devices(mosquitto.port)

    def beats():
        frames = [(r.stream, r.timestamp_ms, Frame.decode(r.frame).kind) for r in journal.scan()]
        return [(stream, ms) for stream, ms, kind in frames if kind is FrameKind.HEARTBEAT]

    device.send(telemetry("sub-1", 1, [{"t": 5000, "supply_c": 1}]))
    until(lambda: beats() == [("u1", 5000)], what="a heartbeat that does not move now")
    device.send(telemetry("sub-1", 2, [{"t": 6000, "supply_c": 1}]))
    until(lambda: beats() == [("u1", 5000), ("u1", 6000)])
    time.sleep(1.5)
    assert len(beats()) == 2


def test_submit_takes_the_same_path(journal):
    ingest = Ingest(journal, site(), None, clock)
    decoded = ingest.submit([telemetry("sub-1", 1), telemetry("sub-1", 2, lat_deg=1.0)])
    assert (decoded.accepted.messages, dict(decoded.refused)) == (1, {"wrong_class": 1})
    assert seqs(journal) == [1]
    assert len(journal.registries()) == len(site().streams)
    assert ingest.status.journalled == 2
    ingest.stop()


def test_submit_says_when_the_journal_refuses(gate):
    gate.fault = JournalError("full")
    ingest = Ingest(gate, site(), None, clock)
    with pytest.raises(JournalError, match="full"):
        ingest.submit([telemetry("sub-1", 1)])
    assert ingest.status.journalled == 0


def test_two_ingests_share_the_load(mosquitto, tmp_path, devices, ingests):
    journals = [SqliteJournal(tmp_path / f"{n}.sqlite3", clock) for n in range(2)]
    for n, journal in enumerate(journals):
        up(ingests(journal, mosquitto.port, client_id=f"front-{n}", share_group="ingest"))
    device = devices(mosquitto.port)
    device.send(*(telemetry("sub-1", n) for n in range(1, 41)))
    until(lambda: sorted([*seqs(journals[0]), *seqs(journals[1])]) == list(range(1, 41)))
    assert all(seqs(journal) for journal in journals)


def test_a_wall_clock_that_steps_back_moves_no_record_back(journal):
    journal.append([Append("u1", Frame.heartbeat().encode(), NOW + 10_000)])
    ingest = Ingest(journal, site(), None, clock)
    ingest.submit([telemetry("sub-1", 1)])
    assert journal.streams()["u1"][1] == NOW + 10_000


@pytest.mark.parametrize("remembered", [False, True])
def test_a_broker_that_kept_no_session_for_us_has_collectors_send_again(
    broker, journal, devices, ingests, remembered
):
    if remembered:
        first = ingests(journal, broker.port)
        up(first)
        first.stop()
    device = devices(broker.port)
    heard = []
    device.client.message_callback_add("hearthline/v1/+/+/+/command", lambda _c, _d, m: heard.append(m))
    device.client.subscribe("hearthline/v1/+/+/+/command", 1)
    birth = {"at": NOW, "class": "substation", "interval_s": 10}
    device.send(event("sub-1", "birth", True, **birth), event("nobody", "birth", True, **birth))
    device.send(event("sub-2", "state", True, at=NOW, next_seq=2), event("sub-3", "birth", **birth))
    up(ingests(journal, broker.port))
    device.send(telemetry("sub-1", 1))
    until(lambda: device.acked() == {"sub-1": {1}})
    if remembered:
        assert not heard
        return
    (command,) = until(lambda: heard)
    assert (command.topic, command.retain) == (topic("sub-1", "command"), False)
    assert Command.model_validate_json(command.payload).ranges == []
