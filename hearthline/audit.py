"""What was denied at a door: one line of JSON each, chained by hashes, so that a line taken out shows."""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from ingest.door import Denied

__all__ = ["AuditLog", "denied_in", "verify"]

PER_MINUTE: Final = 60
_MINUTE_MS: Final = 60_000
_BEGIN: Final = "0" * 64
# 1767225600: Denied PUBLISH from meter-1 (d0, q1, r0, m1, 'hearthline/v1/…', ... (2 bytes))
_LINE: Final = re.compile(
    r"Denied PUBLISH from (?P<device>.*?) \(d\d, q\d, r(?P<r>\d), m\d+, '(?P<topic>.*)', \.\.\."
)


class AuditLog:
    """Appends to a file what devices were not allowed; each line carries the hash of the one before.

    Of one device at most 60 lines a minute are written; the rest is counted, and the count written with
    its next line, so that nobody fills the disk by asking for what he may not.

    Parameters
    ----------
    path : Path
    clock : callable
        Time now. [ms UTC]
    """

    def __init__(self, path: Path, clock: Callable[[], int]):
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._head = _BEGIN
        self._minute = 0
        self._lines: Counter[str] = Counter()
        self._unwritten: Counter[str] = Counter()
        for entry in _entries(path):
            self._head = str(entry.get("hash", self._head))

    def __call__(self, denied: Denied) -> None:
        """Keep one; safe from any thread."""
        now_ms = self._clock()
        with self._lock:
            if now_ms // _MINUTE_MS != self._minute:
                self._minute = now_ms // _MINUTE_MS
                self._lines.clear()
            self._lines[denied.device] += 1
            if self._lines[denied.device] > PER_MINUTE:
                self._unwritten[denied.device] += 1
                return
            self._write(now_ms, denied)

    def _write(self, now_ms: int, denied: Denied) -> None:
        entry = {"at": now_ms, **denied._asdict(), "unwritten": self._unwritten.pop(denied.device, 0)}
        entry["topic"] = denied.topic[:300]
        entry["hash"] = self._head = _hash(self._head, entry)
        place = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(place, "ab") as file:
            file.write(json.dumps(entry, ensure_ascii=True).encode() + b"\n")

    @property
    def head(self) -> str:
        """Hash of the last line: kept elsewhere, it shows whether the end was cut off."""
        return self._head


def _hash(before: str, entry: dict[str, Any]) -> str:
    text = json.dumps({k: v for k, v in entry.items() if k != "hash"}, sort_keys=True)
    return hashlib.sha256(f"{before}\n{text}".encode()).hexdigest()


def _entries(path: Path) -> Iterator[dict[str, Any]]:
    if path.exists():
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                try:
                    entry = json.loads(line)
                except ValueError:
                    entry = {}
                yield entry if isinstance(entry, dict) else {}


def verify(path: Path) -> int:
    """How many lines follow from each other, from the first; ValueError names the first that does not."""
    head, number = _BEGIN, 0
    for number, entry in enumerate(_entries(path), 1):
        if entry.get("hash") != _hash(head, entry):
            raise ValueError(
                f"{path}:{number}: expected a line that follows from the one before, got another"
            )
        head = str(entry["hash"])
    return number


def denied_in(line: str) -> Denied | None:
    """What a line of Mosquitto's log (2.0, level debug) says was denied; None for any other line."""
    found = _LINE.search(line)
    if found is None:
        return None
    return Denied(found["device"], "publish", found["topic"], "denied by the broker's access list")
