"""What runs until it is told to stop goes on when nobody reads any more what it says."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["outlive_readers"]


def outlive_readers() -> None:
    """Have standard output and error swallow what cannot be written.

    The reader of a pipe may end, a terminal may be closed, the disk of a log file may be full. A line that is
    lost is no reason for a server or a collector to end, nor one of its threads.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed before the start, as some supervisors do
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115  until the process ends
        if isinstance(stream, io.TextIOWrapper) and not isinstance(_raw(stream), _Swallowing):
            raw = _Swallowing(_raw(stream))
            setattr(
                sys,
                name,
                io.TextIOWrapper(
                    io.BufferedWriter(raw),
                    encoding=stream.encoding,
                    errors=stream.errors,
                    line_buffering=True,
                ),
            )


def _raw(stream: io.TextIOWrapper) -> Any:
    return getattr(stream.buffer, "raw", stream.buffer)


class _Swallowing(io.RawIOBase):
    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._raw.fileno()

    def isatty(self) -> bool:
        return self._raw.isatty()

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            taken = self._raw.write(data)
        except OSError:
            taken = None
        return memoryview(data).nbytes if taken is None else taken  # None of a full pipe that blocks nobody
