"""A write-ahead log of SQLite, judged as bytes: what SQLite will replay, and what it would drop in silence.

On opening, SQLite replays a log up to the last commit before the first frame whose checksum
is wrong, and says nothing of what follows. After a power cut that is right: only the last
transaction, whose fsync never returned, can be torn. Where whole transactions follow the bad
frame they had been promised to somebody, and the file is damaged.

Source: "WAL-mode File Format", https://www.sqlite.org/walformat.html.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from operator import mul
from typing import Final

__all__ = ["Wal", "WalFrame", "committed", "pages_of", "read_wal"]

_HEADER: Final = struct.Struct(">8I")
_FRAME: Final = struct.Struct(">6I")
_MAGIC: Final = (0x377F0682, 0x377F0683)  # checksums over little- and big-endian words
_PAGE_SIZES: Final = frozenset(2**n for n in range(9, 17))
_U32: Final = 0xFFFF_FFFF
_Sums = tuple[int, int]
_Factors = tuple[list[int], list[int], tuple[_Sums, _Sums]]


@dataclass(frozen=True, slots=True)
class WalFrame:
    """One page image of a log.

    Attributes
    ----------
    page : int
        Its number in the database, from 1.
    at : int
        Where the image begins in the log. [bytes]
    commit : bool
        Whether it ends a transaction.
    whole : bool
        Whether its checksum follows from the frame before it.
    ours : bool
        Whether it bears the mark of the log's present generation, as far as that is readable.
    """

    page: int
    at: int
    commit: bool
    whole: bool
    ours: bool


@dataclass(frozen=True, slots=True)
class Wal:
    """What a log holds.

    Attributes
    ----------
    page_size : int
        [bytes]
    frames : list of WalFrame
        Those of the log's present generation, damaged ones among them, in order.
    replayed : int
        How many of them SQLite replays.
    dropped_bytes : int
        What follows those. [bytes]
    damaged : bool
        Whether whole transactions are dropped: an fsync had returned for them.
    headless : bool
        Whether its header is damaged, so that all of it is dropped and no frame can be judged.
    """

    page_size: int = 0
    frames: list[WalFrame] = field(default_factory=list)
    replayed: int = 0
    dropped_bytes: int = 0
    damaged: bool = False
    headless: bool = False


@cache
def _factors(words: int) -> _Factors:
    """Weights of a run of `words` 32-bit words in SQLite's checksum.

    Each pair of words does ``s0 += x + s1; s1 += y + s0``, modulo 2³²: linear, so that the sums
    after a run are a weighted sum of its words and of the sums before it.
    """
    state = ((1, 0), (0, 1))
    steps = [state]
    for _ in range(words // 2):
        (a, b), (c, d) = state
        state = ((a + c) & _U32, (b + d) & _U32), ((a + 2 * c) & _U32, (b + 2 * d) & _U32)
        steps.append(state)
    # `steps[n]` is the n-th power of [[1, 1], [1, 2]]; a pair that n pairs follow enters through it.
    first: list[int] = []
    second: list[int] = []
    for left in range(words // 2 - 1, -1, -1):
        (a, b), (c, d) = steps[left]
        first += [(a + b) & _U32, b]  # x adds to both sums, y to the second
        second += [(c + d) & _U32, d]
    return first, second, state


class _Checksum:
    """The running checksum of one log."""

    def __init__(self, big_endian: bool, words: int):
        self._swap = big_endian != (sys.byteorder == "big")
        self._head = _factors(2)
        self._page = _factors(words)

    def _run(self, sums: _Sums, data: memoryview, factors: _Factors) -> _Sums:
        words = array("I", bytes(data))
        if self._swap:
            words.byteswap()
        first, second, ((a, b), (c, d)) = factors
        s0, s1 = sums
        return (
            (a * s0 + b * s1 + sum(map(mul, first, words))) & _U32,
            (c * s0 + d * s1 + sum(map(mul, second, words))) & _U32,
        )

    def frame(self, sums: _Sums, data: memoryview, at: int, page_size: int) -> _Sums:
        """Sums after the frame at `at`, given those before it."""
        sums = self._run(sums, data[at : at + 8], self._head)
        return self._run(sums, data[at + _FRAME.size : at + _FRAME.size + page_size], self._page)


def _plain(data: memoryview, big_endian: bool) -> _Sums:
    s0 = s1 = 0
    for x, y in struct.iter_unpack(">2I" if big_endian else "<2I", data):
        s0 = (s0 + x + s1) & _U32
        s1 = (s1 + y + s0) & _U32
    return s0, s1


def read_wal(data: memoryview) -> Wal:
    """Judge the bytes of a ``-wal`` file; an empty one holds nothing."""
    if len(data) <= _HEADER.size:
        return Wal(dropped_bytes=len(data))
    magic, _, page_size, _, salt1, salt2, *stored = _HEADER.unpack_from(data)
    size = page_size if page_size in _PAGE_SIZES else 0
    if magic not in _MAGIC or not size or _plain(data[:24], magic == _MAGIC[1]) != tuple(stored):
        return _headless(data, size)
    checksum = _Checksum(magic == _MAGIC[1], size // 4)
    frames: list[WalFrame] = []
    broken = replayed = 0
    sums = stored[0], stored[1]
    for at in range(_HEADER.size, len(data) - _FRAME.size - size + 1, _FRAME.size + size):
        page, in_pages, s1, s2, *claimed = _FRAME.unpack_from(data, at)
        whole = (s1, s2, *checksum.frame(sums, data, at, size)) == (salt1, salt2, *claimed)
        sums = claimed[0], claimed[1]
        ours = s1 == salt1 or s2 == salt2  # both change with each generation; damage spares one
        frames.append(WalFrame(page, at + _FRAME.size, in_pages > 0, whole, ours))
        if not frames[-1].whole:
            broken += 1
        elif not broken and in_pages:
            replayed = len(frames)
    found, frames = len(frames), _present(frames)
    dropped = _dropped(len(frames), replayed, found, _FRAME.size + size, len(data))
    return Wal(size, frames, replayed, dropped, _damaged(frames, replayed))


def _present(frames: list[WalFrame]) -> list[WalFrame]:
    """Without what a longer, older generation left at the end."""
    end = max((n for n, frame in enumerate(frames, 1) if frame.ours), default=0)
    return frames[:end]


def _dropped(present: int, replayed: int, found: int, stride: int, length: int) -> int:
    """Bytes of the present generation beyond what is replayed, the beginning of a cut frame among them."""
    begun = (length - _HEADER.size) % stride if present == found else 0
    return (present - replayed) * stride + begun


def _damaged(frames: list[WalFrame], replayed: int) -> bool:
    """Whether a transaction begins after one that is not replayed: that one was on disk before."""
    bad = next((n for n, frame in enumerate(frames) if n >= replayed and not frame.whole), None)
    if bad is None:
        return False
    # The header of a bad frame counts where the frame after it follows from the checksum that it bears.
    ends = [
        n
        for n in range(replayed, len(frames))
        if frames[n].commit and (frames[n].whole or (n + 1 < len(frames) and frames[n + 1].whole))
    ]
    return bool(ends) and ends[0] < len(frames) - 1


def _headless(data: memoryview, page_size: int) -> Wal:
    """A log whose header is damaged: SQLite drops it whole. Its frames are found by their stride."""
    size = page_size or 4096
    stride = _FRAME.size + size
    frames = [
        WalFrame(_FRAME.unpack_from(data, at)[0], at + _FRAME.size, commit=False, whole=False, ours=True)
        for at in range(_HEADER.size, len(data) - stride + 1, stride)
    ]
    damaged = bool(frames) and any(data[: _HEADER.size])
    return Wal(size, frames, 0, len(data), damaged, headless=True)


def committed(wal: Wal) -> list[WalFrame]:
    """Frames up to the last that ends a transaction, replayed by SQLite or not."""
    if wal.headless:
        return wal.frames
    end = max((n for n, frame in enumerate(wal.frames, 1) if frame.commit), default=0)
    return wal.frames[:end]


def pages_of(wal: Wal, data: bytes) -> Iterator[tuple[int, bytes]]:
    """Page images of a log's transactions with their numbers, the newest first."""
    for frame in reversed(committed(wal)):
        yield frame.page, data[frame.at : frame.at + wal.page_size]
