"""What has changed in windows that are no longer open: noted, and asked for."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from models.restate import NetworkSpan, RestateAnswer, RestateRequest, ResultKind, Span, above_zero
from streams.core.buffer import BUCKET_MS, ClassBuffer
from streams.core.intervals import IntervalSet
from streams.core.network_windows import members, registered
from streams.core.operator import WindowOperator
from streams.core.row_engine import RowEngine
from streams.core.rows import holding
from streams.core.stream_site import StreamSite

__all__ = [
    "GAP",
    "LATE",
    "SOURCE",
    "Restatements",
    "Why",
]

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

LATE, GAP, SOURCE = "late", "gap", "source"
"""Why rows are restated: samples came later than the lateness; a gap ended that was
longer than it; a row that they rest on was restated."""
Why = Callable[[str, int, int], str]
"""Why a device's window, [start, end) in ms UTC, was computed again."""
_MOST_BUCKETS = 500
"""Of all devices of one request together, so that live data does not wait for a long backlog."""
_LONGEST_BUCKETS = 96
_NEVER = np.iinfo(np.int64).min


class Restatements:
    """Buckets of samples by device that changed too late, and the one request that is under way.

    Attributes
    ----------
    request : RestateRequest or None
        Not answered in full yet.
    """

    def __init__(self) -> None:
        self.request: RestateRequest | None = None
        self._pending: dict[str, dict[int, IntervalSet]] = {LATE: {}, GAP: {}}
        self._aside: dict[int, list[tuple[str, int, int]]] = {}
        self._networks: dict[str, IntervalSet] = {}
        self._parts: dict[int, RestateAnswer] = {}

    @property
    def waiting(self) -> bool:
        """Whether there is something to ask for."""
        return any(self._pending.values()) or bool(self._networks)

    @property
    def quarters(self) -> int:
        """How many quarters of an hour of devices and networks wait, those that were asked for among them."""
        waiting = [b for devices in self._pending.values() for b in devices.values()]
        waits = sum(map(len, [*waiting, *self._networks.values()]))
        if self.request is not None:
            asked = [(s.from_ms, s.to_ms) for s in self.request.spans]
            asked += [(n.from_ms, n.to_ms) for n in self.request.networks]
            waits += sum((to_ms - from_ms) // BUCKET_MS for from_ms, to_ms in asked)
        return waits

    @property
    def asked(self) -> frozenset[str]:
        """Devices of the request under way, whose answer may not know of what came since it was asked."""
        return frozenset() if self.request is None else frozenset(s.device for s in self.request.spans)

    def late(self, device: IntArray, t_ms: IntArray) -> None:
        """Note samples that came after their windows were settled."""
        pairs = np.unique(np.stack([device, t_ms // BUCKET_MS]), axis=1)
        for d, bucket in pairs.T.tolist():
            self._pending[LATE].setdefault(d, IntervalSet()).add(bucket, bucket)

    def gap(self, device: int, from_ms: int, to_ms: int) -> None:
        """Note that a device spoke again: windows of [from, to) were settled without what came after them."""
        if from_ms < to_ms:
            last = (to_ms - 1) // BUCKET_MS
            self._pending[GAP].setdefault(device, IntervalSet()).add(from_ms // BUCKET_MS, last)

    def network(self, network: str, step_ms: int) -> None:
        """Note that rows changed that a network's rows rest on, whose sources are not at hand any more."""
        self._networks.setdefault(network, IntervalSet()).add(step_ms // BUCKET_MS, step_ms // BUCKET_MS)

    def give_away(self, device: int, name: str) -> list[tuple[str, int, int]]:
        """Forget a device that belongs to another stream now; what waits of it, for `take_over`.

        What is asked for is among it: the answer will find the device gone.
        """
        waits = self._aside.pop(device, [])
        waits += [
            (why, first * BUCKET_MS, (last + 1) * BUCKET_MS)
            for why, devices in self._pending.items()
            for first, last in devices.pop(device, ())
        ]
        if self.request is not None:
            waits += [(s.why, s.from_ms, s.to_ms) for s in self.request.spans if s.device == name]
        return waits

    def set_aside(self, device: int, name: str) -> None:
        """Keep what waits of a device that no stream has any more until `bring_back` or `give_away`."""
        waits = self.give_away(device, name)
        if waits:
            self._aside[device] = waits

    def bring_back(self, owned: BoolArray) -> None:
        """Have what was set aside wait again, of devices that are `owned`, by index, once more."""
        for device in [d for d in self._aside if owned[d]]:
            self.take_over(device, self._aside.pop(device))

    def take_over(self, device: int, waits: Sequence[tuple[str, int, int]]) -> None:
        """Note what another stream gave away of a device."""
        for why, from_ms, to_ms in waits:
            buckets = self._pending[why].setdefault(device, IntervalSet())
            buckets.add(from_ms // BUCKET_MS, (to_ms - 1) // BUCKET_MS)

    def ask(
        self,
        stream: str,
        offset: int,
        before_ms: int,
        operators: Sequence[WindowOperator],
        rows: RowEngine,
        site: StreamSite,
        buffers: Mapping[str, ClassBuffer],
        also_read: frozenset[str] = frozenset(),
        is_whole: Callable[[int], bool] = lambda _device: True,
    ) -> RestateRequest | None:
        """Put what waits, the oldest first, into a request, unless one is under way.

        `also_read` are classes whose samples matter besides those that operators read: for marks. `is_whole`
        says whether all that ever came of a device came here: what another had before is not known. Networks
        follow when no device waits any more: what their rows rest on is true by then.
        """
        if self.request is not None:
            return None
        self._parts = {}
        # A device that is of another class now may be the first of it: then there is nothing to look for.
        of_windows = {name for o in operators for name in o.reads}
        read = also_read.union(of_windows) & buffers.keys()
        for devices in self._pending.values():
            for d in [d for d in devices if not site.owned[d] or site.classes[d] not in read]:
                del devices[d]
        chosen = self._take(before_ms // BUCKET_MS)
        if not chosen:
            spans = self._take_networks(before_ms, rows, site)
            if spans:
                name = f"{stream}:{offset}"
                self.request = RestateRequest(name, stream, offset, before_ms, (), (), spans, rows.sources())
            return self.request
        has = {
            name: _columns_had(buffers[name], len(site.ids))
            for name in {str(site.classes[d]) for d, *_ in chosen}
        }
        asked = []
        for d, first, last, why in chosen:
            name = str(site.classes[d])
            had = has[name][:, d] | (not is_whole(d))
            buffer = buffers[name]
            sought = (*buffer.columns, *(above_zero(buffer.columns[c]) for c in buffer.counters))
            columns = tuple(c for c, there in zip(sought, had, strict=True) if there)
            from_ms, to_ms = first * BUCKET_MS, (last + 1) * BUCKET_MS
            asked.append(Span(site.ids[d], name, from_ms, to_ms, columns, why, name not in of_windows))
        results = tuple(ResultKind(o.name, 1000 * o.every_s, o.reads) for o in operators)
        self.request = RestateRequest(f"{stream}:{offset}", stream, offset, before_ms, tuple(asked), results)
        return self.request

    def _take(self, before: int) -> list[tuple[int, int, int, str]]:
        """The oldest pending buckets: (device, first, last, why), taken off what is pending.

        Those from bucket `before` on are still open: they wait until they are not.
        """
        every = [
            (first, last, d, why)
            for why, devices in self._pending.items()
            for d, buckets in devices.items()
            for first, last in buckets
        ]
        if not every:
            return []
        every.sort()
        horizon = min(every[0][0] + _LONGEST_BUCKETS, before)
        taken: list[tuple[int, int, int, str]] = []
        room = _MOST_BUCKETS
        left: dict[str, dict[int, IntervalSet]] = {LATE: {}, GAP: {}}
        for first, last, d, why in every:
            until = min(last, horizon - 1, first + room - 1)
            if first <= until:
                taken.append((d, first, until, why))
                room -= until - first + 1
            if until < last:
                left[why].setdefault(d, IntervalSet()).add(max(first, until + 1), last)
        self._pending = left
        return taken

    def _take_networks(self, before_ms: int, rows: RowEngine, site: StreamSite) -> tuple[NetworkSpan, ...]:
        """The oldest steps of a network that wait, with what is needed to compute its windows again."""
        for name, steps in [*self._networks.items()]:
            if not registered(name, next(iter(steps))[0] * BUCKET_MS, site):
                del self._networks[name]
        if not self._networks:
            return ()
        name = min(self._networks, key=lambda n: next(iter(self._networks[n]))[0])
        first, last = next(iter(self._networks[name]))
        until = min(last, first + _LONGEST_BUCKETS - 1)
        left = self._networks.pop(name).minus(IntervalSet([(first, until)]))
        if len(left):
            self._networks[name] = left
        from_ms, to_ms = first * BUCKET_MS, (until + 1) * BUCKET_MS
        devices = tuple(site.ids[d] for d in members(name, from_ms, site).tolist())
        low, high = rows.reach(name, from_ms, to_ms, site)
        return (NetworkSpan(name, devices, from_ms, to_ms, low, min(high, max(before_ms, to_ms))),)

    def gathered(self, answer: RestateAnswer) -> list[RestateAnswer] | None:
        """All parts of an answer about networks once its last is here; None before.

        Where a part is missing, since it was stepped before a crash, what was asked is asked again.
        """
        if self.request is None or answer.request != self.request.name:
            return None
        self._parts[answer.part] = answer
        if not answer.last:
            return None
        parts = [self._parts[at] for at in sorted(self._parts)]
        self._parts = {}
        if len(parts) != answer.part + 1:
            for span in self.request.networks:
                for step_ms in range(span.from_ms, span.to_ms, BUCKET_MS):
                    self.network(span.network, step_ms)
            self.request = None
            return None
        return parts

    def answered(self, answer: RestateAnswer) -> bool:
        """Whether `answer` is to the request under way; its last part ends the request."""
        if self.request is None or answer.request != self.request.name:
            return False
        if answer.last:
            self.request = None
        return True

    def to_bytes(self) -> bytes:
        """State as JSON; `from_bytes` reads it."""
        pending = {
            why: {str(d): list(b) for d, b in devices.items()} for why, devices in self._pending.items()
        }
        request = None if self.request is None else self.request.to_json()
        networks = {name: list(steps) for name, steps in self._networks.items()}
        state = {"version": 1, "pending": pending, "request": request, "networks": networks}
        state["aside"] = {str(d): waits for d, waits in self._aside.items()}
        return json.dumps(state).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Restatements:
        """Read what `to_bytes` wrote."""
        state = json.loads(data)
        if state["version"] != 1:
            raise ValueError(f"restatements of version {state['version']}")
        self = cls()
        self._pending = {
            why: {int(d): IntervalSet(b) for d, b in devices.items()}
            for why, devices in state["pending"].items()
        }
        self._aside = {
            int(d): [(why, a, b) for why, a, b in waits] for d, waits in state.get("aside", {}).items()
        }
        self._networks = {name: IntervalSet(steps) for name, steps in state["networks"].items()}
        self.request = None if state["request"] is None else RestateRequest.from_json(state["request"])
        return self


def _columns_had(buffer: ClassBuffer, devices: int) -> BoolArray:
    """Which of `holding` each device ever had, shape (columns + counters, devices)."""
    had = np.zeros((len(buffer.columns) + len(buffer.counters), devices), dtype=bool)
    for rows in [buffer.carry, *(b.last for b in buffer.buckets.values())]:
        column, at = np.nonzero(holding(rows.values, buffer.counters))
        had[column, rows.device[at]] = True
    return had
