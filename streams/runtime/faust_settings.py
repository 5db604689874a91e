"""Settings of a Faust worker, and the Faust settings that they imply."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from faust.auth import SASLCredentials, SSLCredentials

__all__ = ["CHECKPOINT_TABLE", "MAX_RECORD_BYTES", "WorkerSettings"]

CHECKPOINT_TABLE: Final = "checkpoints"
MAX_RECORD_BYTES: Final = 4 * 1024 * 1024
"""Largest record of the topic of frames; ingest sends half of it at most."""
METADATA_MS: Final = 10_000
"""How long a worker believes what Kafka said of its topics. [ms]

While Kafka starts it may know of none: a group that shares partitions out just then has nothing to do until
it asks again, by default after five minutes.
"""


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """How a worker reaches Kafka, and how often it makes things safe.

    Attributes
    ----------
    kafka : str
        Bootstrap servers, ``host:port,host:port``.
    group : str
        Consumer group; also the prefix of the checkpoints' topic.
    topic : str
        Topic of encoded frames, keyed by stream.
    partitions : int
        Of `topic` and of the checkpoints' topic, which must agree.
    checkpoint_s, checkpoint_records : float, int
        A partition's checkpoint is due after so long, or so many records. [s], [-]
    flush_s : float
        Results wait at most so long for the store. [s]
    session_s, heartbeat_s, rebalance_s, request_s, commit_s : float
        Kafka's session, heartbeat, rebalance and request time-outs, and the interval of commits. [s]
    stall_s : float
        A worker that makes no progress for so long although there is work leaves. [s]
    stop_s : float
        A worker that was told to stop leaves after so long, done or not. [s]
    health_file : pathlib.Path or None
        Touched while the worker's lease is valid.
    login : mapping of str to str
        How a client proves itself to the brokers, in librdkafka's words.
    """

    kafka: str
    group: str = "hearthline"
    topic: str = "frames"
    partitions: int = 12
    checkpoint_s: float = 30.0
    checkpoint_records: int = 20_000
    flush_s: float = 0.5
    session_s: float = 6.0
    heartbeat_s: float = 1.0
    rebalance_s: float = 10.0
    request_s: float = 12.0
    commit_s: float = 1.0
    stall_s: float = 30.0
    stop_s: float = 20.0
    health_file: Path | None = None
    login: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def changelog(self) -> str:
        """Topic of the checkpoints."""
        return f"{self.group}-{CHECKPOINT_TABLE}-changelog"

    def faust(self) -> dict[str, Any]:
        """Keywords of `faust.App`.

        Stock values that would lose or stall are replaced: waiting for
        unacknowledged events on a rebalance, the leader's topic, standbys,
        request time-outs of 90 s and 20 minutes, five minutes without partitions where
        Kafka was starting when the group shared them out, and a web server for anybody.
        """
        return {
            "broker": [f"kafka://{server}" for server in self.kafka.split(",")],
            "broker_credentials": self._credentials(),
            "broker_commit_interval": self.commit_s,
            "broker_heartbeat_interval": self.heartbeat_s,
            # The lease and the stall watch decide on liveness; a store that is away for an hour must not.
            "broker_max_poll_interval": 86_400.0,
            "broker_rebalance_timeout": self.rebalance_s,
            "broker_request_timeout": self.request_s,
            "broker_session_timeout": self.session_s,
            "consumer_auto_offset_reset": "earliest",
            "consumer_max_fetch_size": MAX_RECORD_BYTES,
            "consumer_metadata_max_age_ms": METADATA_MS,
            "processing_guarantee": "at_least_once",
            "producer_acks": -1,
            "producer_request_timeout": self.request_s,
            "store": "memory://",
            "stream_buffer_maxsize": 512,
            "stream_wait_empty": False,
            "table_standby_replicas": 0,
            "topic_allow_declare": False,
            "topic_disable_leader": True,
            "topic_partitions": self.partitions,
            "web_enabled": False,
        }

    def librdkafka(self) -> dict[str, Any]:
        """Configuration of a confluent_kafka client with the same rights."""
        return {"bootstrap.servers": self.kafka, **self.login}

    def _credentials(self) -> SASLCredentials | SSLCredentials | None:
        authority = self.login.get("ssl.ca.location")
        context = ssl.create_default_context(cafile=authority) if authority else None
        if "sasl.username" in self.login:
            return SASLCredentials(
                username=self.login["sasl.username"],
                password=self.login["sasl.password"],
                mechanism=self.login["sasl.mechanism"],
                ssl_context=context,
            )
        return SSLCredentials(context) if context else None
