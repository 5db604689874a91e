"""What several panels ask of a store at the same moment is asked once."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from typing import Protocol

import pyarrow as pa

from store.protocol import Select

__all__ = ["Answers", "SharedAnswers"]


class Answers(Protocol):
    """Whatever answers a question."""

    def select(self, query: Select) -> pa.Table:
        """Rows that answer `query`."""
        ...


class SharedAnswers:
    """Gives equal questions within `keep_s` seconds one answer of `store`; who comes meanwhile waits for it.

    An error is told to all who wait, and is not kept.
    """

    def __init__(self, store: Answers, keep_s: float) -> None:
        self._store, self._keep_s = store, keep_s
        self._lock = threading.Lock()
        self._kept: dict[Select, tuple[float, Future[pa.Table]]] = {}

    def select(self, query: Select) -> pa.Table:
        """Rows that answer `query`, at most `keep_s` seconds old."""
        self.forget()
        with self._lock:
            found = self._kept.get(query)
            if found is None:
                mine: Future[pa.Table] = Future()
                self._kept[query] = time.monotonic(), mine
        if found is not None:
            return found[1].result()
        try:
            mine.set_result(self._store.select(query))
        except BaseException as error:
            with self._lock:
                self._kept.pop(query, None)
            mine.set_exception(error)
            raise
        return mine.result()

    def forget(self) -> None:
        """Let go of answers that are too old."""
        with self._lock:
            oldest = time.monotonic() - self._keep_s
            for query in [q for q, (at, answer) in self._kept.items() if at < oldest and answer.done()]:
                del self._kept[query]
