"""Health of a worker process: partitions, lag, store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from hearthline.health import (
    SLOW_APPEND_S,
    SLOW_WAIT_S,
    Part,
    Trouble,
    Watch,
    failing_figures,
    failing_troubles,
    leap_figures,
    leap_trouble,
    leaping,
    slow_write,
    standing_troubles,
)
from hearthline.metrics import Figure, Metrics, labelled
from hearthline.refusals import Refusals
from hearthline.timing import WatchedSink
from models.wording import NOTHING, lasting, listed, reported, worded
from store.protocol import SeriesStore
from streams.runtime.faust_app import FrameWorker
from streams.runtime.faust_standing import WorkerStanding

__all__ = ["WorkerHealth"]


class WorkerHealth:
    """What the process says of itself.

    Parameters
    ----------
    wall_ms : callable
        Time now. [ms UTC]
    wall_clock : bool
        Whether record times are those of the wall, so that a stream's now has an age.
    refusals : Refusals
    """

    def __init__(self, wall_ms: Callable[[], int], *, wall_clock: bool, refusals: Refusals) -> None:
        self._wall_ms = wall_ms
        self._wall_clock = wall_clock
        self._refusals = refusals
        self._watch = Watch(wall_ms)
        self._metrics = Metrics("worker", self._figures)
        self._sink: WatchedSink | None = None
        self._worker: FrameWorker | None = None

    def sink(self, store: SeriesStore) -> WatchedSink:
        """`store`, watched."""
        self._sink = WatchedSink(store, self._metrics.duration("hearthline_store_write_seconds"))
        return self._sink

    def watch(self, worker: FrameWorker) -> None:
        """Take `worker` for the one that is reported on."""
        worker.checkpoint_took = self._metrics.duration("hearthline_checkpoint_seconds")
        self._worker = worker

    def now_ms(self) -> int:
        """The newest now of any stream, 0 before the first. [ms UTC]"""
        standing = self._standing()
        return max(standing.now_ms.values(), default=0) if standing is not None else 0

    def components(self) -> list[Mapping[str, Any]]:
        """State and detail of each part."""
        lag = self.lag()
        return [
            {**part, **lag.get(part["name"], {})} for part in self._watch.see(self._parts(self._standing()))
        ]

    def lag(self) -> dict[str, dict[str, Any]]:
        """By part its stage, the records that wait for it, and how long the oldest has. [s]"""
        standing = self._standing()
        if standing is None:
            return {}
        return {
            "streams": {"stage": "stepped", "queued": standing.unstepped, "lag_s": self._lag_s(standing)},
            "store": {"stage": "stored", "queued": standing.unstored, "lag_s": standing.unstored_s},
        }

    def metrics(self) -> bytes:
        """Every figure, in Prometheus' text format."""
        return self._metrics.text()

    def _standing(self) -> WorkerStanding | None:
        return self._worker.standing() if self._worker is not None else None

    def _age_s(self, ms: int) -> float:
        return max(0, self._wall_ms() - ms) / 1000

    def _lag_s(self, standing: WorkerStanding) -> float | None:
        """How old the last record stepped is while others wait; unknown on the data clock. [s]"""
        if not self._wall_clock:
            return None
        return self._age_s(standing.stepped_ms) if standing.unstepped and standing.stepped_ms else 0.0

    def _parts(self, standing: WorkerStanding | None) -> list[Part]:
        if standing is None:
            return [Part("streams", "starting", worded("waits for Kafka")), self._store(None)]
        if not standing.assigned:
            return [Part("streams", "starting", worded("waits for its partitions")), self._store(standing)]
        lag_s = self._lag_s(standing)
        late = [] if lag_s is None else [lasting(lag_s)]
        far = listed([worded("{n} records behind", n=f"{standing.unstepped:,}"), *late])
        leap = leaping(standing.leaps)
        troubles: list[Trouble] = []
        if lag_s is not None and lag_s > SLOW_WAIT_S:
            troubles.append(
                leap_trouble(leap, far)
                if leap
                else (
                    worded("computing is behind Kafka"),
                    far,
                    worded("wait if it shrinks; else start another worker"),
                )
            )
        troubles += standing_troubles(standing.standing, far, worker=True)
        troubles += failing_troubles(standing.failing)
        detail = listed([worded("{n} partitions", n=str(standing.assigned)), *([leap] if leap else []), far])
        return [Part.judged("streams", troubles, detail), self._store(standing)]

    def _store(self, standing: WorkerStanding | None) -> Part:
        advice = worded("see the store; Kafka keeps what waits")
        far = worded("{n} records wait for it", n=f"{standing.unstored:,}") if standing else NOTHING
        troubles: list[Trouble] = []
        if standing and standing.degraded:
            troubles.append((reported(standing.degraded), far, advice))
        if self._sink is not None and self._sink.writing_s > SLOW_APPEND_S:
            troubles.append((slow_write(), far, advice))
        if refused := self._refusals.trouble:
            total = sum(self._refusals.rows().values())
            told = worded("the rows and why are in store_refused: hearthline query store_refused")
            since = worded("{n} rows since the start", n=f"{total:,}")
            troubles.append((reported(refused), since, told))
        return Part.judged("store", troubles, far or worded("open"))

    def _figures(self) -> Iterator[Figure]:
        standing = self._standing()
        parts = self._watch.see(self._parts(standing))
        yield Figure("hearthline_start_time_seconds", self._watch.started_ms / 1000)
        if self._watch.ready_s is not None:
            yield Figure("hearthline_ready_seconds", self._watch.ready_s)
        yield from labelled("hearthline_component_ok", {p["name"]: float(p["state"] == "ok") for p in parts})
        yield from labelled("hearthline_store_refused_rows_total", self._refusals.rows())
        if self._sink is not None:
            yield from labelled("hearthline_stored_rows_total", self._sink.rows())
            yield from labelled("hearthline_dead_letters_total", self._sink.dead_letters())
            yield from labelled("hearthline_open_windows", self._sink.open_windows())
            yield Figure("hearthline_store_failed_writes_total", self._sink.failed)
        if standing is not None:
            yield from self._progress(standing)

    def _progress(self, standing: WorkerStanding) -> Iterator[Figure]:
        yield Figure("hearthline_stepped_records_total", standing.stepped)
        waiting = {"stepped": standing.unstepped, "stored": standing.unstored}
        yield from labelled("hearthline_lag_records", waiting)
        if (lag_s := self._lag_s(standing)) is not None:
            yield Figure("hearthline_lag_seconds", lag_s, ("stepped",))
        yield Figure("hearthline_lag_seconds", standing.unstored_s, ("stored",))
        if standing.checkpoint_age_s is not None:
            yield Figure("hearthline_checkpoint_age_seconds", standing.checkpoint_age_s)
        yield from labelled("hearthline_restating_quarters", standing.restating)
        yield from leap_figures(standing.leaps)
        yield from failing_figures(standing.failing, standing.now_ms)
        for stream, now_ms in standing.now_ms.items():
            yield Figure("hearthline_stream_now_timestamp_seconds", now_ms / 1000, (stream,))
            if self._wall_clock:
                yield Figure("hearthline_stream_now_age_seconds", self._age_s(now_ms), (stream,))
