"""Recordings played as fast as they go, in step: the server's clock may be the data."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Final

from edge.driver import DriverError, Reading, Recording
from edge.intake import Batch, Unit
from edge.say import Complaints

__all__ = ["Playback", "ahead_ms"]

AHEAD_MESSAGES: Final = 16
LATENESS_S: Final = 900.0


def ahead_ms(intervals_s: Sequence[float]) -> int:
    """How far the foremost of several recordings may run ahead of the others. [ms]

    A server whose clock is the data closes a window when its lateness has passed (900 s unless its
    site says otherwise, and at least 1.5 intervals of the device). Less than that, minus the interval
    that a window's closing sample may be away, and no window closes on a device that is merely behind.

    >>> ahead_ms([10.0]), ahead_ms([900.0, 900.0])
    (890000, 450000)
    """
    return int(1000 * min(max(LATENESS_S, 1.5 * s) - s for s in intervals_s))


class Playback:
    """Plays recordings together, in the order of their times.

    One step takes, from every recording, what lies within `ahead` of the earliest time not yet sent, and
    the next step begins when the server has made all of it safe. A single recording has nobody to run
    ahead of: of it at most 16 messages are under way. So a server that is away only pauses it.

    Parameters
    ----------
    units : sequence of Unit
        Whose drivers are recordings.
    commit : callable
        Writes batches to the outbox and sends them.
    ahead : int
        [ms]
    complaints : Complaints
        Told of damaged records.
    """

    def __init__(
        self,
        units: Sequence[Unit],
        commit: Callable[[Sequence[Batch]], None],
        *,
        ahead: int,
        complaints: Complaints,
    ):
        self.units = list(units)
        self._commit = commit
        self._ahead = ahead
        self._complaints = complaints

    def run(self, stop: threading.Event) -> None:
        """Play until all recordings are at their end, or `stop`."""
        while not stop.is_set():
            heads = [ms for u in self.units if (ms := self._recording(u).next_ms()) is not None]
            if not heads:
                return
            several = len(heads) > 1
            until = min(heads) + self._ahead if several else max(heads) + 2**53
            batches = [b for u in self.units if (b := self._take(u, until, drain=several)) is not None]
            if batches:
                self._commit(batches)
            for unit in self.units:
                unit.busy_since_s = None
            self._wait(stop, 0 if several else AHEAD_MESSAGES)

    @staticmethod
    def _recording(unit: Unit) -> Recording:
        assert isinstance(unit.driver, Recording)
        return unit.driver

    def _take(self, unit: Unit, until_ms: int, *, drain: bool) -> Batch | None:
        """Readings up to `until_ms`: all of them, or with `drain` false one message's worth."""
        unit.busy_since_s = 0.0  # the unit is not done before these are in the outbox
        recording = self._recording(unit)
        readings: list[Reading] = []
        while (head := recording.next_ms()) is not None and head <= until_ms:
            try:
                readings += recording.read(until_ms)
            except DriverError as error:
                self._complaints.add(f"record {unit.device.id}", f"{unit.device.id}: {error}")
            if readings and not drain:
                break
        return Batch(unit, readings, recording.position()) if readings else None

    def _wait(self, stop: threading.Event, allowed: int) -> None:
        delay_s = 0.002
        while any(u.outbox.count > allowed for u in self.units) and not stop.wait(delay_s):
            delay_s = min(0.05, delay_s * 1.5)
