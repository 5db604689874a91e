"""Telemetry and refusals on their way into a stream: what is new, what stands, what becomes a dead letter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from models.frame import SEQ_REUSED, Frame, Record
from models.measurements import ENTITY_CLASSES, EVENT_CLASSES
from models.results import Outputs
from models.wire import TELEMETRY, Topic
from streams.core.accepted import Accepted
from streams.core.buffer import BUCKET_MS, ClassBuffer
from streams.core.deliveries import RETAKEN_BOOT, Arrival
from streams.core.entity_beyond import BEYOND_HORIZON
from streams.core.intake import (
    Messages,
    flags_of,
    judge_messages,
    judge_repeats,
    numeric_rows,
    sample_json,
    split_messages,
)
from streams.core.network_events import OFFICE
from streams.core.operator import SampleOperator
from streams.core.rows import Rows, concat, falling, holding
from streams.core.sampling import sampled
from streams.core.stream_state import StreamState
from streams.core.tables import dead_letter_rows, lost_readings
from streams.core.telling import Telling

__all__ = ["Arriving", "poison"]

_NEVER, _ALWAYS = np.iinfo(np.int64).min, np.iinfo(np.int64).max
_ALTERED = frozenset({"schema", "too_large"})
"""Reasons for which a stored message cannot be refused when it comes again: it is another with its number."""
IntArray = NDArray[np.int64]


class Arriving:
    """Takes telemetry and refusals into a stream's state.

    Parameters
    ----------
    stream : str
    state : StreamState
    samplers : sequence of SampleOperator
        What becomes of each accepted sample.
    telling : Telling
    """

    def __init__(self, stream: str, state: StreamState, samplers: Sequence[SampleOperator], telling: Telling):
        self._stream = stream
        self._state = state
        self._samplers = tuple(samplers)
        self._telling = telling

    def telemetry(self, frame: Frame, record: Record, outputs: Outputs) -> None:
        """Take in the samples of a frame."""
        batch, device_class = frame.batch, frame.device_class
        if batch.num_rows == 0:
            return
        device = self._state.devices(batch.column("device"))
        messages = split_messages(batch, device)
        verdicts = judge_messages(messages, self._state.book)
        if verdicts.count(Arrival.NEW) < len(verdicts):
            self._refuse_reused(batch, messages, verdicts, record, outputs)
            batch = self._rename_retaken(batch, messages, verdicts)
            fresh = np.array([v in {Arrival.NEW, Arrival.RETAKEN} for v in verdicts])
            keep = np.repeat(fresh, messages.count)
            batch = batch.filter(pa.array(keep))
            device = device[keep]
            if batch.num_rows == 0:
                return
        self._add_samples(batch, device_class, device, record, outputs)

    def _rename_retaken(
        self, batch: pa.RecordBatch, messages: Messages, verdicts: list[Arrival]
    ) -> pa.RecordBatch:
        """Give messages that a person took in, although their number was used, a name of their own."""
        retaken = [m for m, v in enumerate(verdicts) if v is Arrival.RETAKEN]
        if not retaken:
            return batch
        names = {n: np.array(batch.column(n).to_numpy(zero_copy_only=False)) for n in ("boot", "seq")}
        for m in retaken:
            rows = slice(int(messages.first[m]), int(messages.first[m] + messages.count[m]))
            names["boot"][rows] = RETAKEN_BOOT
            day = self._state.book.days.day(int(messages.newest_t[m]))
            names["seq"][rows] = self._state.book.of(int(messages.device[m])).retake(day)
        for name, values in names.items():
            at = batch.schema.get_field_index(name)
            batch = batch.set_column(at, batch.schema.field(at), pa.array(values, pa.int64()))
        return batch

    def _add_samples(
        self, batch: pa.RecordBatch, device_class: str, device: IntArray, record: Record, outputs: Outputs
    ) -> None:
        buffer = self._state.buffer(device_class)
        extra = batch.column("extra") if "extra" in batch.schema.names else None
        received = numeric_rows(batch, device_class, device)
        rows, flags = flags_of(received, buffer.columns, extra)
        n, known = rows.n, self._state.known
        stands, replaces = np.ones(n, bool), np.zeros(n, bool)
        # Of events, which have names of their own, only the store knows all that came before.
        late = np.full(n, device_class in EVENT_CLASSES)
        lost: list[Rows] = []
        if device_class not in EVENT_CLASSES:
            kept_from = self._state.kept_from_ms()
            counted_from = self._state.counted_from_ms(device_class)
            standing = judge_repeats(rows, buffer, kept_from, known, counted_from)
            stands, replaces, late, lost = standing.stands, standing.replaces, standing.late, standing.lost
            for (repeated, quarter_ms), count in standing.count.items():
                self._state.book.of(repeated).repeats.add(self._state.book.days.day(quarter_ms), count)
            self._state.book.count_late(rows.device[rows.t < counted_from], self._state.moving_to_ms)
            flags.update(
                {
                    int(p): _joined(flags.get(int(p)), "repeat")
                    for p in np.flatnonzero(~stands | standing.differs)
                }
            )
            self._buffer(buffer, rows, stands, late, known)
        else:
            self._state.book.meet_events(batch, device_class, device)
            if device_class == OFFICE:
                for at in self._of_unknown_networks(batch):
                    flags[at] = _joined(flags.get(at), "unknown_network")
                self._take_network_events(batch, outputs)
        if device_class in ENTITY_CLASSES:
            self._take_entity_events(batch, device_class, flags)
        if self._state.book.awaited:  # what the stream before has stored of them is not known here yet
            late = late | np.isin(device, list(self._state.book.awaited))
        quality = np.full(n, None, dtype=object)
        for position, text in flags.items():
            quality[position] = text
        accepted = Accepted(
            batch, device_class, self._stream, record.offset, record.timestamp_ms,
            pa.array(self._state.site.units[device], pa.string()),
            pa.array(self._state.site.regions[device], pa.string()),
            pa.array(quality, pa.string()), replaces, late,
        )  # fmt: skip
        self._sample(accepted, stands, outputs)
        outputs.repeats.extend(
            lost_readings(r, device_class, buffer.columns, self._state.site, self._stream, record.offset)
            for r in lost
        )

    def _sample(self, accepted: Accepted, stands: NDArray[np.bool_], outputs: Outputs) -> None:
        """Give samples as readings, and those that lost to another as repeats."""
        for operator in self._samplers:
            table, of = sampled(operator, accepted, self._state.failures)
            if not len(of):
                continue
            mine = stands[of]
            outputs.readings.append(table if mine.all() else table.filter(pa.array(mine)))
            if not mine.all():
                outputs.repeats.append(table.filter(pa.array(~mine)))

    def _take_entity_events(self, batch: pa.RecordBatch, device_class: str, flags: dict[int, str]) -> None:
        """Take in what happened to trucks, contracts and yards."""
        state = self._state
        newest_ms = int(pc.max(batch.column("t")).as_py())
        state.newest_event_ms = max(newest_ms, state.newest_event_ms or newest_ms)
        for at in state.entities.take_events(batch, device_class, flags, state.moving_to_ms):
            flags[at] = _joined(flags.get(at), BEYOND_HORIZON)

    def _of_unknown_networks(self, batch: pa.RecordBatch) -> list[int]:
        """Positions of events about a network that the registry does not have."""
        named = batch.column("network").to_pylist() if "network" in batch.schema.names else []
        return [at for at, name in enumerate(named) if name and name not in self._state.registry.networks]

    def _take_network_events(self, batch: pa.RecordBatch, outputs: Outputs) -> None:
        """Take in what people did to networks, and compute again what rests on it."""
        state = self._state
        steps = {(name, t // BUCKET_MS * BUCKET_MS) for name, t in state.rows.events.take(batch)}
        steps = {(name, step) for name, step in steps if name in state.registry.networks}
        if not steps or not state.rows.networks:
            return
        self._telling.networks(outputs, self._telling.follow({OFFICE: steps}, state.site))
        for name, step_ms in steps:
            if state.rows.reach(name, step_ms, step_ms + 1, state.site)[0] < state.engine.forgotten_ms:
                state.restatements.network(name, step_ms)

    def _buffer(
        self, buffer: ClassBuffer, rows: Rows, stands: NDArray[np.bool_], late: NDArray[np.bool_], known: int
    ) -> None:
        """Keep samples for the windows that are still at hand; older ones only stand as neighbours."""
        if late.any():
            older = rows.take(stands & late)
            if self._state.rows.late.take(buffer.device_class, older, self._state.moving_to_ms):
                kept_from = self._state.kept_from_ms()
                self._state.engine.begin(kept_from // BUCKET_MS * BUCKET_MS)
            if older.n and buffer.device_class in self._state.entities.marking.reads:
                left = older.take(~self._marked_at_once(buffer, older))
                # They may stand before samples of windows at hand.
                self._state.entities.marking.touch(older.device, self._state.kept_from_ms())
            else:
                left = older
            buffer.stand_before(older, known)
            self._state.restatements.late(left.device, left.t)
        fresh = rows.take(stands & ~late) if late.any() or not stands.all() else rows
        if fresh.n == 0:
            return
        oldest = from_ms = int(fresh.t.min())
        if self._state.engine.reads(buffer.device_class):  # marks rest on nothing that comes after them
            from_ms = min(oldest, self._spoke_before(buffer, fresh, known))
        buffer.add(fresh, known)
        self._state.engine.touch(from_ms // BUCKET_MS * BUCKET_MS, oldest // BUCKET_MS * BUCKET_MS)
        self._state.entities.marking.take(buffer.device_class, fresh)

    def _marked_at_once(self, buffer: ClassBuffer, older: Rows) -> NDArray[np.bool_]:
        """Make marks of samples of windows let go, where what is at hand is enough; of which it was."""
        state = self._state
        if state.engine.reads(buffer.device_class):  # all its windows rest on what comes after them, too
            return np.zeros(older.n, dtype=bool)
        ready = state.site.classes == buffer.device_class
        asked = {state.index[d] for d in state.restatements.asked}
        for d in np.unique(older.device[ready[older.device]]).tolist():
            ready[d] = d not in asked and state.book.is_whole(d)
        return state.entities.marking.at_once(buffer, older, state.kept_from_ms(), state.site, ready)

    def _spoke_before(self, buffer: ClassBuffer, fresh: Rows, known: int) -> int:
        """Since when nothing was known of what `fresh` samples now tell. [ms UTC]

        Where that is before the windows at hand, those between were settled
        without a sample after them, or without one that tells a reading out of line, and are to be restated.
        """
        newest = buffer.newest_by(known, fresh.device)
        valid = holding(fresh.values, buffer.counters)
        kept_from = self._state.kept_from_ms()
        before = np.where(valid & (newest > _NEVER), newest, _ALWAYS).min(axis=0, initial=_ALWAYS)
        before = np.minimum(before, buffer.restless.since(fresh, known))
        oldest = int(before.min(initial=_ALWAYS))
        overtaken = valid & (newest > fresh.t)
        if overtaken.any():
            self._came_between(buffer, fresh, overtaken, kept_from, known)
            oldest = min(oldest, kept_from)
        returned = before < kept_from
        for device in np.unique(fresh.device[returned]):
            since = int(before[returned & (fresh.device == device)].min())
            self._state.restatements.gap(int(device), since // BUCKET_MS * BUCKET_MS, kept_from)
        return max(oldest, kept_from)

    def _came_between(
        self, buffer: ClassBuffer, fresh: Rows, overtaken: NDArray[np.bool_], kept_from: int, known: int
    ) -> None:
        """Have windows restated that ended with a later neighbour than one of `fresh` samples.

        A sample of an open window that was overtaken may be the first after the
        settled ones, which knew only one beyond it.
        """
        after = buffer.after(kept_from)
        first = _edge_times(after, buffer.counters, known, last=False)
        nearer = overtaken & (fresh.t < first[:, fresh.device])
        self._told_otherwise(buffer, fresh.take(np.asarray(overtaken.any(axis=0))), after, kept_from, known)
        if not nearer.any():
            return
        last = _edge_times(buffer.carry, buffer.counters, known, last=True)[:, fresh.device]
        since = np.where(nearer & (last > _NEVER), last, _ALWAYS).min(axis=0)
        for device in np.unique(fresh.device[since < _ALWAYS]):
            from_ms = int(since[fresh.device == device].min())
            self._state.restatements.gap(int(device), from_ms // BUCKET_MS * BUCKET_MS, kept_from)

    def _told_otherwise(
        self, buffer: ClassBuffer, between: Rows, after: Rows, kept_from: int, known: int
    ) -> None:
        """Have windows restated whose counters fall, and are told by samples that came `between` others."""
        everything = concat([buffer.carry, after, between], len(buffer.columns)).in_order()
        farthest = np.full(known, _NEVER)
        np.maximum.at(farthest, after.device, after.t)
        restless = falling(everything, buffer.counters)
        for device in restless[np.isin(restless, between.device[between.t < farthest[between.device]])]:
            told = holding(buffer.carry.values, buffer.counters)[len(buffer.columns) :].any(axis=0)
            since = buffer.carry.t[told & (buffer.carry.device == device)]
            if len(since):
                from_ms = int(since.min()) // BUCKET_MS * BUCKET_MS
                self._state.restatements.gap(int(device), from_ms, kept_from)

    def _refuse_reused(
        self, batch: pa.RecordBatch, messages: Any, verdicts: list[Arrival], record: Record, outputs: Outputs
    ) -> None:
        reused = [m for m, v in enumerate(verdicts) if v is Arrival.REUSED]
        letters = []
        for m in reused:
            device = self._state.site.ids[int(messages.device[m])]
            letters.append({
                "topic": self._topic_of(device),
                "device": device,
                "boot": int(messages.boot[m]),
                "seq": int(messages.seq[m]),
                "reason": SEQ_REUSED,
                "detail": "expected a new number or boot, got a known number with newer samples",
                "payload": sample_json(batch, int(messages.first[m]), int(messages.count[m])).encode(),
                "retained": False,
            })  # fmt: skip
        self.refused(outputs, record, letters, counted=False)

    def refused(
        self, outputs: Outputs, record: Record, rows: list[dict[str, Any]], *, counted: bool = True
    ) -> None:
        """Turn refusals into dead letters, and into the ledger where their number is known."""
        letters = []
        today = self._state.book.days.day(self._state.moving_to_ms)  # what was refused may say any time
        for at, row in enumerate(rows):
            device = self._state.registry.devices.get(row["device"])
            if (
                counted
                and device is not None
                and row["boot"]
                and row["seq"]
                and device.stream == self._stream
            ):
                deliveries = self._state.book.of(self._state.intern(row["device"]))
                altered = row["reason"] in _ALTERED
                if not deliveries.refuse(row["boot"], row["seq"], today, altered=altered):
                    continue
            letters.append({
                **row,
                "id": f"{self._stream}:{record.offset}:{at}" + ("" if counted else "s"),
                "at": record.timestamp_ms,
                "unit": device.unit if device else "",
                "region": self._state.registry.region_of(device) if device else "",
                "state": "open",
            })  # fmt: skip
        self._state.settle_site()
        if letters:
            outputs.add("dead_letter", dead_letter_rows(self._stream, letters))

    def _topic_of(self, device: str) -> str:
        registry = self._state.registry
        known = registry.devices.get(device)
        return str(Topic(registry.region_of(known), known.unit, device, TELEMETRY)) if known else ""


def _edge_times(rows: Rows, counters: Sequence[int], devices: int, *, last: bool) -> IntArray:
    """Time of the last (or first) of `rows` that holds each of `holding`, by device index."""
    there = holding(rows.values, counters)
    times = np.full((len(there), devices), _NEVER if last else _ALWAYS)
    column, at = np.nonzero(there)
    (np.maximum if last else np.minimum).at(times, (column, rows.device[at]), rows.t[at])
    return times


def _joined(flags: str | None, flag: str) -> str:
    return flag if not flags else f"{flags};{flag}"


def poison(record: Record, error: ValueError) -> dict[str, Any]:
    """A record, or what is in it, that cannot be read, as `Arriving.refused` takes it."""
    return {
        "topic": "", "device": "", "boot": None, "seq": None, "reason": "frame",
        "detail": str(error), "payload": record.frame, "retained": False,
    }  # fmt: skip
