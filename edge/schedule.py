"""When each device is read: at multiples of its own interval, by one clock, none waiting for another."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from edge.driver import Recording
from edge.intake import Unit
from edge.say import Complaints

__all__ = ["Schedule", "next_due_ms"]

HUNG_S: Final = 60.0
_LOOK_S: Final = 0.5


def next_due_ms(interval_s: float, now_ms: int) -> int:
    """The first multiple of an interval after now. [ms UTC]

    >>> next_due_ms(10.0, 25_000), next_due_ms(10.0, 30_000)
    (30000, 40000)
    """
    period = max(1, round(interval_s * 1000))
    return (now_ms // period + 1) * period


class Schedule:
    """Hands each device over to be read when it is due; one that still reads is left out, and said.

    Parameters
    ----------
    units : sequence of Unit
        All are due at the start.
    clock : callable
        Time now. [ms UTC]
    speed : float
        How fast that clock runs against the wall.
    read : callable
        Given a unit that is due and not busy; must not block.
    complaints : Complaints
        Told of a device that hangs.
    """

    def __init__(
        self,
        units: Sequence[Unit],
        *,
        clock: Callable[[], int],
        speed: float,
        read: Callable[[Unit], None],
        complaints: Complaints,
    ):
        self.turned_s = time.monotonic()
        self._units = list(units)
        self._clock = clock
        self._speed = speed
        self._read = read
        self._complaints = complaints
        self._fresh: list[Unit] = list(units)
        self._plan_again = False
        self._lock = threading.Lock()

    def replace(self, units: Sequence[Unit], fresh: Sequence[Unit] = ()) -> None:
        """Read these from now on, `fresh` ones at once; also after an interval was changed.

        When this returns no other device begins to be read.
        """
        with self._lock:
            self._units, self._fresh, self._plan_again = list(units), list(fresh), True

    def _plan(self, now_ms: int) -> list[tuple[int, int, Unit]]:
        with self._lock:
            fresh, self._fresh, self._plan_again = self._fresh, [], False
            due = [
                (now_ms if unit in fresh else self._next_due(unit, now_ms), number, unit)
                for number, unit in enumerate(self._units)
            ]
        heapq.heapify(due)
        return due

    def run(self, stop: threading.Event) -> None:
        """Work until `stop`."""
        due = self._plan(self._clock())
        while not stop.is_set():
            self.turned_s = time.monotonic()
            now_ms = self._clock()
            # A clock that was set back: what was due by the time before is due by the time now.
            if self._plan_again or (due and due[0][0] > max(now_ms, self._next_due(due[0][2], now_ms))):
                due = self._plan(now_ms)
            elif not due or due[0][0] > now_ms:
                wait_s = (due[0][0] - now_ms) / 1000 / self._speed if due else _LOOK_S
                stop.wait(min(_LOOK_S, wait_s))
            else:
                _, number, unit = heapq.heappop(due)
                if not self._take(unit, now_ms):
                    continue
                heapq.heappush(due, (self._next_due(unit, now_ms), number, unit))

    def _take(self, unit: Unit, now_ms: int) -> bool:
        """Have a device read that is due; False if it never will be again."""
        with self._lock:
            if unit not in self._units or (unit.busy_since_s is None and unit.driver.exhausted):
                return False
            if unit.busy_since_s is not None:
                self._mind(unit)
            elif not (isinstance(unit.driver, Recording) and unit.driver.due_ms(now_ms) > now_ms):
                unit.busy_since_s = time.monotonic()
                self._read(unit)
            return True

    def _next_due(self, unit: Unit, now_ms: int) -> int:
        if isinstance(unit.driver, Recording):
            # No more often than 50 times a second by the wall.
            soonest = now_ms + max(1, int(20 * self._speed))
            return soonest if unit.busy_since_s is not None else max(soonest, unit.driver.due_ms(now_ms))
        return next_due_ms(unit.interval_s, now_ms)

    def _mind(self, unit: Unit) -> None:
        busy_s = time.monotonic() - (unit.busy_since_s or 0.0)
        if busy_s > max(HUNG_S, unit.interval_s / self._speed):
            self._complaints.add(
                f"hung {unit.device.id}",
                f"degraded: {unit.device.id}: expected driver {unit.device.driver!r} to answer, "
                f"got nothing for {busy_s:.0f} s",
            )
