"""Tells a worker that works or waits from one that is stuck."""

from __future__ import annotations

from collections.abc import Callable, Hashable

__all__ = ["StallWatch"]


class StallWatch:
    """How long there has been work without any progress.

    Parameters
    ----------
    clock : callable
        Seconds on a clock that never steps. [s]
    """

    def __init__(self, clock: Callable[[], float]):
        self._clock = clock
        self._since = clock()
        self._mark: Hashable = None

    def see(self, mark: Hashable, *, idle: bool) -> float:
        """Seconds for which there was work and `mark`, which any progress changes, stayed the same."""
        if idle or mark != self._mark:
            self._mark = mark
            self._since = self._clock()
        return self._clock() - self._since
