"""What the distributed mode makes of a recorded day, in one process: the data's clock, flushes of chance, a store."""

from __future__ import annotations

import random
from collections import Counter, deque
from pathlib import Path

from ingest.decode import Decoder
from ingest.messages import ClockMode, Message
from ingest.service import registry_frame
from models.frame import Frame, Record
from models.site import Site
from store import restate
from streams.core.pipeline import Pipeline
from tests.support.asked_store import WrittenWhenAsked
from tests.support.restating import REWRITTEN_MS

__all__ = ["OneProcess"]

_NEVER_MS = 2**62  # of a wall clock that finds nothing in the future
_HEARTBEAT = Frame.heartbeat().encode()


class OneProcess:
    """Ingest and worker without Kafka between them: records as both would append them, in their order.

    Parameters
    ----------
    site : Site
    path : Path
        Of the store's file.
    seed : int
        Of where flushes end.
    """

    def __init__(self, site: Site, path: Path, seed: int):
        self.store = WrittenWhenAsked(path)
        self._decoder, self._random = Decoder(site), random.Random(seed)
        self._pipelines = {
            stream: Pipeline(stream, provisional_every_ms=REWRITTEN_MS) for stream in site.streams
        }
        self._offsets: Counter[str] = Counter()
        self._asked: dict[str, str] = {}
        self._now_ms: dict[str, int] = {}
        self._waiting: deque[tuple[str, int, bytes]] = deque(
            (stream, 0, registry_frame(site).encode()) for stream in site.streams
        )
        self._step()

    def take(self, messages: list[tuple[str, bytes]], most: int) -> None:
        """Messages in flushes of 1 to `most`; then the streams are told that they are quiet."""
        begun = 0
        while begun < len(messages):
            size = self._random.randint(1, most)
            flush = [Message(topic, payload) for topic, payload in messages[begun : begun + size]]
            begun += size
            decoded = self._decoder.decode(flush, mode=ClockMode.DATA, wall_ms=_NEVER_MS, now_ms=self._now_ms)
            for placed in decoded.placed:
                self._waiting.append((placed.stream, placed.timestamp_ms, placed.frame.encode()))
                self._now_ms[placed.stream] = placed.timestamp_ms
            self._step()
        self.beat(self._now_ms)

    def beat(self, at_ms: dict[str, int]) -> None:
        """Move each stream's now on, and let it say all that it can."""
        self._waiting += [(stream, ms, _HEARTBEAT) for stream, ms in at_ms.items() for _ in range(2)]
        self._step()

    def _step(self) -> None:
        while self._waiting:
            stream, at_ms, frame = self._waiting.popleft()
            pipeline = self._pipelines[stream]
            outputs = pipeline.step(Record(stream, self._offsets[stream], at_ms, frame))
            self._offsets[stream] += 1
            self.store.write([outputs])
            for other, told in outputs.forwards:
                self._waiting += [(other, 0, told), (other, 0, _HEARTBEAT)]
            request = pipeline.request
            if request is not None and self._asked.get(stream) != request.name:
                self._asked[stream] = request.name
                answers = [part.encode() for part in restate.answer(self.store, request)]
                self._waiting += [(stream, pipeline.now_ms or 0, part) for part in (*answers, _HEARTBEAT)]
