"""What can still be proved of a damaged outbox: messages and places, by their own checksums."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from edge.outbox_format import device_crc
from edge.outbox_message import SEQ_MASK, message_crc, pack_crc
from edge.packing import unpack
from models.sqlite_pages import DamagedCellError, Value, children, leaf_rows, page_size_of
from models.sqlite_wal import committed, read_wal

__all__ = ["Salvaged", "salvage"]

_PAGE_BYTES: Final = 4096
Sample = tuple[int, dict[str, float | str]]


@dataclass(slots=True)
class Salvaged:
    """What was found.

    Attributes
    ----------
    messages : dict of (device, number) to samples
        In the order of their numbers.
    positions : dict of str to str
        Where the driver of each device stood.
    boot : int
        The newest boot. [ms UTC]
    damaged : int
        Cells that are none, or have a wrong checksum.
    """

    messages: dict[tuple[str, int], list[Sample]] = field(default_factory=dict)
    positions: dict[str, str] = field(default_factory=dict)
    boot: int = 0
    damaged: int = 0


class _Images:
    """The newest image of each page: of the log where it has one, else of the file."""

    def __init__(self, file: bytes, log: bytes):
        wal = read_wal(memoryview(log))
        self._file, self._log = file, log
        self.size = page_size_of(file[:100]) or wal.page_size or _PAGE_BYTES
        self._in_log = {f.page: f.at for f in committed(wal) if f.whole or wal.headless}
        self.numbers = sorted({*range(1, -(-len(file) // self.size) + 1), *self._in_log})

    def __call__(self, number: int) -> bytes | None:
        at = self._in_log.get(number)
        if at is not None:
            return self._log[at : at + self.size]
        page = self._file[(number - 1) * self.size : number * self.size] if number > 0 else b""
        return page.ljust(self.size, b"\0") if page else None


def salvage(file: bytes, log: bytes) -> Salvaged:
    """Read whatever the bytes of an outbox and its log still prove."""
    images = _Images(file, log)
    found = Salvaged()
    places: dict[str, tuple[int, str | None]] = {}
    # What was acknowledged may lie on in pages that nothing leads to: where the tree is whole, only
    # its leaves count; else all are taken, and the server passes over what it has.
    numbers, packs = _tree(images, "message"), _tree(images, "pack")
    if numbers is not None and packs is not None:
        numbers += packs + (_tree(images, "outbox") or [])
    else:
        numbers = None
    for number in images.numbers if numbers is None else numbers:
        page = images(number)
        for row in leaf_rows(page, number, images) if page else ():
            if isinstance(row, DamagedCellError):
                found.damaged += 1
            elif not (_message(found, *row) or _pack(found, *row) or _place(found, places, *row)):
                found.damaged += numbers is not None or len(row[1]) in {6, 7}
    found.positions = {device: told for device, (_, told) in places.items() if told is not None}
    found.messages = dict(sorted(found.messages.items()))
    return found


def _tree(images: _Images, table: str) -> list[int] | None:
    """Leaves of a table; None where a page on the way is damaged. Older files have none of packs."""
    first = images(1)
    rows = leaf_rows(first, 1, images) if first else iter(())
    tables = [
        (values[1], values[3])
        for row in rows
        if not isinstance(row, DamagedCellError) and len(values := row[1]) == 5 and values[0] == "table"
    ]
    if table == "pack" and len(tables) == 2:
        return []
    roots = [root for name, root in tables if name == table]
    if len(roots) != 1 or not isinstance(roots[0], int):
        return None
    leaves: list[int] = []
    for number in _walk(images, roots[0]):
        if number is None:
            return None
        leaves.append(number)
    return leaves


def _walk(images: _Images, root: int) -> Iterator[int | None]:
    waiting, seen = [root], set[int]()
    while waiting:
        number = waiting.pop()
        page = images(number)
        below = children(page, number) if page else None
        if below is None or number in seen:
            yield None
            return
        seen.add(number)
        if below:
            waiting += below
        else:
            yield number


def _message(found: Salvaged, rowid: int, values: list[Value]) -> bool:
    if len(values) != 6:
        return False
    _, _, device, t_ms, crc, payload = values
    seq = rowid & SEQ_MASK
    if not (isinstance(device, str) and isinstance(t_ms, int) and isinstance(payload, bytes)):
        return False
    if message_crc(device, seq, t_ms, payload) != crc:
        return False
    _keep(found, device, seq, payload)
    return True


def _keep(found: Salvaged, device: str, seq: int, payload: bytes) -> None:
    told: dict[str, Any] = json.loads(payload)
    found.boot = max(found.boot, told["boot"])
    found.messages.setdefault((device, seq), [(s.pop("t"), s) for s in told["samples"]])


def _pack(found: Salvaged, rowid: int, values: list[Value]) -> bool:
    """What of packed messages was acknowledged comes again too: the server passes over it."""
    if len(values) != 7:
        return False
    _, _, device, t_ms, numbers, crc, packed = values
    if not (isinstance(device, str) and isinstance(t_ms, int) and isinstance(numbers, str)):
        return False
    if not isinstance(packed, bytes) or pack_crc(device, rowid & SEQ_MASK, t_ms, numbers, packed) != crc:
        return False
    for message in unpack(packed):
        _keep(found, device, message.seq, message.payload)
    return True


def _place(
    found: Salvaged, places: dict[str, tuple[int, str | None]], rowid: int, values: list[Value]
) -> bool:
    if len(values) != 9:
        return False
    _, device, boot, next_seq, position, crc, *_ = values
    if not (isinstance(device, str) and isinstance(boot, int) and isinstance(next_seq, int)):
        return False
    if not (position is None or isinstance(position, str)):
        return False
    if device_crc(rowid, device, boot, next_seq, position) != crc:
        return False
    found.boot = max(found.boot, boot)
    if next_seq >= places.get(device, (0, None))[0]:
        places[device] = next_seq, position
    return True
