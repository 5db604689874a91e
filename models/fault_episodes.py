"""From verdicts of steps to episodes: said when they have shown for long enough, over when they do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.fault_codes import CODES
from models.fault_seen import Verdict

__all__ = ["HOLD_STEPS", "Episodes"]

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]

HOLD_STEPS: Final = 8
"""Steps after a fault for which what it upset is not judged."""
_ORDER: Final = tuple(CODES)
_PLACE: Final = {name: at for at, name in enumerate(_ORDER)}


@dataclass(frozen=True, slots=True)
class Episodes:
    """Runs of steps by code and device; arrays of shape (codes, devices), `hold` and `rank` of (devices,).

    Attributes
    ----------
    on, off : ndarray of int64
        Steps in a row that showed it, and that did not.
    since_ms, until_ms : ndarray of int64
        Start of the first step of the run, end of the last that showed it. [ms UTC]
    active : ndarray of bool
        Whether it has been said and is not over.
    hold : ndarray of int64
        Steps for which faults of a higher rank are not judged yet.
    rank : ndarray of int64
        Of the gravest thing in the way; faults of a higher rank are not judged.
    """

    on: IntArray
    off: IntArray
    since_ms: IntArray
    until_ms: IntArray
    active: BoolArray
    hold: IntArray
    rank: IntArray

    @classmethod
    def none(cls) -> Episodes:
        """Nothing of nobody."""
        wide = np.zeros((len(_ORDER), 0), dtype=np.int64)
        one = np.zeros(0, dtype=np.int64)
        return cls(wide, wide, wide, wide, wide.astype(bool), one, one)

    def grown(self, count: int) -> Episodes:
        """With room for `count` devices."""
        lacking = count - len(self.hold)
        if lacking <= 0:
            return self

        def more(array: NDArray[np.generic]) -> NDArray[np.generic]:
            return np.append(array, np.zeros((*array.shape[:-1], lacking), dtype=array.dtype), axis=-1)

        return Episodes(*(more(getattr(self, name)) for name in self.__slots__))  # type: ignore[arg-type]

    @property
    def disturbed(self) -> BoolArray:
        """Devices of which nothing may be learned now, shape (devices,)."""
        return np.asarray((self.hold > 0) | self.active.any(axis=0))

    def taken(
        self, verdicts: Sequence[Verdict], heard: BoolArray, start_ms: int, end_ms: int
    ) -> tuple[Episodes, list[tuple[str, int]], list[tuple[str, int]]]:
        """With the verdicts of one step more.

        Parameters
        ----------
        verdicts : sequence of Verdict
            At most two of a code: either is enough.
        heard : ndarray of bool, shape (devices,)
            Which devices gave samples; of the others nothing changes.

        Returns
        -------
        Episodes
        begun, over : list of (code, device index)
        """
        showing = np.zeros_like(self.active)
        for verdict in verdicts:
            showing[_PLACE[verdict.code]] |= verdict.on
        showing &= heard
        ranks = np.array([c.rank for c in CODES.values()])[:, None]
        blocking = np.array([c.blocks for c in CODES.values()])[:, None]
        far = np.int64(99)
        now = np.where((showing | self.active) & blocking, ranks, far).min(axis=0, initial=far)
        held = np.where(self.hold > 0, self.rank, far)
        way = np.minimum(now, held)
        judged = heard & (ranks <= way)
        on = np.where(judged, np.where(showing, self.on + 1, 0), np.where(heard, 0, self.on))
        off = np.where(judged, np.where(showing, 0, self.off + 1), self.off)
        since = np.where(judged & showing & (self.on == 0), start_ms, self.since_ms)
        until = np.where(judged & showing, end_ms, self.until_ms)
        need = np.array([c.need for c in CODES.values()])[:, None]
        quiet = np.array([c.quiet for c in CODES.values()])[:, None]
        begins = ~self.active & (on >= need)
        ends = self.active & (off >= quiet)
        active = (self.active | begins) & ~ends
        said = np.where(active & blocking, ranks, far).min(axis=0, initial=far)
        fresh = said < far
        hold = np.where(fresh, HOLD_STEPS, np.where(heard, np.maximum(self.hold - 1, 0), self.hold))
        rank = np.where(fresh, said, np.where(hold > 0, self.rank, far))
        after = replace(
            self, on=on, off=off, since_ms=since, until_ms=until, active=active, hold=hold, rank=rank
        )
        return after, _pairs(begins), _pairs(ends)

    def without(self, gone: BoolArray) -> tuple[Episodes, list[tuple[str, int]]]:
        """With nothing of some devices, and what ends by that."""
        ends = self.active & gone
        if not ends.any():
            return self, []
        on, off = np.where(gone, 0, self.on), np.where(gone, 0, self.off)
        hold = np.where(gone, 0, self.hold)
        return replace(self, on=on, off=off, active=self.active & ~gone, hold=hold), _pairs(ends)

    def of(self, code: str) -> BoolArray:
        """Which devices have it, shape (devices,)."""
        return np.asarray(self.active[_PLACE[code]])

    def span(self, code: str, device: int) -> tuple[int, int]:
        """Since when and until when it has shown. [ms UTC]"""
        at = _PLACE[code]
        return int(self.since_ms[at, device]), int(self.until_ms[at, device])

    def standing(self) -> list[tuple[str, int]]:
        """Every (code, device index) that is active."""
        return _pairs(self.active)

    def shown(self, code: str, device: int) -> bool:
        """Whether the last step showed it."""
        return bool(self.on[_PLACE[code], device] > 0)

    def arrays(self) -> Mapping[str, NDArray[np.generic]]:
        """Every array by name."""
        return {name: getattr(self, name) for name in self.__slots__}


def _pairs(which: BoolArray) -> list[tuple[str, int]]:
    codes, devices = np.nonzero(which)
    return [(_ORDER[c], d) for c, d in zip(codes.tolist(), devices.tolist(), strict=True)]
