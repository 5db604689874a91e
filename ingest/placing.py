"""From what was taken and refused to frames, each in its stream and with its time."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from ingest import strict
from ingest.batch import Batch, RecordClock
from ingest.block import Block
from ingest.framing import event_frames, refusal_frames, telemetry_frames
from ingest.messages import FORGEABLE, ClockMode, Ints, Placed, Reason, Refusal, SafeNumbers
from ingest.routes import Route
from models.frame import REFUSED_STREAM

__all__ = ["place_events", "place_refusals", "place_telemetry", "safe_numbers"]


def _time(batch: Batch, clock: RecordClock, stream: str, index: Ints) -> int:
    if batch.received:
        return clock.at_least(stream, int(batch.clock_ms[index].max()))
    return clock.now(stream)


def place_telemetry(batch: Batch, block: Block, clock: RecordClock) -> list[Placed]:
    """Frames of the messages of `block`, by stream."""
    of = batch.group[block.index]
    names = sorted({batch.groups[g].stream for g in np.unique(of).tolist()})
    number = {name: i for i, name in enumerate(names)}
    stream_of = np.array([number.get(g.stream, -1) for g in batch.groups])[of]
    placed = []
    for stream, i in number.items():
        part = block if len(names) == 1 else block.take(np.flatnonzero(stream_of == i))
        _, newest = part.span()
        device = batch.routes.device.take(pa.array(batch.route[part.index]))
        for start, stop, frame in telemetry_frames(part, device):
            if clock.mode is ClockMode.DATA:
                ms = clock.at_least(stream, int(newest[start:stop].max()))
            else:
                ms = _time(batch, clock, stream, part.index[start:stop])
            placed.append(Placed(stream, frame, ms))
    return placed


def _stream_of(route: Route, refusal: Refusal) -> str:
    """The device's stream where the ledger can count the refusal there, else the common one."""
    countable = refusal.boot is not None and refusal.seq is not None and refusal.reason not in FORGEABLE
    return route.stream if countable and route.stream else REFUSED_STREAM


def place_refusals(batch: Batch, clock: RecordClock) -> list[Placed]:
    """Dead letters, in the device's stream or the common one."""
    rows: dict[str, list[dict[str, object]]] = {}
    places: dict[str, list[int]] = {}
    for refusal in batch.refusals:
        route = batch.route_of(refusal.index)
        stream = _stream_of(route, refusal)
        payload = batch.payload(refusal.index)
        rows.setdefault(stream, []).append({
            "topic": route.topic,
            "device": route.address.device if route.address else "",
            "boot": refusal.boot,
            "seq": refusal.seq,
            "reason": refusal.reason.value,
            "detail": refusal.detail,
            "payload": payload if len(payload) <= strict.KEPT_BYTES else payload[: strict.KEPT_BYTES + 1],
            "retained": bool(batch.retained[refusal.index]),
        })  # fmt: skip
        places.setdefault(stream, []).append(refusal.index)
    return [
        Placed(stream, frame, _time(batch, clock, stream, np.array(places[stream], dtype=np.int64)))
        for stream in sorted(rows)
        for frame in refusal_frames(rows[stream])
    ]


def place_events(batch: Batch, clock: RecordClock) -> list[Placed]:
    """Births, states and deaths, by stream, their payloads as they came."""
    rows: dict[str, list[dict[str, object]]] = {}
    places: dict[str, list[int]] = {}
    for index in batch.events:
        route = batch.route_of(index)
        assert route.address is not None
        payload = batch.payload(index).decode()
        rows.setdefault(route.stream, []).append(
            {"device": route.address.device, "kind": route.kind, "payload": payload}
        )
        places.setdefault(route.stream, []).append(index)
    return [
        Placed(stream, frame, _time(batch, clock, stream, np.array(places[stream], dtype=np.int64)))
        for stream in sorted(rows)
        for frame in event_frames(rows[stream])
    ]


def safe_numbers(batch: Batch) -> SafeNumbers:
    """Numbers that are safe; not those of retained messages, whose sender still waits and sends again."""
    told = [
        r for r in batch.refusals
        if r.boot is not None and r.seq is not None and r.reason is not Reason.RETAINED
    ]  # fmt: skip
    parts = [(block.index, block.boot, block.seq) for block in batch.blocks]
    refused = tuple(
        np.array(values, dtype=np.int64)
        for values in ([r.index for r in told], [r.boot for r in told], [r.seq for r in told])
    )
    index, boot, seq = (np.concatenate([*(part[i] for part in parts), refused[i]]) for i in range(3))
    numbers = SafeNumbers(batch.routes.addresses, batch.routes.sender[batch.route[index]], boot, seq, seq)
    named = numbers.sender >= 0
    return numbers if named.all() else numbers.take(named)
