"""Delivery sets by device, of which nearly all only grow at their end."""

from __future__ import annotations

from collections.abc import Collection, Iterator, MutableMapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from streams.core.deliveries import Deliveries, text_of_run

__all__ = ["DeliverySets", "Grown", "Runs"]

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


@dataclass(frozen=True, slots=True)
class Grown:
    """Devices, ascending, whose sets only went on where they ended since their counts were said.

    Attributes
    ----------
    device : ndarray, shape (n,)
    first, last : ndarray, shape (n,)
        Lowest and highest number, where the run is all that is known; else `last` alone holds.
    told : ndarray, shape (n,)
        Highest number when counts were said.
    day : ndarray, shape (n,)
        Start of the local day of all that came since. [ms UTC]
    whole : ndarray of bool, shape (n,)
        Whether nothing else is known of the device.
    """

    device: IntArray
    first: IntArray
    last: IntArray
    told: IntArray
    day: IntArray
    whole: BoolArray


class DeliverySets(MutableMapping[int, Deliveries]):
    """`Deliveries` by device index.

    A batch of a large fleet has each device once, and nearly always with the number after its last. What
    follows so is gathered in columns, many devices at a time, and goes into a device's set once somebody
    asks for it. A device of which there is nothing else has no set until then.

    Attributes
    ----------
    touched : set of int
        Devices whose counts may have changed since they were said, but for those of `grown`.
    """

    def __init__(self) -> None:
        self.touched: set[int] = set()
        self._of: dict[int, Deliveries] = {}
        self._any_end = False
        # The end of a set that may be followed, by device: what is known of it, and what it lacks.
        self._boot, self._last, self._day, self._first, self._newest_t = (np.empty(0, np.int64),) * 5
        self._told = np.empty(0, np.int64)
        self._whole = np.empty(0, bool)  # whether there is no set beside

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
        return len(self._of) + int(np.count_nonzero(self._whole))

    def look(self, device: int) -> Deliveries | None:
        """The set of a device, to be looked at only; None where it has none."""
        if self._has_end(device) and self._first[device]:
            self._fill(np.array([device]))
        return self._of.get(device)

    def texts(self) -> dict[int, str]:
        """Each device's set as text that `Deliveries.from_json` reads."""
        self._fill(np.flatnonzero((self._first > 0) & ~self._whole))
        texts = {device: deliveries.to_json() for device, deliveries in self._of.items()}
        alone = np.flatnonzero(self._whole)
        columns = (self._boot, self._first, self._last, self._newest_t, self._day)
        runs = zip(*(column[alone].tolist() for column in columns), strict=True)
        return texts | {device: text_of_run(*run) for device, run in zip(alone.tolist(), runs, strict=True)}

    def of(self, devices: IntArray) -> list[Deliveries | None]:
        """The set of each of `devices`, None where it has none."""
        self._complete(devices)
        return list(map(self._of.get, devices.tolist()))

    # -- what follows -----------------------------------------------------------------------------

    def follow(self, runs: Runs, open_from_ms: int) -> BoolArray:
        """Take in those of `runs` that go on where a set ends, on the same day, or that begin one; which.

        Parameters
        ----------
        runs : Runs
        open_from_ms : int
            Before it days are settled: what is of these is left to others. [ms UTC]
        """
        self._know(runs.device)
        who = runs.device
        again = who[1:] == who[:-1]
        alone = runs.gapless & (runs.day >= open_from_ms)
        alone[1:] &= ~again
        alone[:-1] &= ~again
        follows = alone & (self._boot[who] == runs.boot) & (self._last[who] == runs.first - 1)
        follows &= self._day[who] == runs.day
        self._go_on(runs if follows.all() else runs.take(follows))
        unmet = np.flatnonzero(alone & (self._boot[who] == _NO_BOOT) & (runs.first > 0))
        if len(unmet):
            unmet = unmet[[device not in self._of for device in who[unmet].tolist()]]
            self._begin(runs.take(unmet))
            follows[unmet] = True
        return np.asarray(follows, dtype=bool)

    def _go_on(self, runs: Runs) -> None:
        who, first, newest_t = runs.device, self._first[runs.device], self._newest_t[runs.device]
        lacked_none = first == 0
        self._first[who] = np.where(lacked_none, runs.first, first)
        self._newest_t[who] = np.where(lacked_none, runs.newest_t, np.maximum(newest_t, runs.newest_t))
        self._last[who] = runs.last

    def _begin(self, runs: Runs) -> None:
        self.learn(runs)
        self._first[runs.device], self._newest_t[runs.device] = runs.first, runs.newest_t
        self._told[runs.device], self._whole[runs.device] = 0, True

    def learn(self, runs: Runs) -> None:
        """Note that sets end with `runs`, of one device the last one, and may be followed there."""
        if len(runs.device):
            self._know(runs.device)
            who = runs.device
            self._boot[who], self._last[who], self._day[who] = runs.boot, runs.last, runs.day
            self._told[who] = runs.last  # these are touched
            self._any_end = True

    def grown(self, touched: Collection[int]) -> Grown:
        """What followed since counts were said, less of `touched` devices."""
        device = np.flatnonzero((self._last > self._told) & (self._boot != _NO_BOOT))
        if touched:
            device = device[~np.isin(device, np.fromiter(touched, np.int64, len(touched)))]
        first, last, told, day = self._first, self._last, self._told, self._day
        return Grown(
            device, first[device], last[device], told[device], day[device], self._whole[device]
        )  # fmt: skip

    def told(self) -> None:
        """Note that the counts of all devices are said now."""
        np.copyto(self._told, self._last)

    def _know(self, device: IntArray) -> None:
        lacking = int(device.max(initial=-1)) + 1 - len(self._boot)
        if lacking > 0:
            self._boot = np.append(self._boot, np.full(lacking, _NO_BOOT))
            none = np.zeros(lacking, np.int64)
            self._last, self._day = np.append(self._last, none), np.append(self._day, none)
            self._first, self._newest_t = np.append(self._first, none), np.append(self._newest_t, none)
            self._told, self._whole = np.append(self._told, none), np.append(self._whole, none > 0)

    # -- into the sets ----------------------------------------------------------------------------

    def complete(self) -> None:
        """Put what was gathered into the sets, which may be changed."""
        if self._any_end:
            self._complete(np.flatnonzero(self._boot != _NO_BOOT))
            self._any_end = False

    def _ask_for(self, device: int) -> None:
        if self._any_end and self._has_end(device):
            self._complete(np.array([device]))

    def _has_end(self, device: int) -> bool:
        """Whether the end of its set is known; -1 is a device that the stream lacks, not its last."""
        return 0 <= device < len(self._boot) and bool(self._boot[device] != _NO_BOOT)

    def _complete(self, devices: IntArray) -> None:
        """Put what was gathered of `devices` into their sets, whose ends are not known any more."""
        if self._any_end:
            self._know(devices)
            self._fill(devices[self._first[devices] > 0])
            ends = devices[self._boot[devices] != _NO_BOOT]
            self.touched.update(ends[self._last[ends] > self._told[ends]].tolist())
            self._boot[devices] = _NO_BOOT

    def _fill(self, devices: IntArray) -> None:
        """Put what was gathered of `devices` into their sets; it goes on where they end."""
        if not len(devices):
            return
        ends = (self._boot, self._first, self._last, self._newest_t, self._day)
        columns = (column[devices].tolist() for column in ends)
        for device, boot, first, last, newest_t, day_ms in zip(devices.tolist(), *columns, strict=True):
            deliveries = self._of.get(device)
            if deliveries is None:
                deliveries = self._of[device] = Deliveries()
            deliveries.boot(boot).follow(first, last, newest_t, max(day_ms, deliveries.floor_ms))
        self._first[devices], self._whole[devices] = 0, False
