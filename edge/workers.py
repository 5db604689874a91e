"""Threads for calls that may hang: a hung one holds its thread, not the others, nor the process's end."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

__all__ = ["Workers"]

T = TypeVar("T")


class Workers:
    """Runs functions in daemon threads, started as they are needed and kept for the next call.

    `concurrent.futures` would join its threads when the process ends, and so wait for a hung driver.

    Parameters
    ----------
    name : str
        Name of the threads.
    most : int
        How many there may be.
    """

    def __init__(self, name: str, most: int):
        self._name = name
        self.most = most
        self._jobs: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._count = 0

    def submit(self, function: Callable[[], T]) -> Future[T]:
        """Run `function` soon."""
        future: Future[T] = Future()
        self._jobs.put((future, function))
        if not self._idle.acquire(blocking=False) and self._count < self.most:
            self._count += 1
            threading.Thread(target=self._run, name=f"{self._name}-{self._count}", daemon=True).start()
        return future

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, function = job
            try:
                result = function()
            except BaseException as error:  # noqa: BLE001  handed to whoever waits
                self._idle.release()
                future.set_exception(error)
            else:
                self._idle.release()
                future.set_result(result)

    def close(self) -> None:
        """Let the idle threads end; one that hangs is left behind."""
        for _ in range(self._count):
            self._jobs.put(None)
