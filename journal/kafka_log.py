"""A Kafka topic that is written and read as one log: what people do, and what alarms are made of."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

from confluent_kafka import OFFSET_INVALID, Consumer, KafkaError, KafkaException, Message, TopicPartition

from journal.kafka import KafkaJournal
from journal.protocol import Append, JournalError
from models.frame import Record

__all__ = ["ACTIONS", "CONDITIONS", "PARTS", "KafkaLog", "MissingTopicError"]

CONDITIONS: Final = "conditions"
"""What workers say is wrong, in order."""
ACTIONS: Final = "actions"
"""What people did about alarms, for ever."""
PARTS: Final = "parts"
"""What ingests say of how they fare, for workers to keep."""
_ASK_S: Final = 5.0
_ALL_AT_ONCE_S: Final = 0.02


class MissingTopicError(JournalError):
    """The topic is not there; says how it is made."""


class KafkaLog(KafkaJournal):
    """The journal of one topic, whose records have one order.

    All of it is in partition 0, whatever the number of partitions: the offset of a record is its place in the
    log. Records bear the time that their writer gave them where the topic keeps it
    (``message.timestamp.type=CreateTime``).

    Parameters
    ----------
    bootstrap, topic : str
    timeout_s : float
        As of `KafkaJournal`. [s]
    login : dict or None
        Further settings of librdkafka, for both its clients.
    """

    def __init__(
        self, bootstrap: str, topic: str, *, timeout_s: float = 10.0, login: dict[str, Any] | None = None
    ) -> None:
        super().__init__(bootstrap, topic, timeout_s=timeout_s, config=login, partition=0)
        self._reading = threading.RLock()
        self._next = OFFSET_INVALID
        self._last: dict[str, tuple[int, int]] | None = None
        self._consumer = Consumer({
            "bootstrap.servers": bootstrap,
            "group.id": f"hearthline-{topic}-reader",  # asked for by the library; nothing is committed
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "check.crcs": True,
            "fetch.wait.max.ms": 50,
            **(login or {}),
        }, logger=self._log)  # fmt: skip

    def append(self, items: Sequence[Append]) -> list[Record]:
        """As `KafkaJournal.append`; what it may have left in the topic when it fails is seen by `read`."""
        records = super().append(items)
        with self._reading:
            if self._last is not None:
                self._last.update({r.stream: (r.offset, r.timestamp_ms) for r in records})
        return records

    def bounds(self) -> tuple[int, int]:
        """First offset that is kept, and the next that will be given; JournalError when nobody answers."""
        try:
            with self._reading:
                topics = self._consumer.list_topics(self._topic, timeout=_ASK_S).topics
                if topics[self._topic].error is not None:
                    msg = (
                        f"topic {self._topic} on {self._bootstrap}: expected it to be there: "
                        "make it with `hearthline worker --create-topics`"
                    )
                    raise MissingTopicError(msg)
                part = TopicPartition(self._topic, 0)
                low, high = self._consumer.get_watermark_offsets(part, timeout=_ASK_S)
        except KafkaException as error:
            raise self._unread(error.args[0]) from error
        return low, high

    def follow(self, after: int, limit: int = 1000, wait_s: float = 0.5) -> list[Record]:
        """What came after an offset, in order; waits a while for the first of it."""
        with self._reading:
            try:
                if self._next != after + 1:
                    self._consumer.assign([TopicPartition(self._topic, 0, after + 1)])
                    self._next = after + 1
                first = self._consumer.consume(1, wait_s)
                rest = self._consumer.consume(limit - 1, _ALL_AT_ONCE_S) if first and limit > 1 else []
            except KafkaException as error:
                raise self._unread(error.args[0]) from error
            return [record for message in (*first, *rest) if (record := self._taken(message)) is not None]

    def _taken(self, message: Message) -> Record | None:
        error = message.error()
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  the library's name for it
                return None
            self._next = OFFSET_INVALID
            raise self._unread(error)
        offset, key = message.offset(), message.key() or b""
        assert offset is not None
        if offset < self._next:
            return None  # of before an assignment that was changed meanwhile
        self._next = offset + 1
        stream = key.decode("utf-8", "backslashreplace") if isinstance(key, bytes) else str(key)
        return Record(stream, offset, message.timestamp()[1], bytes(message.value() or b""))

    def read(self, stream: str, after: int, limit: int = 1000) -> list[Record]:
        """Up to `limit` records of `stream` with an offset above `after`, in order."""
        found: list[Record] = []
        for record in self._scanned(after):
            if record.stream == stream:
                found.append(record)
                if len(found) >= limit:
                    break
        return found

    def scan(self) -> Iterator[Record]:
        """Every record, in the order of the log."""
        yield from self._scanned(-1)

    def _scanned(self, after: int) -> Iterator[Record]:
        low, high = self.bounds()
        at, until = max(after, low - 1), time.monotonic() + self._timeout_s
        while at + 1 < high:
            records = self.follow(at, wait_s=1.0)
            for record in records:
                if record.offset >= high:
                    return
                at = record.offset
                yield record
            if records:
                until = time.monotonic() + self._timeout_s
            elif time.monotonic() > until:
                # Not all offsets are records, but the last of a log that nobody compacts is.
                raise JournalError(
                    f"journal {self._bootstrap}/{self._topic}: expected record {at + 1} within "
                    f"{self._timeout_s:.0f} s, got none"
                )

    def streams(self) -> dict[str, tuple[int, int]]:
        """Each stream's last offset and its timestamp; reads the log the first time."""
        with self._reading:
            if self._last is None:
                self._last = {r.stream: (r.offset, r.timestamp_ms) for r in self._scanned(-1)}
            return dict(self._last)

    def _unread(self, error: KafkaError) -> JournalError:
        return JournalError(f"journal {self._bootstrap}/{self._topic}: cannot be read: {error.str()}")

    def close(self) -> None:
        """Wait for what is under way, and leave."""
        super().close()
        with self._reading:
            self._consumer.close()
