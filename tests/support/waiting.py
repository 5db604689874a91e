"""Waiting for what comes about by itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

__all__ = ["PATIENCE_S", "until"]

PATIENCE_S: Final = 120.0
"""What only a hang takes, on a machine that is slow, busy, or stands still for a while."""
Given = TypeVar("Given")


def until(
    condition: Callable[[], Given], what: object = "", *, seconds: float = PATIENCE_S, every: float = 0.05
) -> Given:
    """Wait until a condition is true and return what it gave.

    Parameters
    ----------
    condition : callable
    what : object
        What is waited for, in words; a callable is asked once it did not come about.
    seconds : float
        Other than `PATIENCE_S` only where the time itself is what is tested. [s]
    every : float
        Between two looks. [s]
    """
    end = time.monotonic() + seconds
    while not (given := condition()):
        assert time.monotonic() < end, f"not within {seconds:g} s: {what() if callable(what) else what}"
        time.sleep(every)
    return given
