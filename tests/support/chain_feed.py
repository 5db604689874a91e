"""Numbers into Kafka, and the rows that must come of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from confluent_kafka import KafkaException

from models.frame import Record
from tests.support.chain_pipeline import ChainPipeline
from tests.support.mock_kafka import KafkaClient

__all__ = ["CHANGELOG", "GROUP", "ROOT", "T0", "TOPIC", "Feed", "caught_up", "expected_rows"]

ROOT = Path(__file__).parents[2]
GROUP, TOPIC, CHANGELOG = "hearthline", "frames", "hearthline-checkpoints-changelog"
T0 = 1_767_225_600_000


class Feed:
    """Numbers for eight streams, a steady trickle or all at once."""

    def __init__(self, kafka: KafkaClient):
        self._kafka = kafka
        self.sent = 0

    def send(self, count: int) -> None:
        for _ in range(count):
            self._kafka.append(TOPIC, f"s{self.sent % 8}", b"%d" % self.sent, T0 + 100 * self.sent)
            self.sent += 1
        self._kafka.flush()


def expected_rows(kafka: KafkaClient) -> dict[tuple[str, str, int], dict[str, object]]:
    """Rows of stepping each stream's records in one go, as they lie in the topic."""
    pipelines: dict[str, ChainPipeline] = {}
    rows = {}
    for _, offset, key, value, timestamp_ms in kafka.read(TOPIC):
        stream = key.decode()
        pipeline = pipelines.setdefault(stream, ChainPipeline(stream))
        row = pipeline.row(Record(stream, offset, timestamp_ms, value))
        rows["chain", stream, row["window_start"]] = row
    return rows


def caught_up(kafka: KafkaClient) -> Callable[[], bool]:
    """Whether every record is under a confirmed checkpoint, told by the commits that follow it."""

    def done() -> bool:
        try:
            return kafka.committed(GROUP, TOPIC) == kafka.ends(TOPIC)
        except KafkaException:
            return False  # a broker that has just come up answers when its group is loaded

    return done
