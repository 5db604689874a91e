"""Named points in server and collector at which a test can have the process killed; the product knows none of it.

`watch` wraps methods before the program starts. A test arms a point by writing its name and
which passage of it is meant; the process that comes there for that time ends as a power cut
would end it.
"""

from __future__ import annotations

import functools
import importlib
import os
import signal
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

__all__ = [
    "COLLECTOR_POINTS",
    "SERVER_POINTS",
    "STARTING_COLLECTOR_POINTS",
    "STARTING_POINTS",
    "STARTING_SERVER_POINTS",
    "arm",
    "armed",
    "watch",
]

Role = Literal["server", "collector"]


class _Point(NamedTuple):
    """Before or after the work of a method or function; `after done` counts only calls that return something true."""

    method: str
    when: Literal["before", "after", "after done"]


SERVER_POINTS: Final = {
    "decoded, not journalled": _Point("ingest.service:Ingest._append", "before"),
    "journal's transaction open": _Point("journal.sqlite:SqliteJournal._insert", "after"),
    "journalled, nobody told": _Point("ingest.service:Ingest._append", "after"),
    "broker told, collector not": _Point("ingest.subscriber:Subscriber.acknowledge", "after"),
    "collector told": _Point("ingest.outbound:AckOutbox.flush", "after done"),
    "stepped, not stored": _Point("streams.runtime.local:LocalRuntime._write", "before"),
    "store's transaction open": _Point("store.duckdb_write:Writing.advance", "after"),
    "stored, no checkpoint": _Point("store.duckdb_series:DuckdbSeries.write", "after"),
    "checkpoint's transaction open": _Point("streams.runtime.sqlite_checkpoints:SqliteCheckpoints._save", "after"),
    "checkpointed": _Point("streams.runtime.sqlite_checkpoints:SqliteCheckpoints.save", "after"),
}  # fmt: skip
"""Passed again and again while messages come."""

STARTING_SERVER_POINTS: Final = {
    "checkpoints not read": _Point("streams.runtime.local:LocalRuntime.load", "before"),
    "checkpoints read": _Point("streams.runtime.local:LocalRuntime.load", "after"),
    "registry not announced": _Point("ingest.service:announce", "before"),
    "owner not announced": _Point("hearthline.server:Server._announce", "before"),
}
"""Passed once, while it starts."""

COLLECTOR_POINTS: Final = {
    "outbox's transaction open": _Point("edge.outbox:Outbox.put", "after"),
    "kept, not sent": _Point("edge.run:Fleet._deliver", "before"),
    "sent": _Point("edge.collector:Collector.live", "after"),
    "acknowledged, not forgotten": _Point("edge.run:Fleet._take_ack", "after"),
    "forgetting": _Point("edge.outbox:Outbox.ack", "after"),
}
STARTING_COLLECTOR_POINTS: Final = {
    "outbox open, nothing read": _Point("edge.run:Fleet.start", "before"),
    "introduced": _Point("edge.collector:Collector.ready", "after"),
}
STARTING_POINTS: Final = frozenset({*STARTING_SERVER_POINTS, *STARTING_COLLECTOR_POINTS})


def _place(home: Path, role: Role) -> Path:
    return home / f"kill {role}"


def arm(home: Path, role: Role, point: str, passage: int = 1) -> None:
    """Have the process killed when it passes `point` for the `passage`-th time from now."""
    scratch = home / f"kill {role} at"
    scratch.write_text(f"{passage} {point}", encoding="utf-8")
    scratch.replace(_place(home, role))


def armed(home: Path, role: Role) -> bool:
    """Whether a point waits for the process to pass it."""
    return _place(home, role).exists()


def watch(home: Path, role: Role) -> None:
    """Wrap the methods of every point of this process."""
    passed: dict[str, int] = {}

    def reached(name: str) -> None:
        try:
            passage, _, wanted = _place(home, role).read_text(encoding="utf-8").partition(" ")
        except FileNotFoundError:
            passed.clear()
            return
        if wanted == name:
            passed[name] = passed.get(name, 0) + 1
            if passed[name] >= int(passage):
                _place(home, role).unlink(missing_ok=True)
                os.kill(os.getpid(), signal.SIGKILL)

    points = {
        "collector": COLLECTOR_POINTS | STARTING_COLLECTOR_POINTS,
        "server": SERVER_POINTS | STARTING_SERVER_POINTS,
    }[role]
    for name, point in points.items():
        _wrap(point, functools.partial(reached, name))


def _wrap(point: _Point, reached: Any) -> None:
    module, _, path = point.method.partition(":")
    class_name, _, method = path.rpartition(".")
    owner: Any = importlib.import_module(module)
    if class_name:
        owner = getattr(owner, class_name)
    work = getattr(owner, method)

    @functools.wraps(work)
    def passing(*args: Any, **more: Any) -> Any:
        if point.when == "before":
            reached()
        result = work(*args, **more)
        if point.when == "after" or (point.when == "after done" and result):
            reached()
        return result

    setattr(owner, method, passing)
