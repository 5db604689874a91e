"""What every clock and line of a fleet does when nothing in particular is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from zlib import crc32

from simulator.rng import generator

__all__ = ["Clocks"]

_DAY_MS: Final = 86_400_000
_DAYS_BACK: Final = 2  # an outage is over by then, or another one has begun


@lru_cache(maxsize=65_536)
def _outages(seed: int, device: str, day: int, a_day: float, mean_s: float) -> tuple[tuple[int, int], ...]:
    """Outages that begin on one day: from when to when, ms UTC."""
    rng = generator(seed, "outages", day, crc32(device.encode()))
    count = int(rng.poisson(a_day))
    begins = [day * _DAY_MS + int(rng.random() * _DAY_MS) for _ in range(count)]
    return tuple((begin, begin + round(1000.0 * float(rng.exponential(mean_s)))) for begin in sorted(begins))


@dataclass(frozen=True, slots=True)
class Clocks:
    """Clocks and lines of the heat devices.

    Attributes
    ----------
    skew_s : float
        How far a device's clock is off at most, once and for all. [s]
    jitter_s : float
        Standard deviation of what it wanders besides. [s]
    drop_share : float
        Share of readings that are not taken.
    resend_share : float
        Share of messages that come a second time within the hour.
    outages_a_day, outage_s : float
        Mean number of line outages of a device in a day, and their mean length; all is sent afterwards. [s]
    """

    skew_s: float = 0.0
    jitter_s: float = 0.0
    drop_share: float = 0.0
    resend_share: float = 0.0
    outages_a_day: float = 0.0
    outage_s: float = 600.0

    def ahead_s(self, seed: int, device: str, t_ms: int) -> float:
        """How far the clock of `device` is ahead at `t_ms`. [s]"""
        ahead = 0.0
        if self.skew_s:
            ahead += float(generator(seed, "skew", crc32(device.encode())).uniform(-self.skew_s, self.skew_s))
        if self.jitter_s:
            draw = generator(seed, "clock", t_ms, crc32(device.encode())).standard_normal()
            ahead += self.jitter_s * float(draw)
        return ahead

    def line_back_ms(self, seed: int, device: str, t_ms: int) -> int:
        """When what is said at `t_ms` gets through. [ms UTC]"""
        if not self.outages_a_day:
            return t_ms
        day = t_ms // _DAY_MS
        back = t_ms
        for earlier in range(day - _DAYS_BACK, day + 1):
            for begin, end in _outages(seed, device, earlier, self.outages_a_day, self.outage_s):
                if begin < t_ms <= end:
                    back = max(back, end)
        return back
