"""How a process fares: its parts, since when one is not ok and what to do, and the ledger's sums."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Generic, TypeVar

from ingest.status import IngestStatus
from store.protocol import Select, SeriesStore

__all__ = [
    "LEDGER_FIELDS", "SLOW_APPEND_S", "SLOW_WAIT_S", "Kept", "Part", "Watch", "how_far", "journal_part",
    "ledger_totals",
]  # fmt: skip

LEDGER_FIELDS: Final = (
    "sent", "stored", "dead_lettered", "waiting", "thinned", "unaccounted", "duplicate", "repeat",
)  # fmt: skip
SLOW_APPEND_S: Final = 5.0
"""An append or a write that takes longer than this degrades its part. [s]"""
SLOW_WAIT_S: Final = 30.0
"""What waits longer than this for a stage degrades it. [s]"""
_Value = TypeVar("_Value")


def ledger_totals(store: SeriesStore) -> dict[str, int]:
    """Sum of every device's newest ledger row, by field."""
    rows = store.select(Select("ledger", latest=True))
    names = set(rows.column_names)
    return {
        field: sum(value or 0 for value in rows.column(field).to_pylist()) if field in names else 0
        for field in LEDGER_FIELDS
    }


@dataclass(frozen=True, slots=True)
class Part:
    """State of one part.

    Attributes
    ----------
    name : str
    state : {"starting", "ok", "degraded", "failed", "stopped"}
    detail : str
        What it does, or what is wrong; figures may change from one look to the next.
    reason : str
        Why it is not ok, in words that stay the same while it lasts; empty while it is.
    advice : str
        What a person can do about it.
    """

    name: str
    state: str
    detail: str
    reason: str = ""
    advice: str = ""

    @classmethod
    def judged(cls, name: str, troubles: Sequence[tuple[str, str, str]], detail: str) -> Part:
        """A part that is ok unless there are troubles: (reason, how far, advice) each, the worst first."""
        if not troubles:
            return cls(name, "ok", detail)
        reason, far, advice = troubles[0]
        return cls(name, "degraded", f"{reason}; {far}" if far else reason, reason, advice)


class Watch:
    """Remembers since when each part is not ok, and when all of them were for the first time.

    Parameters
    ----------
    wall_ms : callable
        Time now, for people. [ms UTC]
    """

    def __init__(self, wall_ms: Callable[[], int]) -> None:
        self._wall_ms = wall_ms
        self._lock = threading.Lock()
        self._since: dict[str, int] = {}
        self._began = time.monotonic()
        self.started_ms = wall_ms()
        self.ready_s: float | None = None

    def see(self, parts: Sequence[Part]) -> list[Mapping[str, Any]]:
        """`parts` as `status` gives them: since when [ms UTC], and said in the detail too."""
        with self._lock:
            for part in parts:
                if part.state in ("ok", "starting"):
                    self._since.pop(part.name, None)
                else:
                    self._since.setdefault(part.name, self._wall_ms())
            if self.ready_s is None and all(part.state == "ok" for part in parts):
                self.ready_s = time.monotonic() - self._began
            return [_component(part, self._since.get(part.name)) for part in parts]


def _component(part: Part, since_ms: int | None) -> Mapping[str, Any]:
    said: dict[str, Any] = {"name": part.name, "state": part.state, "detail": part.detail}
    if since_ms is not None:
        when = datetime.fromtimestamp(since_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
        said["detail"] = f"{part.detail}; since {when} UTC"
        said.update(since=since_ms, reason=part.reason or part.detail, advice=part.advice)
    return said


def how_far(messages: float, seconds: float) -> str:
    """What waits, for people."""
    return f"{messages:,.0f} messages, {seconds:,.0f} s behind"


def journal_part(status: IngestStatus, detail: str, *, damage: str = "") -> Part:
    """The journal as ingest meets it, and what of it is lost."""
    advice = "look at the journal's disk or broker: room, speed; nothing is lost, collectors keep the rest"
    troubles = []
    far = how_far(status.queued, status.waiting_s)
    if damage:
        advice_on_loss = "see `hearthline journal check`; look at the disk; then `hearthline journal accept`"
        troubles.append((damage, "", advice_on_loss))
    if "journal" in status.troubles:
        troubles.append((status.troubles["journal"], far, advice))
    if status.appending_s > SLOW_APPEND_S:
        troubles.append((f"an append takes longer than {SLOW_APPEND_S:g} s", far, advice))
    return Part.judged("journal", troubles, detail)


class Kept(Generic[_Value]):
    """An answer that is asked for again only when it is old: a scrape must not cost more than a look.

    Parameters
    ----------
    ask : callable
    for_s : float
        How long an answer serves. [s]
    """

    def __init__(self, ask: Callable[[], _Value], for_s: float) -> None:
        self._ask = ask
        self._for_s = for_s
        self._lock = threading.Lock()
        self._at = float("-inf")
        self._value: _Value | None = None

    def __call__(self) -> _Value:
        """The answer."""
        with self._lock:
            if self._value is None or time.monotonic() - self._at >= self._for_s:
                self._value, self._at = self._ask(), time.monotonic()
            return self._value
