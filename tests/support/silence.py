"""A stream of a few meters that falls silent for hours: its next record has its now leap over many windows."""

from __future__ import annotations

from models.frame import Frame
from tests.support.telemetry import T0, history, registry_frame, telemetry_frames

__all__ = ["GAP_MS", "silence"]

GAP_MS = 5 * 3_600_000


def silence() -> list[tuple[int, Frame]]:
    """Half an hour, and a heartbeat after the silence: each frame with the time of its record. [ms UTC]"""
    messages = sorted(history(9, 0.5, longest_gap_ms=0), key=lambda m: m.newest_t)
    before = [(messages[-1].newest_t + 500, frame) for frame in telemetry_frames(messages)]
    return [(T0, registry_frame()), *before, (before[-1][0] + GAP_MS, Frame.heartbeat())]
