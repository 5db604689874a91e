"""How the threads of this process share the interpreter."""

from __future__ import annotations

import sys
from typing import Final

__all__ = ["share_fairly"]

_SWITCH_S: Final = 0.0005


def share_fairly() -> None:
    """Let a thread that comes back from Arrow, NumPy or DuckDB wait 0.5 ms for the interpreter, not 5 ms.

    Each of their calls gives the interpreter away; with Python's default the
    others keep it for 5 ms each time, which halves the speed of a replay.
    """
    sys.setswitchinterval(_SWITCH_S)
