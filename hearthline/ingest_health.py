"""Health of an ingest process: broker, front door, journal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from hearthline.health import Part, Watch, how_far, journal_part
from hearthline.ingest_figures import door_figures
from hearthline.metrics import Figure, Metrics, labelled
from ingest.service import Ingest
from ingest.status import Meter

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
        advice = "see that the broker runs and lets ingest in; collectors keep what comes meanwhile"
        door = Part("ingest", "ok", f"{status.journalled} messages, {status.rate_per_s:.0f}/s")
        if not self.ingest.ready:
            door = Part("ingest", "starting", "the journal has not answered yet")
        return self._watch.see(
            [
                Part.judged("broker", [(lost, far, advice)] if lost else [], "subscribed"),
                door,
                journal_part(status, "answers"),
            ]
        )

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
