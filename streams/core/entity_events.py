"""Accepted samples of event classes as items with names, so that the same event in two messages is one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pyarrow as pa

from models.events import EVENT_NAMES
from models.frame import HEADER_FIELDS
from streams.core.entity_items import Name
from streams.core.entity_operator import Item

__all__ = ["IMPLAUSIBLE", "events_of"]

IMPLAUSIBLE = "implausible:"
_HEADER = frozenset(f.name for f in HEADER_FIELDS) | {"extra"}


def events_of(
    batch: pa.RecordBatch, device_class: str, flags: Mapping[int, str]
) -> Iterator[tuple[Name, Item]]:
    """Each sample of a frame with its name.

    The name is the device with the ticket and step, the lot and end or the `ref`;
    of a class without such names, device and time; of an event that lacks its
    name, the message and the place in it. What is implausible is not among its values.
    """
    named = EVENT_NAMES.get(device_class)
    for at, row in enumerate(batch.to_pylist()):
        quality = tuple(f for f in flags.get(at, "").split(";") if f)
        masked = {f.removeprefix(IMPLAUSIBLE) for f in quality if f.startswith(IMPLAUSIBLE)}
        values = {n: v for n, v in row.items() if v is not None and n not in _HEADER and n not in masked}
        device, message = row["device"], (row["boot"], row["seq"], row["pos"])
        name: Name
        if named is None:
            name = (device, row["t"])
        else:
            parts = [row.get(n) for n in named]
            name = (device, *parts) if all(parts) else (device, "", *message)
        yield name, Item(device_class, device, row["t"], values, quality, *message)
