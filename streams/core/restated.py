"""What was asked of the store again: its answers read, and the windows over them computed again."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.restate import RestateAnswer, RestateRequest, Span
from streams.core.buffer import BUCKET_MS, ClassBuffer
from streams.core.containing import Failures
from streams.core.intake import flags_of, numeric_rows
from streams.core.operator import WindowOperator
from streams.core.restating import GAP, LATE, Why
from streams.core.row_engine import NetworkComputed, RowEngine
from streams.core.samples import ClassSamples
from streams.core.stream_site import StreamSite
from streams.core.window_state import NONE, STATUS_NAMES, WindowState
from streams.core.windows import Computed, say_window, window_samples

__all__ = ["answer_buffers", "computed_again", "networks_again", "said_rows", "why_of"]

IntArray = NDArray[np.int64]


def answer_buffers(answer: RestateAnswer, index: Mapping[str, int], known: int) -> dict[str, ClassBuffer]:
    """Samples of an answer, by device class."""
    buffers: dict[str, ClassBuffer] = {}
    for name, batch in answer.samples.items():
        buffer = buffers[name] = ClassBuffer(name)
        device = np.array([index[d] for d in batch.column("device").to_pylist()], dtype=np.int64)
        clean, _ = flags_of(numeric_rows(batch, name, device), buffer.columns, None)
        buffer.add(clean, known)
    return buffers


def computed_again(
    answer: RestateAnswer,
    operators: Sequence[WindowOperator],
    index: Mapping[str, int],
    site: StreamSite,
    at_hand: MutableMapping[tuple[str, int], WindowState],
    forgotten_ms: int,
    failures: Failures,
) -> list[Computed]:
    """Compute the windows of an answer and give the rows that differ from what was said.

    Parameters
    ----------
    answer : RestateAnswer
    operators : sequence of WindowOperator
    index : mapping of str to int
        Device index by id, of every device in `answer`.
    site : StreamSite
    at_hand : mutable mapping
        Rows that are at hand still, brought up to date here; of others the answer says what was said.
    forgotten_ms : int
        Rows of windows that end later belong at hand, for those who read them: also those that nobody
        computed, since the stream began after them. [ms UTC]
    failures : Failures
        Takes note of what cannot be computed.
    """
    known = len(site.ids)
    buffers = answer_buffers(answer, index, known)
    computed: list[Computed] = []
    made: dict[tuple[int, int], dict[str, ClassSamples]] = {}  # of a window, for all operators alike
    for operator in operators:
        every_ms = 1000 * operator.every_s
        wanted: dict[int, list[int]] = {}
        for span in answer.windows:
            if span.device_class in operator.reads:
                for start in range(span.from_ms // every_ms * every_ms, span.to_ms, every_ms):
                    wanted.setdefault(start, []).append(index[span.device])
        said = said_rows(answer.said.get(operator.name), operator.fields, index)
        for start in sorted(wanted):
            mask = np.zeros(known, dtype=bool)
            mask[wanted[start]] = True
            classes = made.setdefault((start, every_ms), {})
            then = site.over(start + every_ms)
            samples = window_samples(operator, start, then, buffers, mask & then.owned, classes)
            if not len(samples.devices):
                continue
            state = at_hand.get((operator.name, start))
            of_store = said.get(start, WindowState(len(operator.fields)))
            joined = np.empty(0, np.int64)
            if state is None:
                state = of_store
                if start + every_ms > forgotten_ms:
                    at_hand[operator.name, start] = state
            else:
                joined = _join(state, of_store, samples.devices)
            closed = np.ones(len(samples.devices), dtype=bool)
            mine = np.isin(samples.devices, joined)
            rows = say_window(operator, samples, then, state, closed, failures, joined=mine)
            if len(rows.device):
                computed.append((operator, start, rows))
    return computed


def _join(at_hand: WindowState, of_store: WindowState, devices: IntArray) -> IntArray:
    """Take over what another stream said of those of `devices` of which this one said nothing; which."""
    joined = devices[(at_hand.status_of(devices) == NONE) & (of_store.status_of(devices) != NONE)]
    if len(joined):
        at_hand.take_over(of_store, joined)
    return np.asarray(joined, dtype=np.int64)


def networks_again(
    parts: Sequence[RestateAnswer],
    request: RestateRequest,
    rows: RowEngine,
    index: Mapping[str, int],
    now_ms: int,
    site: StreamSite,
    forgotten_ms: int,
) -> list[NetworkComputed]:
    """Compute the windows of networks again whose sources the parts of an answer hold.

    Those whose sources are at hand, after `forgotten_ms`, were computed when these changed.
    """
    said = {
        source.measurement: [p.said[source.measurement] for p in parts if source.measurement in p.said]
        for source in request.sources
    }
    tables = {name: pa.concat_tables(t, promote_options="default") for name, t in said.items() if t}
    changed = {
        source.measurement: {
            (span.network, step)
            for span in request.networks
            for step in range(span.from_ms, span.to_ms, BUCKET_MS)
        }
        for source in request.sources
    }
    until_ms = max(span.rows_to_ms for span in request.networks)

    def wanted(_start_ms: int, end_ms: int, reads_from_ms: int) -> bool:
        return reads_from_ms < forgotten_ms and end_ms <= until_ms

    return rows.again(changed, tables, index, now_ms, site, said_rows, wanted)


def why_of(answer: RestateAnswer) -> Why:
    """Why each window of `answer` is restated."""
    gaps: dict[str, list[Span]] = {}
    for span in answer.windows:
        if span.why == GAP:
            gaps.setdefault(span.device, []).append(span)

    def why(device: str, start_ms: int, end_ms: int) -> str:
        ended = any(s.from_ms < end_ms and start_ms < s.to_ms for s in gaps.get(device, ()))
        return GAP if ended else LATE

    return why


def said_rows(
    table: pa.Table | None, fields: Sequence[str], index: Mapping[str, int]
) -> dict[int, WindowState]:
    """What the store has of an operator's rows, by window start; `index` has the subject of each key."""
    if table is None or not table.num_rows:
        return {}
    table = table.filter(pa.array([k in index for k in table.column("key").to_pylist()], pa.bool_()))
    start = table.column("window_start").to_numpy()
    device = np.array([index[k] for k in table.column("key").to_pylist()], dtype=np.int64)
    status = np.array([STATUS_NAMES.index(s) for s in table.column("status").to_pylist()], dtype=np.int64)
    reason = np.array([r or "" for r in table.column("reason").to_pylist()], dtype=object)
    revision = table.column("revision").to_numpy().astype(np.int64)
    coverage = _floats(table, "coverage")
    values = np.array([_floats(table, f) for f in fields]).reshape(len(fields), len(start))
    states: dict[int, WindowState] = {}
    for at in np.unique(start):
        rows = start == at
        state = states[int(at)] = WindowState(len(fields))
        state.remember(
            device[rows], values[:, rows], coverage[rows], status[rows], reason[rows], revision[rows]
        )
    return states


def _floats(table: pa.Table, name: str) -> NDArray[np.float64]:
    if name not in table.column_names:
        return np.full(table.num_rows, np.nan)
    column = table.column(name).cast(pa.float64())
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)
