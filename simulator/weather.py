"""Outdoor temperature of a winter in north China: a daily cycle, slow anomalies, cold fronts."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simulator.rng import generator

__all__ = ["Weather"]

Array = NDArray[np.float64]

_DAY_MS: Final = 86_400_000
_FRONT_DAYS: Final = 8  # a front is forgotten after this
_WEIGHTS: Final = np.array([0.55, 0.3, 0.15])  # of today's and earlier noise in the daily anomaly


@lru_cache(maxsize=4096)
def _day(seed: int, day: int) -> tuple[float, float, float]:
    """Noise of one day, and the hour and depth of its cold front (depth 0: none)."""
    rng = generator(seed, "weather", day)
    noise, chance, hour, depth = rng.standard_normal(), rng.random(), rng.random(), rng.random()
    return float(noise), 24.0 * float(hour), (4.0 + 7.0 * float(depth)) if chance < 0.2 else 0.0


@dataclass(frozen=True, slots=True)
class Weather:
    """Seeded weather that can be asked for at any instant.

    Attributes
    ----------
    seed : int
    mean_c : float
        Mean of the season. [°C]
    swing_k : float
        Half of the daily range. [K]
    offset_h : float
        Local solar time less UTC. [h]
    """

    seed: int
    mean_c: float = -8.0
    swing_k: float = 4.5
    offset_h: float = 8.0
    _series: tuple[Array, Array] | None = field(default=None)

    @classmethod
    def recorded(cls, t_ms: ArrayLike, outdoor_c: ArrayLike) -> Weather:
        """Weather that was measured: linear between its points, held beyond them."""
        return cls(0, _series=(np.asarray(t_ms, dtype=np.float64), np.asarray(outdoor_c, dtype=np.float64)))

    def outdoor_c(self, t_ms: ArrayLike) -> Array:
        """Outdoor temperature. [°C].

        A front drops it within six hours and lets it recover over three days.
        """
        t = np.asarray(t_ms, dtype=np.float64)
        if self._series is not None:
            return np.interp(t, *self._series)
        days = t / _DAY_MS
        first, last = int(np.floor(days.min())) - 1, int(np.floor(days.max())) + 2
        noises = np.array([_day(self.seed, d)[0] for d in range(first - len(_WEIGHTS), last + 1)])
        anomaly = np.convolve(noises, _WEIGHTS, mode="valid")[1:]
        fraction = days - np.floor(days)
        low = (np.floor(days) - first).astype(np.int64)
        ease = fraction * fraction * (3.0 - 2.0 * fraction)
        local_h = (days * 24.0 + self.offset_h) % 24.0
        cycle = -np.cos((local_h - 5.5) / 24.0 * 2.0 * np.pi)
        result = (
            self.mean_c + self.swing_k * cycle + 3.0 * (anomaly[low] * (1.0 - ease) + anomaly[low + 1] * ease)
        )
        for day in range(first + 1 - _FRONT_DAYS, last + 1):
            _, hour, depth = _day(self.seed, day)
            if depth:
                age_h = days * 24.0 - (day * 24.0 + hour)
                onset = np.clip(age_h / 6.0, 0.0, 1.0)
                result = result - depth * onset * np.exp(-np.clip(age_h - 6.0, 0.0, None) / 36.0)
        outdoor: Array = np.clip(result, -45.0, 40.0)
        return outdoor
