"""Recordings: MQTT messages in files, one JSON object a line or one row of a Parquet file.

A line is ``{"topic": …, "payload": {…}, "received_ms": …}``. A payload that is
no JSON object is given as text, one that is no text as ``payload_base64``;
``retained`` marks what the broker had kept. A line with an empty topic is no
message but carries on what else a journal holds: ``{"heartbeat": stream}``
or ``{"action": [row, …], "stream": stream}``.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, NoReturn

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

__all__ = ["Recording", "ReplayError", "read_recordings"]

_BATCH: Final = 20_000
_BATCH_BYTES: Final = 32 * 1024 * 1024
_MAX_LINE: Final = 64 * 1024 * 1024
_BEGIN_MS: Final = -62_135_337_600_000
"""The year 1, less a margin for time zones: nothing is taken from before it. [ms UTC]"""
_END_MS: Final = 221_845_392_000_000
"""The year 9000: calendars end with the year 9999, and a clock in µs is beyond it. [ms UTC]"""
_WHEN: Final = "whole ms UTC from the year 1 up to the year 9000"


class ReplayError(ValueError):
    """A recording cannot be read; names file and line, what was expected and what came."""


@dataclass(frozen=True, slots=True)
class Recording:
    """Messages in a row.

    Attributes
    ----------
    topics : pyarrow.Array of string, shape (n,)
        Dictionary-encoded where the file has them so.
    payloads : pyarrow.Array of binary, shape (n,)
    received_ms : ndarray or None
        When each was received; None when the recording does not say. [ms UTC]
    retained : ndarray of bool, shape (n,)
    progress : float
        How much of all files has been read, 0 to 1.
    """

    topics: pa.Array
    payloads: pa.Array
    received_ms: NDArray[np.int64] | None
    retained: NDArray[np.bool_]
    progress: float


def read_recordings(paths: Sequence[Path], batch: int = _BATCH) -> Iterator[Recording]:
    """Messages of `paths` (.jsonl, .gz, .zst, .parquet) in the order of the files and their lines.

    Raises
    ------
    ReplayError
        A file is missing or damaged, a line is none of the format, or only some lines say when
        they were received.
    """
    total = sum(_size(path) for path in paths) or 1
    before = 0
    first: tuple[Path, bool] | None = None
    for path in paths:
        size = _size(path)
        read = _parquet if path.suffix == ".parquet" else _lines
        for topics, payloads, received, retained, share in read(path, batch):
            timed = received is not None
            if first is None:
                first = path, timed
            elif first[1] != timed:
                _mixed(path, first)
            yield Recording(topics, payloads, received, retained, (before + share * size) / total)
        before += size


def _mixed(path: Path, first: tuple[Path, bool]) -> NoReturn:
    has, lacks = ("with", "without") if first[1] else ("without", "with")
    msg = f"{path}: expected messages {has} received_ms as in {first[0]}, got some {lacks}"
    raise ReplayError(msg)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        msg = f"{path}: expected a readable recording, got: {error.strerror}"
        raise ReplayError(msg) from error


_Columns = tuple[pa.Array, pa.Array, NDArray[np.int64] | None, NDArray[np.bool_], float]


def _open(path: Path, stack: ExitStack) -> tuple[Any, IO[bytes]]:
    """The file as lines of bytes, and the file beneath, whose position tells the progress."""
    raw = stack.enter_context(path.open("rb"))
    if path.suffix == ".gz":
        return stack.enter_context(gzip.open(raw)), raw
    if path.suffix == ".zst":
        # Arrow's reader, since that of zstandard takes the end of a file within a frame for its end.
        reader = pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd")
        return stack.enter_context(io.BufferedReader(reader, 1 << 20)), raw
    return raw, raw


def _lines(path: Path, batch: int) -> Iterator[_Columns]:
    size = _size(path) or 1
    rows: list[tuple[str, bytes, int | None, bool]] = []
    number = held = 0
    try:
        with ExitStack() as stack:
            lines, raw = _open(path, stack)
            while line := lines.readline(_MAX_LINE):
                number += 1
                if number == 1:
                    line = line.removeprefix(codecs.BOM_UTF8)
                if not line or line.isspace():
                    continue
                row = _row(path, number, line)
                if rows and (row[2] is None) != (rows[0][2] is None):
                    got = "none" if row[2] is None else row[2]
                    msg = f"{path}:{number}: expected received_ms on all lines or none, got {got} on this one"
                    raise ReplayError(msg)
                rows.append(row)
                held += len(row[1])
                if len(rows) >= batch or held >= _BATCH_BYTES:
                    yield _columns(rows, min(raw.tell() / size, 1.0))
                    rows, held = [], 0
    except (OSError, EOFError, zlib.error) as error:
        msg = f"{path}:{number + 1}: expected readable lines, got: {error}"
        raise ReplayError(msg) from error
    if rows:
        yield _columns(rows, 1.0)


def _columns(rows: Sequence[tuple[str, bytes, int | None, bool]], share: float) -> _Columns:
    topics, payloads, received, retained = zip(*rows, strict=True)
    times = None if received[0] is None else np.array(received, dtype=np.int64)
    return pa.array(topics, pa.string()), pa.array(payloads, pa.binary()), times, np.array(retained), share


def _row(path: Path, number: int, line: bytes) -> tuple[str, bytes, int | None, bool]:
    value = _read(path, number, line)
    if not isinstance(value, dict) or not isinstance(value.get("topic"), str):
        _wrong(path, number, 'an object with a "topic" of text', line)
    received = value.get("received_ms")
    if received is not None and (type(received) is not int or not _BEGIN_MS <= received < _END_MS):
        _wrong(path, number, f'"received_ms" in {_WHEN}', received)
    return value["topic"], _payload(path, number, value), received, value.get("retained") is True


def _read(path: Path, number: int, line: bytes) -> Any:
    """The line's value; numbers and texts that no JSON of ours would hold are for the door to refuse."""
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        try:
            value = json.loads(line)
            if isinstance(value, dict) and isinstance(value.get("payload"), dict):
                value["payload"] = json.dumps(value["payload"])
                str(value.get("topic")).encode()
                return value
        except (ValueError, RecursionError):
            pass
        msg = f"{path}:{number}: expected a JSON object, got: {error}"
        raise ReplayError(msg) from error


def _payload(path: Path, number: int, value: dict[str, Any]) -> bytes:
    encoded = value.get("payload_base64")
    if encoded is not None:
        try:
            return base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError, TypeError) as error:
            msg = f"{path}:{number}: expected base64 in payload_base64, got: {error}"
            raise ReplayError(msg) from error
    payload = value.get("payload")
    if isinstance(payload, str):
        return payload.encode()
    if not isinstance(payload, dict):
        _wrong(path, number, '"payload" as an object or text', payload)
    return orjson.dumps(payload)


def _wrong(path: Path, number: int, expected: str, got: object) -> NoReturn:
    msg = f"{path}:{number}: expected {expected}, got {str(got)[:120]!r}"
    raise ReplayError(msg)


_TEXT: Final = (pa.types.is_string, pa.types.is_large_string)
_COLUMNS: Final[Mapping[str, tuple[str, tuple[Callable[[pa.DataType], bool], ...]]]] = {
    "topic": ("text", _TEXT),
    "payload": ("text or bytes", (*_TEXT, pa.types.is_binary, pa.types.is_large_binary)),
    "received_ms": ("integers or timestamps", (pa.types.is_integer, pa.types.is_timestamp, pa.types.is_null)),
    "payload_base64": ("text", (*_TEXT, pa.types.is_null)),
    "retained": ("booleans", (pa.types.is_boolean, pa.types.is_null)),
}
"""What the columns of a Parquet file may hold, in words and by type."""


def _parquet(path: Path, batch: int) -> Iterator[_Columns]:
    done = 0
    try:
        wanted = _known_columns(path, pq.read_schema(path))
        with pq.ParquetFile(path, read_dictionary=["topic"]) as file:
            for rows in file.iter_batches(batch, columns=wanted):
                done += rows.num_rows
                yield _batch(path, done - rows.num_rows, rows, done / max(file.metadata.num_rows, 1))
    except (OSError, pa.ArrowException) as error:
        told = " ".join(str(error).split())
        msg = f"{path}: expected a readable Parquet file, got: {told} near row {done}"
        raise ReplayError(msg) from error


def _known_columns(path: Path, schema: pa.Schema) -> list[str]:
    """The columns to read; ReplayError where one lacks or holds something else."""
    if missing := {"topic", "payload"} - set(schema.names):
        msg = f"{path}: expected columns topic and payload, got none named {', '.join(sorted(missing))}"
        raise ReplayError(msg)
    wanted = [name for name in _COLUMNS if name in schema.names]
    for name in wanted:
        if schema.names.count(name) > 1:
            msg = f"{path}: expected one column {name}, got {schema.names.count(name)}"
            raise ReplayError(msg)
        expected, fits = _COLUMNS[name]
        kind = schema.field(name).type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        if not any(is_kind(kind) for is_kind in fits):
            msg = f"{path}: expected {expected} in column {name}, got {kind}"
            raise ReplayError(msg)
    return wanted


def _from_base64(path: Path, row: int, text: str | None) -> bytes | None:
    try:
        return None if text is None else base64.b64decode(text, validate=True)
    except ValueError as error:
        msg = f"{path}: expected base64 in payload_base64, got: {error} in row {row}"
        raise ReplayError(msg) from error


def _batch(path: Path, start: int, rows: pa.RecordBatch, share: float) -> _Columns:
    topics, payloads = rows.column("topic"), rows.column("payload").cast(pa.binary())
    topics.validate(full=True)
    names = rows.schema.names
    if "payload_base64" in names and rows.column("payload_base64").null_count < rows.num_rows:
        texts = rows.column("payload_base64")
        texts.validate(full=True)
        decoded = [_from_base64(path, start + at, t) for at, t in enumerate(texts.to_pylist())]
        payloads = pa.array(
            [p if d is None else d for p, d in zip(payloads.to_pylist(), decoded, strict=True)], pa.binary()
        )
    received = rows.column("received_ms") if "received_ms" in names else None
    if received is not None and received.null_count == rows.num_rows:
        received = None
    for name, column in (("topic", topics), ("payload", payloads), ("received_ms", received)):
        if column is not None and column.null_count:
            row = start + column.is_null().to_pylist().index(True)
            msg = f"{path}: expected {name} in every row, got none in row {row}"
            raise ReplayError(msg)
    if received is not None and not pa.types.is_int64(received.type):
        received = received.cast(pa.timestamp("ms") if pa.types.is_timestamp(received.type) else pa.int64())
        received = received.cast(pa.int64())
    retained = np.zeros(rows.num_rows, dtype=bool)
    if "retained" in names:
        retained = np.asarray(
            rows.column("retained").fill_null(False).to_numpy(zero_copy_only=False), dtype=bool
        )
    times = None if received is None else np.asarray(received.to_numpy(zero_copy_only=False), dtype=np.int64)
    if times is not None and (wrong := np.flatnonzero((times < _BEGIN_MS) | (times >= _END_MS))).size:
        row = int(wrong[0])
        msg = f"{path}: expected received_ms in {_WHEN}, got {times[row]} in row {start + row}"
        raise ReplayError(msg)
    return topics, payloads, times, retained, share
