"""Settings of a Faust worker, and the Faust settings that they imply."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import faust

__all__ = ["CHECKPOINT_TABLE", "WorkerSettings"]

CHECKPOINT_TABLE: Final = "checkpoints"


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
        A worker that makes no progress for so long although records wait leaves. [s]
    stop_s : float
        A worker that was told to stop leaves after so long, done or not. [s]
    health_file : pathlib.Path or None
        Touched while the worker's lease is valid.
    username, password : str
        SASL credentials; none when empty.
    mechanism : str
    ca_file : pathlib.Path or None
        Authority of the brokers' certificates; turns TLS on.
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
    stall_s: float = 60.0
    stop_s: float = 20.0
    health_file: Path | None = None
    username: str = ""
    password: str = ""
    mechanism: str = "SCRAM-SHA-512"
    ca_file: Path | None = None

    @property
    def changelog(self) -> str:
        """Topic of the checkpoints."""
        return f"{self.group}-{CHECKPOINT_TABLE}-changelog"

    def faust(self) -> dict[str, Any]:
        """Keywords of `faust.App`.

        Stock values that would lose or stall are replaced: waiting for
        unacknowledged events on a rebalance, the leader's topic, standbys,
        request time-outs of 90 s and 20 minutes, and a web server for anybody.
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
        config: dict[str, Any] = {"bootstrap.servers": self.kafka}
        if self.username:
            config |= {
                "sasl.username": self.username,
                "sasl.password": self.password,
                "sasl.mechanism": self.mechanism,
                "security.protocol": "sasl_ssl" if self.ca_file else "sasl_plaintext",
            }
        elif self.ca_file:
            config["security.protocol"] = "ssl"
        if self.ca_file:
            config["ssl.ca.location"] = str(self.ca_file)
        return config

    def _credentials(self) -> Any:
        context = ssl.create_default_context(cafile=str(self.ca_file)) if self.ca_file else None
        if self.username:
            return faust.SASLCredentials(
                username=self.username, password=self.password, mechanism=self.mechanism, ssl_context=context
            )
        return faust.SSLCredentials(context=context) if context else None
