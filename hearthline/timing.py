"""Watches over store and checkpoints on behalf of health and metrics: once a batch, never once a row."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from models.results import Outputs
from streams.core.checkpoint import Checkpoint, Checkpoints

__all__ = ["TimedCheckpoints", "WatchedSink"]

_DEAD_LETTER = "dead_letter"


class _Sink(Protocol):
    def write(self, outputs: Sequence[Outputs]) -> None: ...


class WatchedSink:
    """A store whose writes are counted and timed; all else is the store's own.

    Parameters
    ----------
    store
        Given what is written.
    took : callable
        Told how long each write took. [s]
    """

    def __init__(self, store: _Sink, took: Callable[[float], None] = lambda _s: None) -> None:
        self._store = store
        self._took = took
        self._began: float | None = None
        self._lock = threading.Lock()  # between the one writer and whoever reads the counts
        self._rows: Counter[str] = Counter()
        self._letters: Counter[str] = Counter()
        self._open: dict[str, set[int]] = {}
        self.failed = 0
        self.failing = ""  # why the last write did not succeed; empty when it did

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def write(self, outputs: Sequence[Outputs]) -> None:
        """Write, and take note."""
        self._began = began = time.monotonic()
        try:
            self._store.write(outputs)
        except BaseException as error:
            self.failed += 1
            self.failing = str(error) or type(error).__name__
            raise
        finally:
            self._began = None
            self._took(time.monotonic() - began)
        self.failing = ""
        with self._lock:
            for output in outputs:
                self._count(output)

    def _count(self, output: Outputs) -> None:
        self._rows["reading"] += sum(table.num_rows for table in output.readings)
        self._rows["reading_repeat"] += sum(table.num_rows for table in output.repeats)
        for measurement, tables in output.rows.items():
            for table in tables:
                self._rows[measurement] += table.num_rows
                if measurement == _DEAD_LETTER:
                    self._letters.update(_opened(table))
                elif table.num_rows:
                    self._see_windows(measurement, table)

    def _see_windows(self, measurement: str, table: pa.Table) -> None:
        if "status" not in table.column_names:
            return
        provisional = pc.equal(table["status"], "provisional")
        starts = pc.unique(table["window_start"]).to_pylist()
        filling = pc.unique(table["window_start"].filter(provisional)).to_pylist()
        known = self._open.setdefault(measurement, set())
        known.difference_update(starts)
        known.update(filling)

    @property
    def writing_s(self) -> float:
        """How long the write under way has taken, 0 when there is none. [s]"""
        began = self._began
        return 0.0 if began is None else time.monotonic() - began

    def rows(self) -> dict[str, int]:
        """Rows written since the start, by measurement."""
        with self._lock:
            return {name: count for name, count in self._rows.items() if count}

    def dead_letters(self) -> dict[str, int]:
        """Dead letters written since the start, by reason."""
        with self._lock:
            return dict(self._letters)

    def open_windows(self) -> dict[str, int]:
        """Windows that were last written as provisional, by measurement."""
        with self._lock:
            return {measurement: len(starts) for measurement, starts in self._open.items()}


def _opened(table: pa.Table) -> list[str]:
    states = table["state"].to_pylist() if "state" in table.column_names else ["open"] * table.num_rows
    reasons = table["reason"].to_pylist()
    return [str(reason) for reason, state in zip(reasons, states, strict=True) if state == "open"]


class TimedCheckpoints:
    """Checkpoints that know when they were last kept.

    Parameters
    ----------
    kept : Checkpoints
    took : callable
        Told how long each `save` took. [s]
    """

    def __init__(self, kept: Checkpoints, took: Callable[[float], None] = lambda _s: None) -> None:
        self._kept = kept
        self._took = took
        self._saved: float | None = None

    def load(self) -> dict[str, Checkpoint]:
        """The last complete checkpoint of each stream."""
        return self._kept.load()

    def save(self, checkpoints: Sequence[Checkpoint]) -> None:
        """Keep all of `checkpoints` or none."""
        began = time.monotonic()
        self._kept.save(checkpoints)
        ended = time.monotonic()
        self._took(ended - began)
        self._saved = ended

    def clear(self) -> None:
        """Forget every checkpoint."""
        self._kept.clear()

    def close(self) -> None:
        """Release files."""
        self._kept.close()

    @property
    def age_s(self) -> float | None:
        """Since the last checkpoint was kept; None before the first of this process. [s]"""
        saved = self._saved
        return None if saved is None else time.monotonic() - saved
