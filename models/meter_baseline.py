"""What a meter's daily signals usually are: their mean, scatter, and how they go with what moves them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["FLOOR", "LEARNING_DAYS", "Baseline", "Departure", "Line", "departure", "learnt"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

LEARNING_DAYS: Final = 14
REMEMBERED_DAYS: Final = 28
FLOOR: Final = 0.0025
"""How far a sound signal may wander without averaging down: a meter's error moves a little with its load."""
_LEAST: Final = 1e-9
_TURNS: Final = 3


@dataclass(frozen=True, slots=True)
class Line:
    """Signals against their levers; arrays of shape (signals,).

    Attributes
    ----------
    slope, slope_variance : ndarray
    variance : ndarray
        Of one day about the line.
    degrees : ndarray
        Of freedom, that it was learnt with.
    """

    slope: FloatArray
    slope_variance: FloatArray
    variance: FloatArray
    degrees: FloatArray


@dataclass(frozen=True, slots=True)
class Baseline:
    """What signals were while nothing was wrong; arrays of shape (signals,).

    Attributes
    ----------
    count, mean, square : ndarray
        Days, their mean and the sum of squares about it.
    lever : ndarray
        Mean of what the signal's own error goes with.
    spread, cross : ndarray
        Sum of its squares about that, and of its products with the signal about both means.
    """

    count: FloatArray
    mean: FloatArray
    square: FloatArray
    lever: FloatArray
    spread: FloatArray
    cross: FloatArray

    @classmethod
    def empty(cls, signals: int) -> Baseline:
        """Nothing learnt yet."""
        return cls(*np.zeros((6, signals)))

    @property
    def deviation(self) -> FloatArray:
        """Standard deviation from day to day, NaN before the second."""
        enough = self.count >= 2.0
        spread = self.square / np.where(enough, self.count - 1.0, 1.0)
        return np.where(enough, np.sqrt(np.maximum(spread, 0.0)), np.nan)

    def line(self, lever_u: FloatArray, floor: FloatArray) -> Line:
        r"""How each signal goes with its lever, and how it scatters about that.

        The slope b is 0 ± `lever_u` beforehand, and the days tell the rest: with n of them and S the sums
        about their means, :math:`b = S_{xy} / (S_{xx} + v / u_b^2)`, v the variance of a day. That is what
        the residuals leave, :math:`S_{yy} - 2 b S_{xy} + b^2 S_{xx}` over n - 1 - g, where g, 0 to 1, is how
        much of the slope the days told and not the prior; as b rests on v, both are found in turns.

        Parameters
        ----------
        lever_u : ndarray, shape (signals,)
            Standard uncertainty of the signal for each unit of the lever.
        floor : ndarray, shape (signals,)
            How far the signal may wander without averaging down.

        References
        ----------
        .. [1] Gelman et al., Bayesian Data Analysis (3rd ed., 2013), ch. 14.
        """
        prior = lever_u**2
        variance = np.maximum(np.nan_to_num(self.deviation), _LEAST) ** 2
        slope, slope_variance = np.zeros((2, len(prior)))
        degrees = np.maximum(self.count - 1.0, 1.0)
        for _ in range(_TURNS):
            told = self.spread * prior / (variance + floor**2)
            slope = prior * self.cross / (variance + floor**2) / (told + 1.0)
            slope_variance = prior / (told + 1.0)
            degrees = np.maximum(self.count - 1.0 - told / (told + 1.0), 1.0)
            left = self.square - 2.0 * slope * self.cross + slope**2 * self.spread
            variance = np.maximum(left / degrees, _LEAST**2)
        return Line(slope, slope_variance, variance, degrees)


@dataclass(frozen=True, slots=True)
class Departure:
    """How far days are from a baseline; arrays of shape (signals,).

    Attributes
    ----------
    off : ndarray
    weight : ndarray
        One over its variance, 0 where it is not known.
    doubt : ndarray
        Squared share of the variance that was learnt from days, over its degrees of freedom: what makes a
        normal deviate Student's (Welch and Satterthwaite).
    """

    off: FloatArray
    weight: FloatArray
    doubt: FloatArray

    def only(self, these: BoolArray) -> Departure:
        """The same with nothing known of other signals than `these`."""
        return Departure(
            np.where(these, self.off, 0.0),
            np.where(these, self.weight, 0.0),
            np.where(these, self.doubt, 0.0),
        )

    def explained(self, signals: Sequence[int], shift: FloatArray, variance: FloatArray) -> Departure:
        """The same after something known by that variance took `signals` that far."""
        off, weight, doubt = self.off.copy(), self.weight.copy(), self.doubt.copy()
        known = 1.0 / (1.0 + self.weight[signals] * variance)
        off[signals] -= shift
        weight[signals] *= known
        doubt[signals] *= known**2
        return Departure(off, weight, doubt)


def departure(
    baseline: Baseline,
    line: Line,
    value: FloatArray,
    lever: FloatArray,
    floor: FloatArray,
    there: BoolArray,
) -> Departure:
    """How far the mean of some days is from the baseline, and how sure that is.

    The variance is that of these days, that of the baseline, a floor that does not average down, and what
    the way with the lever leaves open.

    Parameters
    ----------
    baseline : Baseline
    line : Line
        Its line.
    value, lever : ndarray, shape (days, signals)
        NaN where a day says nothing.
    floor : ndarray, shape (signals,)
        As of `Baseline.line`.
    there : ndarray of bool, shape (signals,)
        Signals to look at.
    """
    seen = ~np.isnan(value)
    number = seen.sum(axis=0)
    some = np.maximum(number, 1)
    there = there & (number > 0)
    moved = np.nan_to_num(np.nansum(np.where(seen, lever, 0.0), axis=0) / some - baseline.lever)
    off = np.nansum(value, axis=0) / some - baseline.mean - line.slope * moved
    scatter = line.variance * (1.0 / some + 1.0 / np.maximum(baseline.count, 1.0))
    variance = scatter + floor**2 + line.slope_variance * moved**2
    return Departure(
        np.where(there, off, 0.0),
        np.where(there, 1.0 / variance, 0.0),
        np.where(there, (scatter / variance) ** 2 / line.degrees, 0.0),
    )


def learnt(baseline: Baseline, value: FloatArray, lever: FloatArray) -> Baseline:
    """Take in one day without faults; of more than 28 days the older ones fade.

    Parameters
    ----------
    baseline : Baseline
    value, lever : ndarray, shape (signals,)
        NaN where the day says nothing.

    Examples
    --------
    >>> after = learnt(learnt(Baseline.empty(1), np.array([1.0]), np.zeros(1)), np.array([3.0]), np.zeros(1))
    >>> after.mean, after.deviation.round(3)
    (array([2.]), array([1.414]))
    """
    there = ~np.isnan(value)
    kept = np.minimum(baseline.count, REMEMBERED_DAYS - 1.0)
    fade = np.where(baseline.count > 0.0, kept / np.maximum(baseline.count, 1.0), 1.0)
    count = kept + 1.0
    step = np.where(there, value, 0.0) - baseline.mean
    mean = baseline.mean + step / count
    square = baseline.square * fade + step**2 * kept / count
    moved = np.nan_to_num(lever) - baseline.lever
    drawn = baseline.lever + moved / count
    spread = baseline.spread * fade + moved**2 * kept / count
    cross = baseline.cross * fade + moved * step * kept / count
    return Baseline(
        np.where(there, count, baseline.count),
        np.where(there, mean, baseline.mean),
        np.where(there, square, baseline.square),
        np.where(there, drawn, baseline.lever),
        np.where(there, spread, baseline.spread),
        np.where(there, cross, baseline.cross),
    )
