"""How the threads of this process share the interpreter."""

from __future__ import annotations

import gc
import sys
from typing import Final

__all__ = ["share_fairly"]

_SWITCH_S: Final = 0.0005
_GC_THRESHOLDS: Final = (50_000, 10, 10)


def share_fairly() -> None:
    """Let a thread that comes back from Arrow, NumPy or DuckDB wait 0.5 ms for the interpreter, not 5 ms.

    Each of their calls gives the interpreter away; with Python's default the
    others keep it for 5 ms each time, which halves the speed of a replay.

    And let the collector of reference cycles, which stops all of them, look
    at what is new after 50,000 objects instead of 700: a batch makes thousands
    that are in no cycle, and looking at them took a third of the time.
    """
    sys.setswitchinterval(_SWITCH_S)
    gc.set_threshold(*_GC_THRESHOLDS)
