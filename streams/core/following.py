"""How far the positions of a window were followed, so that only those that come later are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.position_filter import FilterState, Fixes, follow, where_believed
from streams.core.rows import Rows
from streams.core.samples import ClassSamples, Samples

__all__ = ["Following"]

_NEVER: Final = int(np.iinfo(np.int64).min)
_NO_TIME: Final = int(np.iinfo(np.int64).max)
IntArray = NDArray[np.int64]


class Following:
    """The filter of one window's positions after the last of them, and the first that it believed.

    It saves work and is nothing that a result depends on: a filter goes on from where it was as if all fixes
    came at once. So no checkpoint has it, and a device of which it knows nothing is followed from the start.

    Attributes
    ----------
    until_ms : ndarray of int64
        By device index the newest sample that was looked at; greatest int64 where there is none. [ms UTC]
    """

    def __init__(self) -> None:
        self.until_ms: IntArray = np.empty(0, np.int64)
        self._first = Fixes(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0), np.empty(0))
        self._state = FilterState.none()

    def know(self, devices: int) -> None:
        """Have room for so many devices."""
        more = devices - len(self.until_ms)
        if more > 0:
            self.until_ms = np.append(self.until_ms, np.full(more, _NO_TIME))
            self._state = self._state.grown(devices)
            first, nowhere = self._first, np.zeros(more)
            self._first = Fixes(
                np.arange(devices), np.append(first.t_ms, np.full(more, _NEVER)),
                np.append(first.lat_deg, nowhere), np.append(first.lon_deg, nowhere),
            )  # fmt: skip

    def begin(self, samples: Samples) -> None:
        """Note what was made of all of a window's samples, of their devices."""
        devices = samples.devices
        state, kept = samples.followed
        for f in fields(FilterState):
            getattr(self._state, f.name)[devices] = getattr(state, f.name)
        self._first.t_ms[devices] = _NEVER
        self._begin_at(Fixes(devices[kept.truck], kept.t_ms, kept.lat_deg, kept.lon_deg))
        own = samples.t < samples.end_ms
        self._until(samples.device[own], samples.t[own])

    def go_on(self, start_ms: int, end_ms: int, columns: tuple[str, ...], rows: Rows) -> Samples:
        """Follow later samples of devices that it knows; what is to be marked of them.

        Parameters
        ----------
        start_ms, end_ms : int
            The window. [ms UTC]
        columns : tuple of str
            Of the values of `rows`.
        rows : Rows
            Samples in the window after `until_ms`, sorted by (device, t), repeats removed.
        """
        samples = Samples(start_ms, end_ms, [ClassSamples(columns, rows)])
        devices = samples.devices
        first, last = self._first.t_ms[devices], self._state.t_ms[devices]
        begins = self._first.take(devices[first != _NEVER])
        before = self._last(devices[(first != _NEVER) & (first != last)])
        mine = Fixes(samples.device, samples.t, samples["lat_deg"], samples["lon_deg"])
        self._state, filtered = follow(self._state, mine)
        new = where_believed(mine, filtered)
        samples.go_on_with(self.until_ms[devices] + 1, _joined((begins, before, new), devices))
        self._begin_at(new)
        self._until(samples.device, samples.t)
        return samples

    def _begin_at(self, kept: Fixes) -> None:
        """Keep the first believed fix of the trucks that had none."""
        begins = np.append(True, kept.truck[1:] != kept.truck[:-1])[: len(kept.truck)]
        at = np.flatnonzero(begins & (self._first.t_ms[kept.truck] == _NEVER))
        for name in ("t_ms", "lat_deg", "lon_deg"):
            getattr(self._first, name)[kept.truck[at]] = getattr(kept, name)[at]

    def _until(self, device: IntArray, t_ms: IntArray) -> None:
        last = np.append(device[1:] != device[:-1], True)[: len(device)]
        self.until_ms[device[last]] = t_ms[last]

    def _last(self, devices: IntArray) -> Fixes:
        state = self._state
        return Fixes(devices, state.t_ms[devices], state.lat_deg[devices], state.lon_deg[devices])


def _joined(parts: Sequence[Fixes], devices: IntArray) -> Fixes:
    """Fixes of trucks one part after the other, `truck` being the place in `devices`."""
    truck = np.searchsorted(devices, np.concatenate([p.truck for p in parts]))
    order = np.argsort(truck, kind="stable")
    columns = (np.concatenate([getattr(p, n) for p in parts]) for n in ("t_ms", "lat_deg", "lon_deg"))
    return Fixes(truck[order], *(c[order] for c in columns))
