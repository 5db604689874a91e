"""A simulated coal business through the operators that coal needs: a stream of trucks, and one a unit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hearthline.site_dir import read_site
from ingest.decode import Decoder
from ingest.history import read_history
from journal.replay_files import read_recordings
from models.frame import Frame, FrameKind, Record
from models.site import Site
from streams.core.operator import discovered
from streams.core.pipeline import Pipeline
from tests.support.road import Told

YARD_CASE = """seed = 5
start = 2026-01-05T00:00:00+08:00
hours = 216
interval_s = 300
[logistics]
mines = 2
plants = 1
trucks = 12
contracts = 3
lane_km = [60, 110]
off_duty_h = 6
survey_days = 3
[logistics.gps]
tracked_share = 0.0
[[logistics.place]]
place = "plant-yard-1"
stock_t = 2500
burn_t_day = 900
"""
"""A plant that burns two days' coal at a time, its trucks without positions."""
COAL = frozenset({"weighing", "haul", "trip", "fuel_burnt", "device_heat", "fuel_heat"})
SETTLED_MS = 52 * 3_600_000
"""After so long every day of a recording is settled."""


class CoalStreams:
    """Pipelines by stream and everything that they told, as a store has it."""

    def __init__(self, site: Site, *, crash_every: int = 0):
        self.site = site
        self.told = Told()
        self.pipelines: dict[str, Pipeline] = {}
        self._operators = [o for o in discovered() if o.name in COAL]
        self._crash_every = crash_every

    def step(self, stream: str, frame: Frame, at_ms: int) -> None:
        """The next record of a stream, and what it has to tell other streams."""
        if stream not in self.pipelines:
            self.pipelines[stream] = Pipeline(stream, self._operators, provisional_every_ms=None)
            payload = json.dumps(dict(self.site.texts))
            registry = Frame.events(
                [{"device": "", "kind": "registry", "payload": payload}], FrameKind.REGISTRY
            )
            self.step(stream, registry, at_ms)
        pipeline = self.pipelines[stream]
        if self._crash_every and pipeline.offset % self._crash_every == self._crash_every - 1:
            pipeline = Pipeline.restore(pipeline.checkpoint(), self._operators, provisional_every_ms=None)
            self.pipelines[stream] = pipeline
        at_ms = max(at_ms, pipeline.now_ms or at_ms)
        self._take(pipeline.step(Record(stream, pipeline.offset + 1, at_ms, frame.encode())), at_ms)

    def _take(self, outputs: Any, at_ms: int) -> None:
        forwards, outputs.forwards = list(outputs.forwards), []
        self.told.take(outputs)
        for target, frame in forwards:
            self.step(target, Frame.decode(frame), at_ms)

    def settle(self, until_ms: int) -> None:
        """Move now on, then let streams say what is left."""
        for stream in sorted(self.pipelines):
            self.step(stream, Frame.heartbeat(), until_ms)
        for stream in sorted(self.pipelines):
            self._take(self.pipelines[stream].finish(), until_ms)


def replayed(run: Path, until_ms: int = 0, **options: Any) -> CoalStreams:
    """A recording of the simulator through them; then now moves on until all is settled, or to `until_ms`."""
    site = read_site(run / "site")
    streams = CoalStreams(site, **options)
    last_ms = 0
    for chapter in read_history(read_recordings([run / "telemetry.parquet"]), Decoder(site)):
        for placed in chapter.placed:
            streams.step(placed.stream, placed.frame, placed.timestamp_ms)
            last_ms = max(last_ms, placed.timestamp_ms)
    streams.settle(until_ms or last_ms + SETTLED_MS)
    return streams
