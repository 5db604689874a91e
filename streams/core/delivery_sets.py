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
        self._ask_for(device)
        return self._of[device]

    def __setitem__(self, device: int, deliveries: Deliveries) -> None:
        self._ask_for(device)
        self._of[device] = deliveries

    def __delitem__(self, device: int) -> None:
        self._ask_for(device)
        del self._of[device]

    def __iter__(self) -> Iterator[int]:
        self.complete()
        return iter(self._of)

    def __len__(self) -> int:
        return len(self._of)

    def seen(self, device: int) -> Deliveries:
        """The set of a device, to be looked at only."""
        if device < len(self._first) and self._first[device]:
            self._fill(np.array([device]))
        return self._of[device]

    def of(self, devices: IntArray) -> list[Deliveries | None]:
        """The set of each of `devices`, None where it has none."""
        self._complete(devices)
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

    def fill(self) -> None:
        """Put what was gathered into the sets; it goes on where they end."""
        self._fill(np.flatnonzero(self._first))

    def complete(self) -> None:
        """Put what was gathered into the sets, which may be changed."""
        if self._any_end:
            self.fill()
            self._boot[:] = _NO_BOOT
            self._any_end = False

    def _ask_for(self, device: int) -> None:
        if self._any_end and device < len(self._boot) and self._boot[device] != _NO_BOOT:
            self._complete(np.array([device]))

    def _complete(self, devices: IntArray) -> None:
        """Put what was gathered of `devices` into their sets, whose ends are not known any more."""
        if self._any_end:
            self._know(devices)
            self._fill(devices[self._first[devices] > 0])
            self._boot[devices] = _NO_BOOT

    def _fill(self, devices: IntArray) -> None:
        if not len(devices):
            return
        ends = (self._boot, self._first, self._last, self._newest_t, self._day)
        columns = (column[devices].tolist() for column in ends)
        of = devices.tolist()
        for device, boot, first, last, newest_t, day_ms in zip(of, *columns, strict=True):
            deliveries = self._of[device]
            deliveries.boot(boot).follow(first, last, newest_t, max(day_ms, deliveries.floor_ms))
        self.touched.update(of)
        self._first[devices] = 0
