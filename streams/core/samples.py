"""What a window operator is given: samples of a window with their neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.counter import Counted, KnownSteps, events_of, increase_of, known_steps
from models.integrate import Joined, joined
from models.measurements import known
from models.position_filter import FilterState, Fixes, follow, where_believed
from models.quality import is_masked, stale_ms, too_fast
from streams.core.rows import Rows, concat, counter_places, edge_indices, falling

__all__ = ["COMPANION", "ClassSamples", "Samples", "window_rows"]

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

COMPANION = {"energy_gj": "volume_m3", "volume_m3": "energy_gj"}
"""Counters of one meter, which an exchange sets back together."""


@dataclass(frozen=True, slots=True)
class ClassSamples:
    """Rows of one device class, sorted by (device, t), and the names of their value columns."""

    columns: tuple[str, ...]
    rows: Rows


class Samples:
    """Samples of one window of every device of a stream, for vectorised operators.

    Sorted by (device, t) within each class, repeats removed, with the two
    nearest samples before the window and the nearest after it that hold each
    measurement, and that hold each counter above zero. Values outside their physical range are absent.

    Parameters
    ----------
    start_ms, end_ms : int
        The window, [start, end). [ms UTC]
    classes : sequence of ClassSamples
        Classes have disjoint devices.

    Attributes
    ----------
    devices : ndarray of int64, shape (devices,)
        Index of each device that has a sample before the window's end.
    group : ndarray of int64, shape (n,)
        Place in `devices` of each sample's device.
    t : ndarray of int64, shape (n,)
        When each sample was taken. [ms UTC]
    new_from_ms : ndarray of int64, shape (devices,)
        Since when a device's samples are to be marked: the window's start; later where those before have
        their marks. [ms UTC]
    """

    def __init__(self, start_ms: int, end_ms: int, classes: Sequence[ClassSamples]):
        self.start_ms = start_ms
        self.end_ms = end_ms
        self._classes = [c for c in classes if c.rows.n]
        device = np.concatenate([np.empty(0, np.int64), *(c.rows.device for c in self._classes)])
        self.t: IntArray = np.concatenate([np.empty(0, np.int64), *(c.rows.t for c in self._classes)])
        new = np.ones(len(device), dtype=bool)
        new[1:] = device[1:] != device[:-1]
        self.devices: IntArray = device[new]
        self.group: IntArray = np.cumsum(new) - 1
        self.new_from_ms: IntArray = np.full(len(self.devices), start_ms)
        self._taken: dict[str, FloatArray] = {}
        self._restless: dict[str, bool] = {}
        self._joined: dict[tuple[bytes, bytes, tuple[str, ...]], Joined] = {}
        self._steps: dict[tuple[str, bytes, bytes, bytes], KnownSteps] = {}
        self._followed: tuple[FilterState, Fixes] | None = None
        self._went_on: Fixes | None = None

    @property
    def device(self) -> IntArray:
        """Device index of each sample, shape (n,)."""
        return self.devices[self.group]

    def __getitem__(self, measurement: str) -> FloatArray:
        """Values of one measurement, shape (n,), not to be written to; NaN where it was not taken."""
        if measurement in self._taken:
            return self._taken[measurement]
        parts = [
            c.rows.values[c.columns.index(measurement)]
            if measurement in c.columns
            else np.full(c.rows.n, np.nan)
            for c in self._classes
        ]
        values = np.concatenate([np.empty(0), *parts])
        values.flags.writeable = False
        self._taken[measurement] = values
        return values

    @property
    def followed(self) -> tuple[FilterState, Fixes]:
        """The filter of positions at the window's end, and the positions that it believes before it.

        A truck is its place in `devices`.
        """
        if self._followed is None:
            own = self.t < self.end_ms  # what comes after the window is the next one's
            fixes = Fixes(self.group[own], self.t[own], self["lat_deg"][own], self["lon_deg"][own])
            state, filtered = follow(FilterState.none(len(self.devices)), fixes)
            self._followed = state, where_believed(fixes, filtered)
        return self._followed

    @property
    def believed_fixes(self) -> Fixes:
        """Positions that can be, before the window's end, `truck` being the place in `devices`.

        Where those before `new_from_ms` have their marks, only the first and the last of them.
        """
        return self.followed[1] if self._went_on is None else self._went_on

    def go_on_with(self, new_from_ms: IntArray, fixes: Fixes) -> None:
        """Take samples for the later ones of their window: what was before is followed in `fixes`."""
        self.new_from_ms, self._went_on = new_from_ms, fixes

    def of(self, devices: IntArray) -> Samples:
        """The samples of some of the devices."""
        kept = np.isin(self.devices, devices)
        classes = [
            ClassSamples(c.columns, c.rows.take(np.isin(c.rows.device, devices))) for c in self._classes
        ]
        part = Samples(self.start_ms, self.end_ms, classes)
        if self._went_on is not None:
            fixes = self._went_on.take(np.flatnonzero(kept[self._went_on.truck]))
            place = np.cumsum(kept) - 1
            part.go_on_with(self.new_from_ms[kept], replace(fixes, truck=place[fixes.truck]))
        return part

    def has(self, measurement: str) -> bool:
        """Whether a class among the samples may report a measurement."""
        return any(measurement in c.columns for c in self._classes)

    def integrate(
        self, value: FloatArray, *, gap_limit_ms: ArrayLike, rests_on: Sequence[str] = ()
    ) -> tuple[FloatArray, FloatArray]:
        """Integrate `value` over the window by device, by trapezoid.

        Parameters
        ----------
        value : ndarray, shape (n,)
            A value a sample; NaN where it is not known.
        gap_limit_ms : array_like, shape (devices,)
            Samples further apart than this are not joined. [ms]
        rests_on : sequence of str
            Measurements that the value is made of: samples between which one
            changed faster than it can are not joined.

        Returns
        -------
        integral : ndarray, shape (devices,)
            [value · s]
        covered : ndarray, shape (devices,)
            Share of the window that was covered, 0 to 1.
        """
        there = ~np.isnan(value)
        found = self._joins(there, gap_limit_ms, tuple(m for m in rests_on if self.moves(m)))
        return found.integral(value if there.all() else value[there]), found.covered

    def _joins(self, there: BoolArray, gap_limit_ms: ArrayLike, moving: tuple[str, ...]) -> Joined:
        """What integrals over the samples that are `there` share; found once for all operators."""
        limit_ms = np.asarray(gap_limit_ms, dtype=np.float64)
        whole = bool(there.all())
        key = (b"" if whole else there.tobytes(), limit_ms.tobytes(), moving)
        found = self._joined.get(key)
        if found is None:
            found = self._joined[key] = joined(
                self.group if whole else self.group[there],
                self.t if whole else self.t[there],
                self.start_ms,
                self.end_ms,
                len(self.devices),
                limit_ms,
                steady=[
                    (self[m] if whole else self[m][there], float(known[m].most_per_min or np.inf))
                    for m in moving
                ],
            )
        return found

    def moves(self, measurement: str) -> bool:
        """Whether any device's values lie so far apart that a step between two may be too fast."""
        if measurement not in self._restless:
            most = known[measurement].most_per_min
            self._restless[measurement] = most is not None and self._widest(measurement) > most
        return self._restless[measurement]

    def _widest(self, measurement: str) -> float:
        value = self[measurement]
        if not len(value):
            return 0.0
        first = np.flatnonzero(np.concatenate(([True], self.group[1:] != self.group[:-1])))
        spread = np.fmax.reduceat(value, first) - np.fmin.reduceat(value, first)
        return float(np.fmax.reduce(spread, initial=0.0))

    def fast_steps(self, measurement: str) -> IntArray:
        """How many steps of a measurement were faster than it can change, shape (devices,).

        Of those that end at a sample of the window, between samples that hold the measurement.
        """
        if not self.moves(measurement):
            return np.zeros(len(self.devices), dtype=np.int64)
        at = np.flatnonzero(~np.isnan(self[measurement]))
        value, group, t = self[measurement][at], self.group[at], self.t[at]
        fast = too_fast(
            value[:-1], value[1:], np.diff(t).astype(np.float64), known[measurement].most_per_min or np.inf
        )
        fast &= (group[1:] == group[:-1]) & (t[1:] >= self.start_ms) & (t[1:] < self.end_ms)
        return np.bincount(group[1:][fast], minlength=len(self.devices))

    def masked(self, measurement: str) -> BoolArray:
        """Which samples hold a value that counts as absent, being outside its range, shape (n,)."""
        return is_masked(self[measurement])

    def count(self, which: BoolArray) -> IntArray:
        """How many of the window's own samples are among `which`, shape (devices,)."""
        inside = which & (self.t >= self.start_ms) & (self.t < self.end_ms)
        return np.bincount(self.group[inside], minlength=len(self.devices))

    def stale_s(self, interval_ms: FloatArray) -> FloatArray:
        """How long each device's newest sample was older than three intervals, shape (devices,). [s]

        Time that has yet to pass counts as without samples, until they come.
        """
        devices = len(self.devices)
        return stale_ms(self.group, self.t, self.start_ms, self.end_ms, devices, interval_ms) / 1000

    def counter(
        self,
        measurement: str,
        *,
        full_scale: ArrayLike = np.nan,
        max_rate_per_h: ArrayLike = np.nan,
        rated: ArrayLike = True,
        gap_limit_ms: ArrayLike = np.inf,
    ) -> Counted:
        """By how much a counter grew over the window, by device.

        Resets, rollovers, exchanges and spikes add what `models.counter` says of
        them, never a negative.

        Parameters
        ----------
        measurement : str
        full_scale : ndarray, shape (devices,)
            Where the counter begins again at zero; NaN unknown. [unit of the counter]
        max_rate_per_h : array_like, shape (devices,)
            Faster growth is a spike; NaN unknown. [unit of the counter / h]
        rated : array_like of bool, shape (devices,)
            Whether that is the meter's own.
        gap_limit_ms : array_like, shape (devices,)
            Longer steps count, but do not cover. [ms]
        """
        steps = self._known_steps(measurement, full_scale, max_rate_per_h, rated)
        return increase_of(steps, self.start_ms, self.end_ms, len(self.devices), gap_limit_ms)

    def counter_events(
        self,
        measurement: str,
        *,
        full_scale: ArrayLike = np.nan,
        max_rate_per_h: ArrayLike = np.nan,
        rated: ArrayLike = True,
    ) -> IntArray:
        """How many `models.counter.EVENTS` of each kind a counter had, shape (kinds, devices)."""
        steps = self._known_steps(measurement, full_scale, max_rate_per_h, rated)
        return events_of(steps, self.start_ms, self.end_ms, len(self.devices))

    def _known_steps(
        self, measurement: str, full_scale: ArrayLike, max_rate_per_h: ArrayLike, rated: ArrayLike
    ) -> KnownSteps:
        """Steps of a counter, found once for all operators that hold it to the same limits."""
        full, most = (np.asarray(x, dtype=np.float64) for x in (full_scale, max_rate_per_h))
        own = np.asarray(rated, dtype=np.bool_)
        key = (measurement, full.tobytes(), most.tobytes(), own.tobytes())
        found = self._steps.get(key)
        if found is None:
            found = self._steps[key] = known_steps(
                self.group,
                self.t,
                self[measurement],
                full,
                max_rate_per_h=most,
                rated=own,
                operating_h=self._of("operating_h"),
                companion=self._of(COMPANION.get(measurement)),
            )
        return found

    def _of(self, measurement: str | None) -> FloatArray | None:
        return self[measurement] if measurement is not None and self.has(measurement) else None

    def coverage(
        self, present: BoolArray, *, gap_limit_ms: ArrayLike, rests_on: Sequence[str] = ()
    ) -> FloatArray:
        """Share of the window between samples that are `present`, within the gap limit, shape (devices,)."""
        value = np.where(present, 1.0, np.nan)
        return self.integrate(value, gap_limit_ms=gap_limit_ms, rests_on=rests_on)[1]


def window_rows(before: Rows, inside: Rows, after: Rows, columns: tuple[str, ...], wanted: BoolArray) -> Rows:
    """Join a window's samples with the neighbours on each side.

    Parameters
    ----------
    before, after : Rows
        Candidates outside the window, sorted by (device, t); of `before` the
        last two and of `after` the first that hold each measurement are kept, and of counters as many
        that are not zero. Of a device with a counter that falls, as many as `edge_indices` says.
    inside : Rows
        The window's own samples, sorted by (device, t), repeats removed.
    columns : tuple of str
        Measurements of the class.
    wanted : ndarray of bool
        By device index: whose samples to give.

    Returns
    -------
    Rows
        Of the wanted devices that have a sample before the window's end, sorted by (device, t).
    """
    before, inside, after = (
        r if (mine := wanted[r.device]).all() else r.take(mine) for r in (before, inside, after)
    )
    known = np.zeros(len(wanted), dtype=bool)
    known[before.device] = True
    known[inside.device] = True
    after = after.take(known[after.device])
    counters = counter_places(columns)
    near = [r.take(edge_indices(r, counters, last=r is before, told=False)) for r in (before, after)]
    rows = _joined(near[0], inside, near[1], columns)
    # A register that never falls is told by its nearest readings: more would cost, and say nothing.
    restless = np.zeros(len(wanted), dtype=bool)
    for part in (before, after, rows):
        restless[falling(part, counters)] = True
    if not restless.any():
        return rows
    far = [r.take(edge_indices(r, counters, last=r is before)) for r in (before, after)]
    both = [
        concat([n.take(~restless[n.device]), f.take(restless[f.device])], len(columns)).in_order()
        for n, f in zip(near, far, strict=True)
    ]
    return _joined(both[0], inside, both[1], columns)


def _joined(before: Rows, inside: Rows, after: Rows, columns: tuple[str, ...]) -> Rows:
    """Samples before a window, in it and after it, sorted by (device, t)."""
    rows = concat([before, inside, after], len(columns))
    return rows.take(np.argsort(rows.device, kind="stable"))
