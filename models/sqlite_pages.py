"""Rows out of the pages of a SQLite file that SQLite itself can no longer read, as bytes.

Only leaves of ordinary tables are looked at, each cell by itself: whether a row is true is for
the caller to judge, by a checksum of its own. What cannot be read is counted.

Source: "Database File Format", https://www.sqlite.org/fileformat2.html, sections 1.6 and 2.1.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

__all__ = ["DamagedCellError", "Value", "children", "leaf_rows", "page_size_of"]

Value = int | float | str | bytes | None
_LEAF: Final = 0x0D
_INTERIOR: Final = 0x05
_MAX_PAYLOAD: Final = 1 << 30
_INT_BYTES: Final = (0, 1, 2, 3, 4, 6, 8)
_MAGIC: Final = b"SQLite format 3\x00"


class DamagedCellError(ValueError):
    """A cell that is none; says where and why."""


@dataclass(frozen=True, slots=True)
class _Cell:
    rowid: int
    payload: bytes


def page_size_of(head: bytes) -> int:
    """Size of a file's pages as its first 100 bytes say; 0 where they cannot be believed. [bytes]"""
    if len(head) < 100 or not head.startswith(_MAGIC):
        return 0
    size = int.from_bytes(head[16:18], "big")
    size = 65536 if size == 1 else size
    return size if 512 <= size <= 65536 and size & (size - 1) == 0 else 0


def _start(number: int) -> int:
    return 100 if number == 1 else 0  # the first page begins with the file's header


def _pointers(page: bytes, at: int) -> tuple[int, ...]:
    count = int.from_bytes(page[at + 3 : at + 5], "big")
    first = at + (12 if page[at] == _INTERIOR else 8)
    count = min(count, (len(page) - first) // 2)
    return struct.unpack_from(f">{count}H", page, first)


def children(page: bytes, number: int) -> list[int] | None:
    """Pages below an interior page of a table, in order; empty for a leaf, None for any other page."""
    at = _start(number)
    if len(page) < at + 12 or page[at] not in {_LEAF, _INTERIOR}:
        return None
    if page[at] == _LEAF:
        return []
    found = [
        int.from_bytes(page[cell : cell + 4], "big") for cell in _pointers(page, at) if cell <= len(page) - 4
    ]
    return [*found, int.from_bytes(page[at + 8 : at + 12], "big")]


def leaf_rows(
    page: bytes, number: int, overflow: Callable[[int], bytes | None]
) -> Iterator[tuple[int, list[Value]] | DamagedCellError]:
    """Each cell of a table's leaf as (rowid, values), or the error that it is; nothing of other pages.

    Parameters
    ----------
    page : bytes
    number : int
        Its number, from 1.
    overflow : callable
        Gives the page of a number, None where there is none.
    """
    at = _start(number)
    if len(page) < at + 8 or page[at] != _LEAF:
        return
    for cell in _pointers(page, at):
        try:
            found = _cell(page, cell, overflow)
            yield found.rowid, _values(found.payload)
        except DamagedCellError as error:
            yield error
        except (IndexError, struct.error, UnicodeDecodeError) as error:
            yield DamagedCellError(f"cell at byte {cell}: {error}")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for n in range(8):
        byte = data[at + n]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + n + 1
    value = value << 8 | data[at + 8]
    return value - (1 << 64) if value >> 63 else value, at + 9


def _cell(page: bytes, at: int, overflow: Callable[[int], bytes | None]) -> _Cell:
    size, after = _varint(page, at)
    rowid, after = _varint(page, after)
    if not 0 < size <= _MAX_PAYLOAD:
        raise DamagedCellError(f"cell at byte {at}: expected a payload, got one of {size} bytes")
    usable = len(page)
    most, least = usable - 35, (usable - 12) * 32 // 255 - 23
    if size <= most:
        payload = page[after : after + size]
    else:
        local = least + (size - least) % (usable - 4)
        local = local if local <= most else least
        following = int.from_bytes(page[after + local : after + local + 4], "big")
        payload = page[after : after + local] + _chain(following, size - local, usable, overflow)
    if len(payload) != size:
        raise DamagedCellError(f"cell at byte {at}: expected {size} bytes, got {len(payload)}")
    return _Cell(rowid, payload)


def _chain(number: int, size: int, usable: int, overflow: Callable[[int], bytes | None]) -> bytes:
    parts = []
    while size > 0:
        page = overflow(number)
        if page is None or len(page) < usable:
            raise DamagedCellError(f"expected page {number} of a long row, got none")
        parts.append(page[4 : 4 + min(size, usable - 4)])
        size -= usable - 4
        number = int.from_bytes(page[:4], "big")
    return b"".join(parts)


def _values(payload: bytes) -> list[Value]:
    end, at = _varint(payload, 0)
    values: list[Value] = []
    body = end
    while at < end:
        kind, at = _varint(payload, at)
        value, body = _value(payload, body, kind)
        values.append(value)
    if body != len(payload):
        raise DamagedCellError(f"expected a row of {len(payload)} bytes, got one of {body}")
    return values


def _value(payload: bytes, at: int, kind: int) -> tuple[Value, int]:
    if kind == 0:
        return None, at
    if kind in {8, 9}:
        return kind - 8, at
    if kind == 7:
        return struct.unpack_from(">d", payload, at)[0], at + 8
    if 0 < kind < 7:
        end = at + _INT_BYTES[kind]
        return int.from_bytes(payload[at:end], "big", signed=True), end
    if kind < 12:
        raise DamagedCellError(f"expected a value of a known kind, got {kind}")
    end = at + (kind - 12) // 2
    data = payload[at:end]
    return (data if kind % 2 == 0 else data.decode()), end
