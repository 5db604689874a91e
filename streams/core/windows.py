"""When windows are computed: while they fill, when they end, and again when inputs change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import merge
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.core.buffer import BUCKET_MS, ClassBuffer
from streams.core.containing import Failures, window_values
from streams.core.operator import WindowOperator
from streams.core.samples import ClassSamples, Samples, window_rows
from streams.core.stream_site import StreamSite
from streams.core.window_state import PROVISIONAL, WindowRows, WindowState

__all__ = [
    "BACKLOG_HOLD_MS", "Closed", "Computed", "WindowEngine", "first_open_ms", "say_window", "window_samples",
]  # fmt: skip

BACKLOG_HOLD_MS = 7_200_000
"""How much longer than the lateness windows wait for what a device says that it still has to send."""
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
Computed = tuple[WindowOperator, int, WindowRows]
"""Operator, window start (ms UTC) and the rows that changed."""


class Closed(NamedTuple):
    """What followed from the windows of one end.

    Attributes
    ----------
    computed : list of Computed
        Of every operator that has a window of this end.
    end_ms : int
        [ms UTC]
    settled_ms : int
        Until then nothing changes any more but by a restatement. [ms UTC]
    """

    computed: list[Computed]
    end_ms: int
    settled_ms: int


@dataclass(slots=True)
class _Shared:
    """Samples of one window that operators share.

    Attributes
    ----------
    window : tuple of (int, int)
        Its start (ms UTC), and how long it is (s).
    wanted : ndarray of bool
        By device index: whose samples they are.
    classes : dict of str to ClassSamples
        By device class.
    samples : dict of tuple of str to Samples
        By the classes that are read together.
    """

    window: tuple[int, int]
    wanted: BoolArray
    classes: dict[str, ClassSamples] = field(default_factory=dict)
    samples: dict[tuple[str, ...], Samples] = field(default_factory=dict)


def first_open_ms(now_ms: int, lateness_ms: int, every_ms: int) -> int:
    """Start of the earliest window whose end plus lateness `now_ms` has not reached. [ms UTC]"""
    return (now_ms - lateness_ms) // every_ms * every_ms


def window_samples(
    operator: WindowOperator,
    start_ms: int,
    site: StreamSite,
    buffers: Mapping[str, ClassBuffer],
    wanted: BoolArray,
    made: dict[str, ClassSamples] | None = None,
) -> Samples:
    """Samples of one window of the devices `wanted` (by index), with their neighbours.

    Those of classes in `made` are taken from there, and others put there: of the same window, and devices.
    """
    end_ms = start_ms + 1000 * operator.every_s
    made = {} if made is None else made
    names = [name for name in sorted(buffers) if name in operator.reads]
    for name in names:
        if name not in made:
            b = buffers[name]
            rows = window_rows(
                b.before(start_ms),
                b.inside(start_ms, end_ms),
                b.after(end_ms),
                b.columns,
                wanted & (site.classes == name),
            )
            made[name] = ClassSamples(b.columns, rows)
    return Samples(start_ms, end_ms, [made[name] for name in names])


def say_window(
    operator: WindowOperator,
    samples: Samples,
    site: StreamSite,
    state: WindowState,
    closed: BoolArray,
    failures: Failures,
    held: BoolArray | None = None,
    joined: BoolArray | None = None,
) -> WindowRows:
    """Compute a window and give the rows that differ from what `state` says was said.

    `closed`, `held` and `joined` are those of `WindowState.say`, one element a device of `samples.devices`.
    """
    values, coverage, reason = window_values(operator, samples, site, failures)
    return state.say(samples.devices, values, coverage, reason, closed, held, joined)


class WindowEngine:
    """Window operators of one stream over its open samples.

    Parameters
    ----------
    operators : sequence of WindowOperator
    provisional : bool
        Whether rows are given while windows fill; only settled ones if not.
    failures : Failures
        Takes note of what cannot be computed.
    also_read : frozenset of str
        Classes whose samples are kept for others who look at windows.

    Attributes
    ----------
    states : dict
        What was said last about each window at hand, by measurement and start (ms UTC).
    keep_ms : int
        How long after they were settled rows stay at hand, for those who read them. [ms]
    forgotten_ms : int
        Rows of windows that ended by then are not at hand. [ms UTC]
    """

    def __init__(
        self,
        operators: Sequence[WindowOperator],
        *,
        provisional: bool,
        failures: Failures,
        also_read: frozenset[str] = frozenset(),
    ):
        self.operators = tuple(operators)
        self._failures = failures
        self.provisional = provisional
        self.states: dict[tuple[str, int], WindowState] = {}
        self.begin_ms: int | None = None
        self.closed_at_ms: int | None = None
        self.dirty_from_ms: int | None = None
        self.floor_ms = int(np.iinfo(np.int64).min)
        self.latenesses_ms: list[int] = []
        self.waiting_from_ms: dict[int, int] = {}
        self.forgotten_ms = int(np.iinfo(np.int64).min)
        self.keep_ms = 0
        self._released_from_ms: int | None = None
        self._looked_at: StreamSite | None = None
        self._latenesses: list[int] = []
        self._shared: _Shared | None = None
        self._reads = frozenset(name for o in self.operators for name in o.reads)
        self._also_read = also_read

    def reads(self, device_class: str) -> bool:
        """Whether any window operator reads samples of a class."""
        return device_class in self._reads

    def kept_from_ms(self, now_ms: int | None, site: StreamSite) -> int:
        """Start of the earliest window that may still change without a restatement. [ms UTC]

        Never goes back: when a device with a longer lateness joins, what was let go stays so.
        """
        if now_ms is None:
            return self.floor_ms
        longest = site.longest_lateness_ms(self._reads | self._also_read)
        lengths = {1000 * o.every_s for o in self.operators} | ({BUCKET_MS} if self._also_read else set())
        kept = min((self._first_kept_ms(now_ms, longest, every_ms) for every_ms in lengths), default=now_ms)
        return max(kept, self.floor_ms)

    def _first_kept_ms(self, now_ms: int, lateness_ms: int, every_ms: int) -> int:
        first = first_open_ms(now_ms, lateness_ms, every_ms)
        if not self.waiting_from_ms:
            return first
        waiting = min(self.waiting_from_ms.values()) // every_ms * every_ms
        return min(first, max(waiting, first_open_ms(now_ms, lateness_ms + BACKLOG_HOLD_MS, every_ms)))

    def wait_for(self, device: int, from_ms: int | None) -> None:
        """Note since when a device has samples still to send: its windows wait for them; None: for none."""
        before = self.waiting_from_ms.pop(device, None)
        if from_ms is not None:
            self.waiting_from_ms[device] = from_ms
        if before is not None and (from_ms is None or from_ms > before):
            released = self._released_from_ms
            self._released_from_ms = before if released is None else min(released, before)

    def touch(self, from_ms: int, first_ms: int) -> None:
        """Note that inputs changed from `from_ms` on, by samples from `first_ms` on. [ms UTC]"""
        self.dirty_from_ms = from_ms if self.dirty_from_ms is None else min(self.dirty_from_ms, from_ms)
        self.begin_ms = first_ms if self.begin_ms is None else min(self.begin_ms, first_ms)

    def begin(self, first_ms: int) -> None:
        """Begin there where nothing has begun yet: older samples came, and are told of with later windows."""
        if self.begin_ms is None:
            self.begin_ms = first_ms

    def close(self, now_ms: int, site: StreamSite, buffers: Mapping[str, ClassBuffer]) -> Iterator[Closed]:
        """Compute every window that ended, lateness included, since the last call, in order of end.

        What follows from the windows of an end is given at once, and older rows go when the next is asked
        for. Until all were, the engine is in no state that a record leaves: only this may go on.
        """
        kept_from = self.kept_from_ms(now_ms, site)
        if self.begin_ms is None:
            self.closed_at_ms, self.floor_ms = now_ms, kept_from
            self.forgotten_ms = max(self.forgotten_ms, kept_from - self.keep_ms)
            return
        latenesses = self._latenesses_of(site)
        if self.waiting_from_ms:
            latenesses = latenesses + [x + BACKLOG_HOLD_MS for x in latenesses]  # what is kept stays as it is
        for end, windows in groupby(self._due(now_ms, latenesses), key=itemgetter(0)):
            computed: list[Computed] = []
            for _, at, start in windows:
                computed += self._compute(self.operators[at], start, now_ms, site, buffers)
            yield Closed(computed, end, min(kept_from, end))
            self._drop(min(kept_from, end // 86_400_000 * 86_400_000 if self._mixed else end), buffers)
        self._shared = None
        if kept_from > self.floor_ms:
            yield Closed([], kept_from, kept_from)  # learners take samples in, where no window ends too
            self._drop(kept_from, buffers)
        self.closed_at_ms, self.floor_ms, self.latenesses_ms = now_ms, kept_from, latenesses
        self._released_from_ms = None

    def _due(self, now_ms: int, latenesses: list[int]) -> Iterator[tuple[int, int, int]]:
        """End, operator and start of each window that is due, in this order, found as they are asked for."""
        # A window that one lateness has not reached may be past another: look at all that are at hand.
        changed = latenesses != self.latenesses_ms
        due: list[Iterator[tuple[int, int, int]]] = []
        assert self.begin_ms is not None
        for at, operator in enumerate(self.operators):
            every_ms = 1000 * operator.every_s
            begin = max(self.begin_ms // every_ms, -(-self.floor_ms // every_ms)) * every_ms
            for lateness_ms in latenesses:
                until = first_open_ms(now_ms, lateness_ms, every_ms)
                since = (
                    begin
                    if self.closed_at_ms is None or changed
                    else first_open_ms(self.closed_at_ms, lateness_ms, every_ms)
                )
                if self._released_from_ms is not None:
                    since = min(since, self._released_from_ms // every_ms * every_ms)
                due.append(_windows(at, range(max(begin, since), until, every_ms), every_ms))
        return (window for window, _ in groupby(merge(*due)))

    def _latenesses_of(self, site: StreamSite) -> list[int]:
        """Every lateness of a device that is read, and how long windows stay at hand, ascending. [ms]

        What came after a window was settled, while it was at hand, asks for no restatement: it is looked at
        once more before it goes, though no device with the lateness that keeps it was ever heard of.
        """
        if self._looked_at is not site:  # a site never changes: another takes its place
            mine = site.owned & np.isin(site.classes, list(self._reads))
            longest = site.longest_lateness_ms(self._reads | self._also_read)
            self._looked_at = site
            self._latenesses = [int(x) for x in np.union1d(site.lateness_ms[mine], longest)]
        return self._latenesses

    def settle(
        self, now_ms: int, leaving: NDArray[np.bool_], site: StreamSite, buffers: Mapping[str, ClassBuffer]
    ) -> list[Computed]:
        """Compute, for the last time, the windows at hand of devices that leave the stream."""
        computed: list[Computed] = []
        if self.begin_ms is None:
            return computed
        for operator in self.operators:
            every_ms = 1000 * operator.every_s
            begin = max(self.begin_ms // every_ms, -(-self.floor_ms // every_ms)) * every_ms
            for start in range(begin, now_ms, every_ms):
                computed += self._compute(operator, start, now_ms, site, buffers, leaving)
        self._shared = None
        return computed

    def refresh(self, now_ms: int, site: StreamSite, buffers: Mapping[str, ClassBuffer]) -> list[Computed]:
        """Compute the windows still at hand whose inputs changed since the last call."""
        if self.dirty_from_ms is None:
            return []
        computed: list[Computed] = []
        kept_from = self.kept_from_ms(now_ms, site)
        newest = max((b.starts[-1] for b in buffers.values() if b.starts), default=now_ms)
        due: list[tuple[int, int, int]] = []
        for at, operator in enumerate(self.operators):
            every_ms = 1000 * operator.every_s
            first = max(-(-kept_from // every_ms), self.dirty_from_ms // every_ms) * every_ms
            starts = range(first, min(now_ms, newest) + 1, every_ms)
            due += [(start + every_ms, at, start) for start in starts]
        for _, at, start in sorted(due):
            computed += self._compute(self.operators[at], start, now_ms, site, buffers)
        self._shared = None
        self.dirty_from_ms = None
        return computed

    def settled_ms(self, site: StreamSite, buffers: Mapping[str, ClassBuffer]) -> int | None:
        """When every window that has samples will be final, if nothing more comes; else None. [ms UTC]"""
        newest = [int(b.newest_t(len(site.ids)).max()) for b in buffers.values() if len(site.ids)]
        newest = [t for t in newest if t > np.iinfo(np.int64).min]
        if not newest:
            return None
        every_ms = max((1000 * o.every_s for o in self.operators), default=1)
        hold_ms = BACKLOG_HOLD_MS if self.waiting_from_ms else 0
        return (max(newest) // every_ms + 1) * every_ms + int(site.lateness_ms.max()) + hold_ms

    @property
    def _mixed(self) -> bool:
        return len({o.every_s for o in self.operators}) > 1

    def _drop(self, before_ms: int, buffers: Mapping[str, ClassBuffer]) -> None:
        for buffer in buffers.values():
            buffer.drop_before(before_ms)
        for operator in self.operators:
            for name, start in [k for k in self.states if k[0] == operator.name]:
                if start + 1000 * operator.every_s <= before_ms - self.keep_ms:
                    del self.states[name, start]
        self.forgotten_ms = max(self.forgotten_ms, before_ms - self.keep_ms)

    def _compute(
        self,
        operator: WindowOperator,
        start: int,
        now_ms: int,
        site: StreamSite,
        buffers: Mapping[str, ClassBuffer],
        leaving: NDArray[np.bool_] | None = None,
    ) -> list[Computed]:
        end = start + 1000 * operator.every_s
        site = site.over(end)
        wanted = site.owned if leaving is None else site.owned & leaving
        samples = self._samples(operator, start, site, buffers, wanted)
        if not len(samples.devices):
            return []
        state = self.states.get((operator.name, start))
        if state is None:
            state = self.states[operator.name, start] = WindowState(len(operator.fields))
        over = end + site.lateness_ms[samples.devices] <= now_ms
        held = over & self._held(samples.devices, end, now_ms, site)
        closed = (over & ~held) | (leaving is not None)
        said = say_window(operator, samples, site, state, closed, self._failures, held)
        if not self.provisional:
            said = said.settled(PROVISIONAL)
        return [(operator, start, said)] if len(said.device) else []

    def _samples(
        self,
        operator: WindowOperator,
        start: int,
        site: StreamSite,
        buffers: Mapping[str, ClassBuffer],
        wanted: BoolArray,
    ) -> Samples:
        """Samples of a window, made once for all operators that read them."""
        window = start, operator.every_s
        shared = self._shared
        if shared is None or shared.window != window or shared.wanted is not wanted:
            shared = self._shared = _Shared(window, wanted)
        if operator.reads not in shared.samples:
            made = window_samples(operator, start, site, buffers, wanted, shared.classes)
            shared.samples[operator.reads] = made
        return shared.samples[operator.reads]

    def _held(self, devices: IntArray, end_ms: int, now_ms: int, site: StreamSite) -> BoolArray:
        """Whether each device still has samples to send of a window that ends at `end_ms`."""
        held = np.zeros(len(devices), dtype=bool)
        if self.waiting_from_ms:
            never = np.iinfo(np.int64).max
            waiting = np.array([self.waiting_from_ms.get(d, never) for d in devices.tolist()], dtype=np.int64)
            held = (waiting < end_ms) & (end_ms + site.lateness_ms[devices] + BACKLOG_HOLD_MS > now_ms)
        return held


def _windows(at: int, starts: range, every_ms: int) -> Iterator[tuple[int, int, int]]:
    """End, operator and start of the windows of one operator."""
    return ((start + every_ms, at, start) for start in starts)
