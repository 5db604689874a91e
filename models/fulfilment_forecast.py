"""How much of a contract will have come by its month's end, and how likely too little is.

The rest of the month is foretold from the days that are complete: their recent mean goes on, less where
little is left of the plan. How wrong that is grows with the days ahead, as single days scatter and as the
pace itself wanders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from models.site import FulfilmentRule, Site

__all__ = ["LEAST_DAYS", "RULES", "Outlook", "capped", "outlook", "rules_of", "together"]

FloatArray = NDArray[np.float64]

LEAST_DAYS: Final = 5
"""Complete days from which a pace can be told."""
_MEMORY_DAYS: Final = 10.0  # half-life of a day's weight
_WAITED: Final = 0.5  # share of a usual day below which what is left is next to nothing
_PUSH: Final = 0.4  # standard deviations by which the rest of a month is better: trucks go where coal is left
_WANDER: Final = 0.05  # relative standard deviation of the pace of the rest of a month
_LEAST_SCATTER: Final = 0.15  # a day's, relative to the pace: a few days may agree by chance


RULES: Final = (
    FulfilmentRule("month", 80.0, 0.2),
    FulfilmentRule("quarter", 90.0, 0.2),
    FulfilmentRule("year", 90.0, 0.2),
)
"""What holds where the site names no rules of its own."""


def rules_of(site: Site) -> dict[str, FulfilmentRule]:
    """Rules by period: the site's own, and `RULES` for periods that it does not name."""
    return {rule.period: rule for rule in RULES} | dict(site.rules)


@dataclass(frozen=True, slots=True)
class Outlook:
    """What will have been received by a period's end, between what came already and the most that can come.

    Attributes
    ----------
    so_far_kg, most_kg : float
        Bounds. [kg]
    mean_kg, sigma_kg : float
        Of the normal variable that they bound; sigma 0 is certain. [kg]
    run_rate_kg_d : float
        Recent pace of receipts; NaN where too few days are known. [kg/d]
    """

    so_far_kg: float
    most_kg: float
    mean_kg: float
    sigma_kg: float
    run_rate_kg_d: float = float("nan")

    @property
    def expected_kg(self) -> float:
        """Mean of what will have been received. [kg]"""
        return max(capped(self.mean_kg, self.sigma_kg, self.most_kg)[0], self.so_far_kg)

    @property
    def spread_kg(self) -> float:
        """Standard deviation of what will have been received. [kg]"""
        return capped(self.mean_kg, self.sigma_kg, self.most_kg)[1]

    def shortfall_p(self, least_kg: float) -> float:
        """Probability that it is less than `least_kg`.

        Examples
        --------
        >>> Outlook(0.0, 100.0, 80.0, 10.0).shortfall_p(80.0)
        0.5
        """
        if self.so_far_kg >= least_kg:
            return 0.0
        if self.most_kg < least_kg:
            return 1.0
        if self.sigma_kg <= 0.0:
            return float(self.mean_kg < least_kg)
        return float(ndtr((least_kg - self.mean_kg) / self.sigma_kg))


def outlook(
    daily_kg: ArrayLike,
    unloaded_kg: ArrayLike,
    today_kg: float,
    ahead_d: float,
    in_transit_kg: float,
    most_kg: float,
) -> Outlook | None:
    """What a contract's month will end with.

    Parameters
    ----------
    daily_kg : array_like, shape (k,)
        Received on each complete day of the month so far. [kg]
    unloaded_kg : array_like, shape (k,)
        Released and not loaded at the end of each. A day at whose end or beginning next to nothing was left
        says nothing of the pace: trucks waited for a release. [kg]
    today_kg : float
        Received since the last midnight. [kg]
    ahead_d : float
        Days until the month's end, 0 or more. [d]
    in_transit_kg : float
        On the road: all that can still come where nothing came for long. [kg]
    most_kg : float
        What is received at most: the plan less what was cancelled. [kg]

    Returns
    -------
    Outlook or None
        None where fewer than `LEAST_DAYS` days are complete and the month is not over.

    Examples
    --------
    >>> outlook([30e3] * 10, [500e3] * 10, 0.0, 20.0, 5e3, 2e6).run_rate_kg_d.__round__()
    30000
    """
    days = np.asarray(daily_kg, dtype=np.float64)
    so_far = float(days.sum()) + today_kg
    if len(days) < LEAST_DAYS:
        return Outlook(so_far, so_far, so_far, 0.0) if ahead_d <= 0.0 else None
    pace, scatter, weight = _pace(days[_telling(days, np.asarray(unloaded_kg, dtype=np.float64))])
    if ahead_d <= 0.0:
        return Outlook(so_far, so_far, so_far, 0.0, pace)
    sigma = float(np.sqrt(scatter**2 * (ahead_d + ahead_d**2 * weight) + (_WANDER * pace * ahead_d) ** 2))
    mean = so_far + pace * ahead_d + _PUSH * sigma
    if pace <= 0.0:
        mean, sigma = so_far + in_transit_kg, max(sigma, in_transit_kg)
    return Outlook(so_far, max(most_kg, so_far), mean, sigma, pace)


def together(parts: Sequence[Outlook]) -> Outlook:
    """Several contracts or months as one, as far as they do not depend on each other.

    Examples
    --------
    >>> both = together([Outlook(80.0, 80.0, 80.0, 0.0), Outlook(0.0, 1e9, 90.0, 10.0)])
    >>> both.mean_kg, both.sigma_kg, both.so_far_kg
    (170.0, 10.0, 80.0)
    """
    moments = [capped(part.mean_kg, part.sigma_kg, part.most_kg) for part in parts]
    return Outlook(
        sum(part.so_far_kg for part in parts),
        sum(part.most_kg for part in parts),
        sum(max(mean, part.so_far_kg) for (mean, _), part in zip(moments, parts, strict=True)),
        float(np.sqrt(sum(sigma**2 for _, sigma in moments))),
    )


def _telling(days: FloatArray, unloaded: FloatArray) -> NDArray[np.bool_]:
    """Days that tell of the pace; all of them where too few do."""
    usual = float(np.median(days[days > 0.0])) if (days > 0.0).any() else 0.0
    waited = unloaded < _WAITED * usual
    waited[1:] |= waited[:-1].copy()
    # The first trucks of a month need a while: its first day with a receipt is part of a day.
    telling = ~waited & (np.cumsum(days > 0.0) > 1)
    if (days <= 0.0).all() or telling.sum() < LEAST_DAYS:
        telling = np.arange(len(days)) >= min(int(np.argmax(days > 0.0)), len(days) - LEAST_DAYS)
    return telling


def _pace(days: FloatArray) -> tuple[float, float, float]:
    """Weighted mean of days, their scatter about it [kg/d], and the sum of the squared weights."""
    weights = 0.5 ** (np.arange(len(days))[::-1] / _MEMORY_DAYS)
    weights /= weights.sum()
    mean = float(weights @ days)
    squares = float(weights @ weights)
    variance = float(weights @ (days - mean) ** 2) / max(1.0 - squares, 0.2)
    return mean, max(float(np.sqrt(variance)), _LEAST_SCATTER * mean), squares


def capped(mean: float, sigma: float, most: float) -> tuple[float, float]:
    """Mean and standard deviation of the lesser of a normal variable and `most`.

    Examples
    --------
    >>> capped(10.0, 0.0, 8.0)
    (8.0, 0.0)
    >>> round(capped(0.0, 1.0, 0.0)[0], 3)
    -0.399
    """
    if sigma <= 0.0:
        return min(mean, most), 0.0
    a = (most - mean) / sigma
    below, density = float(ndtr(a)), float(np.exp(-0.5 * a * a) / np.sqrt(2.0 * np.pi))
    first = mean * below - sigma * density + most * (1.0 - below)
    second = (mean**2 + sigma**2) * below - sigma * density * (mean + most) + most**2 * (1.0 - below)
    return first, float(np.sqrt(max(second - first**2, 0.0)))
