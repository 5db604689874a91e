"""Sparkplug B payloads and the state of one edge node: births, aliases, sequence, deaths. Pure.

After the Eclipse Sparkplug specification 3.0. The messages of its schema are described here by their
field numbers, so no generated code is needed; protobuf reads them. It takes a payload that is cut off
between two fields; a payload whose sequence number is missing is refused, and that number comes last.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, NamedTuple

from edge.driver import Reading, RecordError
from edge.live import Point, convert, in_time, need

__all__ = ["Metric", "MetricPoint", "Node", "Payload", "Taken", "decode", "rebirth_request"]

REBIRTH: Final = "Node Control/Rebirth"
BD_SEQ: Final = "bdSeq"
# Field numbers and types (those of descriptor.proto) of the scalar fields of the two messages.
_PAYLOAD: Final = {"timestamp": (1, 4), "seq": (3, 4), "uuid": (4, 9), "body": (5, 12)}
_METRIC: Final = {
    "name": (1, 9), "alias": (2, 4), "timestamp": (3, 4), "datatype": (4, 13), "is_historical": (5, 8),
    "is_transient": (6, 8), "is_null": (7, 8), "int_value": (10, 13), "long_value": (11, 4),
    "float_value": (12, 2), "double_value": (13, 1), "boolean_value": (14, 8), "string_value": (15, 9),
    "bytes_value": (16, 12),
}  # fmt: skip
_VALUES: Final = ("int_value", "long_value", "float_value", "double_value", "boolean_value")
_SIGNED_BITS: Final = {1: 8, 2: 16, 3: 32, 4: 64}
_NUMBERS: Final = frozenset(range(1, 12))


class MetricPoint(Point):
    """Which metric is a measurement, by its name in the birth."""

    metric: str


class Metric(NamedTuple):
    """One metric of a payload; `value` is None where it is null or no number."""

    name: str | None
    alias: int | None
    t_ms: int | None
    datatype: int | None
    historical: bool
    value: float | None
    raw: int | None = None


class Payload(NamedTuple):
    """One sound payload."""

    t_ms: int | None
    seq: int | None
    metrics: tuple[Metric, ...]


@lru_cache(maxsize=1)
def _schema() -> tuple[Any, Any]:
    """Classes of the two messages and the error of the library; made when a device needs them."""
    message = need("google.protobuf.message", "protobuf", "sparkplug")
    pb = need("google.protobuf.descriptor_pb2", "protobuf", "sparkplug")
    pool = need("google.protobuf.descriptor_pool", "protobuf", "sparkplug").DescriptorPool()
    factory = need("google.protobuf.message_factory", "protobuf", "sparkplug")
    file = pb.FileDescriptorProto(name="sparkplug_b.proto", package="sparkplug", syntax="proto2")
    payload = file.message_type.add(name="Payload")
    for name, (number, kind) in _PAYLOAD.items():
        payload.field.add(name=name, number=number, type=kind, label=1)
    payload.field.add(name="metrics", number=2, type=11, label=3, type_name=".sparkplug.Payload.Metric")
    metric = payload.nested_type.add(name="Metric")
    for name, (number, kind) in _METRIC.items():
        metric.field.add(name=name, number=number, type=kind, label=1)
    pool.Add(file)
    descriptor = pool.FindMessageTypeByName("sparkplug.Payload")
    return factory.GetMessageClass(descriptor), message.DecodeError


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """A number of variable length and where it ends; RecordError where it breaks off."""
    value = 0
    for place in range(10):
        if at + place >= end:
            break
        value |= (data[at + place] & 0x7F) << 7 * place
        if data[at + place] < 0x80:
            return value, at + place + 1
    raise RecordError(min(at + 10, end), "expected a number to go on, got the end of it")


def _walk(data: bytes, at: int, end: int, *, metrics: bool) -> None:
    """Raise RecordError at the byte where protobuf's wire format breaks."""
    while at < end:
        start = at
        key, at = _varint(data, at, end)
        kind = key & 7
        if kind == 0:
            _, at = _varint(data, at, end)
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        elif kind == 2:
            size, at = _varint(data, at, end)
            if metrics and key >> 3 == 2 and at + size <= end:
                _walk(data, at, at + size, metrics=False)
            at += size
        else:
            raise RecordError(start, f"expected a field, got wire type {kind}")
        if at > end:
            raise RecordError(end, f"expected {at - end} more bytes of the field at {start}, got the end")


def _metric(raw: Any) -> Metric:
    value: float | None = None
    number: int | None = None
    held = next((name for name in _VALUES if raw.HasField(name)), None)
    datatype = raw.datatype if raw.HasField("datatype") else None
    if held is not None and not raw.is_null:
        value = float(getattr(raw, held))
        number = int(getattr(raw, held)) if held in ("int_value", "long_value") else None
    return Metric(
        raw.name if raw.HasField("name") else None,
        raw.alias if raw.HasField("alias") else None,
        raw.timestamp if raw.HasField("timestamp") else None,
        datatype,
        bool(raw.is_historical),
        value,
        number,
    )


def decode(data: bytes, *, death: bool = False) -> Payload:
    """Read one payload.

    Parameters
    ----------
    data : bytes
        As published.
    death : bool
        Whether it is a node's death, which has no sequence number.

    Raises
    ------
    RecordError
        If it is cut off or no payload.
    """
    message, decode_error = _schema()
    payload = message()
    try:
        payload.ParseFromString(data)
    except decode_error as error:
        _walk(data, 0, len(data), metrics=True)
        raise RecordError(0, f"expected a Sparkplug B payload, got: {error}") from error
    seq = payload.seq if payload.HasField("seq") else None
    if not death and (seq is None or seq > 255):
        raise RecordError(len(data), f"expected a sequence number of 0 to 255 at the end, got {seq}")
    for raw in payload.metrics:
        if isinstance(raw.name, bytes):  # how the library gives what is no text
            raise RecordError(data.find(raw.name), f"expected a name in UTF-8, got {raw.name!r}")
    return Payload(
        payload.timestamp if payload.HasField("timestamp") else None,
        seq,
        tuple(_metric(raw) for raw in payload.metrics),
    )


def rebirth_request(now_ms: int) -> bytes:
    """Give the payload of a command that asks a node for its births."""
    payload = _schema()[0](timestamp=now_ms)
    payload.metrics.add(name=REBIRTH, timestamp=now_ms, datatype=11, boolean_value=True)
    built: bytes = payload.SerializeToString()
    return built


class Taken(NamedTuple):
    """What one message gave: readings, what was wrong, and whether the node has to introduce itself."""

    readings: list[Reading]
    faults: list[tuple[str, str]]
    rebirth: bool


class _Known(NamedTuple):
    device: str | None
    name: str
    datatype: int | None


@dataclass
class Node:
    """One edge node as its messages have left it.

    Attributes
    ----------
    device : str or None
        The device whose metrics are wanted; None: those of the node itself.
    points : mapping
        Measurement to metric.
    """

    device: str | None
    points: Mapping[str, MetricPoint]
    _seq: int | None = None
    _bd_seq: int | None = None
    _aliases: dict[int, _Known] = field(default_factory=dict)
    _types: dict[tuple[str | None, str], int | None] = field(default_factory=dict)
    _born: set[str | None] = field(default_factory=set)

    def take(self, kind: str, device: str | None, data: bytes) -> Taken:
        """Follow one message: ``NBIRTH``, ``DBIRTH``, ``NDATA``, ``DDATA``, ``NDEATH`` or ``DDEATH``."""
        try:
            payload = decode(data, death=kind == "NDEATH")
        except RecordError as error:
            self._seq = None
            return Taken([], [("record", f"{kind}: {error}")], rebirth=kind != "NDEATH")
        if kind == "NDEATH":
            return self._death(payload)
        if kind == "NBIRTH":
            self._forget()
            self._bd_seq = next((m.raw for m in payload.metrics if m.name == BD_SEQ), None)
            self._seq = payload.seq
        else:
            expected = None if self._seq is None else (self._seq + 1) % 256
            if payload.seq != expected:
                return self._out_of_order(kind, device, payload, expected)
            self._seq = expected
        if kind == "DDEATH":
            self._bury(device)
            faults = [("death", f"{device}: its node says that it is gone")]
            return Taken([], faults if device == self.device else [], rebirth=False)
        if kind in ("NBIRTH", "DBIRTH"):
            self._bear(device, payload)
        elif device not in self._born:
            return Taken(
                [], [("no birth", f"expected a birth of {device or 'the node'}, got {kind}")], rebirth=True
            )
        return self._read(device, payload) if device == self.device else Taken([], [], rebirth=False)

    def _forget(self) -> None:
        self._aliases.clear()
        self._types.clear()
        self._born.clear()
        self._seq = None

    def _out_of_order(self, kind: str, device: str | None, payload: Payload, expected: int | None) -> Taken:
        """Take what is named in full: an alias may have changed in what was missed."""
        self._forget()
        fault = (
            ("no birth", f"expected a birth, got {kind}")
            if expected is None
            else ("sequence", f"{kind}: expected sequence number {expected}, got {payload.seq}")
        )
        if device != self.device or kind in ("DDEATH", "NBIRTH"):
            return Taken([], [fault], rebirth=True)
        named = payload._replace(metrics=tuple(m for m in payload.metrics if m.name and m.datatype))
        taken = self._read(device, named)
        return Taken(taken.readings, [fault, *taken.faults], rebirth=True)

    def _death(self, payload: Payload) -> Taken:
        number = next((m.raw for m in payload.metrics if m.name == BD_SEQ), None)
        if self._bd_seq is not None and number != self._bd_seq:
            return Taken([], [], rebirth=False)  # of a session before the one that was born since
        self._forget()
        return Taken([], [("death", "expected the edge node to be there, got its death")], rebirth=False)

    def _bury(self, device: str | None) -> None:
        self._born.discard(device)
        self._aliases = {a: known for a, known in self._aliases.items() if known.device != device}

    def _bear(self, device: str | None, payload: Payload) -> None:
        self._bury(device)
        self._born.add(device)
        for metric in payload.metrics:
            if metric.name is not None:
                self._types[device, metric.name] = metric.datatype
                if metric.alias is not None:
                    self._aliases[metric.alias] = _Known(device, metric.name, metric.datatype)

    def _read(self, device: str | None, payload: Payload) -> Taken:
        wanted: dict[str, list[str]] = {}
        for measurement, point in self.points.items():
            wanted.setdefault(point.metric, []).append(measurement)
        values: dict[int, dict[str, float | str]] = {}
        faults: list[tuple[str, str]] = []
        rebirth = False
        for metric in payload.metrics:
            name = metric.name
            if name is None:
                known = self._aliases.get(-1 if metric.alias is None else metric.alias)
                if known is None or known.device != device:
                    faults.append(("alias", f"expected an alias of a birth, got {metric.alias}"))
                    rebirth = True
                    continue
                name = known.name
            datatype = metric.datatype or self._types.get((device, name))
            for measurement in wanted.get(name, ()):
                at = metric.t_ms or payload.t_ms
                try:
                    value = self._value(measurement, metric, datatype)
                    at = in_time(at or 0)
                except ValueError as error:
                    faults.append((f"{measurement} implausible", f"{measurement}: metric {name}: {error}"))
                    continue
                if value is not None:
                    values.setdefault(at, {})[measurement] = value
        return Taken([Reading(t, values[t]) for t in sorted(values)], faults, rebirth)

    def _value(self, measurement: str, metric: Metric, datatype: int | None) -> float | None:
        if metric.value is None:
            return None
        if datatype not in _NUMBERS:
            raise ValueError(f"expected a number, got a metric of data type {datatype}")
        raw = metric.value
        if datatype in _SIGNED_BITS and metric.raw is not None:
            bits = _SIGNED_BITS[datatype]
            whole = metric.raw & (1 << bits) - 1
            raw = float(whole - (1 << bits) if whole >> bits - 1 else whole)
        if not math.isfinite(raw):
            raise ValueError(f"expected a finite number, got {raw}")
        return convert(measurement, self.points[measurement], raw)
