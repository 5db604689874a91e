"""What a collector tells people: a line when something changes, never a flood."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable

__all__ = ["Complaints", "Say", "to_stderr"]

Say = Callable[[str], None]
_ALWAYS = 10


def to_stderr(line: str) -> None:
    """Write one line to standard error."""
    print(f"hearthline edge: {line}", file=sys.stderr, flush=True)  # noqa: T201


class Complaints:
    """Says the first ten of a kind, then each time their number has grown tenfold.

    Parameters
    ----------
    say : callable
        Told each line.
    """

    def __init__(self, say: Say):
        self._say = say
        self.counts: Counter[str] = Counter()

    def add(self, kind: str, line: str, *, once: bool = False) -> None:
        """Count one of `kind` and say it if it is time; `once`: only the first."""
        self.counts[kind] += 1
        count = self.counts[kind]
        if count == 1 or (not once and count <= _ALWAYS):
            self._say(line)
        elif not once and str(count).strip("0") == "1":
            self._say(f"{line} ({count} of these by now)")
