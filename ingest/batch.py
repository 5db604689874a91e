"""A batch of messages while it is decoded, and the time that its records get."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ingest.block import Block
from ingest.messages import ClockMode, Ints, Refusal
from ingest.routes import Group, Route, Routes
from models.frame import REFUSED_STREAM

__all__ = ["Batch", "RecordClock"]


@dataclass(slots=True)
class Batch:
    """Messages as columns, and what is known of them so far."""

    routes: Routes
    route: Ints  # of each message, into `routes`
    groups: list[Group]
    group: Ints  # of each message, into `groups`
    payloads: pa.Array
    retained: NDArray[np.bool_]
    clock_ms: Ints  # the time that `future` is judged by, of each message
    received: bool  # whether `clock_ms` is a recording's
    blocks: list[Block] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    events: list[int] = field(default_factory=list)
    ignored: int = 0

    def payload(self, index: int) -> bytes:
        """Payload of the message at `index`."""
        return bytes(self.payloads[index].as_py())

    def among(self, which: Callable[[Group], bool]) -> NDArray[np.bool_]:
        """Whether each message is of a group that `which` says yes to."""
        return np.array([which(group) for group in self.groups], dtype=bool)[self.group]

    def route_of(self, index: int) -> Route:
        """Route of the message at `index`."""
        return self.routes.all[int(self.route[index])]


@dataclass(slots=True)
class RecordClock:
    """What time a record of each stream gets."""

    mode: ClockMode
    wall_ms: int | None
    now_ms: Mapping[str, int]
    newest: dict[str, int] = field(default_factory=dict)

    @property
    def offline(self) -> bool:
        """Whether records get the times of samples, and there is no other clock."""
        return self.mode is ClockMode.DATA and self.wall_ms is None

    def see(self, streams: NDArray[np.str_], newest: Ints) -> None:
        """Take note of the sample times of messages that are not in the future."""
        for stream in np.unique(streams).tolist():
            top = int(newest[streams == stream].max())
            self.newest[stream] = max(top, self.newest.get(stream, top))

    def now(self, stream: str) -> int:
        """Time of a record that holds all of this batch."""
        if self.wall_ms is not None and (self.mode is not ClockMode.DATA or stream == REFUSED_STREAM):
            return self.at_least(stream, self.wall_ms)
        if stream == REFUSED_STREAM:  # it has no samples of its own: the newest of all that is known
            return max([*self.newest.values(), *self.now_ms.values()], default=0)
        return self.at_least(stream, self.newest.get(stream))

    def at_least(self, stream: str, ms: int | None) -> int:
        """`ms`, or the stream's last time if that is later; 0 where neither is known."""
        known = [value for value in (ms, self.now_ms.get(stream)) if value is not None]
        return max(known) if known else 0
