"""What time it is: the machine's clock, or a simulated one that runs at another speed."""

from __future__ import annotations

import time

__all__ = ["SimulatedClock", "wall_clock"]


def wall_clock() -> int:
    """Now, by this machine's clock, in ms UTC."""
    return time.time_ns() // 1_000_000


class SimulatedClock:
    """A clock that began at `origin_ms` and runs `speed` times as fast as the machine's.

    Processes that are given the same three numbers read the same time. Once made it goes on
    steadily: a step of the machine's clock would be `speed` times as long here.

    Parameters
    ----------
    origin_ms : int
        What the clock showed at `anchor_ms`. [ms UTC]
    speed : float
        Simulated seconds a second, above 0.
    anchor_ms : int or None
        When it began, by the machine's clock; None is now. [ms UTC]
    """

    def __init__(self, origin_ms: int, speed: float, anchor_ms: int | None = None) -> None:
        if not speed > 0:
            msg = f"expected a speed above 0, got {speed}"
            raise ValueError(msg)
        self.origin_ms = origin_ms
        self.speed = speed
        made_ms = wall_clock()
        self.anchor_ms = made_ms if anchor_ms is None else anchor_ms
        self._before_ms = made_ms - self.anchor_ms
        self._made_s = time.monotonic()

    def __call__(self) -> int:
        """Now, in ms UTC of the simulation."""
        since_ms = self._before_ms + (time.monotonic() - self._made_s) * 1000
        return self.origin_ms + round(since_ms * self.speed)

    def to_wall_s(self, simulated_ms: float) -> float:
        """How many seconds of the machine's clock `simulated_ms` take."""
        return simulated_ms / 1000 / self.speed
