"""Counters that fell a short while ago: what comes next may tell that readings before it were out of line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.counter_line import READINGS_AFTER
from streams.core.rows import Rows, group_starts

__all__ = ["Restless"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

_NEVER, _ALWAYS = np.iinfo(np.int64).min, np.iinfo(np.int64).max


class Restless:
    """The newest readings of each counter of each device, and when it last fell.

    A window rests on `READINGS_AFTER` readings after it where a counter falls near it, else on the first.

    Parameters
    ----------
    counters : tuple of int
        Places of the counters among the columns of rows.
    """

    def __init__(self, counters: tuple[int, ...]):
        self._counters = counters
        none = (READINGS_AFTER, len(counters), 0)
        self._times: IntArray = np.empty(none, np.int64)
        self._not_zero: IntArray = np.empty(none, np.int64)
        self._fell: IntArray = np.empty(none[1:], np.int64)
        self._newest: FloatArray = np.empty(none[1:])
        self._sorted: tuple[Rows | None, list[_Held]] = None, []

    def _know(self, devices: int) -> None:
        lacking = devices - self._newest.shape[1]
        if lacking > 0:
            more = np.full((*self._times.shape[:2], lacking), _NEVER)
            self._times = np.concatenate([self._times, more], axis=2)
            self._not_zero = np.concatenate([self._not_zero, more], axis=2)
            self._fell = np.concatenate([self._fell, more[0]], axis=1)
            self._newest = np.concatenate([self._newest, np.full(more.shape[1:], np.nan)], axis=1)

    @property
    def fell(self) -> list[tuple[int, int, int]]:
        """Counter, device and when it last fell (ms UTC), of those of which that still matters.

        What is at hand of older samples does not tell it: a counter may have fallen from one that came later
        and lies after it.
        """
        oldest, newest_few = _oldest(self._times), self._times[-1]
        matters = (self._fell > _NEVER) & ((self._fell >= oldest) | (newest_few == _NEVER))
        at, who = np.nonzero(matters)
        return list(zip(at.tolist(), who.tolist(), self._fell[at, who].tolist(), strict=True))

    def recall(self, fell: Iterable[tuple[int, int, int]], devices: int) -> None:
        """Take what `fell` gave for all that is known of when counters fell."""
        self._know(devices)
        self._fell.fill(_NEVER)
        for counter, device, ms in fell:
            self._fell[counter, device] = ms

    def since(self, rows: Rows, devices: int) -> IntArray:
        """From when on windows may change by `rows`, that come now, beyond the newest reading there is.

        Of each of the rows, in any order; the largest integer where no counter of its device falls. Too early
        rather than too late. [ms UTC]
        """
        self._know(devices)
        of_device: IntArray | None = None
        for held in self._held(rows):
            who, at = held.who, held.counter
            newest_t, newest = self._times[0, at][who], self._newest[at][who]
            fell = self._fell[at][who]
            odd = held.falls_from(newest) | (held.first_t < newest_t) | (newest == 0.0)
            if not odd.any() and int(fell.max(initial=_NEVER)) == _NEVER:
                continue
            last_t = _oldest(self._times[:, at, who])
            odd |= (fell > _NEVER) & (fell >= last_t)
            if of_device is None:
                of_device = np.full(devices, _ALWAYS)
            early = np.minimum(last_t, _oldest(self._not_zero[:, at, who]))
            of_device[who[odd]] = np.minimum(of_device[who[odd]], early[odd])
        return np.full(rows.n, _ALWAYS) if of_device is None else of_device[rows.device]

    def note(self, rows: Rows, devices: int) -> None:
        """Take in readings, in any order."""
        self._know(devices)
        for held in self._held(rows):
            who, at = held.who, held.counter
            newest_t = self._times[0, at][who]
            fell_now = held.falls_from(self._newest[at][who]) | (held.first_t < newest_t)
            if fell_now.any():
                self._fell[at, who[fell_now]] = np.maximum(
                    self._fell[at, who[fell_now]], held.last_t[fell_now]
                )
            newer = held.last_t >= newest_t
            if newer.all():
                self._newest[at][who] = held.last
            else:
                self._newest[at, who[newer]] = held.last[newer]
            _insert(self._times[:, at], held)
            there = held.value != 0.0
            if there.all():
                _insert(self._not_zero[:, at], held)
            elif there.any():
                _insert(
                    self._not_zero[:, at], _Held.of(at, held.device[there], held.t[there], held.value[there])
                )

    def _held(self, rows: Rows) -> list[_Held]:
        """Readings of each counter, sorted by (device, t); what was sorted last is at hand."""
        if self._sorted[0] is not rows:
            self._sorted = rows, list(self._sort(rows))
        return self._sorted[1]

    def _sort(self, rows: Rows) -> Iterator[_Held]:
        order: IntArray | slice | None = None
        for at, column in enumerate(self._counters):
            there = ~np.isnan(rows.values[column])
            if not there.any():
                continue
            if order is None:
                ascending = bool((rows.device[1:] > rows.device[:-1]).all())
                order = slice(None) if ascending else np.lexsort((rows.t, rows.device))
            device, t, value = rows.device[order], rows.t[order], rows.values[column][order]
            if not there.all():
                there = there[order]
                device, t, value = device[there], t[there], value[there]
            yield _Held.of(at, device, t, value)


@dataclass(frozen=True, slots=True)
class _Held:
    """Readings of one counter, sorted by (device, t): those of a device in [start, stop).

    Attributes
    ----------
    alone : bool
        Whether each device has one: a batch of a large fleet is such.
    who, first_t, first, last_t, last : ndarray
        Each device with its first and its last reading.
    """

    counter: int
    device: IntArray
    t: IntArray
    value: FloatArray
    starts: IntArray
    stops: IntArray
    alone: bool
    who: IntArray
    first_t: IntArray
    first: FloatArray
    last_t: IntArray
    last: FloatArray

    @classmethod
    def of(cls, counter: int, device: IntArray, t: IntArray, value: FloatArray) -> _Held:
        """Readings that are sorted."""
        starts = group_starts(device)
        stops = np.append(starts[1:], len(device))
        if len(starts) == len(device):
            return cls(counter, device, t, value, starts, stops, True, device, t, value, t, value)
        ends = stops - 1
        edges = device[starts], t[starts], value[starts], t[ends], value[ends]
        return cls(counter, device, t, value, starts, stops, False, *edges)

    def falls_from(self, newest: FloatArray) -> BoolArray:
        """Of each device, whether a reading is below the one before it, the first one below `newest`."""
        falls: BoolArray = self.first < newest
        if not self.alone:
            inside = np.append(False, self.value[1:] < self.value[:-1])
            inside[self.starts] = False
            falls = falls | np.logical_or.reduceat(inside, self.starts)
        return falls


def _oldest(times: IntArray) -> IntArray:
    """The oldest of the newest times, newest first, that there are; the largest integer where none is."""
    found = np.full(times.shape[1:], _ALWAYS)
    for each in times:
        found = np.where(each > _NEVER, each, found)
    return found


def _insert(times: IntArray, held: _Held) -> None:
    """Put the newest readings of each device among its newest times, in place."""
    for back in range(min(len(times), int((held.stops - held.starts).max())), 0, -1):
        who, new = _from_the_last(held, back)
        if bool((new > times[0][who]).all()):  # nearly always
            for place in range(len(times) - 1, 0, -1):
                times[place][who] = times[place - 1][who]
            times[0][who] = new
            continue
        for place in range(len(times)):
            before = times[place, who]
            again = new == before
            times[place, who] = np.maximum(before, new)
            new = np.where(again, _NEVER, np.minimum(before, new))


def _from_the_last(held: _Held, back: int) -> tuple[IntArray, IntArray]:
    """Devices that have so many readings, and when that one was taken, counted from the last. [ms UTC]"""
    if held.alone:
        return held.who, held.t
    at = held.stops - back
    at = at[at >= held.starts]
    return held.device[at], held.t[at]
