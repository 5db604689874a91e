"""What a process of the distributed mode says of a store that may be away, without waiting for it."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any, Final

from hearthline.health import ledger_totals
from hearthline.parts_told import parts_elsewhere
from ingest.clock import wall_clock
from models.wording import Worded, reported, worded
from store.protocol import SeriesStore, StoreError

__all__ = ["StoreLooks"]

_ASK_S: Final = 5.0
_RECOUNT_S: Final = 30.0
_WAIT_S: Final = 2.0
"""A store that takes longer to say how workers fare is said not to answer; counts may take longer."""
_log = logging.getLogger(__name__)


class StoreLooks:
    """Looks into the store in a thread of its own, now and then, when somebody wants to know.

    A store that is away may take half a minute to say so: who asks is told what was seen last, and that.

    Parameters
    ----------
    store : SeriesStore
    but : str
        The process whose own parts are left out.
    """

    def __init__(self, store: SeriesStore, but: str) -> None:
        self._store, self._but = store, but
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._answered = threading.Event()
        self._began = self._counted = float("-inf")
        self._counts: dict[str, Any] = {"ledger": {}, "rows": {}}
        self._elsewhere: list[dict[str, Any]] = []
        self._trouble: Worded | None = None

    def status(self) -> dict[str, Any]:
        """Ledger, counts of rows, and `components` of other processes, and of the store if it is away."""
        with self._lock:
            thread = self._thread
            if (thread is None or not thread.is_alive()) and time.monotonic() - self._began > _ASK_S:
                self._began = time.monotonic()
                self._answered.clear()
                thread = self._thread = threading.Thread(target=self._look, name="look", daemon=True)
                thread.start()
        if thread is not None:
            thread.join(_WAIT_S)
        trouble = self._trouble
        if not self._answered.is_set():
            trouble = trouble or worded("the store does not answer")
        away = [{"name": "store", "state": "degraded", "detail": trouble}] if trouble else []
        return {**self._counts, "components": [*away, *self._elsewhere]}

    def _look(self) -> None:
        try:
            self._elsewhere = parts_elsewhere(self._store, wall_clock(), self._but)
            self._answered.set()
            if time.monotonic() - self._counted > _RECOUNT_S:
                self._counts = {"ledger": ledger_totals(self._store), "rows": self._store.counts()}
                self._counted = time.monotonic()
        except Exception as error:  # noqa: BLE001  who asks is told, whatever it is
            _log.debug("the store cannot be asked: %s", error, exc_info=not isinstance(error, StoreError))
            self._trouble = reported(error)
            self._answered.set()
        else:
            self._trouble = None
