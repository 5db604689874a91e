"""A Kafka in memory, on a loopback port: librdkafka's mock cluster."""

from __future__ import annotations

import time
from typing import NamedTuple

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from tests.support.waiting import PATIENCE_S

__all__ = ["KafkaClient", "Kept", "MockKafka", "kafka"]

PRODUCING = {"linger.ms": 0, "partitioner": "murmur2_random"}


class Kept(NamedTuple):
    """One record of a topic."""

    partition: int
    offset: int
    key: bytes
    value: bytes
    timestamp_ms: int


class KafkaClient:
    """Appends to a cluster, and reads what it kept."""

    partitions = 4

    def __init__(self, bootstrap: str, producer: Producer | None = None):
        self.bootstrap = bootstrap
        self._producer = producer or Producer({"bootstrap.servers": bootstrap, **PRODUCING})
        self._consumers: dict[str, Consumer] = {}

    def append(
        self, topic: str, key: str | None, value: bytes, timestamp_ms: int, partition: int = -1
    ) -> None:
        self._producer.produce(topic, value, key, partition, timestamp=timestamp_ms)
        self._producer.poll(0)

    def flush(self) -> None:
        assert self._producer.flush(10) == 0

    def committed(self, group: str, topic: str) -> dict[int, int]:
        """Committed offset of each partition that has one."""
        asked = [TopicPartition(topic, partition) for partition in range(self.partitions)]
        found = self._consumer(group).committed(asked, timeout=PATIENCE_S)
        return {tp.partition: tp.offset for tp in found if tp.offset >= 0}

    def ends(self, topic: str) -> dict[int, int]:
        """Next offset of each partition that has records."""
        ends = {p: self._bounds(topic, p)[1] for p in range(self.partitions)}
        return {partition: end for partition, end in ends.items() if end > 0}

    def read(self, topic: str) -> list[Kept]:
        """Every record of a topic, partition by partition."""
        consumer = self._consumer("reader")
        kept = []
        for partition in range(self.partitions):
            low, high = self._bounds(topic, partition)
            consumer.assign([TopicPartition(topic, partition, low)])
            while low < high:
                message = consumer.poll(10)
                assert message is not None, f"{topic}/{partition}: expected record {low}, got none"
                assert message.error() is None, message.error()
                at = message.timestamp()[1]
                kept.append(Kept(partition, message.offset(), message.key(), message.value(), at))
                low = message.offset() + 1
        return kept

    def close(self) -> None:
        for consumer in self._consumers.values():
            consumer.close()
        self._consumers = {}
        self._producer = None

    def _consumer(self, group: str) -> Consumer:
        if group not in self._consumers:
            self._consumers[group] = Consumer(
                {
                    "bootstrap.servers": self.bootstrap,
                    "group.id": group,
                    "enable.auto.commit": False,
                    "auto.offset.reset": "earliest",
                }
            )
        return self._consumers[group]

    def _bounds(self, topic: str, partition: int) -> tuple[int, int]:
        return self._consumer("reader").get_watermark_offsets(
            TopicPartition(topic, partition), timeout=PATIENCE_S
        )


class MockKafka(KafkaClient):
    """One broker that lives as long as this object; it keeps the timestamps that producers give.

    It cannot make topics on request: asking for a topic's metadata makes it,
    with `partitions` partitions. Its groups are made for one member: for more,
    and for a broker that dies, there is the real one.
    """

    def __init__(self):
        producer = Producer({"bootstrap.servers": "mock:1", "test.mock.num.brokers": 1, **PRODUCING})
        broker = next(iter(producer.list_topics(timeout=PATIENCE_S).brokers.values()))
        super().__init__(f"{broker.host}:{broker.port}", producer)

    def make_topics(self, *names: str) -> None:
        for name in names:
            deadline = time.monotonic() + PATIENCE_S
            while len(self._producer.list_topics(name, timeout=PATIENCE_S).topics[name].partitions) != 4:
                assert time.monotonic() < deadline, f"topic {name} was not made in {PATIENCE_S:g} s"
                time.sleep(0.05)


@pytest.fixture
def kafka():
    """A cluster with the topic of frames."""
    cluster = MockKafka()
    cluster.make_topics("frames")
    yield cluster
    cluster.close()
