"""Names of events that were met, so that the ledger counts those that come again in another message."""

from __future__ import annotations

import base64
import hashlib
from typing import Final

import numpy as np
import pyarrow as pa

from models.events import EVENT_NAMES

__all__ = ["EventNames", "names_of"]

_MOST: Final = 20_000
"""Names remembered of each device: ten days of the busiest weighbridge, and less than a frame can carry."""


class EventNames:
    """Names of one device's newest events, as hashes of 8 bytes.

    An event that is named like one before it is a repeat: the same ticket and
    step, lot and end, or `ref`. One without a name repeats none.
    """

    __slots__ = ("_met",)

    def __init__(self) -> None:
        self._met: dict[int, None] = {}

    def meet(self, names: list[int]) -> int:
        """Take in events' names in their order; how many were met before."""
        repeats = 0
        for name in names:
            if name in self._met:
                repeats += 1
                continue
            self._met[name] = None
            if len(self._met) > _MOST:
                del self._met[next(iter(self._met))]
        return repeats

    def unite(self, other: EventNames) -> int:
        """Take in the names that were met elsewhere; how many were met here too."""
        return self.meet(list(other._met))

    def to_text(self) -> str:
        """State as text; `from_text` reads it."""
        return base64.b64encode(np.array(list(self._met), dtype="<u8").tobytes()).decode()

    @classmethod
    def from_text(cls, text: str) -> EventNames:
        """Read what `to_text` wrote."""
        self = cls()
        self._met = dict.fromkeys(np.frombuffer(base64.b64decode(text), dtype="<u8").tolist())
        return self


def names_of(batch: pa.RecordBatch, device_class: str) -> list[int | None]:
    """Hash of each event's name within its device, None where it has none."""
    columns = [
        batch.column(c).to_pylist() if c in batch.schema.names else [None] * batch.num_rows
        for c in EVENT_NAMES[device_class]
    ]
    return [None if not all(name) else _hash(name) for name in zip(*columns, strict=True)]


def _hash(name: tuple[str, ...]) -> int:
    data = b"".join(len(part.encode()).to_bytes(4, "little") + part.encode() for part in name)
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")
