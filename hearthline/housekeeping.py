"""Forget what is older than the site keeps: readings, dead letters and their part of the journal."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final, Protocol

from journal.protocol import JournalError
from store.protocol import StoreError

__all__ = ["Housekeeping"]

_EVERY_S: Final = 3600.0
_SCRUBS_EVERY: Final = 24
_DAY_MS: Final = 86_400_000
_log = logging.getLogger(__name__)


class _Store(Protocol):
    def expire(self, before_ms: int) -> int: ...


class _Journal(Protocol):
    def prune(self, before_ms: int) -> int: ...
    def scrub(self) -> int: ...


class Housekeeping:
    """Prunes store and journal once an hour, in a thread of its own; once a day the journal is read through.

    What is read by nobody goes bad unseen: found early, its neighbours can still be saved.

    Results (rows of windows) stay; what a stream has not computed yet stays too.

    Parameters
    ----------
    store, journal
        Of the running server.
    retention_days : int
        How long the site keeps readings.
    now : callable
        The site's now. [ms UTC]
    """

    def __init__(self, store: _Store, journal: _Journal, retention_days: int, now: Callable[[], int]):
        self._store = store
        self._journal = journal
        self._retention_ms = retention_days * _DAY_MS
        self._now = now
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="housekeeping", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(10)

    def tidy(self) -> int:
        """Forget now what is too old; how many readings, dead letters and records went."""
        before_ms = self._now() - self._retention_ms
        return self._store.expire(before_ms) + self._journal.prune(before_ms)

    def _run(self) -> None:
        hours = 0
        while not self._stop.wait(_EVERY_S):
            hours += 1
            try:
                gone = self.tidy()
                if hours % _SCRUBS_EVERY == 0:
                    self._journal.scrub()
            except (StoreError, JournalError) as error:
                _log.warning("housekeeping: %s; tried again in an hour", error)
            else:
                _log.info("housekeeping: %d readings, dead letters and records were too old", gone)
