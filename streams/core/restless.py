"""Counters that fell a short while ago: what comes next may tell that readings before it were out of line."""

from __future__ import annotations

from collections.abc import Iterator
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

    def since(self, rows: Rows, devices: int) -> IntArray:
        """From when on windows may change by `rows`, that come now, beyond the newest reading there is.

        Of each of the rows, in any order; the largest integer where no counter of its device falls. Too early
        rather than too late. [ms UTC]
        """
        self._know(devices)
        of_device: IntArray | None = None
        for held in self._held(rows):
            who, at = held.who, held.counter
            newest_t, newest = self._times[0, at, who], self._newest[at, who]
            fell = self._fell[at, who]
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
            newest_t = self._times[0, at, who]
            fell_now = held.falls_from(self._newest[at, who]) | (held.first_t < newest_t)
            if fell_now.any():
                self._fell[at, who[fell_now]] = np.maximum(
                    self._fell[at, who[fell_now]], held.t[held.stops[fell_now] - 1]
                )
            last = held.stops - 1
            newer = held.t[last] >= newest_t
            self._newest[at, who[newer]] = held.value[last[newer]]
            _insert(self._times[:, at], held.device, held.t, held.starts, held.stops)
            there = held.value != 0.0
            if there.all():
                _insert(self._not_zero[:, at], held.device, held.t, held.starts, held.stops)
            elif there.any():
                device, t = held.device[there], held.t[there]
                starts = group_starts(device)
                _insert(self._not_zero[:, at], device, t, starts, np.append(starts[1:], len(t)))

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
            starts = group_starts(device)
            yield _Held(at, device, t, value, starts, np.append(starts[1:], len(device)))


@dataclass(frozen=True, slots=True)
class _Held:
    """Readings of one counter, sorted by (device, t): those of a device in [start, stop)."""

    counter: int
    device: IntArray
    t: IntArray
    value: FloatArray
    starts: IntArray
    stops: IntArray

    @property
    def who(self) -> IntArray:
        return self.device[self.starts]

    @property
    def first_t(self) -> IntArray:
        return self.t[self.starts]

    def falls_from(self, newest: FloatArray) -> BoolArray:
        """Of each device, whether a reading is below the one before it, the first one below `newest`."""
        falls: BoolArray = self.value[self.starts] < newest
        if len(self.starts) < len(self.value):
            inside = np.append(False, self.value[1:] < self.value[:-1])
            inside[self.starts] = False
            falls = falls | np.logical_or.reduceat(inside, self.starts)
        return falls


def _oldest(times: IntArray) -> IntArray:
    """The oldest of the newest times, newest first, that there are; the largest integer where none is."""
    found = np.full(times.shape[1], _ALWAYS)
    for each in times:
        found = np.where(each > _NEVER, each, found)
    return found


def _insert(times: IntArray, device: IntArray, t: IntArray, starts: IntArray, stops: IntArray) -> None:
    """Put the newest readings of each device, sorted by (device, t), among its newest times, in place."""
    for back in range(min(len(times), int((stops - starts).max())), 0, -1):
        at = stops - back
        at = at[at >= starts]
        who, new = device[at], t[at]
        if bool((new > times[0, who]).all()):  # nearly always
            times[1:, who] = times[:-1, who]
            times[0, who] = new
            continue
        for place in range(len(times)):
            held = times[place, who]
            again = new == held
            times[place, who] = np.maximum(held, new)
            new = np.where(again, _NEVER, np.minimum(held, new))
