"""What a journal is: append durably, read in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from models.frame import Record

__all__ = ["Append", "Journal", "JournalError"]


class JournalError(RuntimeError):
    """The journal cannot keep or give what was asked; says where and why."""


@dataclass(frozen=True, slots=True)
class Append:
    """One encoded frame for one stream; `timestamp_ms` None means the journal's own clock."""

    stream: str
    frame: bytes
    timestamp_ms: int | None = None


@runtime_checkable
class Journal(Protocol):
    """Ordered, durable sequences of frames, one a stream."""

    def append(self, items: Sequence[Append]) -> list[Record]:
        """Keep all of `items` or none, durably when this returns; JournalError if it cannot.

        A record's timestamp is never below that of the stream's last record.
        """
        ...

    def read(self, stream: str, after: int, limit: int = 1000) -> list[Record]:
        """Up to `limit` records of `stream` with an offset above `after`, in order."""
        ...

    def scan(self) -> Iterator[Record]:
        """Every record, ordered by (timestamp, stream, offset)."""
        ...

    def streams(self) -> dict[str, tuple[int, int]]:
        """Each stream's last offset and its timestamp in ms UTC."""
        ...

    def close(self) -> None:
        """Release files and threads."""
        ...
