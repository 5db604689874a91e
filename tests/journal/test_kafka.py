"""Appending to Kafka, against librdkafka's cluster in memory."""

import asyncio

import pytest
from aiokafka import AIOKafkaConsumer

from ingest.messages import ClockMode
from ingest.service import Ingest
from journal.kafka import KafkaJournal
from journal.protocol import Append, JournalError
from models.frame import Frame, FrameKind
from tests.support.mock_kafka import kafka
from tests.support.mosquitto import free_port
from tests.support.payloads import NOW, site, telemetry

__all__ = ["kafka"]  # fixtures


def test_append_returns_when_it_is_delivered_and_keeps_a_stream_in_one_partition(kafka):
    journal = KafkaJournal(kafka.bootstrap)
    records = journal.append([Append(f"s{n % 5}", b"%d" % n, NOW + n) for n in range(50)])
    assert len(records) == 50
    kept = kafka.read("frames")
    assert len(kept) == 50
    for stream in range(5):
        mine = [k for k in kept if k.key == b"s%d" % stream]
        assert len({k.partition for k in mine}) == 1
        assert [k.value for k in mine] == [b"%d" % n for n in range(stream, 50, 5)]
    journal.close()


def test_ingest_appends_to_it(kafka):
    journal = KafkaJournal(kafka.bootstrap)
    ingest = Ingest(journal, site(), None, lambda: NOW)
    ingest.submit([telemetry("sub-1", 1)])
    kept = kafka.read("frames")
    kinds = [(k.key, Frame.decode(k.value).kind) for k in kept]
    assert (b"u1", FrameKind.TELEMETRY) in kinds
    assert [kind for key, kind in kinds if key == b"u1"] == [FrameKind.REGISTRY, FrameKind.TELEMETRY]
    journal.close()


def test_workers_can_read_what_it_compresses(kafka):
    """Workers read by another library, which has its codecs from a third."""
    journal = KafkaJournal(kafka.bootstrap)
    long = b"a frame that is worth compressing " * 200
    journal.append([Append("s", long)])

    async def first():
        consumer = AIOKafkaConsumer("frames", bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest")
        await consumer.start()
        try:
            return (await asyncio.wait_for(consumer.getone(), 30)).value
        finally:
            await consumer.stop()

    assert asyncio.run(first()) == long
    journal.close()


def test_on_the_data_clock_the_registry_holds_from_the_beginning_of_time(kafka):
    """To librdkafka a time of 0 is the present, after which all that is recorded would be late."""
    journal = KafkaJournal(kafka.bootstrap)
    Ingest(journal, site(), None, lambda: NOW, clock_mode=ClockMode.DATA).submit([telemetry("sub-1", 1)])
    times = {Frame.decode(k.value).kind: k.timestamp_ms for k in kafka.read("frames") if k.key == b"u1"}
    assert times[FrameKind.REGISTRY] <= 1 < times[FrameKind.TELEMETRY] <= NOW
    journal.close()


def test_no_broker_is_an_error_and_not_a_wait_for_ever():
    port = free_port()
    journal = KafkaJournal(
        f"127.0.0.1:{port}", timeout_s=1.0, config={"socket.connection.setup.timeout.ms": 1000}
    )
    with pytest.raises(JournalError, match=rf"journal 127.0.0.1:{port}/frames: cannot append"):
        journal.append([Append("a", b"1")])
    journal.close()


def test_a_record_beyond_kafkas_limit_is_an_error(kafka):
    journal = KafkaJournal(kafka.bootstrap)
    with pytest.raises(JournalError, match=r"cannot append: .*too large"):
        journal.append([Append("a", b"x" * 3_000_000)])
    journal.close()


def test_it_only_writes(kafka):
    journal = KafkaJournal(kafka.bootstrap)
    with pytest.raises(JournalError, match="workers read it"):
        journal.scan()
    journal.close()
