"""The stages of the embedded server without broker and board, fed in one process as fast as they take it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import psutil

from benchmarks.load import site_texts, values
from hearthline.server import JOURNAL_FILE, SERIES_FILE
from hearthline.threads import share_fairly
from ingest.clock import wall_clock
from ingest.messages import ClockMode, Message
from ingest.service import Ingest
from journal.sqlite import SqliteJournal
from models.site_files import parse_site
from store.duckdb_series import DuckdbSeries
from store.restate import answer
from streams.runtime.local import LocalRuntime
from streams.runtime.sqlite_checkpoints import SqliteCheckpoints

__all__ = ["Stages", "messages", "resident_mb"]

CHECKPOINTS_FILE: Final = "checkpoints.sqlite3"
INTERVAL_MS: Final = 10_000


def resident_mb() -> float:
    """Resident memory of this process."""
    return float(psutil.Process(os.getpid()).memory_info().rss) / 2**20


def messages(devices: int, steps: range, start_ms: int) -> Iterator[list[Message]]:
    """One message a device for each step of 10 s, a step at a time."""
    bodies = values()
    for step in steps:
        head = f'{{"boot":{start_ms},"seq":{step + 1},"samples":[{{"t":{start_ms + step * INTERVAL_MS},'
        yield [
            Message(
                f"hearthline/v1/r/load/d{d:05}/telemetry", f"{head}{bodies[(step + d) % 997]}}}]}}".encode()
            )
            for d in range(devices)
        ]


class Stages:
    """Ingest (without a connection), journal, runtime and store in `data_dir`.

    Parameters
    ----------
    data_dir : Path
    devices : int
    lateness_s : int
        How long windows stay open after their end. [s]
    clock : callable, optional
        The wall clock that records are stamped by; without one they go by the data's clock. [ms UTC]
    """

    def __init__(
        self, data_dir: Path, devices: int, lateness_s: int = 900, *, clock: Callable[[], int] | None = None
    ) -> None:
        share_fairly()
        self.site = parse_site(site_texts(devices, lateness_s))[0]
        mode, clock = ClockMode.WALL if clock else ClockMode.DATA, clock or wall_clock
        self.journal = SqliteJournal(data_dir / JOURNAL_FILE, clock)
        self.store = DuckdbSeries(data_dir / SERIES_FILE)
        self.checkpoints = SqliteCheckpoints(data_dir / CHECKPOINTS_FILE)
        self.ingest = Ingest(self.journal, self.site, None, clock, clock_mode=mode)
        self.runtime = LocalRuntime(
            self.journal, self.store, self.checkpoints, answer=partial(answer, self.store)
        )
        self.stopping = threading.Event()
        self._thread = threading.Thread(target=self.runtime.run, args=(self.stopping,), name="runtime")

    def behind(self) -> int:
        """Records that are journalled and not stored."""
        done = self.runtime.offsets()
        return sum(last - done.get(stream, -1) for stream, (last, _) in self.journal.streams().items())

    def cache_mb(self) -> float:
        """What DuckDB keeps of its tables' blocks in memory, until its limit makes it forget some."""
        cursor = self.store._root.cursor()  # noqa: SLF001  no other way to ask DuckDB itself
        try:
            text = "SELECT memory_usage_bytes FROM duckdb_memory() WHERE tag = 'BASE_TABLE'"
            (used,) = cursor.execute(text).fetchall()
            return float(used[0]) / 2**20
        finally:
            cursor.close()

    def submit(self, batch: list[Message], most_behind: int = 50) -> None:
        """Journal `batch`, once the streams are no more than `most_behind` records behind."""
        while self.behind() > most_behind:
            time.sleep(0.005)
        self.ingest.submit(batch)

    def catch_up(self) -> None:
        """Wait until all that is journalled is stored."""
        while self.behind():
            time.sleep(0.01)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.ingest.stop()
        self.stopping.set()
        self._thread.join(120)
        self.store.close()
        self.checkpoints.close()
        self.journal.close()
