"""Rows that a store refuses for good: kept beside the others with the reason, counted, shown for a while."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from typing import Final

from models.results import Outputs
from models.wording import worded
from store.protocol import SeriesStore
from store.rows import REFUSED, Refusal, dead_rows

__all__ = ["Refusals"]

_SHOWN_S: Final = 3600.0
_log = logging.getLogger("hearthline.store")


class Refusals:
    """Takes what a store refuses.

    Attributes
    ----------
    store : SeriesStore or None
        Where refused rows are kept, as rows of `store_refused`; None only counts and logs.
    """

    def __init__(self) -> None:
        self.store: SeriesStore | None = None
        self._lock = threading.Lock()
        self._rows: Counter[str] = Counter()
        self._last = ("", float("-inf"))

    def __call__(self, refusal: Refusal) -> None:
        """Keep, count and log the rows of one refusal."""
        rows = refusal.rows.num_rows
        _log.error("%d rows of %s refused: %s", rows, refusal.measurement, refusal.reason)
        with self._lock:
            self._rows[refusal.measurement] += rows
            told = worded(
                "rows of {measurement} were refused: {why}",
                measurement=refusal.measurement,
                why=refusal.reason,
            )
            self._last = (told, time.monotonic())
        # What is refused as a refusal stays in the log: it would be refused for ever.
        if self.store is not None and refusal.measurement != REFUSED:
            outputs = Outputs("", -1)
            outputs.add(REFUSED, dead_rows(refusal))
            self.store.write([outputs])

    def rows(self) -> dict[str, int]:
        """Rows refused since the start, by measurement."""
        with self._lock:
            return dict(self._rows)

    @property
    def trouble(self) -> str:
        """What was refused within the last hour; empty when nothing was."""
        with self._lock:
            what, at = self._last
        return what if time.monotonic() - at < _SHOWN_S else ""
