"""What an ingest says of its parts, by Kafka and a worker to a board; whoever has its login can do no more."""

from types import SimpleNamespace
from typing import get_args

import orjson
import pytest

from hearthline import parts_relayed
from hearthline.health import Part, Watch
from hearthline.ingest_health import IngestHealth
from hearthline.parts_relayed import PartsByKafka, PartsRelay, relayed
from hearthline.parts_told import PART, PartsTold, outputs_of, parts_elsewhere, parts_table
from ingest.status import IngestStatus
from journal.kafka import KafkaJournal
from journal.kafka_log import PARTS, KafkaLog
from journal.protocol import JournalError
from models.frame import Record
from models.results import SinkUnavailableError
from models.wording import worded
from store.duckdb_series import DuckdbSeries
from store.protocol import Select, StoreError, StoreUnavailableError
from tests.support.mock_kafka import MockKafka
from tests.support.waiting import until

T0 = 1_767_225_600_000
NAME = "ingest front-1 17"
LOST = worded("connection lost: {why}", why="Keep alive timeout")
FAR = worded("{n} messages, {time} behind", n="12", time=worded("{n} s", n="40"))
WAIT = worded("see that the broker runs and lets ingest in; collectors keep what comes meanwhile")


class Health:
    def __init__(self) -> None:
        self.watch = Watch(lambda: T0)

    def components(self):
        return self.watch.see([Part.judged("broker", [(LOST, FAR, WAIT)], worded("subscribed"))])

    def lag(self):
        return {"broker": {"stage": "journalled", "queued": 12, "lag_s": 40.5}}


@pytest.fixture
def kafka():
    cluster = MockKafka()
    yield cluster
    cluster.close()


@pytest.fixture
def store(tmp_path):
    made = DuckdbSeries(tmp_path / "series.duckdb")
    yield made
    made.close()


@pytest.fixture
def log(kafka):
    made = KafkaLog(kafka.bootstrap, PARTS)
    yield made
    made.close()


def message(**more):
    return orjson.dumps({"v": 1, "parts": [{"name": "broker", "state": "ok", **more}]})


def test_a_board_has_what_ingest_says_as_if_it_had_told_the_store_itself(kafka, log, store, tmp_path):
    kafka.make_topics(PARTS)
    direct = DuckdbSeries(tmp_path / "direct.duckdb")
    table = parts_table(NAME, Health().components(), Health().lag(), T0)
    direct.write([outputs_of(table)])
    expected = parts_elsewhere(direct, T0)
    direct.close()
    with PartsRelay(log, store, lambda: T0):
        journal = KafkaJournal(kafka.bootstrap, PARTS, partition=0)
        with PartsTold(Health(), PartsByKafka(journal, NAME), NAME, lambda: T0, every_s=0.02):
            until(lambda: store.select(Select(PART)).num_rows, "the worker has kept it")
            assert parts_elsewhere(store, T0) == expected
            assert expected[0]["what"].values["reason"].values["why"] == "Keep alive timeout"
        until(lambda: parts_elsewhere(store, T0) == [], "it stopped cleanly")
        journal.close()
    assert store.counts()[PART] == 1


def test_what_was_said_before_the_worker_came_is_no_news(kafka, log, store):
    kafka.make_topics(PARTS)
    kafka.append(PARTS, NAME, message(), T0, 0)
    kafka.flush()
    relay = PartsRelay(log, store, lambda: T0)
    assert relay.once() == 0.0
    assert store.select(Select(PART)).num_rows == 0
    kafka.append(PARTS, NAME, message(), T0, 0)
    kafka.flush()
    until(lambda: relay.once() == 0.0 and store.select(Select(PART)).num_rows, "what came since")


@pytest.mark.parametrize(("process", "said", "error"), [
    ("worker w 1", message(), "expected the name of an ingest"),
    ("ingest", message(), "expected the name of an ingest"),
    (f"{NAME}\n", message(), "expected the name of an ingest"),
    (NAME, b"{", "unexpected end"),
    (NAME, b"[" * 5000, "recursion|depth|nest"),
    (NAME, message(detail="?").replace(b'"?"', b"[" * 990 + b"]" * 990), "expected words"),
    (NAME, b'{"v": 2, "parts": []}', "'v': "),
    (NAME, orjson.dumps({"v": 1, "parts": [{"name": "broker", "state": "ok"}] * 17}), "'parts': "),
    (NAME, message(detail="x" * 40_000), "expected at most 32768 bytes"),
    (NAME, message(detail="x" * 2001), "expected at most 2000 characters"),
    (NAME, message(detail=7), "expected words"),
    (NAME, message(detail={"say": "{n:>999999999}", "with": {"n": "1"}}), "expected a name in braces"),
    (NAME, message(detail={"say": "{n.wording}", "with": {"n": "1"}}), "expected a name in braces"),
    (NAME, message(detail={"say": "{n!r}", "with": {"n": "1"}}), "expected a name in braces"),
    (NAME, message(detail={"say": "{n", "with": {"n": "1"}}), "expected '}'"),
    (NAME, message(detail={"say": "{n}", "with": {}}), "expected words"),
    (NAME, message(state="fine"), r"parts\.0\.state"),
    (NAME, message(name="../x"), r"parts\.0\.name"),
    (NAME, message(name="brokers"), r"parts\.0\.name"),
    (NAME, message(since=2**60), r"parts\.0\.since"),
    (NAME, message(since=253_402_300_800_000), r"parts\.0\.since"),
    (NAME, message(queued=-1), r"parts\.0\.queued"),
    (NAME, message(window_start=0), r"parts\.0\.window_start"),
])  # fmt: skip
def test_a_message_that_is_none_is_refused_with_its_reason(process, said, error):
    with pytest.raises(ValueError, match=error):
        relayed(process, said, T0)


def test_a_name_of_a_stranger_makes_no_line_of_the_log():
    with pytest.raises(ValueError, match="not permitted") as refused:
        relayed(NAME, message(**{"x\n2026 ERROR made up \x1b[31m" + "y" * 9000: 1}), T0)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 200


def deep(levels):
    told = "x"
    for _ in range(levels):
        told = {"say": "{n}", "with": {"n": told}}
    return told


def test_words_in_words_end_somewhere():
    assert relayed(NAME, message(detail=deep(6)), T0).num_rows == 1
    with pytest.raises(ValueError, match="expected words"):
        relayed(NAME, message(detail=deep(7)), T0)


def test_few_words_do_not_say_one_another_without_end():
    told = "x" * 10
    for _ in range(3):
        told = {"say": "{n}" * 10, "with": {"n": told}}
    with pytest.raises(ValueError, match="expected at most 2000 characters"):
        relayed(NAME, message(detail=told), T0)
    long = {"say": "", "with": {str(n): "x" * 500 for n in range(5)}}
    with pytest.raises(ValueError, match="expected at most 2000 characters"):
        relayed(NAME, message(detail=long), T0)
    assert relayed(NAME, message(detail={"say": "{n}, {n}", "with": {"n": "x" * 999}}), T0).num_rows == 1


def test_the_parts_that_ingest_has_are_those_that_are_kept():
    health = IngestHealth(lambda: T0)
    health.ingest = SimpleNamespace(status=IngestStatus("ok", "", 0, 0, 0, 0), ready=True)
    ready = {part["name"] for part in health.components()}
    health.ingest.ready = False
    names = ready | {part["name"] for part in health.components()}
    assert names == set(get_args(parts_relayed.PartName))


def test_no_message_takes_a_neighbours_with_it_and_names_have_an_end(kafka, log, store, caplog):
    kafka.make_topics(PARTS)
    relay = PartsRelay(log, store, lambda: T0)
    relay.once()
    kafka.append(PARTS, NAME, b"{", T0, 0)
    for n in range(40):
        kafka.append(PARTS, f"ingest many {n}", message(), T0, 0)
    kafka.append(PARTS, "ingest many 0", message(state="degraded"), T0, 0)
    kafka.flush()
    until(lambda: relay.once() == 0.0 and store.select(Select(PART)).num_rows == 32, "the first 32 of them")
    assert parts_elsewhere(store, T0)[0]["state"] == "degraded", "known ones go on"
    assert [r.levelname for r in caplog.records] == ["WARNING"] * 2


def test_what_is_refused_does_not_fill_the_log(kafka, log, store, caplog):
    kafka.make_topics(PARTS)
    relay = PartsRelay(log, store, lambda: T0)
    relay.once()
    for n in range(50):
        kafka.append(PARTS, f"not one {n}", message(), T0, 0)
    kafka.append(PARTS, NAME, message(), T0, 0)
    kafka.flush()
    until(lambda: relay.once() == 0.0 and store.select(Select(PART)).num_rows == 1, "the last of them")
    assert len(caplog.records) == 8


def test_a_store_or_kafka_that_is_away_is_waited_for(store):
    class Log:
        away = True

        def bounds(self):
            if self.away:
                raise JournalError("away")
            return 0, 5

        def follow(self, after, limit=1000, wait_s=0.5):  # noqa: ARG002
            return []

        def append(self, _items):
            raise JournalError("away")

    log = Log()
    with pytest.raises(SinkUnavailableError, match="away"):
        PartsByKafka(log, NAME).write([outputs_of(parts_table(NAME, Health().components(), {}, T0))])
    relay = PartsRelay(log, store, lambda: T0)
    assert relay.once() > 0
    log.away = False
    assert relay.once() == 0.0


def test_a_store_that_is_away_ends_nothing(kafka, log, store, monkeypatch):
    kafka.make_topics(PARTS)
    relay = PartsRelay(log, store, lambda: T0)
    relay.once()
    tries = []

    def away(_outputs):
        tries.append(1)
        raise StoreUnavailableError("away")

    kafka.append(PARTS, NAME, message(), T0, 0)
    kafka.flush()
    with monkeypatch.context() as patched:
        patched.setattr(store, "write", away)
        until(lambda: relay.once() == 0.0 and tries, "it tried")
    kafka.append(PARTS, NAME, message(), T0, 0)
    kafka.flush()
    until(lambda: relay.once() == 0.0 and store.select(Select(PART)).num_rows, "and goes on")


def test_what_a_store_that_was_away_did_not_take_is_written_when_it_is_back(kafka, log, store, monkeypatch):
    kafka.make_topics(PARTS)
    relay = PartsRelay(log, store, lambda: T0)
    relay.once()
    tries = []

    def away(_outputs):
        tries.append(1)
        raise StoreUnavailableError("away")

    kafka.append(PARTS, NAME, message(state="stopped"), T0, 0)
    kafka.flush()
    with monkeypatch.context() as patched:
        patched.setattr(store, "write", away)
        until(lambda: relay.once() == 0.0 and tries, "it tried")
    assert relay.once() == 0.0
    assert store.select(Select(PART)).column("state").to_pylist() == ["stopped"], "its last word"


def test_what_a_store_refuses_is_not_tried_again(kafka, log, store, monkeypatch):
    kafka.make_topics(PARTS)
    relay = PartsRelay(log, store, lambda: T0)
    relay.once()
    tries = []

    def refusing(_outputs):
        tries.append(1)
        raise StoreError("no")

    kafka.append(PARTS, NAME, message(), T0, 0)
    kafka.flush()
    monkeypatch.setattr(store, "write", refusing)
    until(lambda: relay.once() == 0.0 and tries, "it tried")
    relay.once()
    assert len(tries) == 1


class Told:
    """A log in memory, of which one look may fail."""

    def __init__(self):
        self.records, self.away = [], False

    def bounds(self):
        return 0, len(self.records)

    def follow(self, after, limit=1000, wait_s=0.5):  # noqa: ARG002
        if self.away:
            raise JournalError("away")
        return self.records[after + 1 :]

    def say(self, process, said):
        self.records.append(Record(process, len(self.records), T0, said))


def test_what_was_said_while_kafka_was_not_heard_is_no_news(store):
    log = Told()
    relay = PartsRelay(log, store, lambda: T0)
    relay.once()
    log.away = True
    relay.once()
    log.say(NAME, message(state="degraded"))
    log.away = False
    relay.once()
    assert store.select(Select(PART)).num_rows == 0, "at what time it was said only its writer knows"
    log.say(NAME, message())
    relay.once()
    assert parts_elsewhere(store, T0)[0]["state"] == "ok"


def test_each_message_is_heard_once(store, monkeypatch):
    log, writes = Told(), []
    relay = PartsRelay(log, store, lambda: T0)
    relay.once()
    monkeypatch.setattr(store, "write", writes.append)
    for n in range(3):
        log.say(f"ingest many {n}", message())
    relay.once()
    relay.once()
    assert len(writes) == 1


def test_after_a_quarter_of_an_hour_there_is_room_for_others_and_for_words(store, caplog):
    log, now_ms = Told(), [T0]
    relay = PartsRelay(log, store, lambda: now_ms[0])
    relay.once()
    for at_ms in (T0, T0 + 900_000):
        now_ms[0] = at_ms
        for n in range(32):
            log.say(f"ingest of-{at_ms} {n}", message())
            log.say(f"ingest of-{at_ms} {n}x", b"{")
        relay.once()
    assert store.select(Select(PART)).num_rows == 64
    assert len(caplog.records) == 16, "eight, and eight again"


def test_nothing_ends_it(kafka, log, store, monkeypatch, caplog):
    kafka.make_topics(PARTS)
    monkeypatch.setattr(parts_relayed, "_AGAIN_S", 0.05)
    write, failed = store.write, []

    def once_odd(outputs):
        if not failed:
            failed.append(1)
            raise RuntimeError("of a library")
        write(outputs)

    monkeypatch.setattr(store, "write", once_odd)

    def kept():
        kafka.append(PARTS, NAME, message(), T0, 0)
        kafka.flush()
        return store.select(Select(PART)).num_rows

    with PartsRelay(log, store, lambda: T0):
        until(kept, "the next message is kept")
    assert failed
    assert "RuntimeError: of a library" in caplog.text


def test_a_topic_that_is_missing_is_said_once(kafka, store, caplog):
    kafka.make_topics("frames")
    log = KafkaLog(kafka.bootstrap, "no-such-topic")
    relay = PartsRelay(log, store, lambda: T0)
    if relay.once() == 0.0:
        pytest.fail("expected a topic that nobody makes by asking for it")
    relay.once()
    assert len(caplog.records) == 1
    assert "make it with `hearthline worker --create-topics`" in caplog.text
    log.close()
