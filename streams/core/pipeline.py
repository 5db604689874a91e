"""The pipeline of one stream: records in, results out, by nothing but the records."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from models.frame import Frame, FrameError, FrameKind, Record
from models.measurements import EVENT_CLASSES
from models.results import Outputs
from models.site import Site
from models.site_files import parse_site
from models.wire import BIRTH, STATE, Birth, State
from streams.core.accepted import Accepted
from streams.core.buffer import BUCKET_MS, ClassBuffer
from streams.core.checkpoint import Checkpoint, CheckpointError
from streams.core.deliveries import Arrival
from streams.core.intake import (
    flags_of,
    judge_messages,
    judge_repeats,
    numeric_rows,
    sample_json,
    split_messages,
)
from streams.core.ledger_book import LedgerBook, day_bounds_ms
from streams.core.operator import LedgerOperator, Operator, SampleOperator, WindowOperator, discovered
from streams.core.rows import Rows, concat
from streams.core.stream_site import StreamSite
from streams.core.tables import dead_letter_rows, ledger_rows, window_table
from streams.core.window_state import WindowState
from streams.core.windows import Computed, WindowEngine

__all__ = ["PROVISIONAL_EVERY_MS", "Pipeline", "PipelineError"]

PROVISIONAL_EVERY_MS = 10_000
_STATE_VERSION = 1
_NO_SITE = Site(id="", name="", timezone="UTC")
IntArray = NDArray[np.int64]


class PipelineError(RuntimeError):
    """A record that cannot follow the ones before it."""


class Pipeline:
    """Runs every operator over one stream.

    Parameters
    ----------
    stream : str
    operators : sequence of Operator, optional
        All that are discovered, if not given.
    provisional_every_ms : int or None
        How often, in the stream's own time, rows are rewritten while their
        windows fill; None gives only settled rows (for offline replay). [ms]

    Attributes
    ----------
    offset : int
        Of the last record stepped, -1 at the start.
    now_ms : int or None
        The stream's now: the largest record timestamp so far. [ms UTC]
    """

    def __init__(
        self,
        stream: str,
        operators: Sequence[Operator] | None = None,
        *,
        provisional_every_ms: int | None = PROVISIONAL_EVERY_MS,
    ):
        self.stream = stream
        self.operators = tuple(discovered() if operators is None else operators)
        self.offset = -1
        self.now_ms: int | None = None
        self._every_ms = provisional_every_ms
        self._samplers = [o for o in self.operators if isinstance(o, SampleOperator)]
        self._ledgers = [o for o in self.operators if isinstance(o, LedgerOperator)]
        self._engine = WindowEngine(
            [o for o in self.operators if isinstance(o, WindowOperator)],
            provisional=provisional_every_ms is not None,
        )
        self._index: dict[str, int] = {}
        self._born_interval_s: dict[str, float] = {}
        self._site = StreamSite(_NO_SITE, (), {})
        self._registry: Site = _NO_SITE
        self._buffers: dict[str, ClassBuffer] = {}
        self._book = LedgerBook()
        self._refreshed_ms: int | None = None
        self._day_ms: int | None = None
        self._day_end_ms = 0
        self._segments: dict[str, tuple[int, bytes]] = {}
        self._next_segment = 0

    # -- records in ---------------------------------------------------------------

    def step(self, record: Record) -> Outputs:
        """Take in one record and give what follows from it.

        Raises
        ------
        PipelineError
            If the record is not of this stream or not after the last one.
        """
        if record.stream != self.stream or record.offset <= self.offset:
            raise PipelineError(
                f"expected a record of stream {self.stream!r} after offset {self.offset}, "
                f"got {record.stream!r} at {record.offset}"
            )
        outputs = Outputs(self.stream, record.offset)
        now_ms = record.timestamp_ms if self.now_ms is None else max(self.now_ms, record.timestamp_ms)
        self._turn_day(now_ms, outputs)
        try:
            frame = Frame.decode(record.frame)
        except FrameError as error:
            self._refused(outputs, record, [_poison(record, error)])
        else:
            self._take(frame, record, outputs)
        self.offset, self.now_ms = record.offset, now_ms
        self._add_windows(outputs, self._engine.close(now_ms, self._site, self._window_buffers()))
        self._forget_segments()
        if self._every_ms is not None and (
            self._refreshed_ms is None or now_ms - self._refreshed_ms >= self._every_ms
        ):
            self._refreshed_ms = now_ms
            self._add_windows(outputs, self._engine.refresh(now_ms, self._site, self._window_buffers()))
            self._add_ledger(outputs, *self._book.changed(self._day_ms or 0), final=False)
        return outputs

    def settled_ms(self) -> int | None:
        """When all windows that hold samples will be final, if nothing more comes. [ms UTC]"""
        return self._engine.settled_ms(self._site, self._window_buffers())

    def report(self) -> Outputs:
        """What can be said right now, without waiting for the next rewrite: for a clean stop."""
        outputs = Outputs(self.stream, self.offset)
        if self.now_ms is not None and self._every_ms is not None:
            self._add_windows(outputs, self._engine.refresh(self.now_ms, self._site, self._window_buffers()))
            self._add_ledger(outputs, *self._book.changed(self._day_ms or 0), final=False)
        return outputs

    def finish(self) -> Outputs:
        """What is left to say when no record will ever come again: the open day of the ledger."""
        outputs = Outputs(self.stream, self.offset)
        if self._day_ms is not None:
            self._add_ledger(outputs, *self._book.all(), final=True)
        return outputs

    def _take(self, frame: Frame, record: Record, outputs: Outputs) -> None:
        if frame.kind is FrameKind.TELEMETRY:
            self._take_telemetry(frame, record, outputs)
        elif frame.kind is FrameKind.EVENT:
            self._take_events(frame)
        elif frame.kind is FrameKind.REFUSAL:
            self._refused(outputs, record, frame.batch.to_pylist())
        elif frame.kind is FrameKind.REGISTRY:
            texts = json.loads(frame.batch.column("payload")[0].as_py())
            self._registry = parse_site(texts)[0]
            self._rebuild_site()
        elif frame.kind is FrameKind.ACTION:
            for row in frame.batch.to_pylist():
                if row["kind"] == "dead_letter_retried":
                    outputs.add("dead_letter", dead_letter_rows(self.stream, [json.loads(row["payload"])]))

    def _take_telemetry(self, frame: Frame, record: Record, outputs: Outputs) -> None:
        batch, device_class = frame.batch, frame.device_class
        if batch.num_rows == 0:
            return
        device = self._devices(batch.column("device"))
        messages = split_messages(batch, device)
        verdicts = judge_messages(messages, self._book.of)
        if verdicts.count(Arrival.NEW) < len(verdicts):
            self._refuse_reused(batch, messages, verdicts, record, outputs)
            fresh = np.array([v is Arrival.NEW for v in verdicts])
            keep = np.repeat(fresh, messages.count)
            batch = batch.filter(pa.array(keep))
            device = device[keep]
            if batch.num_rows == 0:
                return
        self._add_samples(batch, device_class, device, record, outputs)

    def _add_samples(
        self, batch: pa.RecordBatch, device_class: str, device: IntArray, record: Record, outputs: Outputs
    ) -> None:
        buffer = self._buffers.setdefault(device_class, ClassBuffer(device_class))
        extra = batch.column("extra") if "extra" in batch.schema.names else None
        received = numeric_rows(batch, device_class, device, record.offset)
        rows, flags = flags_of(received, buffer.columns, extra)
        n, known = rows.n, len(self._index)
        stands, replaces, late = np.ones(n, bool), np.zeros(n, bool), np.zeros(n, bool)
        lost: list[Rows] = []
        if device_class not in EVENT_CLASSES:
            kept_from = self._engine.kept_from_ms(self._engine.closed_at_ms, self._site)
            standing = judge_repeats(rows, buffer, kept_from, known)
            stands, replaces, late, lost = standing.stands, standing.replaces, standing.late, standing.lost
            for repeated, count in standing.count.items():
                self._book.of(repeated).repeat += count
            flags.update(
                {int(p): _joined(flags.get(int(p)), "repeat") for p in np.flatnonzero(~stands | replaces)}
            )
            self._buffer(buffer, rows, stands, late, known)
        quality = np.full(n, None, dtype=object)
        for position, text in flags.items():
            quality[position] = text
        accepted = Accepted(
            batch, device_class, self.stream, record.offset, record.timestamp_ms,
            pa.array(self._site.units[device], pa.string()),
            pa.array(self._site.regions[device], pa.string()),
            pa.array(quality, pa.string()), replaces, late,
        )  # fmt: skip
        for operator in self._samplers:
            table = operator.function(accepted)
            outputs.readings.append(table if stands.all() else table.filter(pa.array(stands)))
            if not stands.all():
                outputs.repeats.append(table.filter(pa.array(~stands)))
        outputs.repeats.extend(self._lost_table(device_class, buffer.columns, r, record.offset) for r in lost)

    def _buffer(
        self, buffer: ClassBuffer, rows: Rows, stands: NDArray[np.bool_], late: NDArray[np.bool_], known: int
    ) -> None:
        """Keep samples for the windows that are still at hand; older ones only stand as neighbours."""
        if late.any():
            buffer.merge_carry(rows.take(stands & late))
        fresh = rows.take(stands & ~late) if late.any() or not stands.all() else rows
        if fresh.n == 0:
            return
        previous = buffer.newest_t(known)[fresh.device]
        seen = previous > np.iinfo(np.int64).min
        oldest = int(fresh.t.min())
        from_ms = min(oldest, int(previous[seen].min())) if seen.any() else oldest
        buffer.add(fresh, known)
        self._engine.touch(from_ms // BUCKET_MS * BUCKET_MS, oldest // BUCKET_MS * BUCKET_MS)

    def _lost_table(self, device_class: str, columns: tuple[str, ...], lost: Rows, offset: int) -> pa.Table:
        """A reading that was given and has lost to another since, from what the buffer knows of it."""
        ids = [self._site.ids[d] for d in lost.device]
        texts = {
            "key": ids, "unit": list(self._site.units[lost.device]),
            "region": list(self._site.regions[lost.device]),
            "stream": [self.stream] * lost.n, "class": [device_class] * lost.n,
            "quality": ["repeat"] * lost.n,
        }  # fmt: skip
        numbers = {
            "window_start": lost.t, "window_ms": np.zeros(lost.n, np.int64),
            "boot": lost.boot, "seq": lost.seq,
            "pos": lost.pos.astype(np.int32), "offset": np.full(lost.n, offset, np.int64),
        }  # fmt: skip
        values = {c: pa.array(v, from_pandas=True) for c, v in zip(columns, lost.values, strict=True)}
        return pa.table({**texts, **numbers, **values})

    def _refuse_reused(
        self, batch: pa.RecordBatch, messages: Any, verdicts: list[Arrival], record: Record, outputs: Outputs
    ) -> None:
        reused = [m for m, v in enumerate(verdicts) if v is Arrival.REUSED]
        letters = []
        for m in reused:
            device = self._site.ids[int(messages.device[m])]
            self._book.of(int(messages.device[m])).refuse(int(messages.boot[m]), int(messages.seq[m]))
            letters.append({
                "topic": self._topic_of(device),
                "device": device,
                "boot": int(messages.boot[m]),
                "seq": int(messages.seq[m]),
                "reason": "seq_reused",
                "detail": "expected a new number or boot, got a known number with newer samples",
                "payload": sample_json(batch, int(messages.first[m]), int(messages.count[m])).encode(),
                "retained": False,
            })  # fmt: skip
        self._refused(outputs, record, letters, counted=False)

    def _take_events(self, frame: Frame) -> None:
        born = False
        for row in frame.batch.to_pylist():
            device = row["device"]
            if row["kind"] == STATE:
                state = State.model_validate_json(row["payload"])
                self._book.of(self._intern(device)).report(
                    state.boot, state.at, state.next_seq, state.waiting, state.thinned
                )
            elif row["kind"] == BIRTH:
                birth = Birth.model_validate_json(row["payload"])
                self._book.of(self._intern(device)).boot(birth.boot)
                if self._born_interval_s.get(device) != birth.interval_s:
                    self._born_interval_s[device] = birth.interval_s
                    born = True
        if born or len(self._index) != len(self._site.ids):
            self._rebuild_site()

    def _refused(
        self, outputs: Outputs, record: Record, rows: list[dict[str, Any]], *, counted: bool = True
    ) -> None:
        """Turn refusals into dead letters, and into the ledger where their number is known."""
        letters = []
        for at, row in enumerate(rows):
            device = self._registry.devices.get(row["device"])
            if counted and device is not None and row["boot"] and row["seq"] and device.stream == self.stream:
                self._book.of(self._intern(row["device"])).refuse(row["boot"], row["seq"])
            letters.append({
                **row,
                "id": f"{self.stream}:{record.offset}:{at}" + ("" if counted else "s"),
                "at": record.timestamp_ms,
                "unit": device.unit if device else "",
                "region": self._registry.region_of(device) if device else "",
                "state": "open",
            })  # fmt: skip
        if len(self._index) != len(self._site.ids):
            self._rebuild_site()
        if letters:
            outputs.add("dead_letter", dead_letter_rows(self.stream, letters))

    # -- devices --------------------------------------------------------------------

    def _intern(self, device: str) -> int:
        return self._index.setdefault(device, len(self._index))

    def _devices(self, column: pa.Array) -> IntArray:
        encoded = column if isinstance(column, pa.DictionaryArray) else pc.dictionary_encode(column)
        lookup = np.array([self._intern(d) for d in encoded.dictionary.to_pylist()], dtype=np.int64)
        if len(self._index) != len(self._site.ids):
            self._rebuild_site()
        return np.asarray(lookup[encoded.indices.to_numpy(zero_copy_only=False)])

    def _rebuild_site(self) -> None:
        self._site = StreamSite(self._registry, tuple(self._index), self._born_interval_s)

    def _topic_of(self, device: str) -> str:
        known = self._registry.devices.get(device)
        if known is None:
            return ""
        return f"hearthline/v1/{self._registry.region_of(known)}/{known.unit}/{device}/telemetry"

    def _window_buffers(self) -> Mapping[str, ClassBuffer]:
        return self._buffers

    # -- results out -------------------------------------------------------------------

    def _add_windows(self, outputs: Outputs, computed: list[Computed]) -> None:
        for operator, start_ms, rows in computed:
            outputs.add(operator.name, window_table(operator, start_ms, rows, self._site, self.stream))

    def _add_ledger(
        self, outputs: Outputs, devices: Sequence[int], counts: Sequence[Any], *, final: bool
    ) -> None:
        if not devices or self._day_ms is None:
            return
        for operator in self._ledgers:
            fields = operator.function(counts)
            table = ledger_rows(
                fields, devices, self._day_ms, self._day_end_ms, self._site, self.stream, final=final
            )
            outputs.add(operator.name, table)

    def _turn_day(self, now_ms: int, outputs: Outputs) -> None:
        """Settle the ledger of a local day when a later one begins."""
        if self._day_ms is not None and now_ms < self._day_end_ms:
            return
        if self._day_ms is not None:
            self._add_ledger(outputs, *self._book.all(), final=True)
            self._book.touched.update(self._book.deliveries)
        self._day_ms, self._day_end_ms = day_bounds_ms(now_ms, self._registry.timezone)

    # -- checkpoints ----------------------------------------------------------------------

    def checkpoint(self) -> Checkpoint:
        """The whole state after the last record."""
        for name, buffer in self._buffers.items():
            if buffer.unsaved:
                rows = concat(buffer.unsaved, len(buffer.columns))
                buffer.unsaved = []
                self._segments[f"{name}/{self._next_segment}"] = (int(rows.t.max()), rows.to_bytes())
                self._next_segment += 1
        engine = self._engine
        meta = {
            "version": _STATE_VERSION,
            "offset": self.offset, "now_ms": self.now_ms, "devices": list(self._index),
            "born_interval_s": self._born_interval_s, "refreshed_ms": self._refreshed_ms,
            "day_ms": self._day_ms, "day_end_ms": self._day_end_ms, "next_segment": self._next_segment,
            "begin_ms": engine.begin_ms, "closed_at_ms": engine.closed_at_ms,
            "dirty_from_ms": engine.dirty_from_ms,
            "segments": list(self._segments), "classes": list(self._buffers),
        }  # fmt: skip
        parts = {
            "meta": json.dumps(meta).encode(),
            "registry": json.dumps(dict(self._registry.texts)).encode(),
            "ledger": self._book.to_bytes(),
        }
        parts.update({f"carry/{name}": b.carry.to_bytes() for name, b in self._buffers.items()})
        parts.update({f"window/{n}/{start}": state.to_bytes() for (n, start), state in engine.states.items()})
        parts.update({f"segment/{name}": data for name, (_, data) in self._segments.items()})
        return Checkpoint(self.stream, self.offset, parts)

    @classmethod
    def restore(
        cls,
        checkpoint: Checkpoint,
        operators: Sequence[Operator] | None = None,
        *,
        provisional_every_ms: int | None = PROVISIONAL_EVERY_MS,
    ) -> Pipeline:
        """Continue where `checkpoint` was taken; CheckpointError if a part is missing or of unknown version."""
        self = cls(checkpoint.stream, operators, provisional_every_ms=provisional_every_ms)
        try:
            self._load(checkpoint.parts)
        except (KeyError, ValueError, TypeError, pa.ArrowException) as error:
            raise CheckpointError(
                f"checkpoint of stream {checkpoint.stream!r} at offset {checkpoint.offset}: "
                f"expected parts of version {_STATE_VERSION}, got {error}"
            ) from error
        return self

    def _load(self, parts: Mapping[str, bytes]) -> None:
        meta = json.loads(parts["meta"])
        if meta["version"] != _STATE_VERSION:
            raise ValueError(f"version {meta['version']}")
        self.offset, self.now_ms = meta["offset"], meta["now_ms"]
        self._index = {device: at for at, device in enumerate(meta["devices"])}
        self._born_interval_s = meta["born_interval_s"]
        self._refreshed_ms = meta["refreshed_ms"]
        self._day_ms, self._day_end_ms = meta["day_ms"], meta["day_end_ms"]
        self._next_segment = meta["next_segment"]
        engine = self._engine
        engine.begin_ms, engine.closed_at_ms = meta["begin_ms"], meta["closed_at_ms"]
        engine.dirty_from_ms = meta["dirty_from_ms"]
        texts = json.loads(parts["registry"])
        if texts:
            self._registry = parse_site(texts)[0]
        self._rebuild_site()
        self._book = LedgerBook.from_bytes(parts["ledger"])
        known = len(self._index)
        for name in meta["classes"]:
            buffer = self._buffers[name] = ClassBuffer(name)
            buffer.carry = Rows.from_bytes(parts[f"carry/{name}"])
            np.maximum.at(buffer.newest_t(known), buffer.carry.device, buffer.carry.t)
        kept_from = engine.kept_from_ms(engine.closed_at_ms, self._site)
        for segment in meta["segments"]:
            data = parts[f"segment/{segment}"]
            rows = Rows.from_bytes(data)
            self._segments[segment] = (int(rows.t.max()), data)
            buffer = self._buffers[segment.split("/")[0]]
            buffer.add(rows.take(rows.t >= kept_from), known)
            buffer.unsaved = []
        for name in parts:
            if name.startswith("window/"):
                _, operator, start = name.split("/")
                engine.states[operator, int(start)] = WindowState.from_bytes(parts[name])

    def _forget_segments(self) -> None:
        if not self._segments:
            return
        kept_from = self._engine.kept_from_ms(self._engine.closed_at_ms, self._site)
        for name in [n for n, (newest, _) in self._segments.items() if newest < kept_from]:
            del self._segments[name]
        for buffer in self._buffers.values():
            if buffer.unsaved and not buffer.buckets:
                buffer.unsaved = []


def _joined(flags: str | None, flag: str) -> str:
    return flag if not flags else f"{flags};{flag}"


def _poison(record: Record, error: FrameError) -> dict[str, Any]:
    return {
        "topic": "", "device": "", "boot": None, "seq": None, "reason": "frame",
        "detail": str(error), "payload": record.frame, "retained": False,
    }  # fmt: skip
