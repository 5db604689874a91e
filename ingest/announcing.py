"""The registry, told to every stream before anything else is."""

from __future__ import annotations

import json
from typing import Protocol, runtime_checkable

from journal.protocol import Append, Journal
from models.frame import Frame, FrameKind, Record
from models.site import Site

__all__ = ["announce", "registry_frame"]


@runtime_checkable
class _HasRegistries(Protocol):
    """A journal that knows which registry each stream had last."""

    def registries(self) -> list[Record]: ...


@runtime_checkable
class _TellsEmptied(Protocol):
    """A journal whose readers alone know which streams there were."""

    def tell_emptied(self, frame: bytes, timestamp_ms: int) -> None: ...


def registry_frame(site: Site) -> Frame:
    """A frame that carries the site's files, so that a stream can be read without anything else."""
    payload = json.dumps(dict(sorted(site.texts.items())), ensure_ascii=False)
    return Frame.events([{"device": "", "kind": "registry", "payload": payload}], FrameKind.REGISTRY)


def announce(journal: Journal, site: Site, now_ms: dict[str, int], wall_ms: int) -> None:
    """Append the registry to each stream whose last one is another.

    To one that has no device in it, too: it is to tell other streams what it knows of theirs. Where readers
    alone know of such streams they are told last. What one tells a stream that has not heard comes back.

    Parameters
    ----------
    journal : Journal
    site : Site
    now_ms : dict of str to int
        Each stream's now, which is moved on. [ms UTC]
    wall_ms : int
        The wall clock, or 0, the beginning of time. [ms UTC]
    """
    frame = registry_frame(site).encode()
    last = {}
    if isinstance(journal, _HasRegistries):
        last = {record.stream: record.frame for record in journal.registries()}
    items = [
        Append(stream, frame, max(wall_ms, now_ms.get(stream, wall_ms)))
        for stream in sorted({*site.streams, *last})
        if last.get(stream) != frame
    ]
    for record in journal.append(items):
        now_ms[record.stream] = record.timestamp_ms
    if isinstance(journal, _TellsEmptied):
        journal.tell_emptied(frame, wall_ms)
