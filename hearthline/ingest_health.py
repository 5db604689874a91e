"""Health of an ingest process: broker, front door, journal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from hearthline.health import NOT_READY, Part, Watch, how_far, journal_part, taken_in
from hearthline.ingest_figures import door_figures
from hearthline.metrics import Figure, Metrics, labelled
from ingest.service import Ingest
from ingest.status import Meter
from models.wording import reported, worded

__all__ = ["IngestHealth"]


class IngestHealth:
    """What the process says of itself.

    Parameters
    ----------
    wall_ms : callable
        Time now, for people. [ms UTC]
    """

    def __init__(self, wall_ms: Callable[[], int]) -> None:
        self._watch = Watch(wall_ms)
        self._metrics = Metrics("ingest", self._figures)
        self.meter = Meter(took=self._metrics.duration("hearthline_journal_append_seconds"))
        self.ingest: Ingest | None = None

    def components(self) -> list[Mapping[str, Any]]:
        """State and detail of each part."""
        assert self.ingest is not None
        status = self.ingest.status
        far = how_far(status.queued, status.waiting_s)
        lost = status.troubles.get("broker")
        advice = worded("see that the broker runs and lets ingest in; collectors keep what comes meanwhile")
        door = Part("ingest", "ok", taken_in(status)) if self.ingest.ready else NOT_READY
        troubles = [(reported(lost), far, advice)] if lost else []
        parts = self._watch.see(
            [
                Part.judged("broker", troubles, worded("subscribed")),
                door,
                journal_part(status, worded("answers")),
            ]
        )
        lag = self.lag()
        return [{**part, **lag.get(part["name"], {})} for part in parts]

    def lag(self) -> dict[str, dict[str, Any]]:
        """By part its stage, the messages that wait for it, and how long the oldest has. [s]"""
        assert self.ingest is not None
        status = self.ingest.status
        return {"ingest": {"stage": "journalled", "queued": status.queued, "lag_s": status.waiting_s}}

    def metrics(self) -> bytes:
        """Every figure, in Prometheus' text format."""
        return self._metrics.text()

    def _figures(self) -> Iterator[Figure]:
        assert self.ingest is not None
        parts = self.components()
        yield Figure("hearthline_start_time_seconds", self._watch.started_ms / 1000)
        if self._watch.ready_s is not None:
            yield Figure("hearthline_ready_seconds", self._watch.ready_s)
        yield from labelled("hearthline_component_ok", {p["name"]: float(p["state"] == "ok") for p in parts})
        yield from door_figures(self.ingest)
