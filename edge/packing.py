"""Messages that wait for long, packed together: by column and compressed, a tenth of their size. Pure.

Samples of one device repeat the names of their measurements, and each value is near the one before. Put
beside each other by measurement they compress twice as well as the messages do one after the other.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Sequence
from itertools import accumulate, islice
from typing import Any, Final

from edge.outbox_message import Message, payload_of, sample_text
from edge.ranges import Ranges

__all__ = ["pack", "read_numbers", "unpack", "write_numbers"]

_COLUMNS: Final = b"C"
_MESSAGES: Final = b"M"


def pack(messages: Sequence[Message]) -> bytes:
    """Messages of one device as one piece, from which `unpack` makes the same bytes again.

    What is not as an outbox writes it (another order of keys, a number in another notation) is kept as
    it is, and compressed only.
    """
    try:
        packed = _COLUMNS + _compressed(_columns([json.loads(m.payload) for m in messages]))
        if unpack(packed) == list(messages):
            return packed
    except (AttributeError, KeyError, TypeError, ValueError):
        pass
    return _MESSAGES + _compressed([[m.seq, m.t_ms, m.payload.decode("latin-1")] for m in messages])


def unpack(packed: bytes) -> list[Message]:
    """The messages of a piece, in order."""
    told = json.loads(zlib.decompress(packed[1:]))
    if packed[:1] == _MESSAGES:
        return [Message(seq, t_ms, text.encode("latin-1")) for seq, t_ms, text in told]
    rows = [zip(accumulate(times), *columns, strict=True) for times, *columns in told["columns"]]
    samples = (dict(zip(told["names"][shape], next(rows[shape]), strict=True)) for shape in told["of"])
    messages = []
    for seq, count in zip(accumulate(told["seqs"]), told["counts"], strict=True):
        part = list(islice(samples, count))
        payload = payload_of(told["boot"], seq, map(sample_text, part))
        messages.append(Message(seq, min(sample["t"] for sample in part), payload))
    return messages


def _columns(told: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Samples of the same measurements together, a list for each; times and numbers as steps."""
    samples = [sample for message in told for sample in message["samples"]]
    shapes = list(dict.fromkeys(tuple(sample) for sample in samples))
    if any(shape[:1] != ("t",) for shape in shapes):
        raise ValueError("expected each sample to begin with its time")
    number = {shape: n for n, shape in enumerate(shapes)}
    of = [number[tuple(sample)] for sample in samples]
    columns = []
    for n, shape in enumerate(shapes):
        mine = [sample for sample, its in zip(samples, of, strict=True) if its == n]
        times, *others = ([sample[name] for sample in mine] for name in shape)
        columns.append([_steps(times), *others])
    return {
        "boot": told[0]["boot"],
        "seqs": _steps([message["seq"] for message in told]),
        "counts": [len(message["samples"]) for message in told],
        "of": of,
        "names": shapes,
        "columns": columns,
    }


def _steps(values: Sequence[int]) -> list[int]:
    return [after - before for before, after in zip([0, *values], values, strict=False)]


def _compressed(told: Any) -> bytes:
    return zlib.compress(json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode())


def write_numbers(numbers: Ranges) -> str:
    """Intervals as text, short even where every second number is missing.

    >>> write_numbers([(1, 2), (4, 4)])
    '[1,1,2,0]'
    """
    return json.dumps(_steps([end for ends in numbers for end in ends]), separators=(",", ":"))


def read_numbers(text: str) -> Ranges:
    """Intervals that `write_numbers` wrote.

    >>> read_numbers("[1,1,2,0]")
    [(1, 2), (4, 4)]
    """
    ends: Iterable[int] = accumulate(json.loads(text))
    return list(zip(*[iter(ends)] * 2, strict=True))
