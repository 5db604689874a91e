"""A worker's right to write: the group's session, seen from the worker's own clock."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["Lease", "boot_time_s"]


def boot_time_s() -> float:
    """Seconds since boot; those asleep count, as a suspended machine's session ages too."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)


class Lease:
    """Valid for a session from the moment at which the last answered heartbeat was sent.

    The broker counts the session from a heartbeat's arrival, which is not before
    its sending; so a lease never outlives the session. A worker that was stopped
    and goes on later finds its lease expired before it writes over its successor.

    Parameters
    ----------
    session_s : float
        The group's session time-out. [s]
    clock : callable
        Seconds on a clock that never steps. [s]
    """

    def __init__(self, session_s: float, clock: Callable[[], float] = boot_time_s):
        self._session_s = session_s
        self._clock = clock
        self._renewed: float | None = None

    def now(self) -> float:
        """Seconds on the lease's clock; taken before sending what `renew` is told of."""
        return self._clock()

    def renew(self, sent: float) -> None:
        """A heartbeat sent at `sent` was answered well."""
        self._renewed = sent if self._renewed is None else max(self._renewed, sent)

    def age(self) -> float:
        """Seconds since the last good heartbeat; infinite when there was none."""
        return float("inf") if self._renewed is None else self._clock() - self._renewed

    @property
    def valid(self) -> bool:
        """Whether the broker cannot have given the partitions to another worker yet."""
        return self.age() < self._session_s
