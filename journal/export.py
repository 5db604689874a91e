"""The journal as a recording: messages again, so that any run can be replayed."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from journal.protocol import Journal, JournalError
from models.frame import DELIVERIES, Frame, FrameKind, Record
from models.site_files import parse_site
from models.wire import FUTURE_MS, TELEMETRY, Topic

__all__ = ["Line", "Places", "export_lines", "places_of", "registry_texts", "write_recording"]

_HEADER: Final = frozenset({"device", "boot", "seq", "pos", "t", "extra"})
_ROWS: Final = 20_000
Places = Mapping[str, tuple[str, str]]
"""Region and unit of each device."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a recording; an empty topic marks what is no message."""

    topic: str
    payload: bytes
    received_ms: int
    retained: bool = False


@runtime_checkable
class _HasRegistries(Protocol):
    def registries(self) -> list[Record]: ...


def registry_texts(frame: Frame) -> dict[str, str]:
    """The site files that a registry frame carries, by name."""
    texts: dict[str, str] = orjson.loads(frame.batch.column("payload")[0].as_py())
    return texts


def places_of(journal: Journal) -> dict[str, tuple[str, str]]:
    """Region and unit of each device as the newest registry that has it says."""
    records = journal.registries() if isinstance(journal, _HasRegistries) else journal.scan()
    places: dict[str, tuple[str, str]] = {}
    seen = ""
    for record in records:
        frame = Frame.decode(record.frame)
        if frame.kind is not FrameKind.REGISTRY or (text := str(frame.batch.column("payload")[0])) == seen:
            continue
        seen = text
        site, _ = parse_site(registry_texts(frame))
        places |= {d.device: (site.region_of(d), d.unit) for d in site.devices.values()}
    return places


def export_lines(records: Iterable[Record], places: Places) -> Iterator[Line]:
    """Messages of `records` in their order, each received at its record's time.

    Under the data clock the frames of a batch bear the time before it, of which
    their samples may be far ahead; those are received late enough not to be
    refused as future ones.

    Heartbeats are kept where they moved a stream's now before something else
    came, and at the end: so a replay sees each message at the same now.
    Registry versions (the site is given to a replay), restatements (a replay
    makes its own) and what streams told each other of devices that moved (in a
    replay none moves) are left out.
    """
    now: dict[str, int] = {}
    beats: dict[str, int] = {}
    for record in records:
        frame = Frame.decode(record.frame)
        if frame.kind is FrameKind.HEARTBEAT:
            beats[record.stream] = record.timestamp_ms
            continue
        lines = list(_lines(frame, record, places))
        if lines:
            yield from _beat(record.stream, beats, now)
            now[record.stream] = record.timestamp_ms
        yield from lines
    for stream in sorted(beats):
        yield from _beat(stream, dict(beats), now)


def _beat(stream: str, beats: dict[str, int], now: Mapping[str, int]) -> Iterator[Line]:
    ms = beats.pop(stream, None)
    if ms is not None and ms > now.get(stream, ms - 1):
        yield Line("", orjson.dumps({"heartbeat": stream}), ms)


def _lines(frame: Frame, record: Record, places: Places) -> Iterator[Line]:
    ms = record.timestamp_ms
    if frame.kind is FrameKind.TELEMETRY:
        for device, newest_ms, payload in _messages(frame.batch):
            received_ms = max(ms, newest_ms - FUTURE_MS)
            yield Line(_topic(device, TELEMETRY, places, record), payload, received_ms)
    elif frame.kind is FrameKind.EVENT:
        for row in frame.batch.to_pylist():
            yield Line(_topic(row["device"], row["kind"], places, record), _compact(row["payload"]), ms)
    elif frame.kind is FrameKind.REFUSAL:
        for row in frame.batch.to_pylist():
            yield Line(row["topic"], row["payload"], ms, row["retained"])
    elif frame.kind is FrameKind.ACTION:
        rows = [row for row in frame.batch.to_pylist() if row["kind"] != DELIVERIES]
        if not rows:
            return
        action = {"action": rows, "stream": record.stream}
        yield Line("", orjson.dumps(action), ms)


def _compact(payload: str) -> bytes:
    """An event's payload without the sender's spaces, so that it can stand as an object in a line."""
    try:
        return orjson.dumps(orjson.loads(payload))
    except orjson.JSONDecodeError:  # what the wire's models take and orjson does not
        return payload.encode()


def _topic(device: str, kind: str, places: Places, record: Record) -> str:
    try:
        region, unit = places[device]
    except KeyError as error:
        where = f"record {record.offset} of stream {record.stream}"
        msg = f"{where}: expected a device of the journalled registries, got {device!r}"
        raise JournalError(msg) from error
    return str(Topic(region, unit, device, kind))


def _messages(batch: pa.RecordBatch) -> Iterator[tuple[str, int, bytes]]:
    """Each message of a telemetry frame: device, newest time and payload; a message starts at position 0."""
    names = [name for name in batch.schema.names if name not in _HEADER]
    columns = [batch.column(name).to_pylist() for name in names]
    values: list[dict[str, Any]] = [
        {name: value for name, value in zip(names, row, strict=True) if value is not None}
        for row in (zip(*columns, strict=True) if columns else ((),) * batch.num_rows)
    ]
    if "extra" in batch.schema.names:
        for row, extra in zip(values, batch.column("extra").to_pylist(), strict=True):
            if extra is not None:
                row.update(orjson.loads(extra))
    device, boot, seq, pos, t = (batch.column(n).to_pylist() for n in ("device", "boot", "seq", "pos", "t"))
    starts = [i for i, position in enumerate(pos) if position == 0]
    for start, stop in zip(starts, [*starts[1:], batch.num_rows], strict=True):
        samples = [{"t": t[i], **values[i]} for i in range(start, stop)]
        payload = orjson.dumps({"boot": boot[start], "seq": seq[start], "samples": samples})
        yield device[start], max(t[start:stop]), payload


def _json_line(line: Line) -> bytes:
    """The line as JSON; its payload as an object only where reading that gives the same bytes."""
    value: dict[str, Any] = {"topic": line.topic}
    try:
        payload = orjson.loads(line.payload)
        as_object = isinstance(payload, dict) and orjson.dumps(payload) == line.payload
    except orjson.JSONDecodeError:
        as_object = False
    if as_object:
        value["payload"] = orjson.Fragment(line.payload)
    else:
        try:
            value["payload"] = line.payload.decode()
        except UnicodeDecodeError:
            value["payload_base64"] = base64.b64encode(line.payload).decode()
    value["received_ms"] = line.received_ms
    if line.retained:
        value["retained"] = True
    return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)


_PARQUET: Final = pa.schema([
    pa.field("topic", pa.string(), nullable=False),
    pa.field("payload", pa.string()),
    pa.field("received_ms", pa.int64(), nullable=False),
    pa.field("payload_base64", pa.string()),
    pa.field("retained", pa.bool_(), nullable=False),
])  # fmt: skip


def _rows(lines: list[Line]) -> pa.RecordBatch:
    texts: list[str] = []
    encoded: list[str | None] = []
    for line in lines:
        try:
            texts.append(line.payload.decode())
            encoded.append(None)
        except UnicodeDecodeError:
            texts.append("")
            encoded.append(base64.b64encode(line.payload).decode())
    columns = [
        [line.topic for line in lines], texts, [line.received_ms for line in lines], encoded,
        [line.retained for line in lines],
    ]  # fmt: skip
    return pa.RecordBatch.from_arrays(
        [pa.array(c, f.type) for c, f in zip(columns, _PARQUET, strict=True)], schema=_PARQUET
    )


def _sink(path: Path, suffix: str, stack: ExitStack) -> Callable[[list[Line]], object]:
    if suffix == ".parquet":
        writer = stack.enter_context(pq.ParquetWriter(path, _PARQUET, compression="zstd"))
        return lambda lines: writer.write_batch(_rows(lines))
    raw = stack.enter_context(path.open("wb"))
    file: Any = raw
    if suffix == ".gz":
        file = stack.enter_context(gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=6))
    elif suffix == ".zst":
        file = stack.enter_context(zstandard.ZstdCompressor(level=3).stream_writer(raw, closefd=False))
    return lambda lines: file.write(b"".join(map(_json_line, lines)))


def write_recording(lines: Iterable[Line], path: Path, tell: Callable[[int], None] = lambda _: None) -> int:
    """Write `lines` to `path` (.jsonl, .gz, .zst or .parquet); how many were written.

    The file appears when it is whole: until then it has the suffix `.part`.
    `tell` is called with the number of lines so far.
    """
    part = path.with_name(path.name + ".part")
    count = 0
    try:
        with ExitStack() as stack:
            write = _sink(part, path.suffix, stack)
            held: list[Line] = []
            for line in lines:
                held.append(line)
                if len(held) == _ROWS:
                    write(held)
                    count += len(held)
                    held = []
                    tell(count)
            write(held)
            count += len(held)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    part.replace(path)
    tell(count)
    return count
