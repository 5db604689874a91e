"""Which devices' clocks are wrong, told by what they say of their own time when they report."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable
from typing import Final

from ingest.messages import Placed
from models.frame import FrameKind
from models.wire import STATE

__all__ = ["DeviceClocks"]

_WRONG_MS: Final = 60_000
_REPORTS: Final = 3
"""How many reports in a row must be behind: a single one may have waited on its way."""


class DeviceClocks:
    """Compares the time in each `state` with the wall clock.

    A clock that is ahead shows at once: nothing arrives before it was sent. One
    that is behind looks like a late delivery, so the least of the last three
    delays counts.
    """

    def __init__(self) -> None:
        self._behind_ms: dict[str, deque[int]] = {}

    def notice(self, placed: Iterable[Placed], wall_ms: int) -> None:
        """Take in the events among what was journalled at `wall_ms`. [ms UTC]"""
        for each in placed:
            if each.frame.kind is not FrameKind.EVENT:
                continue
            columns = (each.frame.batch.column(n).to_pylist() for n in ("device", "kind", "payload"))
            for device, kind, payload in zip(*columns, strict=True):
                if kind == STATE:
                    reports = self._behind_ms.setdefault(device, deque(maxlen=_REPORTS))
                    reports.append(wall_ms - int(json.loads(payload)["at"]))

    def wrong_s(self) -> dict[str, float]:
        """By device how far its clock is ahead (below 0: behind), where that is over a minute. [s]"""
        wrong = {}
        for device, reports in self._behind_ms.items():
            least = min(reports)
            if least < -_WRONG_MS or (least > _WRONG_MS and len(reports) == _REPORTS):
                wrong[device] = -least / 1000
        return wrong
