"""Delivery sets by device, of which nearly all only grow at their end."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from streams.core.deliveries import Deliveries

__all__ = ["DeliverySets", "Runs"]

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
_NO_BOOT: Final = -1


@dataclass(frozen=True, slots=True)
class Runs:
    """New messages by device, boot and local day, sorted by device and boot.

    Attributes
    ----------
    device, boot : ndarray, shape (n,)
    first, last : ndarray, shape (n,)
        Lowest and highest number.
    newest_t : ndarray, shape (n,)
        Newest sample. [ms UTC]
    gapless : ndarray of bool, shape (n,)
        Whether the numbers from `first` to `last` are all there.
    day : ndarray, shape (n,)
        Start of the local day of all of them. [ms UTC]
    """

    device: IntArray
    boot: IntArray
    first: IntArray
    last: IntArray
    newest_t: IntArray
    gapless: BoolArray
    day: IntArray

    def take(self, index: NDArray[Any]) -> Runs:
        """The runs at `index` (positions or a mask)."""
        return Runs(
            self.device[index], self.boot[index], self.first[index], self.last[index],
            self.newest_t[index], self.gapless[index], self.day[index],
        )  # fmt: skip


class DeliverySets(MutableMapping[int, Deliveries]):
    """`Deliveries` by device index.

    A batch of a large fleet has each device once, and nearly always with the number after its last. What
    follows so is gathered in columns, many devices at a time, and goes into a device's set once somebody
    asks for it.

    Attributes
    ----------
    touched : set of int
        Devices whose counts may have changed since they were said, but for those whose set nobody has
        asked for since it grew.
    """

    def __init__(self) -> None:
        self.touched: set[int] = set()
        self._of: dict[int, Deliveries] = {}
        self._any_end = False
        # The end of a set that may be followed, by device: what is known of it, and what it lacks.
        self._boot, self._last, self._day, self._first, self._newest_t = (np.empty(0, np.int64),) * 5

    # -- as a mapping: what is given may be changed, so that its end is to be learnt anew ---------

    def __getitem__(self, device: int) -> Deliveries:
        if self._any_end:
            self._complete(device)
        return self._of[device]

    def __setitem__(self, device: int, deliveries: Deliveries) -> None:
        self._complete(device)
        self._of[device] = deliveries

    def __delitem__(self, device: int) -> None:
        self._complete(device)
        del self._of[device]

    def __iter__(self) -> Iterator[int]:
        self.complete()
        return iter(self._of)

    def __len__(self) -> int:
        return len(self._of)

    def of(self, devices: IntArray) -> list[Deliveries | None]:
        """The set of each of `devices`, None where it has none."""
        if self._any_end:
            self._know(devices)
            for device in devices[self._first[devices] > 0].tolist():
                self._complete(device)
            self._boot[devices] = _NO_BOOT
        return list(map(self._of.get, devices.tolist()))

    # -- what follows -----------------------------------------------------------------------------

    def follow(self, runs: Runs, open_from_ms: int) -> BoolArray:
        """Take in those of `runs` that go on where a set ends, on the same day; which these are.

        Parameters
        ----------
        runs : Runs
        open_from_ms : int
            Before it days are settled: what is of these is left to others. [ms UTC]
        """
        if not self._any_end:
            return np.zeros(len(runs.device), dtype=bool)
        self._know(runs.device)
        who = runs.device
        again = who[1:] == who[:-1]
        follows = runs.gapless & (self._boot[who] == runs.boot) & (self._last[who] == runs.first - 1)
        follows &= (self._day[who] == runs.day) & (runs.day >= open_from_ms)
        follows[1:] &= ~again
        follows[:-1] &= ~again
        taken = runs if follows.all() else runs.take(follows)
        who, first, newest_t = taken.device, self._first[taken.device], self._newest_t[taken.device]
        lacked_none = first == 0
        self._first[who] = np.where(lacked_none, taken.first, first)
        self._newest_t[who] = np.where(lacked_none, taken.newest_t, np.maximum(newest_t, taken.newest_t))
        self._last[who] = taken.last
        return np.asarray(follows, dtype=bool)

    def learn(self, runs: Runs) -> None:
        """Note that sets end with `runs`, of one device the last one, and may be followed there."""
        if len(runs.device):
            self._know(runs.device)
            who = runs.device
            self._boot[who], self._last[who], self._day[who] = runs.boot, runs.last, runs.day
            self._any_end = True

    def _know(self, device: IntArray) -> None:
        lacking = int(device.max(initial=-1)) + 1 - len(self._boot)
        if lacking > 0:
            self._boot = np.append(self._boot, np.full(lacking, _NO_BOOT))
            none = np.zeros(lacking, np.int64)
            self._last, self._day = np.append(self._last, none), np.append(self._day, none)
            self._first, self._newest_t = np.append(self._first, none), np.append(self._newest_t, none)

    # -- into the sets ----------------------------------------------------------------------------

    def complete(self) -> None:
        """Put what was gathered into all sets."""
        if self._any_end:
            for device in np.flatnonzero(self._first).tolist():
                self._complete(device)
            self._boot[:] = _NO_BOOT
            self._any_end = False

    def _complete(self, device: int) -> None:
        """Put what was gathered of a device into its set, whose end is not known any more."""
        if device >= len(self._boot):
            return
        if self._first[device]:
            deliveries = self._of[device]
            of_boot = deliveries.boot(int(self._boot[device]))
            day_ms = max(int(self._day[device]), deliveries.floor_ms)
            first, last, newest_t = (int(x[device]) for x in (self._first, self._last, self._newest_t))
            of_boot.follow(first, last, newest_t, day_ms)
            self.touched.add(device)
            self._first[device] = 0
        self._boot[device] = _NO_BOOT
