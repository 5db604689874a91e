"""The pipeline of one stream: records in, results out, by nothing but the records."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.frame import (
    DELIVERIES,
    LETTER_ALLOWED,
    LETTER_RETRIED,
    SEQ_REUSED,
    Frame,
    FrameError,
    FrameKind,
    Record,
)
from models.measurements import EVENT_CLASSES
from models.restate import RESTATEMENT, RestateAnswer, RestateRequest
from models.results import Outputs
from models.site import Site
from models.wire import BIRTH, STATE, TELEMETRY, Birth, State, Topic
from streams.core.accepted import Accepted
from streams.core.buffer import BUCKET_MS, ClassBuffer
from streams.core.checkpoint import Checkpoint
from streams.core.deliveries import RETAKEN_BOOT, Arrival
from streams.core.intake import (
    Messages,
    flags_of,
    judge_messages,
    judge_repeats,
    numeric_rows,
    sample_json,
    split_messages,
)
from streams.core.ledger_book import NOTHING_GIVEN, day_bounds_ms
from streams.core.network_events import OFFICE
from streams.core.operator import (
    Learner,
    LedgerOperator,
    NetworkOperator,
    Operator,
    SampleOperator,
    WindowOperator,
    discovered,
)
from streams.core.restating import LATE, SOURCE, Why, computed_again, networks_again, why_of
from streams.core.row_engine import Changed, NetworkComputed
from streams.core.rows import Rows
from streams.core.stream_site import StreamSite
from streams.core.stream_state import StreamState
from streams.core.tables import (
    dead_letter_rows,
    ledger_rows,
    lost_readings,
    network_table,
    restated_rows,
    window_table,
)
from streams.core.windows import Computed

__all__ = ["PROVISIONAL_EVERY_MS", "Pipeline", "PipelineError"]

PROVISIONAL_EVERY_MS = 10_000
_NEVER, _ALWAYS = np.iinfo(np.int64).min, np.iinfo(np.int64).max
_ALTERED = frozenset({"schema", "too_large"})
"""Reasons for which a stored message cannot be refused when it comes again: it is another with its number."""
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
        self._every_ms = provisional_every_ms
        self._moving_to_ms = 0
        self._samplers = [o for o in self.operators if isinstance(o, SampleOperator)]
        self._ledgers = [o for o in self.operators if isinstance(o, LedgerOperator)]
        windows = [o for o in self.operators if isinstance(o, WindowOperator)]
        networks = [o for o in self.operators if isinstance(o, NetworkOperator)]
        learners = [o for o in self.operators if isinstance(o, Learner)]
        provisional = provisional_every_ms is not None
        self._state = StreamState(stream, windows, networks, learners, provisional=provisional)

    @property
    def offset(self) -> int:
        """Of the last record stepped, -1 at the start."""
        return self._state.offset

    @property
    def now_ms(self) -> int | None:
        """The stream's now: the largest record timestamp so far. [ms UTC]"""
        return self._state.now_ms

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
        self._moving_to_ms = now_ms
        self._turn_day(now_ms, outputs)
        try:
            self._take(Frame.decode(record.frame), record, outputs)
        except FrameError as error:
            self._refused(outputs, record, [_poison(record, error)])
        self._state.offset, self._state.now_ms = record.offset, now_ms
        self._close(now_ms, outputs)
        self._state.forget_segments()
        if self._every_ms is not None and (
            self._state.refreshed_ms is None or now_ms - self._state.refreshed_ms >= self._every_ms
        ):
            self._state.refreshed_ms = now_ms
            self._add_windows(
                outputs, self._state.engine.refresh(now_ms, self._state.site, self._state.buffers)
            )
            self._add_ledger(outputs, *self._state.book.changed(self._state.day_ms or 0), final=False)
            self.ask()
        return outputs

    # -- restatement ----------------------------------------------------------------

    @property
    def request(self) -> RestateRequest | None:
        """What the stream waits for of the store, to be answered by `RestateAnswer` frames in its journal."""
        return self._state.restatements.request

    def ask(self) -> RestateRequest | None:
        """Ask for what changed in windows that are no longer open; None while an answer is under way.

        `step` does so whenever it rewrites provisional rows. A pipeline without
        those is asked to, once no record is to come.
        """
        state = self._state
        return state.restatements.ask(
            self.stream,
            self.offset,
            state.kept_from_ms(),
            state.engine.operators,
            state.rows,
            state.site,
            state.buffers,
        )

    def _take_restatement(self, frame: Frame, record: Record, outputs: Outputs) -> None:
        answer = RestateAnswer.decode(frame)
        state, now_ms = self._state, self.now_ms or 0
        request = state.restatements.request
        if request is not None and request.networks:
            parts = state.restatements.gathered(answer)
            if parts is not None:
                forgotten_ms = state.engine.forgotten_ms
                again = networks_again(
                    parts, request, state.rows, state.index, now_ms, state.site, forgotten_ms
                )
                self._add_networks(outputs, again)
        if not state.restatements.answered(answer):
            return  # of a request that was answered before, or asked again
        computed = computed_again(
            answer, state.engine.operators, state.index, state.site, state.engine.states
        )
        self._add_windows(outputs, computed, why=why_of(answer))
        for operator, start_ms, rows in computed:
            self._ask_for_networks(operator, start_ms, rows.device)
        if answer.last and self._every_ms is not None:
            state.offset = record.offset
            self.ask()

    def _ask_for_networks(self, operator: WindowOperator, start_ms: int, devices: IntArray) -> None:
        """Note what rests on rows that changed but are not at hand any more."""
        rows, engine = self._state.rows, self._state.engine
        if not rows.networks:
            return
        for name, step_ms in rows.changed(operator, start_ms, devices, self._state.site)[operator.name]:
            if rows.reach(name, step_ms, step_ms + 1, self._state.site)[0] < engine.forgotten_ms:
                self._state.restatements.network(name, step_ms)

    def settled_ms(self) -> int | None:
        """When all windows that hold samples will be final, if nothing more comes. [ms UTC]"""
        return self._state.engine.settled_ms(self._state.site, self._state.buffers)

    def report(self) -> Outputs:
        """What can be said right now, without waiting for the next rewrite: for a clean stop."""
        outputs = Outputs(self.stream, self.offset)
        if self.now_ms is not None and self._every_ms is not None:
            self._add_windows(
                outputs, self._state.engine.refresh(self.now_ms, self._state.site, self._state.buffers)
            )
            self._add_ledger(outputs, *self._state.book.changed(self._state.day_ms or 0), final=False)
        return outputs

    def finish(self) -> Outputs:
        """What is left to say when no record will ever come again: the open day of the ledger."""
        outputs = Outputs(self.stream, self.offset)
        if self._state.day_ms is not None:
            self._add_ledger(outputs, *self._state.book.all(), final=True)
        return outputs

    def _take(self, frame: Frame, record: Record, outputs: Outputs) -> None:
        if frame.kind is FrameKind.TELEMETRY:
            self._take_telemetry(frame, record, outputs)
        elif frame.kind is FrameKind.EVENT:
            self._take_events(frame)
        elif frame.kind is FrameKind.REFUSAL:
            self._refused(outputs, record, frame.batch.to_pylist())
        elif frame.kind is FrameKind.REGISTRY:
            self._register(json.loads(frame.batch.column("payload")[0].as_py()), record, outputs)
            if self._state.day_ms is not None:
                days = day_bounds_ms(record.timestamp_ms, self._state.registry.timezone)
                self._state.day_ms, self._state.day_end_ms = days
        elif frame.kind is FrameKind.RESTATE:
            self._take_restatement(frame, record, outputs)
        elif frame.kind is FrameKind.ACTION:
            self._take_actions(frame, outputs)

    def _take_actions(self, frame: Frame, outputs: Outputs) -> None:
        book = self._state.book
        for row in frame.batch.to_pylist():
            about = json.loads(row["payload"])
            if row["kind"] == LETTER_RETRIED:
                outputs.add("dead_letter", dead_letter_rows(self.stream, [about]))
            elif row["kind"] == LETTER_ALLOWED:
                deliveries = book.of(self._state.intern(row["device"]))
                deliveries.allow(about["boot"], about["seq"], about["oldest_t"])
            elif row["kind"] == DELIVERIES:
                book.take_over(
                    self._state.intern(row["device"]), about["given"], about["stream"], about["offset"]
                )
        self._state.settle_site()

    def _register(self, texts: dict[str, str], record: Record, outputs: Outputs) -> None:
        """Take a version of the registry; devices that leave have their last rows by the one before."""
        before, registered = self._state.site, self._state.registry
        leaving = self._state.register(texts)
        if leaving.any():
            last = self._state.engine.settle(record.timestamp_ms, leaving, before, self._state.buffers)
            self._add_windows(outputs, last, before)
            before.owned &= leaving & ~self._state.site.owned[: len(leaving)]
            self._add_ledger(outputs, *self._state.book.all(), final=True, site=before)
        self._part_with(registered, record, outputs)
        for name, device in self._state.registry.devices.items():
            then = registered.devices.get(name)
            if then is not None and then.stream != self.stream and device.stream == self.stream:
                self._state.book.awaited.add(self._state.intern(name))
        self._state.settle_site()

    def _part_with(self, registered: Site, record: Record, outputs: Outputs) -> None:
        """Give what is known of the messages of devices that moved to the streams that they moved to."""
        for name, device in self._state.registry.devices.items():
            if device.stream == self.stream:
                continue
            then = registered.devices.get(name)
            given = self._state.book.give_away(self._state.index.get(name, -1))
            if given is not None or (then is not None and then.stream == self.stream):
                about = {"given": given or NOTHING_GIVEN, "stream": self.stream, "offset": record.offset}
                row = {"device": name, "kind": DELIVERIES, "payload": json.dumps(about)}
                outputs.forwards.append((device.stream, Frame.events([row], FrameKind.ACTION).encode()))

    def _take_telemetry(self, frame: Frame, record: Record, outputs: Outputs) -> None:
        batch, device_class = frame.batch, frame.device_class
        if batch.num_rows == 0:
            return
        device = self._state.devices(batch.column("device"))
        messages = split_messages(batch, device)
        verdicts = judge_messages(messages, self._state.book.of)
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
            names["seq"][rows] = self._state.book.of(int(messages.device[m])).retake()
        for name, values in names.items():
            at = batch.schema.get_field_index(name)
            batch = batch.set_column(at, batch.schema.field(at), pa.array(values, pa.int64()))
        return batch

    def _add_samples(
        self, batch: pa.RecordBatch, device_class: str, device: IntArray, record: Record, outputs: Outputs
    ) -> None:
        buffer = self._state.buffer(device_class)
        extra = batch.column("extra") if "extra" in batch.schema.names else None
        received = numeric_rows(batch, device_class, device, record.offset)
        rows, flags = flags_of(received, buffer.columns, extra)
        n, known = rows.n, self._state.known
        stands, replaces = np.ones(n, bool), np.zeros(n, bool)
        # Of events, which have names of their own, only the store knows all that came before.
        late = np.full(n, device_class in EVENT_CLASSES)
        lost: list[Rows] = []
        if device_class not in EVENT_CLASSES:
            kept_from = self._state.kept_from_ms()
            standing = judge_repeats(rows, buffer, kept_from, known)
            stands, replaces, late, lost = standing.stands, standing.replaces, standing.late, standing.lost
            for repeated, count in standing.count.items():
                self._state.book.of(repeated).repeat += count
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
                self._take_network_events(batch, outputs)
        if self._state.book.awaited:  # what the stream before has stored of them is not known here yet
            late = late | np.isin(device, list(self._state.book.awaited))
        quality = np.full(n, None, dtype=object)
        for position, text in flags.items():
            quality[position] = text
        accepted = Accepted(
            batch, device_class, self.stream, record.offset, record.timestamp_ms,
            pa.array(self._state.site.units[device], pa.string()),
            pa.array(self._state.site.regions[device], pa.string()),
            pa.array(quality, pa.string()), replaces, late,
        )  # fmt: skip
        for operator in self._samplers:
            table = operator.function(accepted)
            outputs.readings.append(table if stands.all() else table.filter(pa.array(stands)))
            if not stands.all():
                outputs.repeats.append(table.filter(pa.array(~stands)))
        outputs.repeats.extend(
            lost_readings(r, device_class, buffer.columns, self._state.site, self.stream, record.offset)
            for r in lost
        )

    def _take_network_events(self, batch: pa.RecordBatch, outputs: Outputs) -> None:
        """Take in what people did to networks, and compute again what rests on it."""
        state = self._state
        steps = {(name, t // BUCKET_MS * BUCKET_MS) for name, t in state.rows.events.take(batch)}
        steps = {(name, step) for name, step in steps if name in state.registry.networks}
        if not steps or not state.rows.networks:
            return
        self._add_networks(outputs, self._follow({OFFICE: steps}, state.site))
        for name, step_ms in steps:
            if state.rows.reach(name, step_ms, step_ms + 1, state.site)[0] < state.engine.forgotten_ms:
                state.restatements.network(name, step_ms)

    def _buffer(
        self, buffer: ClassBuffer, rows: Rows, stands: NDArray[np.bool_], late: NDArray[np.bool_], known: int
    ) -> None:
        """Keep samples for the windows that are still at hand; older ones only stand as neighbours."""
        if late.any():
            older = rows.take(stands & late)
            buffer.stand_before(older, known)
            self._state.restatements.late(older.device, older.t)
        fresh = rows.take(stands & ~late) if late.any() or not stands.all() else rows
        if fresh.n == 0:
            return
        oldest = int(fresh.t.min())
        from_ms = min(oldest, self._spoke_before(buffer, fresh, known))
        buffer.add(fresh, known)
        self._state.engine.touch(from_ms // BUCKET_MS * BUCKET_MS, oldest // BUCKET_MS * BUCKET_MS)

    def _spoke_before(self, buffer: ClassBuffer, fresh: Rows, known: int) -> int:
        """Since when nothing was known of what `fresh` samples now tell. [ms UTC]

        Where that is before the windows at hand, those between were settled
        without a sample after them, and are to be restated.
        """
        newest = buffer.newest_by(known)[:, fresh.device]
        before = np.where(~np.isnan(fresh.values) & (newest > _NEVER), newest, _ALWAYS).min(
            axis=0, initial=_ALWAYS
        )
        oldest = int(before.min(initial=_ALWAYS))
        kept_from = self._state.kept_from_ms()
        if oldest >= kept_from:
            return oldest
        returned = before < kept_from
        for device in np.unique(fresh.device[returned]):
            since = int(before[returned & (fresh.device == device)].min())
            self._state.restatements.gap(int(device), since // BUCKET_MS * BUCKET_MS, kept_from)
        return max(oldest, kept_from)

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
        self._refused(outputs, record, letters, counted=False)

    def _take_events(self, frame: Frame) -> None:
        for row in frame.batch.to_pylist():
            device = row["device"]
            if row["kind"] == STATE:
                state = State.model_validate_json(row["payload"])
                self._state.book.of(self._state.intern(device)).report(
                    state.boot, state.at, state.next_seq, state.waiting, state.thinned, self.now_ms
                )
                self._state.engine.wait_for(self._state.intern(device), state.waiting_from)
            elif row["kind"] == BIRTH:
                birth = Birth.model_validate_json(row["payload"])
                self._state.book.of(self._state.intern(device)).boot(birth.boot)
                self._state.born(device, birth.interval_s)
        self._state.settle_site()

    def _refused(
        self, outputs: Outputs, record: Record, rows: list[dict[str, Any]], *, counted: bool = True
    ) -> None:
        """Turn refusals into dead letters, and into the ledger where their number is known."""
        letters = []
        for at, row in enumerate(rows):
            device = self._state.registry.devices.get(row["device"])
            if counted and device is not None and row["boot"] and row["seq"] and device.stream == self.stream:
                deliveries = self._state.book.of(self._state.intern(row["device"]))
                if not deliveries.refuse(row["boot"], row["seq"], altered=row["reason"] in _ALTERED):
                    continue
            letters.append({
                **row,
                "id": f"{self.stream}:{record.offset}:{at}" + ("" if counted else "s"),
                "at": record.timestamp_ms,
                "unit": device.unit if device else "",
                "region": self._state.registry.region_of(device) if device else "",
                "state": "open",
            })  # fmt: skip
        self._state.settle_site()
        if letters:
            outputs.add("dead_letter", dead_letter_rows(self.stream, letters))

    def _topic_of(self, device: str) -> str:
        registry = self._state.registry
        known = registry.devices.get(device)
        return str(Topic(registry.region_of(known), known.unit, device, TELEMETRY)) if known else ""

    # -- results out -------------------------------------------------------------------

    def _add_windows(
        self,
        outputs: Outputs,
        computed: list[Computed],
        site: StreamSite | None = None,
        why: Why = lambda _device, _start_ms, _end_ms: LATE,
    ) -> None:
        site = self._state.site if site is None else site
        for operator, start_ms, rows in computed:
            table = window_table(operator, start_ms, rows, site, self.stream)
            outputs.add(operator.name, table)
            if rows.restated.any():
                outputs.add(RESTATEMENT, restated_rows(operator, table, rows, self.now_ms or 0, why))

        if not self._state.rows.idle and computed:
            self._add_networks(outputs, self._follow(self._changed(computed, site), site))

    def _changed(self, computed: list[Computed], site: StreamSite) -> Changed:
        """Steps of networks in which rows changed, by measurement."""
        changed: Changed = {}
        for operator, start_ms, rows in computed:
            for name, steps in self._state.rows.changed(operator, start_ms, rows.device, site).items():
                changed.setdefault(name, set()).update(steps)
        return changed

    def _follow(self, changed: Changed, site: StreamSite) -> list[NetworkComputed]:
        """What rests on rows that changed, where its sources are at hand."""
        state = self._state
        forgotten_ms = state.engine.forgotten_ms
        return state.rows.follow(
            changed,
            self._moving_to_ms,
            site,
            state.engine.states,
            lambda _start, _end, reads_from: reads_from >= forgotten_ms,
        )

    def _add_networks(self, outputs: Outputs, computed: list[NetworkComputed]) -> None:
        for each in computed:
            table = network_table(each, self._state.site, self.stream)
            outputs.add(each.operator.name, table)
            if each.rows.restated.any():
                now_ms = self.now_ms or 0
                listed = restated_rows(each.operator, table, each.rows, now_ms, lambda *_: SOURCE)
                outputs.add(RESTATEMENT, listed)

    def _close(self, now_ms: int, outputs: Outputs) -> None:
        """Settle what ended, with what rests on it, in order of end."""
        state = self._state

        def ended(computed: list[Computed], settled_ms: int) -> None:
            self._add_windows(outputs, computed)
            self._learn(settled_ms, outputs)

        state.engine.close(now_ms, state.site, state.buffers, ended)
        if state.engine.begin_ms is not None:
            self._learn(state.kept_from_ms(), outputs)

    def _learn(self, settled_ms: int, outputs: Outputs) -> None:
        rows, engine = self._state.rows, self._state.engine
        if rows.idle or engine.begin_ms is None:
            return
        for name, table in rows.settle(settled_ms, engine.begin_ms, self._state.site, engine.states):
            outputs.add(name, table)
        rows.drop_before(settled_ms, self._state.site)

    def _add_ledger(
        self,
        outputs: Outputs,
        devices: Sequence[int],
        counts: Sequence[Any],
        *,
        final: bool,
        site: StreamSite | None = None,
    ) -> None:
        site = self._state.site if site is None else site
        mine = [at for at, device in enumerate(devices) if site.owned[device]]
        if not mine or self._state.day_ms is None:
            return
        devices = [devices[at] for at in mine]
        for operator in self._ledgers:
            fields = operator.function([counts[at] for at in mine])
            table = ledger_rows(
                fields,
                devices,
                self._state.day_ms,
                self._state.day_end_ms,
                site,
                self.stream,
                final=final,
            )
            outputs.add(operator.name, table)

    def _turn_day(self, now_ms: int, outputs: Outputs) -> None:
        """Settle the ledger of a local day when a later one begins.

        Under the data clock a stream is at 0 until it has a sample: that is no day.
        """
        if now_ms <= 0:
            return
        if self._state.day_ms is not None and now_ms < self._state.day_end_ms:
            return
        if self._state.day_ms is not None:
            self._add_ledger(outputs, *self._state.book.all(), final=True)
        self._state.book.touched.update(self._state.book.deliveries)
        self._state.day_ms, self._state.day_end_ms = day_bounds_ms(now_ms, self._state.registry.timezone)

    # -- checkpoints ----------------------------------------------------------------------

    def checkpoint(self) -> Checkpoint:
        """The whole state after the last record."""
        return self._state.checkpoint()

    @classmethod
    def restore(
        cls,
        checkpoint: Checkpoint,
        operators: Sequence[Operator] | None = None,
        *,
        provisional_every_ms: int | None = PROVISIONAL_EVERY_MS,
    ) -> Pipeline:
        """Continue where `checkpoint` was taken.

        Raises
        ------
        streams.core.checkpoint.CheckpointError
            A part is missing or of another version.
        """
        self = cls(checkpoint.stream, operators, provisional_every_ms=provisional_every_ms)
        self._state.load(checkpoint)
        return self


def _joined(flags: str | None, flag: str) -> str:
    return flag if not flags else f"{flags};{flag}"


def _poison(record: Record, error: FrameError) -> dict[str, Any]:
    return {
        "topic": "", "device": "", "boot": None, "seq": None, "reason": "frame",
        "detail": str(error), "payload": record.frame, "retained": False,
    }  # fmt: skip
