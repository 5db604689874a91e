"""Samples that learners are given: those of a step, and those that came after theirs was taken in."""

from __future__ import annotations

import numpy as np

from streams.core.buffer import ClassBuffer
from streams.core.network_rows import STEP_MS
from streams.core.rows import Rows, concat, numeric_columns
from streams.core.samples import ClassSamples
from streams.core.stream_site import StreamSite

__all__ = ["LATE_MS", "LateSamples", "step_samples"]

LATE_MS = 7 * 86_400_000
"""How old samples may be that learners are given later than their step. [ms]"""


class LateSamples:
    """Samples of steps that were taken in, until the next is.

    Parameters
    ----------
    classes : frozenset of str
        Of which learners ask for them.
    """

    def __init__(self, classes: frozenset[str]):
        self._classes = classes
        self._waiting: dict[str, list[Rows]] = {}

    def take(self, device_class: str, rows: Rows, now_ms: int) -> bool:
        """Keep samples for the next step; whether a learner asks for any of them.

        What is older than a week is history or of a wrong clock, and nothing to follow a device by.
        """
        if device_class not in self._classes:
            return False
        rows = rows.take(rows.t >= now_ms - LATE_MS)
        if rows.n:
            self._waiting.setdefault(device_class, []).append(rows)
        return rows.n > 0

    def handed_out(self, site: StreamSite) -> dict[str, ClassSamples]:
        """All that wait, by device class; they do not wait any more."""
        waiting, self._waiting = self._waiting, {}
        return {name: _in_order(name, rows, site) for name, rows in waiting.items()}

    def parts(self) -> dict[str, bytes]:
        """What waits, by device class; `load` reads it."""
        return {
            name: concat(rows, len(numeric_columns(name))).to_bytes() for name, rows in self._waiting.items()
        }

    def load(self, device_class: str, data: bytes) -> None:
        """Read one of `parts`."""
        self._waiting[device_class] = [Rows.from_bytes(data)]


def _in_order(device_class: str, parts: list[Rows], site: StreamSite) -> ClassSamples:
    """Of samples of one time that of the latest message."""
    columns = numeric_columns(device_class)
    rows = concat(parts, len(columns)).in_order()
    rows = rows.take(site.owned[rows.device] & (site.classes[rows.device] == device_class))
    again = (rows.device[1:] == rows.device[:-1]) & (rows.t[1:] == rows.t[:-1])
    return ClassSamples(columns, rows.take(~np.append(again, False)) if again.any() else rows)


def step_samples(buffer: ClassBuffer, start_ms: int, site: StreamSite) -> ClassSamples:
    """Samples of the step that begins then, of devices that are of that class and in this stream. [ms UTC]"""
    rows = buffer.inside(start_ms, start_ms + STEP_MS)
    mine = site.owned[rows.device] & (site.classes[rows.device] == buffer.device_class)
    return ClassSamples(buffer.columns, rows if mine.all() else rows.take(mine))
