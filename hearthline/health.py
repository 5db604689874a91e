"""How a process fares: its parts, since when one is not ok and what to do, and the ledger's sums."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Generic, TypeVar

from hearthline.metrics import Figure, labelled
from ingest.status import IngestStatus
from models.wording import NOTHING, Worded, lasting, reported, worded
from store.protocol import Select, SeriesStore
from streams.core.containing import Failure
from streams.core.deliveries import LedgerCounts
from streams.core.leap import Leap, utc
from streams.runtime.failing import Failing

__all__ = [
    "NOT_READY", "SLOW_APPEND_S", "SLOW_WAIT_S", "Kept", "Part", "Trouble", "Watch",
    "failing_figures", "failing_told", "failing_troubles", "how_far", "journal_part", "leap_figures",
    "leap_trouble", "leaping", "leaps_told", "ledger_totals", "slow_write",
    "standing_troubles", "taken_in",
]  # fmt: skip

SLOW_APPEND_S: Final = 5.0
"""An append or a write that takes longer than this degrades its part. [s]"""
SLOW_WAIT_S: Final = 30.0
"""What waits longer than this for a stage degrades it. [s]"""
_Value = TypeVar("_Value")
Trouble = tuple[Worded, Worded, Worded]
"""Why a part is not ok, how far, and what to do."""


def ledger_totals(store: SeriesStore) -> dict[str, int]:
    """Sum of every device's newest ledger row, by field."""
    rows = store.select(Select("ledger", latest=True))
    names = set(rows.column_names)
    return {
        field: sum(value or 0 for value in rows.column(field).to_pylist()) if field in names else 0
        for field in LedgerCounts._fields
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
    detail: Worded
    reason: Worded = NOTHING
    advice: Worded = NOTHING

    @classmethod
    def judged(cls, name: str, troubles: Sequence[Trouble], detail: Worded) -> Part:
        """A part that is ok unless there are troubles, the worst first."""
        if not troubles:
            return cls(name, "ok", detail)
        reason, far, advice = troubles[0]
        told = worded("{reason}; {far}", reason=reason, far=far) if far else reason
        return cls(name, "degraded", told, reason, advice)


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
        said.update(since=since_ms, what=part.detail, reason=part.reason or part.detail, advice=part.advice)
    return said


def how_far(messages: float, seconds: float) -> Worded:
    """What waits, for people."""
    return worded("{n} messages, {time} behind", n=f"{messages:,.0f}", time=lasting(seconds))


def leaping(leaps: Mapping[str, Leap]) -> Worded:
    """Which stream is furthest from the end of a leap of now, and how far it is, for people; or nothing."""
    if not leaps:
        return NOTHING
    stream, leap = max(leaps.items(), key=lambda each: each[1].left_ms)
    return worded(
        "{stream} catches up from {since} to {until}: windows are closed to {done}",
        stream=stream, since=utc(leap.from_ms), until=utc(leap.to_ms), done=utc(leap.done_ms),
    )  # fmt: skip


def leap_trouble(leap: Worded, far: Worded) -> Trouble:
    """That a stream is so far behind because its now leaps, and what to do."""
    return leap, far, worded("wait: it is done slice by slice, and goes on by itself")


def failing_troubles(failing: Failing) -> list[Trouble]:
    """What operators cannot compute, the newest by name, and what to do; empty if they can compute all."""
    newest = max(
        # What only rests on something that fails is no place to look at.
        ((not f.follows, f.last_ms, stream, f) for stream, fs in failing.items() for f in fs),
        key=lambda each: each[:3],
        default=None,
    )
    if newest is None:
        return []
    *_, stream, f = newest
    reason = worded(
        "{operator} cannot compute {subject} of {stream}: {error}",
        operator=f.operator, subject=f.subject, stream=stream, error=f.error,
    )  # fmt: skip
    subjects = sum(map(_subjects, failing.values()))
    far = worded("{n} unknown, all else goes on", n=f"{subjects:,}")
    advice = worded(
        "look at what {subject} sent since {since}; then report the error with the log", subject=f.subject,
        since=utc(f.first_ms),
    )  # fmt: skip
    return [(reason, far, advice)]


def standing_troubles(standing: Mapping[str, str], far: Worded, *, worker: bool = False) -> list[Trouble]:
    """Streams of a server or a worker that cannot go on, and why."""
    advice = (
        worded("Kafka keeps what comes; report the error with the log, and start the worker again")
        if worker
        else worded("the journal keeps what comes; report the error with the log, and start the server again")
    )
    return [
        (
            worded("{stream} stands still, all others go on: {why}", stream=stream, why=reported(why)),
            far,
            advice,
        )
        for stream, why in sorted(standing.items())
    ]


def failing_told(failing: Failing) -> dict[str, list[dict[str, Any]]]:
    """The same by stream, as `status` gives it. [ms UTC]"""
    return {
        stream: [
            {
                "operator": f.operator,
                "subject": f.subject,
                "error": f.error,
                "first": f.first_ms,
                "last": f.last_ms,
            }
            for f in failures
        ]
        for stream, failures in sorted(failing.items())
    }


def failing_figures(failing: Failing, streams: Iterable[str]) -> Iterator[Figure]:
    """How much of each of the streams cannot be computed."""
    found = {stream: float(_subjects(failing.get(stream, ()))) for stream in sorted(streams)}
    return labelled("hearthline_failing_subjects", found)


def _subjects(failures: Iterable[Failure]) -> int:
    """How many devices, networks and other subjects there are, each of however many operators."""
    return len({f.subject for f in failures})


def leaps_told(leaps: Mapping[str, Leap]) -> dict[str, dict[str, int]]:
    """Leaps of now by stream, as `status` gives them. [ms UTC]"""
    return {s: {"from": x.from_ms, "to": x.to_ms, "done": x.done_ms} for s, x in sorted(leaps.items())}


def leap_figures(leaps: Mapping[str, Leap]) -> Iterator[Figure]:
    """How much is left of each leap of now."""
    return labelled("hearthline_leap_left_seconds", {s: leap.left_ms / 1000 for s, leap in leaps.items()})


def journal_part(status: IngestStatus, detail: Worded, *, damage: str = "") -> Part:
    """The journal as ingest meets it, and what of it is lost."""
    advice = worded(
        "look at the journal's disk or broker: room, speed; nothing is lost, collectors keep the rest"
    )
    troubles: list[Trouble] = []
    far = how_far(status.queued, status.waiting_s)
    if damage:
        check = worded("see `hearthline journal check`; look at the disk; then `hearthline journal accept`")
        troubles.append((reported(damage), NOTHING, check))
    if "journal" in status.troubles:
        troubles.append((reported(status.troubles["journal"]), far, advice))
    if status.appending_s > SLOW_APPEND_S:
        slow = worded("an append takes longer than {n} s", n=f"{SLOW_APPEND_S:g}")
        troubles.append((slow, far, advice))
    return Part.judged("journal", troubles, detail)


NOT_READY: Final = Part("ingest", "starting", worded("the journal has not answered yet"))


def taken_in(status: IngestStatus) -> Worded:
    """What ingest has done."""
    return worded("{n} messages, {rate}/s", n=str(status.journalled), rate=f"{status.rate_per_s:.0f}")


def slow_write() -> Worded:
    """That the store takes long for a write."""
    return worded("a write takes longer than {n} s", n=f"{SLOW_APPEND_S:g}")


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
