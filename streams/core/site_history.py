"""Registries that a stream had before, and by which of them each window goes."""

from __future__ import annotations

import hashlib
import json
import zlib
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.site import Site
from models.site_files import parse_site
from streams.core.stream_site import StreamSite

__all__ = ["MOST_KEPT", "PastRegistry", "SiteHistory", "followed_by"]

MOST_KEPT = 64
"""Registries of before that are kept: what ended before the oldest of them goes by that."""
_NEVER = np.iinfo(np.int64).min
_MOST_MIXED, _MOST_ENDS = 8, 256
IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class PastRegistry:
    """A registry that a stream had, and until when.

    Attributes
    ----------
    until_ms : int
        The stream's now before the record with the next registry: what was due by then was settled by
        this one. [ms UTC]
    compressed : bytes
        Its files; `of` makes them, and `site` reads them.
    """

    until_ms: int
    compressed: bytes

    @classmethod
    def of(cls, site: Site, until_ms: int) -> PastRegistry:
        """`site`, which held until `until_ms`. [ms UTC]"""
        return cls(until_ms, zlib.compress(json.dumps(dict(site.texts), ensure_ascii=False).encode()))

    @property
    def name(self) -> str:
        """Of its content, so that what is written once is not written again."""
        return hashlib.sha256(self.compressed).hexdigest()[:16]

    @property
    def site(self) -> Site:
        """Everything registered then."""
        return _read(self.compressed)


@lru_cache(maxsize=8)
def _read(compressed: bytes) -> Site:
    return parse_site(json.loads(zlib.decompress(compressed)))[0]


def followed_by(
    past: Sequence[PastRegistry], before: Site, after: Site, stream: str, until_ms: int
) -> tuple[PastRegistry, ...]:
    """Registries that a stream had, once `after` follows on `before`, which held until `until_ms`.

    One that says of the stream's own devices and networks what the next one says is not kept, nor is what
    nothing was settled by, nor what is older than readings are kept.
    """
    from_ms = past[-1].until_ms if past else _NEVER
    kept = list(past)
    if until_ms > from_ms and _of_stream(before, stream) != _of_stream(after, stream):
        kept.append(PastRegistry.of(before, until_ms))
    oldest_ms = until_ms - 86_400_000 * max(before.retention_days, after.retention_days)
    return tuple([p for p in kept if p.until_ms >= oldest_ms][-MOST_KEPT:])


def _of_stream(site: Site, stream: str) -> tuple[Any, ...]:
    """What windows of a stream's devices and networks may rest on in a registry."""
    devices = {i: d for i, d in site.devices.items() if d.stream == stream}
    units = {d.unit for d in devices.values()}
    members = {d.network for d in devices.values()}
    networks = {i: n for i, n in site.networks.items() if i in members or n.unit in units}
    pipes = {i: p for i, p in site.pipes.items() if p.network in networks}
    regions = {u: site.units[u] for u in units | {n.unit for n in networks.values()}}
    return site.lateness_s, devices, networks, pipes, regions


class SiteHistory:
    """The registries that a stream had before its present one, by device index.

    A window goes by the registry that held when it was due: when its end was past by the lateness of what it
    is about. So what is computed again is what would have been said, had all come in time. A device that
    the stream did not have then, or had in another class, goes by the last registry before that has it so,
    else by the first after.

    Parameters
    ----------
    past : sequence of PastRegistry
        The oldest first.
    born_interval_s : mapping of str to float
        As of `StreamSite`. [s]
    stream : str
    """

    def __init__(self, past: Sequence[PastRegistry], born_interval_s: Mapping[str, float], stream: str):
        self._past = tuple(past)
        self._until_ms = [p.until_ms for p in self._past]
        self._born_interval_s = dict(born_interval_s)
        self._stream = stream
        self._sites: dict[int, StreamSite] = {}
        self._present: StreamSite | None = None
        self._over: dict[int, StreamSite] = {}
        self._mixed: dict[bytes, StreamSite] = {}

    def reaches(self, end_ms: int) -> bool:
        """Whether what ended at `end_ms` may go by another registry than the present one."""
        return end_ms <= self._until_ms[-1]

    def over(self, end_ms: int, present: StreamSite) -> StreamSite:
        """The site by which windows of devices go that end at `end_ms`: each device by its own registry."""
        if self._present is not present:
            self._present = present
            self._over.clear()
            self._mixed.clear()
        if end_ms not in self._over:
            if len(self._over) >= _MOST_ENDS:
                self._over.clear()
            self._over[end_ms] = self._mixed_of(self._registries(end_ms, present), present)
        return self._over[end_ms]

    def _registries(self, end_ms: int, present: StreamSite) -> IntArray:
        """By which registry each device's windows go that end at `end_ms`; the present one is the last."""
        now = len(self._past)
        by = np.full(len(present.ids), now, dtype=np.int64)
        waits = present.owned.copy()
        for at in range(bisect_left(self._until_ms, end_ms), now):
            due = waits & (end_ms + self._site(at, present).lateness_ms <= self._until_ms[at])
            by[due] = at
            waits &= ~due
            if not waits.any():
                break
        for at in np.unique(by[by < now]).tolist():
            lacking = (by == at) & ~self._has(at, present)
            for other in (*range(at - 1, -1, -1), *range(at + 1, now)):
                if not lacking.any():
                    break
                found = lacking & self._has(other, present)
                by[found] = other
                lacking &= ~found
            by[lacking] = now
        return by

    def _mixed_of(self, by: IntArray, present: StreamSite) -> StreamSite:
        """The present site with what the registries `by` device say of it."""
        pasts = np.unique(by[by < len(self._past)]).tolist()
        if not pasts:
            return present
        key = by.tobytes()
        if key not in self._mixed:
            if len(self._mixed) >= _MOST_MIXED:
                self._mixed.clear()
            mixed = present
            for at in pasts:
                mixed = mixed.as_of(self._site(at, present), by == at)
            self._mixed[key] = mixed
        return self._mixed[key]

    def _has(self, at: int, present: StreamSite) -> NDArray[np.bool_]:
        """Which devices a registry has in this stream, of the class that they are of at present."""
        site = self._site(at, present)
        return np.asarray(site.owned & (site.classes == present.classes), dtype=bool)

    def since(
        self, from_ms: int, to_ms: int | None, present: StreamSite
    ) -> Iterator[tuple[int | None, StreamSite]]:
        """Registries by which windows may go that end from `from_ms` on (to `to_ms`), the oldest first.

        Each with until when it held, None of the present one. [ms UTC]
        """
        for at in range(bisect_left(self._until_ms, from_ms), len(self._past)):
            site = self._site(at, present)
            yield self._until_ms[at], site
            if to_ms is not None and to_ms + site.longest_of_all_ms <= self._until_ms[at]:
                return
        yield None, present

    def _site(self, at: int, present: StreamSite) -> StreamSite:
        """A registry of before, with the devices that the stream has met by now."""
        known = self._sites.get(at)
        if known is None or len(known.ids) != len(present.ids):
            site = self._past[at].site if known is None else known.site
            known = StreamSite(site, present.ids, self._born_interval_s, self._stream, known)
            self._sites[at] = known
        return known
