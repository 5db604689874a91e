"""Outdoor temperatures of the hours to come: forecasts as issued, set right by what was measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["HOURS", "HourlyWeather", "Issue", "Outlook"]

FloatArray = NDArray[np.float64]

HOURS: Final = 72
"""How many hours are looked ahead."""
_HOUR_MS: Final = 3_600_000
_BIAS_GAIN: Final = 0.02  # of an hour's error: two days until a sensor's place and a forecast's cell agree
_MEAN_H: Final = 24
_LEAST_H: Final = 6


@dataclass(frozen=True, slots=True)
class Outlook:
    """What an hour and the ones after it are taken to be like.

    Attributes
    ----------
    now_c : float
        Mean outdoor temperature of the hour that ended: measured, else forecast; NaN where neither is. [°C]
    ahead_c : ndarray, shape (72,)
        Of each hour to come; NaN where nothing tells it. [°C]
    forecast : ndarray of bool, shape (72,)
        Whether it was forecast; if not it is the mean of the last day.
    """

    now_c: float
    ahead_c: FloatArray
    forecast: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Issue:
    """A forecast as it was issued.

    Attributes
    ----------
    at_ms : int
        [ms UTC]
    ahead_c : ndarray, shape (72,)
        For 1 to 72 hours later; NaN where it says nothing. [°C]
    """

    at_ms: int
    ahead_c: FloatArray


@dataclass(slots=True)
class HourlyWeather:
    """Weather of one place, hour by hour.

    Attributes
    ----------
    recent_c : ndarray, shape (24,)
        Measured temperatures by hour of the day; NaN where not known. [°C]
    bias_k : float
        By how much it has been warmer than forecast, of late. [K]
    issued_ms : int or None
        When the newest forecast was issued. [ms UTC]
    issued_c : ndarray, shape (72,)
        As forecast then for 1 to 72 hours later. [°C]
    """

    recent_c: FloatArray = field(default_factory=lambda: np.full(_MEAN_H, np.nan))
    bias_k: float = 0.0
    issued_ms: int | None = None
    issued_c: FloatArray = field(default_factory=lambda: np.full(HOURS, np.nan))

    def after(self, end_ms: int, measured_c: float, issued: Issue | None = None) -> Outlook:
        """Take in the mean temperature measured in the hour that ended, and look ahead from there.

        Parameters
        ----------
        end_ms : int
            The end of an hour. [ms UTC]
        measured_c : float
            NaN where unknown. [°C]
        issued : Issue, optional
            The newest forecast of that hour; one older than what is known is passed over.
        """
        before = float(self._forecast(end_ms)[0])
        if not np.isnan(measured_c) and not np.isnan(before):
            self.bias_k += _BIAS_GAIN * (measured_c - before - self.bias_k)
        if issued is not None and (self.issued_ms is None or issued.at_ms >= self.issued_ms):
            self.issued_ms = issued.at_ms
            self.issued_c = issued.ahead_c
        self.recent_c[end_ms // _HOUR_MS % _MEAN_H] = measured_c
        now_c = before + self.bias_k if np.isnan(measured_c) else measured_c
        ahead = self._forecast(end_ms)[1:] + self.bias_k
        known = ~np.isnan(self.recent_c)
        mean = float(self.recent_c[known].mean()) if known.sum() >= _LEAST_H else np.nan
        told = ~np.isnan(ahead)
        return Outlook(float(now_c), np.where(told, ahead, mean), told)

    def _forecast(self, end_ms: int) -> FloatArray:
        """Forecast means of the hour that ended at `end_ms` and of the 72 after it."""
        if self.issued_ms is None:
            return np.full(HOURS + 1, np.nan)
        since_h = (end_ms - self.issued_ms) / _HOUR_MS
        at = since_h + np.arange(-1.0, HOURS + 1)
        known = ~np.isnan(self.issued_c)
        if not known.any():
            return np.full(HOURS + 1, np.nan)
        hours = np.arange(1.0, HOURS + 1)
        instants = np.interp(at, hours[known], self.issued_c[known], left=np.nan, right=np.nan)
        # An hour is the mean of its ends; one in which the forecast begins has but one.
        both = (instants[:-1] + instants[1:]) / 2.0
        return np.where(np.isnan(both), instants[1:], both)
