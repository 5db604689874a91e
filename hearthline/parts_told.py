"""What the parts of a process say of themselves, kept in the store for boards that run elsewhere."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol, Self

import orjson
import pyarrow as pa

from models.results import Outputs, SinkError, Status, result_schema
from models.wording import heard, lasting, tellable, worded
from store.protocol import Select, SeriesStore

__all__ = [
    "PART",
    "WORDS",
    "KeepsRows",
    "PartsTold",
    "TellsParts",
    "outputs_of",
    "parts_elsewhere",
    "parts_table",
    "process_name",
]

PART: Final = "part"
_EVERY_S: Final = 10.0
_PATIENCE_S: Final = 2.0
_SILENT_MS: Final = 60_000
_GONE_MS: Final = 900_000
_DAY_MS: Final = 86_400_000
_STREAM: Final = "_parts"
WORDS: Final = ("detail", "what", "reason", "advice")
_SCHEMA: Final = result_schema([
    *(pa.field(name, pa.string()) for name in ("process", "part", "state", *WORDS, "stage")),
    *(pa.field(name, pa.float64()) for name in ("queued", "lag_s")),
    *(pa.field(name, pa.int64()) for name in ("since", "told_ms")),
])  # fmt: skip

_log = logging.getLogger(__name__)


def process_name(kind: str) -> str:
    """A name of this process that no other has: what it is, on which machine, and its number there."""
    return f"{kind} {socket.gethostname()} {os.getpid()}"


class TellsParts(Protocol):
    """A process that can say how it fares."""

    def components(self) -> Iterable[Mapping[str, Any]]:
        """State and detail of each part."""
        ...

    def lag(self) -> Mapping[str, Mapping[str, Any]]:
        """By part `stage`, and what waits for it: `queued` records, the oldest for `lag_s`; None: unknown."""
        ...


class KeepsRows(Protocol):
    """Takes rows, as a store does."""

    def write(self, outputs: Sequence[Outputs]) -> None:
        """SinkError if it cannot."""
        ...


def parts_table(
    process: str, components: Iterable[Mapping[str, Any]], lag: Mapping[str, Mapping[str, Any]], now_ms: int
) -> pa.Table:
    """One row a part and day (UTC), which the next look writes over; words as JSON of `tellable`."""
    rows = []
    for c in components:
        own: dict[str, Any] = {
            name: orjson.dumps(tellable(c[name])).decode() for name in WORDS if c.get(name)
        }
        rows.append({
            "key": f"{process}/{c['name']}", "unit": "", "region": "", "stream": _STREAM,
            "window_start": now_ms // _DAY_MS * _DAY_MS, "window_ms": _DAY_MS,
            "process": process, "part": c["name"], "state": c["state"], "since": c.get("since"),
            "told_ms": now_ms,
            **own, **lag.get(c["name"], {}),
            "status": Status.PROVISIONAL.value, "revision": 0,
        })  # fmt: skip
    return pa.Table.from_pylist(rows, schema=_SCHEMA)


def outputs_of(table: pa.Table) -> Outputs:
    """What a store is given of a `parts_table`."""
    return Outputs(_STREAM, rows={PART: [table]})


def parts_elsewhere(store: SeriesStore, now_ms: int, but: str = "") -> list[dict[str, Any]]:
    """Components as processes `but` this said them within a quarter of an hour; who is silent since says so.

    Raises
    ------
    StoreError
    """
    rows = store.select(Select(PART, from_ms=now_ms // _DAY_MS * _DAY_MS - _DAY_MS, latest=True)).to_pylist()
    found = []
    for row in sorted(rows, key=lambda r: (r["part"] or "", r["process"] or "")):
        age_ms = now_ms - (row["told_ms"] or 0)
        if age_ms > _GONE_MS or row["state"] == "stopped" or row["process"] == but:
            continue
        said: dict[str, Any] = {"name": f"{row['part']} · {row['process']}"}
        said.update(
            {name: row[name] for name in ("part", "process", "state", "stage", "queued", "lag_s", "since")}
        )
        said.update({name: heard(orjson.loads(row[name])) for name in WORDS if row.get(name)})
        if age_ms > _SILENT_MS:
            silent = worded("nothing was heard of it for {time}", time=lasting(age_ms / 1000))
            advice = worded("see whether it runs, and reaches the store")
            said.update(dict.fromkeys(("reason", "stage", "queued", "lag_s")))  # nobody knows what waits now
            said.update(state="degraded", detail=silent, what=silent, advice=advice, since=row["told_ms"])
        found.append({name: value for name, value in said.items() if value is not None})
    return found


class PartsTold:
    """Tells every ten seconds, and at the end that all has stopped.

    A store that is away is no reason to stop: its own state is told to whoever looks at it.

    Parameters
    ----------
    health : TellsParts
    store : KeepsRows
    process : str
        A name that no other process has at the time.
    wall_ms : callable
        Time now. [ms UTC]
    every_s : float
    """

    def __init__(
        self,
        health: TellsParts,
        store: KeepsRows,
        process: str,
        wall_ms: Callable[[], int],
        every_s: float = _EVERY_S,
    ) -> None:
        self._health, self._store, self._process = health, store, process
        self._wall_ms, self._every_s = wall_ms, every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="parts", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(_PATIENCE_S)

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            self._tell(list(self._health.components()), self._health.lag())
        self._tell([{**c, "state": "stopped"} for c in self._health.components()], {})

    def _tell(self, parts: list[Mapping[str, Any]], lag: Mapping[str, Mapping[str, Any]]) -> None:
        table = parts_table(self._process, parts, lag, self._wall_ms())
        try:
            self._store.write([outputs_of(table)])
        except SinkError as error:
            _log.debug("how this process fares is not in the store: %s", error)
