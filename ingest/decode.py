"""From MQTT messages to frames: what is taken, what is refused and why, what may be acknowledged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingest import fast, strict
from ingest.batch import Batch, RecordClock
from ingest.block import Block, concat
from ingest.messages import (
    FUTURE_MS,
    Accepted,
    ClockMode,
    Columns,
    Decoded,
    Ints,
    Message,
    Placed,
    Reason,
    Refusal,
)
from ingest.placing import place_events, place_refusals, place_telemetry, safe_numbers
from ingest.routes import Router
from models.frame import FrameKind
from models.site import Site
from models.wire import ACK, COMMAND, DEATH, MAX_PAYLOAD_BYTES, TELEMETRY

__all__ = ["Decoder"]

# The years 1 to 9999, less a margin for time zones and lateness: beyond them there are no local days.
_BEGINNING: Final = -62_135_337_600_000  # 0001-01-04
_END: Final = 253_370_764_800_000  # 9999-01-01
_FAST_MESSAGES: Final = 10_000
_STRICT_MESSAGES: Final = 16
_SPLIT: Final = 8
_DAY_MS: Final = 86_400_000


class Decoder:
    """Decodes batches for one version of a site; total: nothing that a message holds raises.

    Parameters
    ----------
    site : Site

    Attributes
    ----------
    site : Site
    """

    def __init__(self, site: Site) -> None:
        self.site = site
        self._route = Router(site)
        self._retention_ms = site.retention_days * _DAY_MS

    def decode(
        self,
        messages: Sequence[Message],
        *,
        mode: ClockMode,
        wall_ms: int | None,
        now_ms: Mapping[str, int],
    ) -> Decoded:
        """Frames of `messages`, in their order within each stream and class.

        Parameters
        ----------
        messages : sequence of Message
        mode : ClockMode
            Where the records' times come from; under RECEIVED each message's `received_ms`.
        wall_ms : int
            The wall clock, or the simulated one; None where there is none (a recording without
            times), and then nothing is in the future. [ms UTC]
        now_ms : mapping of str to int
            Time of each stream's last record. [ms UTC]
        """
        columns = Columns.of(
            [m.topic for m in messages], [m.payload for m in messages], [m.retained for m in messages]
        )
        received = np.fromiter((m.received_ms for m in messages), dtype=np.int64, count=len(messages))
        return self.decode_columns(
            columns.topics,
            columns.payloads,
            received_ms=received,
            retained=columns.retained,
            mode=mode,
            wall_ms=wall_ms,
            now_ms=now_ms,
        )

    def decode_columns(
        self,
        topics: pa.Array,
        payloads: pa.Array,
        *,
        received_ms: Ints | None = None,
        retained: NDArray[np.bool_] | None = None,
        mode: ClockMode,
        wall_ms: int | None,
        now_ms: Mapping[str, int],
        latest_ms: int | None = None,
    ) -> Decoded:
        """`decode` for messages that are columns already (topics may be dictionary-encoded).

        `latest_ms` is what `future` is judged by where there is no `wall_ms`: when a recording
        without times is read. [ms UTC]
        """
        count = len(topics)
        if count == 0:
            return Decoded([], Accepted(0, 0, 0))
        if not pa.types.is_dictionary(topics.type):
            topics = topics.dictionary_encode()
        from_recording = mode is ClockMode.RECEIVED and received_ms is not None
        places = self._route.places(topics.dictionary.to_pylist())
        routes = self._route.known
        route = places[topics.indices.to_numpy(zero_copy_only=False)]
        batch = Batch(
            routes=routes,
            route=route,
            groups=self._route.groups,
            group=routes.group[route],
            payloads=payloads if pa.types.is_binary(payloads.type) else payloads.cast(pa.binary()),
            retained=np.zeros(count, dtype=bool) if retained is None else retained,
            clock_ms=received_ms
            if from_recording and received_ms is not None
            else np.full(
                count, next(ms for ms in (wall_ms, latest_ms, _END) if ms is not None), dtype=np.int64
            ),
            received=from_recording,
        )
        self._sort_out(batch)
        clock = RecordClock(mode, wall_ms, now_ms)
        self._check_times(batch, clock)
        return self._finish(batch, clock)

    def _sort_out(self, batch: Batch) -> None:
        """Refuse what its topic, size or retention forbids; parse the rest."""
        lengths = np.asarray(pc.binary_length(batch.payloads).to_numpy(zero_copy_only=False))
        bad = batch.among(lambda g: g.refused)
        server = batch.among(lambda g: g.kind in (ACK, COMMAND))
        telemetry = batch.among(lambda g: g.kind == TELEMETRY)
        stale = batch.retained & batch.among(lambda g: g.kind in (TELEMETRY, DEATH))
        large = lengths > MAX_PAYLOAD_BYTES
        batch.ignored = int(np.count_nonzero(server))
        for index in np.flatnonzero(~server & (bad | stale | large)).tolist():
            batch.refusals.append(self._early(batch, index, bool(large[index])))
        good = ~(server | bad | stale | large)
        for index in np.flatnonzero(good & ~telemetry).tolist():
            refusal = strict.event_refusal(index, batch.route_of(index).kind, batch.payload(index))
            if refusal is None:
                batch.events.append(index)
            else:
                batch.refusals.append(refusal)
        taken = good & telemetry
        there = {batch.groups[g].device_class for g in np.unique(batch.group[taken]).tolist()}
        for device_class in sorted(there):
            mine = np.array([g.device_class == device_class for g in batch.groups])[batch.group]
            self._parse(batch, device_class, np.flatnonzero(taken & mine))

    @staticmethod
    def _early(batch: Batch, index: int, large: bool) -> Refusal:
        route, payload = batch.route_of(index), batch.payload(index)
        if large:
            refusal = strict.too_large(index, payload, MAX_PAYLOAD_BYTES)
            if route.reason is None:
                return refusal
            boot, seq = refusal.boot, refusal.seq
        else:
            boot, seq = strict.identity(payload)
        if route.reason is not None:
            return Refusal(index, route.reason, route.detail, boot, seq)
        detail = "expected a message published now, got one that the broker had retained"
        return Refusal(index, Reason.RETAINED, detail, boot, seq)

    @staticmethod
    def _parse(batch: Batch, device_class: str, places: Ints) -> None:
        """Parse telemetry of one class: in bulk, and what resists one by one."""
        step = _FAST_MESSAGES
        waiting = [places[i : i + step] for i in range(0, len(places), step)]
        while waiting:
            part = waiting.pop()
            bulk = device_class in fast.NUMERIC_CLASSES
            payloads = (
                batch.payloads if len(part) == len(batch.payloads) else batch.payloads.take(pa.array(part))
            )
            block = fast.parse(device_class, part, payloads) if bulk else None
            if block is None and bulk and len(part) > _STRICT_MESSAGES:
                step = -(-len(part) // _SPLIT)
                waiting.extend(part[i : i + step] for i in range(0, len(part), step))
                continue
            if block is None:
                block, refusals = strict.parse(device_class, part.tolist(), payloads.to_pylist())
                batch.refusals.extend(refusals)
            if block is not None:
                batch.blocks.append(block)

    def _check_times(self, batch: Batch, clock: RecordClock) -> None:
        """Refuse messages with a sample in the future or beyond the retention of readings.

        The floor follows the record's own time, so that a replay of the journal decides alike.
        """
        streams = np.array([g.stream for g in batch.groups])[batch.group]
        spans = []
        for place, block in enumerate(batch.blocks):
            oldest, newest = block.span()
            late = newest > batch.clock_ms[block.index] + FUTURE_MS
            self._refuse(batch, block, late, newest, Reason.FUTURE)
            kept = np.flatnonzero(~late)
            batch.blocks[place] = block.take(kept)
            spans.append((oldest[kept], newest[kept]))
            clock.see(streams[block.index[kept]], newest[kept])
        # One batch of an hourly recording spans years: a message of it has the time at which it
        # stands there, or the first ones would be beyond the retention.
        standing = (
            _standing(batch, streams, [newest for _, newest in spans], clock) if clock.offline else None
        )
        for place, (block, (oldest, _)) in enumerate(zip(batch.blocks, spans, strict=True)):
            if len(block.index) == 0:
                continue
            if batch.received:
                now = batch.clock_ms[block.index]
            elif standing is not None:
                now = standing[block.index]
            else:
                of = streams[block.index]
                now = np.zeros(len(of), dtype=np.int64)
                for stream in np.unique(of).tolist():
                    now[of == stream] = clock.now(stream)
            old = oldest < np.maximum(now, _BEGINNING + self._retention_ms) - self._retention_ms
            self._refuse(batch, block, old, oldest, Reason.TOO_OLD)
            batch.blocks[place] = block.take(np.flatnonzero(~old))
        batch.blocks = [block for block in batch.blocks if len(block.index)]

    def _refuse(
        self, batch: Batch, block: Block, which: NDArray[np.bool_], times: Ints, reason: Reason
    ) -> None:
        limit = (
            f"at most {FUTURE_MS // 60_000} minutes ahead of the clock"
            if reason is Reason.FUTURE
            else f"within the {self.site.retention_days} days that readings are kept"
        )
        for place in np.flatnonzero(which).tolist():
            detail = f"expected samples {limit}, got t = {int(times[place])}"
            boot, seq = int(block.boot[place]), int(block.seq[place])
            batch.refusals.append(Refusal(int(block.index[place]), reason, detail, boot, seq))

    def _finish(self, batch: Batch, clock: RecordClock) -> Decoded:
        placed = []
        for device_class in sorted({block.device_class for block in batch.blocks}):
            whole = concat([b for b in batch.blocks if b.device_class == device_class])
            placed.extend(place_telemetry(batch, whole, clock))
        batch.refusals.sort(key=lambda refusal: refusal.index)
        placed.extend(place_refusals(batch, clock))
        placed.extend(place_events(batch, clock))
        if clock.mode is not ClockMode.WALL:
            first_ms = int(batch.clock_ms.min()) if batch.received and len(batch.clock_ms) else 0
            placed = _in_step(placed, clock.now_ms, first_ms)
        return Decoded(
            placed,
            Accepted(
                sum(len(b.index) for b in batch.blocks),
                sum(len(b.t) for b in batch.blocks),
                len(batch.events),
            ),
            Counter(refusal.reason for refusal in batch.refusals),
            batch.ignored,
            (safe_numbers(batch),),
            dict(clock.newest),
        )


def _standing(batch: Batch, streams: NDArray[np.str_], newest: Sequence[Ints], clock: RecordClock) -> Ints:
    """Largest sample time of its stream up to each message of the batch, in their order. [ms UTC]"""
    ms = np.full(len(streams), _BEGINNING, dtype=np.int64)
    for block, times in zip(batch.blocks, newest, strict=True):
        ms[block.index] = times
    for stream in np.unique(streams).tolist():
        of = streams == stream
        ms[of] = np.maximum.accumulate(np.maximum(ms[of], clock.now_ms.get(stream, _BEGINNING)))
    return ms


def _in_step(placed: Sequence[Placed], now_ms: Mapping[str, int], first_ms: int) -> list[Placed]:
    """Let only the last telemetry of each stream move its now.

    A batch of recorded messages may span hours; the frames of one class must
    not make those of the next late: they bear the time of before, or
    `first_ms`, at which the first of the batch was received. What follows the
    telemetry bears the batch's time, by which it was judged.
    """
    last: dict[str, int] = {}
    newest: dict[str, int] = {}
    for place, item in enumerate(placed):
        if item.frame.kind is FrameKind.TELEMETRY:
            last[item.stream] = place
        newest[item.stream] = max(item.timestamp_ms, newest.get(item.stream, item.timestamp_ms))
    before = {stream: max(ms, first_ms) for stream, ms in {**_oldest(placed), **now_ms}.items()}
    return [
        replace(
            item,
            timestamp_ms=before.get(item.stream, 0)
            if place < last.get(item.stream, -1)
            else newest[item.stream],
        )
        for place, item in enumerate(placed)
    ]


def _oldest(placed: Sequence[Placed]) -> dict[str, int]:
    """Oldest sample time of each stream. [ms UTC]"""
    oldest: dict[str, int] = {}
    for item in placed:
        if item.frame.kind is FrameKind.TELEMETRY and item.frame.batch.num_rows:
            t = int(pc.min(item.frame.batch.column("t")).as_py())
            oldest[item.stream] = min(t, oldest.get(item.stream, t))
    return oldest
