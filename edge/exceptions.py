"""Report by exception: which samples are worth their bytes. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edge.config import ReportConfig
from edge.driver import Reading

__all__ = ["Exceptions"]


class Exceptions:
    """Holds back samples of a device in which nothing has left its dead band.

    A sample is reported whole or held back whole, because a time names one reading: a second one of
    the same time with other measurements would be a repeat that contradicts the first. When a value
    leaves its band, the sample held back last is reported before it: so the straight line that a reader
    draws between two reported samples is never further than twice the dead band from what was held
    back, and a step stays a step.

    Parameters
    ----------
    report : ReportConfig
        Dead bands and how long may pass without a sample.
    """

    def __init__(self, report: ReportConfig):
        self._heartbeat_ms = int(1000 * report.heartbeat_s)
        self._dead_band = report.dead_band
        self._last: Reading | None = None
        self._held: Reading | None = None
        self.held_back = 0

    def select(self, readings: Sequence[Reading]) -> list[Reading]:
        """Those of `readings`, in their order, that are to be reported; numbers are finite."""
        chosen: list[Reading] = []
        for reading in readings:
            chosen += self._judge(reading)
        return chosen

    def _judge(self, reading: Reading) -> list[Reading]:
        last, held = self._last, self._held
        moved = last is None or self._moved(last.values, reading.values)
        if not moved and last is not None and 0 <= reading.t_ms - last.t_ms < self._heartbeat_ms:
            self._held = reading
            self.held_back += 1
            return []
        self._last, self._held = reading, None
        if moved and held is not None and held.t_ms < reading.t_ms:
            self.held_back -= 1
            return [held, reading]
        return [reading]

    def _moved(self, before: Mapping[str, float | str], after: Mapping[str, float | str]) -> bool:
        """Whether a value left its band, or came or went; without a band any change counts."""
        if before.keys() != after.keys():
            return True
        for name, value in after.items():
            was = before[name]
            if isinstance(value, str) or isinstance(was, str):
                if value != was:
                    return True
            elif abs(value - was) > self._dead_band.get(name, 0.0):
                return True
        return False
