"""How far what was journalled is from having been computed and stored: noted once a batch."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

__all__ = ["Behind", "StageLog"]

_MOST: Final = 4096


class Behind(NamedTuple):
    """What waits for a stage.

    Attributes
    ----------
    messages : int
        Journalled since the start.
    seconds : float
        How long the oldest has waited. [s]
    """

    messages: int
    seconds: float


@dataclass(slots=True)
class _Batch:
    at_s: float
    before: int
    tails: dict[str, int]


class StageLog:
    """Batches that were journalled and are not stored yet, in order.

    Bounded: when too many wait, neighbours are taken together, so that the figures become coarser.

    Parameters
    ----------
    clock : callable
        Seconds on a clock that never steps. [s]

    Attributes
    ----------
    tails : dict of str to int
        The last offset of each stream, as far as it was told; replaced, never changed, so that any
        thread may read it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.tails: dict[str, int] = {}
        self._lock = threading.Lock()
        self._batches: list[_Batch] = []
        self._messages = 0

    def __len__(self) -> int:
        return len(self._batches)

    def appended(self, tails: Mapping[str, int]) -> None:
        """Note a batch by the last offset that it gave each stream; `counted` follows with its messages."""
        batch = _Batch(self._clock(), self._messages, dict(tails))
        with self._lock:
            self.tails = {**self.tails, **tails}
            self._batches.append(batch)
            if len(self._batches) > _MOST:
                self._batches = [
                    _together(a, b) for a, b in zip(*[iter(self._batches)] * 2, strict=False)
                ] + (self._batches[-1:] if len(self._batches) % 2 else [])

    def counted(self, messages: int) -> None:
        """Note how many messages the batch held."""
        self._messages += messages

    def begin(self, tails: Mapping[str, int]) -> None:
        """Note what the journal held at the start: it waits from now on, in no known messages."""
        if tails:
            self.appended(tails)

    def forget(self, stored: Mapping[str, int]) -> None:
        """Drop what is stored up to these offsets."""
        with self._lock:
            del self._batches[: self._reach(stored)]

    def behind(self, done: Mapping[str, int]) -> Behind:
        """What a stage lacks that has come to these offsets."""
        with self._lock:
            place = self._reach(done)
            if place == len(self._batches):
                return Behind(0, 0.0)
            oldest = self._batches[place]
            return Behind(self._messages - oldest.before, self._clock() - oldest.at_s)

    def _reach(self, done: Mapping[str, int]) -> int:
        for place, batch in enumerate(self._batches):
            if any(done.get(stream, -1) < offset for stream, offset in batch.tails.items()):
                return place
        return len(self._batches)


def _together(a: _Batch, b: _Batch) -> _Batch:
    tails = {s: max(a.tails.get(s, -1), b.tails.get(s, -1)) for s in {**a.tails, **b.tails}}
    return _Batch(a.at_s, a.before, tails)
