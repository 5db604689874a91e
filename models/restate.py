"""Restatement: what a stream asks for when data came later than its lateness, and how it is answered.

A pipeline keeps only the samples of open windows. When others change, it asks
the store, which kept them all, for the samples and rows that belong to the
windows concerned. The answer comes back as frames of the journal, so that a
stream can be computed again from its records alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Final

import pyarrow as pa

from models.frame import Frame, FrameError, FrameKind

__all__ = [
    "RESTATEMENT", "NetworkSpan", "RestateAnswer", "RestateRequest", "ResultKind", "RowSource", "Span",
    "above_zero", "measured",
]  # fmt: skip

RESTATEMENT: Final = "restatement"
"""Measurement of the list for people: what was restated, from what, to what, why and when."""
_PART_SCHEMA: Final = pa.schema([
    pa.field("part", pa.string(), nullable=False),
    pa.field("data", pa.binary(), nullable=False),
])  # fmt: skip
_HEADER: Final = "header"
_ABOVE_ZERO: Final = ">0"
_COMPRESSED: Final = pa.ipc.IpcWriteOptions(compression="zstd")


def above_zero(counter: str) -> str:
    """Name in `Span.has` of the readings of a counter that are not zero."""
    return counter + _ABOVE_ZERO


def measured(name: str) -> tuple[str, bool]:
    """The measurement of a name in `Span.has`, and whether it is of `above_zero`."""
    return name.removesuffix(_ABOVE_ZERO), name.endswith(_ABOVE_ZERO)


@dataclass(frozen=True, slots=True)
class Span:
    """A time in which the samples of one device changed after its windows were settled.

    Attributes
    ----------
    device, device_class : str
    from_ms, to_ms : int
        [from, to), in whole steps of 15 minutes. [ms UTC]
    has : tuple of str
        Measurements that the device ever had: those whose neighbours are worth looking for. Of a counter
        that was ever above zero also its name of `above_zero`.
    why : str
        `late` data, or a `gap` that ended.
    own : bool
        Whether what is computed rests on a window's own samples and on those before it: windows
        without samples, and what comes after one, are not asked for then.
    """

    device: str
    device_class: str
    from_ms: int
    to_ms: int
    has: tuple[str, ...] = ()
    why: str = "late"
    own: bool = False


@dataclass(frozen=True, slots=True)
class ResultKind:
    """Rows that rest on samples: the measurement, its window and the classes that it reads.

    Attributes
    ----------
    measurement : str
    every_ms : int
        Length of its windows. [ms]
    reads : tuple of str
        Device classes.
    """

    measurement: str
    every_ms: int
    reads: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RowSource:
    """Rows that rows of networks rest on, or these themselves.

    Attributes
    ----------
    measurement : str
    subject : str
        `network` or `device`: what their keys are.
    learnt : bool
        Whether they are a learner's, which a window uses for long after them.
    """

    measurement: str
    subject: str
    learnt: bool


@dataclass(frozen=True, slots=True)
class NetworkSpan:
    """A time in which rows changed that a network's rows rest on.

    Attributes
    ----------
    network : str
    devices : tuple of str
        Of the network, and the stations whose weather is its own.
    from_ms, to_ms : int
        The steps that changed, [from, to). [ms UTC]
    rows_from_ms, rows_to_ms : int
        What is needed to compute the windows again, [from, to). [ms UTC]
    """

    network: str
    devices: tuple[str, ...]
    from_ms: int
    to_ms: int
    rows_from_ms: int
    rows_to_ms: int


@dataclass(frozen=True, slots=True)
class RestateRequest:
    """What a stream asks of the store.

    Attributes
    ----------
    name : str
        Of the request, for ever: the stream and the record at which it was made.
    stream : str
    offset : int
        The store must hold what followed from the records up to this one.
    before_ms : int
        Windows from here on are still open and not the request's business. [ms UTC]
    spans : tuple of Span
        Devices whose samples changed; or else, once these are answered:
    results : tuple of ResultKind
        Results whose rows are to be said again where they change.
    networks : tuple of NetworkSpan
        Networks whose rows rest on rows that changed.
    sources : tuple of RowSource
        What their rows rest on.
    """

    name: str
    stream: str
    offset: int
    before_ms: int
    spans: tuple[Span, ...]
    results: tuple[ResultKind, ...]
    networks: tuple[NetworkSpan, ...] = ()
    sources: tuple[RowSource, ...] = ()

    def to_json(self) -> str:
        """State as JSON text; `from_json` reads it."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> RestateRequest:
        """Read what `to_json` wrote."""
        data = json.loads(text)
        spans = tuple(Span(**{**s, "has": tuple(s["has"])}) for s in data.pop("spans"))
        results = tuple(ResultKind(**{**r, "reads": tuple(r["reads"])}) for r in data.pop("results"))
        networks = tuple(NetworkSpan(**{**n, "devices": tuple(n["devices"])}) for n in data.pop("networks"))
        sources = tuple(RowSource(**s) for s in data.pop("sources"))
        return cls(**data, spans=spans, results=results, networks=networks, sources=sources)


@dataclass(frozen=True, slots=True)
class RestateAnswer:
    """One frame's worth of the answer to a request.

    Attributes
    ----------
    request : str
        Name of the request.
    last : bool
        Whether nothing more follows.
    windows : tuple of Span
        Devices and times whose windows are to be computed again.
    samples : mapping of str to pyarrow.RecordBatch
        By device class: the samples in `windows`, with the nearest outside on
        either side that hold each measurement; columns as in a telemetry frame.
    said : mapping of str to pyarrow.Table
        By measurement: the rows as the store has them.
    part : int
        Place of this frame among those of the answer, from 0. The parts that
        tell of networks are used together.
    """

    request: str
    last: bool
    windows: tuple[Span, ...] = ()
    samples: Mapping[str, pa.RecordBatch] = field(default_factory=dict)
    said: Mapping[str, pa.Table] = field(default_factory=dict)
    part: int = 0

    def encode(self) -> bytes:
        """As an encoded frame; `decode` reads it."""
        header = {
            "request": self.request, "last": self.last, "part": self.part,
            "windows": [asdict(w) for w in self.windows],
        }  # fmt: skip
        parts: list[tuple[str, bytes]] = [(_HEADER, json.dumps(header).encode())]
        parts += [(f"samples/{name}", _packed([batch])) for name, batch in self.samples.items()]
        parts += [(f"said/{name}", _packed(table.to_batches())) for name, table in self.said.items()]
        batch = pa.RecordBatch.from_arrays(
            [pa.array([p for p, _ in parts], pa.string()), pa.array([d for _, d in parts], pa.binary())],
            schema=_PART_SCHEMA,
        )
        return Frame(FrameKind.RESTATE, "", batch).encode()

    @classmethod
    def decode(cls, frame: Frame) -> RestateAnswer:
        """Read the frame that `encode` wrote; FrameError if it is none."""
        try:
            parts = dict(
                zip(
                    frame.batch.column("part").to_pylist(),
                    frame.batch.column("data").to_pylist(),
                    strict=True,
                )
            )
            header = json.loads(parts.pop(_HEADER))
            windows = tuple(Span(**{**w, "has": tuple(w["has"])}) for w in header["windows"])
            samples: dict[str, pa.RecordBatch] = {}
            said: dict[str, pa.Table] = {}
            for part, data in parts.items():
                kind, name = part.split("/", 1)
                table = _unpacked(data)
                if kind == "samples":
                    batches = table.combine_chunks().to_batches()
                    if batches:
                        samples[name] = batches[0]
                elif kind == "said":
                    said[name] = table
                else:
                    raise ValueError(f"part {part!r}")
            return cls(
                str(header["request"]), bool(header["last"]), windows, samples, said, int(header["part"])
            )
        except (KeyError, ValueError, TypeError, pa.ArrowException) as error:
            msg = f"expected a frame that answers a restatement: {error}"
            raise FrameError(msg) from error


def _packed(batches: Sequence[pa.RecordBatch]) -> bytes:
    if not batches:
        return b""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batches[0].schema, options=_COMPRESSED) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return bytes(sink.getvalue())


def _unpacked(data: bytes) -> pa.Table:
    if not data:
        return pa.table({})
    with pa.ipc.open_stream(pa.py_buffer(data)) as reader:
        return reader.read_all()
