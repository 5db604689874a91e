"""How a command that runs until it is told to stop hears of it."""

from __future__ import annotations

import atexit
import signal
import threading
from types import FrameType
from typing import Final

from hearthline.unheard import outlive_readers

__all__ = ["stop_on_signals"]

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_CLOSED: Final[signal.Signals | None] = getattr(signal, "SIGHUP", None)
"""Windows has none."""


def stop_on_signals() -> threading.Event:
    """An event that Ctrl-C and SIGTERM set; a second one ends the process at once.

    A terminal that is closed sets it too, unless the process was started to outlive it (`nohup`); the reader
    of what it says may end.

    Whose work is done can no longer be stopped: Python takes its handlers away
    before the process is gone, so that a signal within these milliseconds would
    end with a failure what has just ended well.
    """
    stop = threading.Event()
    outlive_readers()

    def told(_number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    def left(_number: int, _frame: FrameType | None) -> None:
        stop.set()  # shell and kernel may both say so: that is no second wish

    for number in _SIGNALS:
        signal.signal(number, told)
    if _CLOSED is not None and signal.getsignal(_CLOSED) is signal.SIG_DFL:
        signal.signal(_CLOSED, left)
    atexit.register(_deaf)
    return stop


def _deaf() -> None:
    for number in (*_SIGNALS, _CLOSED):
        if number is not None:
            signal.signal(number, signal.SIG_IGN)
