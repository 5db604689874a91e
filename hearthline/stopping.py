"""How a command that runs until it is told to stop hears of it."""

from __future__ import annotations

import atexit
import signal
import threading
from types import FrameType
from typing import Final

__all__ = ["stop_on_signals"]

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


def stop_on_signals() -> threading.Event:
    """An event that Ctrl-C and SIGTERM set; a second one ends the process at once.

    Whose work is done can no longer be stopped: Python takes its handlers away
    before the process is gone, so that a signal within these milliseconds would
    end with a failure what has just ended well.
    """
    stop = threading.Event()

    def told(_number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    for number in _SIGNALS:
        signal.signal(number, told)
    atexit.register(_deaf)
    return stop


def _deaf() -> None:
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
