"""The journal of distributed mode, its writing side: one Kafka topic, one record a frame."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final, NoReturn

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from journal.protocol import Append, JournalError
from models.frame import EMPTIED_STREAMS, Record

__all__ = ["BEGINNING_MS", "PARTITIONER", "TOPIC", "KafkaJournal"]

TOPIC: Final = "frames"
PARTITIONER: Final = "murmur2_random"
"""Where a stream goes; the same for all that write, and Java's own choice for a key."""
BEGINNING_MS: Final = 1
"""Stands for 0, the beginning of time, which librdkafka and Faust take for no time given. [ms UTC]"""
_TIMEOUT_S: Final = 30.0
_MAX_RECORD_BYTES: Final = 2 * 1024 * 1024  # a message is never cut, so a frame may pass 512 KiB


class KafkaJournal:
    """Appends frames to `topic`, keyed by stream; Faust workers read it.

    The broker's append time (``message.timestamp.type=LogAppendTime``) is the
    record's time. Kafka keeps each record by itself: where `append` fails,
    some of its frames may stand in the topic, and again after the retry; they
    are recognised by (device, boot, seq) as any message that comes twice.

    Parameters
    ----------
    bootstrap : str
        Kafka's bootstrap servers.
    topic : str
    timeout_s : float
        How long `append` waits for all in-sync replicas before it says that it could not. [s]
    config : dict or None
        Further settings of librdkafka.
    partition : int or None
        Where all of it goes; None leaves that to the stream.
    """

    def __init__(
        self,
        bootstrap: str,
        topic: str = TOPIC,
        *,
        timeout_s: float = _TIMEOUT_S,
        config: dict[str, Any] | None = None,
        partition: int | None = None,
    ) -> None:
        self._bootstrap = bootstrap
        self._topic = topic
        self._timeout_s = timeout_s
        self._to = -1 if partition is None else partition  # -1 is for the library to choose
        self._lock = threading.Lock()
        self._log = logging.getLogger("hearthline.kafka")
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "acks": "all",
                "enable.idempotence": True,
                "partitioner": PARTITIONER,
                "compression.type": "zstd",
                "linger.ms": 5,
                "message.max.bytes": _MAX_RECORD_BYTES,
                "message.timeout.ms": int(timeout_s * 1000),
                **(config or {}),
            },
            logger=self._log,
        )

    def append(self, items: Sequence[Append]) -> list[Record]:
        """Send `items` and wait until all in-sync replicas have each; JournalError if one has not."""
        return self._append([(item, self._to) for item in items])

    def tell_emptied(self, frame: bytes, timestamp_ms: int) -> None:
        """Append a registry to each partition, for the streams there that have no device in it.

        Which these are is known to workers alone, who hold their state.
        """
        item = Append(EMPTIED_STREAMS, frame, timestamp_ms)
        try:
            topic = self._producer.list_topics(self._topic, timeout=self._timeout_s).topics[self._topic]
        except KafkaException as error:
            self._fail(error.args[0].str(), error)
        if topic.error is not None:
            self._fail(topic.error.str())
        self._append([(item, partition) for partition in sorted(topic.partitions)])

    def _append(self, items: Sequence[tuple[Append, int]]) -> list[Record]:
        """Send items, each to its partition, -1 being for the library to choose, and wait for them."""
        results: list[tuple[KafkaError | None, Message] | None] = [None] * len(items)

        def delivered(place: int) -> Any:
            def on_delivery(error: KafkaError | None, message: Message) -> None:
                results[place] = (error, message)

            return on_delivery

        deadline = time.monotonic() + self._timeout_s + 1
        with self._lock:
            for place, (item, partition) in enumerate(items):
                self._produce(item, partition, delivered(place), deadline)
            while any(result is None for result in results) and time.monotonic() < deadline:
                self._producer.flush(0.2)
            if any(result is None for result in results):
                self._producer.purge()
                self._producer.flush(1.0)
        return [self._record(item, result) for (item, _), result in zip(items, results, strict=True)]

    def _produce(self, item: Append, partition: int, on_delivery: Any, deadline: float) -> None:
        stamp = 0 if item.timestamp_ms is None else max(item.timestamp_ms, BEGINNING_MS)
        while True:
            try:
                self._producer.produce(
                    self._topic,
                    item.frame,
                    item.stream.encode(),
                    partition,
                    on_delivery=on_delivery,
                    timestamp=stamp,
                )
            except BufferError as error:
                if time.monotonic() > deadline:
                    self._fail("its queue is full", error)
                self._producer.poll(0.05)
            except KafkaException as error:
                self._fail(str(error.args[0]), error)
            else:
                self._producer.poll(0)
                return

    def _fail(self, what: str, cause: BaseException | None = None) -> NoReturn:
        msg = f"journal {self._bootstrap}/{self._topic}: cannot append: {what}"
        raise JournalError(msg) from cause

    def _record(self, item: Append, result: tuple[KafkaError | None, Message] | None) -> Record:
        if result is None:
            self._fail(f"no broker confirmed it within {self._timeout_s:.0f} s")
        error, message = result
        if error is not None:
            self._fail(error.str())
        offset, (_, timestamp_ms) = message.offset(), message.timestamp()
        return Record(item.stream, -1 if offset is None else offset, timestamp_ms, item.frame)

    def streams(self) -> dict[str, tuple[int, int]]:
        """Nothing: the broker gives records their times, and workers know the offsets."""
        return {}

    def read(self, stream: str, after: int, limit: int = 1000) -> list[Record]:
        """Not here: workers read the topic by partition."""
        self._only_writes(f"read {limit} records of {stream} after {after}")

    def scan(self) -> Iterator[Record]:
        """Not here: workers read the topic by partition."""
        self._only_writes("scan")

    def _only_writes(self, what: str) -> NoReturn:
        msg = f"journal {self._bootstrap}/{self._topic}: cannot {what}: workers read it, ingest only appends"
        raise JournalError(msg)

    def close(self) -> None:
        """Wait for what is under way."""
        self._producer.flush(self._timeout_s)
