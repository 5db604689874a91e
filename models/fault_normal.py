"""What is normal of each device, as lines that it learned from its own past, and how far it is off them now.

Of each quantity y that a rule watches there is a line over an x that explains it (the load over the outdoor
temperature, heat transfer over flow), or a mean alone. The first seven days are learned as they come; later
ones a week or two behind, and only if nothing was found wrong with the device meanwhile: so a fault that
grows slowly does not become normal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEARNING_DAYS", "Line", "Normals"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

LEARNING_DAYS: Final = 7
_STEPS_A_DAY: Final = 96.0
_LEAST_STEPS: Final = 24.0
"""Of a day that counts: six hours."""
_LEAST_N: Final = 160.0
_FAR_SD: Final = 8.0
"""Standard deviations between a step and the one before beyond which it is not learned."""
_MOST_N: Final = 60.0 * _STEPS_A_DAY
"""Steps that are remembered: sixty days."""
_SUMS: Final = 6  # n, x, y, xx, xy, yy


class Line(NamedTuple):
    """A quantity that is watched.

    Attributes
    ----------
    name : str
    tau_h : float
        Time constant over which it is smoothed before it is judged. [h]
    slope : float
        Of y over x where days have not shown x wide enough to tell.
    width : float
        Standard deviation of x below which that slope stands; 0 for a mean alone.
    """

    name: str
    tau_h: float
    slope: float = 0.0
    width: float = 0.0


@dataclass(frozen=True, slots=True)
class Normals:
    """Lines of every device; arrays of shape (…, lines, devices).

    Attributes
    ----------
    base, today, week, last : ndarray, shape (6, lines, devices)
        Sums of what is learned, of the day, and of the two weeks that are not learned yet.
    days, waited : ndarray, shape (devices,)
        Days learned, and days of the running week.
    at, slope, sd : ndarray, shape (lines, devices)
        The line through zero, its slope and the standard deviation about it; NaN before it is learned.
    off : ndarray, shape (lines, devices)
        How far a device is off its line now, smoothed. [y]
    before : ndarray, shape (lines, devices)
        How far it was in the step before: one step alone, half of it one state and half another, is no news.
    """

    base: FloatArray
    today: FloatArray
    week: FloatArray
    last: FloatArray
    days: FloatArray
    waited: FloatArray
    at: FloatArray
    slope: FloatArray
    sd: FloatArray
    off: FloatArray
    before: FloatArray

    @classmethod
    def none(cls, lines: int) -> Normals:
        """Nothing of nobody."""
        sums = np.zeros((_SUMS, lines, 0))
        one, each = np.zeros(0), np.zeros((lines, 0))
        return cls(sums, sums, sums, sums, one, one, each, each, each, each, each)

    def grown(self, count: int) -> Normals:
        """With room for `count` devices."""
        lacking = count - len(self.days)
        if lacking <= 0:
            return self
        blank = {"at": np.nan, "slope": np.nan, "sd": np.nan}

        def more(name: str, array: FloatArray) -> FloatArray:
            added = np.full((*array.shape[:-1], lacking), blank.get(name, 0.0))
            return np.append(array, added, axis=-1)

        return Normals(**{f.name: more(f.name, getattr(self, f.name)) for f in fields(self)})

    def taken(
        self, lines: Sequence[Line], x: FloatArray, y: FloatArray, known: BoolArray, judged: BoolArray
    ) -> Normals:
        """With one step more.

        Parameters
        ----------
        x, y : ndarray, shape (lines, devices)
        known : ndarray of bool, shape (lines, devices)
            Where both are known and the device is sound: these are learned.
        judged : ndarray of bool, shape (lines, devices)
            Where they are at least good enough to be compared.
        """
        x, y = np.where(judged, x, 0.0), np.where(judged, y, 0.0)
        residual = y - (self.at + self.slope * x)
        alone = np.abs(residual - self.before) > _FAR_SD * self.sd
        ones = (known & ~alone).astype(np.float64)
        kx, ky = x * ones, y * ones
        today = self.today + np.array([ones, kx, ky, kx * x, kx * y, ky * y])
        rate = np.array([1.0 - np.exp(-0.25 / line.tau_h) for line in lines])[:, None]
        use = judged & ~np.isnan(residual)
        # The middle of this step, the one before and where it stood: a step that stands alone moves nothing.
        low, high = np.minimum(residual, self.before), np.maximum(residual, self.before)
        off = np.where(use, self.off + rate * (np.clip(self.off, low, high) - self.off), self.off)
        return replace(self, today=today, off=off, before=np.where(use, residual, self.off))

    def day_over(self, lines: Sequence[Line], clean: BoolArray) -> Normals:
        """With the day learned, or put where it waits to be; `clean` are devices with nothing wrong."""
        counts = self.today[0].max(axis=0) >= _LEAST_STEPS
        learning = self.days < LEARNING_DAYS
        at_once = learning & counts & clean
        base = self.base + np.where(at_once, self.today, 0.0)
        later = ~learning & clean
        week = np.where(later, self.week + self.today, 0.0)
        last = np.where(clean, self.last, 0.0)
        waited = np.where(later, self.waited + 1.0, 0.0)
        turn = waited >= LEARNING_DAYS
        base = base + np.where(turn, last, 0.0)
        base = base * np.minimum(1.0, _MOST_N / np.maximum(base[0], 1.0))
        last, week = np.where(turn, week, last), np.where(turn, 0.0, week)
        waited = np.where(turn, 0.0, waited)
        days = self.days + at_once
        at, slope, sd = _lines(lines, base)
        ready = (base[0] >= _LEAST_N) & (days >= LEARNING_DAYS)
        at, slope, sd = (np.where(ready, a, np.nan) for a in (at, slope, sd))
        return replace(
            self, base=base, today=np.zeros_like(self.today), week=week, last=last, days=days, waited=waited,
            at=at, slope=slope, sd=sd,
        )  # fmt: skip

    def anew(self, which: BoolArray) -> Normals:
        """Without what was known of some devices: other meters hang there now."""
        if not which.any():
            return self
        blank = {"at": np.nan, "slope": np.nan, "sd": np.nan}
        return Normals(**{
            f.name: np.where(which, blank.get(f.name, 0.0), getattr(self, f.name)) for f in fields(self)
        })  # fmt: skip

    def expected(self, line: int, x: FloatArray) -> FloatArray:
        """What is normal at `x`; NaN before it is known."""
        return np.asarray(self.at[line] + self.slope[line] * x)

    def arrays(self) -> Mapping[str, FloatArray]:
        """Every array by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


def _lines(lines: Sequence[Line], base: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Value at zero, slope and standard deviation of least squares that lean towards each line's slope."""
    n = np.maximum(base[0], 1.0)
    mx, my = base[1] / n, base[2] / n
    sxx = np.maximum(base[3] / n - mx * mx, 0.0)
    sxy = base[4] / n - mx * my
    syy = np.maximum(base[5] / n - my * my, 0.0)
    prior = np.array([line.slope for line in lines])[:, None]
    lean = np.array([line.width for line in lines])[:, None] ** 2 / 4.0
    flat = lean == 0.0
    slope = np.where(flat, 0.0, (sxy + lean * prior) / np.where(flat, 1.0, sxx + lean))
    at = my - slope * mx
    sd = np.sqrt(np.maximum(syy - 2.0 * slope * sxy + slope * slope * sxx, 0.0))
    return at, slope, sd
