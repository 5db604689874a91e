"""What goes into decoding and what comes out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.frame import Frame
from models.wire import ACK, COMMAND, FUTURE_MS, ROOT

__all__ = [
    "FORGEABLE", "FUTURE_MS", "Accepted", "Address", "ClockMode", "Columns", "Decoded", "Ints", "Message",
    "Placed", "Reason", "Refusal", "SafeNumbers",
]  # fmt: skip

Ints = NDArray[np.int64]


class Reason(StrEnum):
    """Why a message was refused. `seq_reused` is found later, by the pipeline."""

    NOT_JSON = "not_json"
    SCHEMA = "schema"
    UNKNOWN_DEVICE = "unknown_device"
    WRONG_CLASS = "wrong_class"
    FUTURE = "future"
    TOO_OLD = "too_old"
    TOO_LARGE = "too_large"
    TOPIC_MISMATCH = "topic_mismatch"
    RETAINED = "retained"


FORGEABLE: Final = frozenset({Reason.UNKNOWN_DEVICE, Reason.TOPIC_MISMATCH, Reason.RETAINED})
"""Reasons that anybody can bring about for another's numbers: they stand outside the ledger."""


class ClockMode(StrEnum):
    """Where a record's time comes from."""

    WALL = "wall"  # the server's clock, or the simulated one
    DATA = "data"  # the largest accepted sample time of the stream
    RECEIVED = "received"  # the time that a recording gives for each message


@dataclass(frozen=True, slots=True)
class Message:
    """One MQTT message as it came."""

    topic: str
    payload: bytes
    retained: bool = False
    received_ms: int = 0


@dataclass(frozen=True, slots=True)
class Columns:
    """Messages as columns: many cost little more than one.

    Attributes
    ----------
    topics : pyarrow.DictionaryArray of string, shape (n,)
    payloads : pyarrow.BinaryArray, shape (n,)
    retained : ndarray of bool, shape (n,)
    """

    topics: pa.DictionaryArray
    payloads: pa.Array
    retained: NDArray[np.bool_]

    @classmethod
    def of(cls, topics: Sequence[str], payloads: Sequence[bytes], retained: Sequence[bool]) -> Columns:
        """Columns of what was gathered in lists of the same length."""
        return cls(
            pa.array(topics, pa.string()).dictionary_encode(),
            pa.array(payloads, pa.binary()),
            np.array(retained, dtype=bool),
        )

    def __len__(self) -> int:
        return len(self.topics)

    def slice(self, start: int, stop: int) -> Columns:
        """The messages [start, stop)."""
        count = stop - start
        return Columns(
            self.topics.slice(start, count), self.payloads.slice(start, count), self.retained[start:stop]
        )


class Address(NamedTuple):
    """Levels of a topic that name a device, as the sender wrote them."""

    region: str
    unit: str
    device: str

    @property
    def ack_topic(self) -> str:
        """Where acknowledgements for this sender go."""
        return f"{ROOT}/{self.region}/{self.unit}/{self.device}/{ACK}"

    @property
    def command_topic(self) -> str:
        """Where commands for this sender go."""
        return f"{ROOT}/{self.region}/{self.unit}/{self.device}/{COMMAND}"


@dataclass(frozen=True, slots=True)
class SafeNumbers:
    """Inclusive ranges of sequence numbers that their senders need not keep any longer.

    Attributes
    ----------
    addresses : list of Address
        Senders by number. It may grow, and what stands in it stays.
    sender : ndarray, shape (n,)
        Number of each range's sender.
    boot, first, last : ndarray, shape (n,)
    """

    addresses: list[Address]
    sender: Ints
    boot: Ints
    first: Ints
    last: Ints

    def __len__(self) -> int:
        return len(self.sender)

    def take(self, index: NDArray[Any]) -> SafeNumbers:
        """The ranges at `index` (positions or a mask)."""
        return SafeNumbers(
            self.addresses, self.sender[index], self.boot[index], self.first[index], self.last[index]
        )


@dataclass(frozen=True, slots=True)
class Refusal:
    """A message that was refused whole; `index` is its place in the batch."""

    index: int
    reason: Reason
    detail: str
    boot: int | None = None
    seq: int | None = None


@dataclass(frozen=True, slots=True)
class Placed:
    """A frame, the stream that it belongs to and the time that its record shall have."""

    stream: str
    frame: Frame
    timestamp_ms: int


@dataclass(frozen=True, slots=True)
class Accepted:
    """How much was taken."""

    messages: int
    samples: int
    events: int


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a batch of messages became.

    Attributes
    ----------
    placed : list of Placed
        Telemetry first, then refusals, then events: a `state` never overtakes what it counts.
    accepted : Accepted
    refused : Counter of Reason
    ignored : int
        Messages of kinds that the server itself sends.
    safe : tuple of SafeNumbers
        What may leave each sender's outbox once `placed` is durable.
    newest_ms : dict of str to int
        Largest accepted sample time of each stream. [ms UTC]
    """

    placed: list[Placed]
    accepted: Accepted
    refused: Counter[Reason] = field(default_factory=Counter)
    ignored: int = 0
    safe: tuple[SafeNumbers, ...] = ()
    newest_ms: Mapping[str, int] = field(default_factory=dict)
