"""The topics that a worker stands on: made on request, checked at every start."""

from __future__ import annotations

import logging
from typing import Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from journal.kafka_log import ACTIONS, CONDITIONS, PARTS
from streams.runtime.faust_settings import MAX_RECORD_BYTES, WorkerSettings

__all__ = ["KafkaUnavailableError", "TopicError", "check_topics", "create_topics"]

_TIMEOUT_S: Final = 10.0
_LIBRARY: Final = logging.getLogger("hearthline.kafka.admin")  # or the library writes to stderr by itself
_LIBRARY.setLevel(logging.CRITICAL)


class TopicError(RuntimeError):
    """A topic is not what the worker needs; says which, and what to do."""


class KafkaUnavailableError(RuntimeError):
    """No broker answers now; the same call may succeed later."""


def create_topics(
    settings: WorkerSettings,
    *,
    append_time: bool = True,
    replication: int = 1,
    retention_days: int = 30,
) -> list[str]:
    """Make the topics that are missing, those of the desk among them; gives their names.

    Frames carry the broker's time, or with `append_time` false the producer's,
    as recorded data asks for. Checkpoints are compacted often, in small
    segments: a state of 5 MB every 30 s is 14 GB a day before compaction.
    """
    wanted = {
        settings.topic: {
            "message.timestamp.type": "LogAppendTime" if append_time else "CreateTime",
            "max.message.bytes": str(MAX_RECORD_BYTES),
            # By the times of its records a recording of last year would be gone before a worker reads it.
            "retention.ms": str(retention_days * 86_400_000) if append_time else "-1",
        },
        settings.changelog: {
            "cleanup.policy": "compact",
            "segment.bytes": str(32 * 1024 * 1024),
            "segment.ms": "600000",
            "min.cleanable.dirty.ratio": "0.1",
            "delete.retention.ms": "60000",
        },
        CONDITIONS: {
            "max.message.bytes": str(MAX_RECORD_BYTES),
            "retention.ms": str(retention_days * 86_400_000),
        },
        ACTIONS: {"message.timestamp.type": "CreateTime", "retention.ms": "-1"},
        PARTS: {"retention.ms": "3600000", "segment.ms": "3600000", "max.message.bytes": "65536"},
    }
    admin = AdminClient(settings.librdkafka(), logger=_LIBRARY)
    present = _partitions(admin, list(wanted))
    missing = [name for name in wanted if not present.get(name)]
    topics = [
        NewTopic(
            name,
            1 if name in {CONDITIONS, ACTIONS, PARTS} else settings.partitions,
            replication,
            config=config,
        )
        for name, config in wanted.items()
        if name in missing
    ]
    for name, future in admin.create_topics(topics, request_timeout=_TIMEOUT_S).items() if topics else ():
        try:
            future.result()
        except KafkaException as error:
            msg = f"topic {name}: could not be made: {error.args[0].str()}"
            raise TopicError(msg) from error
    return missing


def check_topics(settings: WorkerSettings, *, timeout_s: float = _TIMEOUT_S) -> None:
    """TopicError if a topic is missing or has another number of partitions than the settings say."""
    admin = AdminClient(settings.librdkafka(), logger=_LIBRARY)
    present = _partitions(admin, [settings.topic, settings.changelog], timeout_s)
    for name in (settings.topic, settings.changelog):
        count = present.get(name, 0)
        if count == settings.partitions:
            continue
        expected = f"topic {name} on {settings.kafka}: expected {settings.partitions} partitions, got"
        if count:
            msg = f"{expected} {count}; set --partitions {count}, or use a new topic (state is by partition)"
        else:
            msg = f"{expected} none; make it with `hearthline worker --create-topics`"
        raise TopicError(msg)


def _partitions(admin: AdminClient, names: list[str], timeout_s: float = _TIMEOUT_S) -> dict[str, int]:
    found: dict[str, int] = {}
    for name in names:
        try:
            topics = admin.list_topics(name, timeout=timeout_s).topics
        except KafkaException as error:
            msg = f"expected a Kafka broker that answers within {timeout_s:g} s: {error.args[0].str()}"
            raise KafkaUnavailableError(msg) from error
        topic = topics.get(name)
        found[name] = len(topic.partitions) if topic and topic.error is None else 0
    return found
