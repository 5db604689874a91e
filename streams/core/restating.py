"""What has changed in windows that are no longer open: noted, asked for, and computed again."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, MutableMapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.restate import NetworkSpan, RestateAnswer, RestateRequest, ResultKind, Span, above_zero
from streams.core.buffer import BUCKET_MS, ClassBuffer
from streams.core.containing import Failures
from streams.core.intake import flags_of, numeric_rows
from streams.core.intervals import IntervalSet
from streams.core.operator import WindowOperator
from streams.core.row_engine import NetworkComputed, RowEngine
from streams.core.rows import holding
from streams.core.samples import ClassSamples
from streams.core.stream_site import StreamSite
from streams.core.window_state import NONE, STATUS_NAMES, WindowState
from streams.core.windows import Computed, say_window, window_samples

__all__ = [
    "GAP",
    "LATE",
    "SOURCE",
    "Restatements",
    "Why",
    "answer_buffers",
    "computed_again",
    "networks_again",
    "said_rows",
    "why_of",
]

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

LATE, GAP, SOURCE = "late", "gap", "source"
"""Why rows are restated: samples came later than the lateness; a gap ended that was
longer than it; a row that they rest on was restated."""
Why = Callable[[str, int, int], str]
"""Why a device's window, [start, end) in ms UTC, was computed again."""
_MOST_BUCKETS = 500
"""Of all devices of one request together, so that live data does not wait for a long backlog."""
_LONGEST_BUCKETS = 96
_NEVER = np.iinfo(np.int64).min


class Restatements:
    """Buckets of samples by device that changed too late, and the one request that is under way.

    Attributes
    ----------
    request : RestateRequest or None
        Not answered in full yet.
    """

    def __init__(self) -> None:
        self.request: RestateRequest | None = None
        self._pending: dict[str, dict[int, IntervalSet]] = {LATE: {}, GAP: {}}
        self._aside: dict[int, list[tuple[str, int, int]]] = {}
        self._networks: dict[str, IntervalSet] = {}
        self._parts: dict[int, RestateAnswer] = {}

    @property
    def waiting(self) -> bool:
        """Whether there is something to ask for."""
        return any(self._pending.values()) or bool(self._networks)

    @property
    def quarters(self) -> int:
        """How many quarters of an hour of devices and networks wait, those that were asked for among them."""
        waiting = [b for devices in self._pending.values() for b in devices.values()]
        waits = sum(map(len, [*waiting, *self._networks.values()]))
        if self.request is not None:
            asked = [(s.from_ms, s.to_ms) for s in self.request.spans]
            asked += [(n.from_ms, n.to_ms) for n in self.request.networks]
            waits += sum((to_ms - from_ms) // BUCKET_MS for from_ms, to_ms in asked)
        return waits

    @property
    def asked(self) -> frozenset[str]:
        """Devices of the request under way, whose answer may not know of what came since it was asked."""
        return frozenset() if self.request is None else frozenset(s.device for s in self.request.spans)

    def late(self, device: IntArray, t_ms: IntArray) -> None:
        """Note samples that came after their windows were settled."""
        pairs = np.unique(np.stack([device, t_ms // BUCKET_MS]), axis=1)
        for d, bucket in pairs.T.tolist():
            self._pending[LATE].setdefault(d, IntervalSet()).add(bucket, bucket)

    def gap(self, device: int, from_ms: int, to_ms: int) -> None:
        """Note that a device spoke again: windows of [from, to) were settled without what came after them."""
        if from_ms < to_ms:
            last = (to_ms - 1) // BUCKET_MS
            self._pending[GAP].setdefault(device, IntervalSet()).add(from_ms // BUCKET_MS, last)

    def network(self, network: str, step_ms: int) -> None:
        """Note that rows changed that a network's rows rest on, whose sources are not at hand any more."""
        self._networks.setdefault(network, IntervalSet()).add(step_ms // BUCKET_MS, step_ms // BUCKET_MS)

    def give_away(self, device: int, name: str) -> list[tuple[str, int, int]]:
        """Forget a device that belongs to another stream now; what waits of it, for `take_over`.

        What is asked for is among it: the answer will find the device gone.
        """
        waits = self._aside.pop(device, [])
        waits += [
            (why, first * BUCKET_MS, (last + 1) * BUCKET_MS)
            for why, devices in self._pending.items()
            for first, last in devices.pop(device, ())
        ]
        if self.request is not None:
            waits += [(s.why, s.from_ms, s.to_ms) for s in self.request.spans if s.device == name]
        return waits

    def set_aside(self, device: int, name: str) -> None:
        """Keep what waits of a device that no stream has any more until `bring_back` or `give_away`."""
        waits = self.give_away(device, name)
        if waits:
            self._aside[device] = waits

    def bring_back(self, owned: BoolArray) -> None:
        """Have what was set aside wait again, of devices that are `owned`, by index, once more."""
        for device in [d for d in self._aside if owned[d]]:
            self.take_over(device, self._aside.pop(device))

    def take_over(self, device: int, waits: Sequence[tuple[str, int, int]]) -> None:
        """Note what another stream gave away of a device."""
        for why, from_ms, to_ms in waits:
            buckets = self._pending[why].setdefault(device, IntervalSet())
            buckets.add(from_ms // BUCKET_MS, (to_ms - 1) // BUCKET_MS)

    def ask(
        self,
        stream: str,
        offset: int,
        before_ms: int,
        operators: Sequence[WindowOperator],
        rows: RowEngine,
        site: StreamSite,
        buffers: Mapping[str, ClassBuffer],
        also_read: frozenset[str] = frozenset(),
        is_whole: Callable[[int], bool] = lambda _device: True,
    ) -> RestateRequest | None:
        """Put what waits, the oldest first, into a request, unless one is under way.

        `also_read` are classes whose samples matter besides those that operators read: for marks. `is_whole`
        says whether all that ever came of a device came here: what another had before is not known. Networks
        follow when no device waits any more: what their rows rest on is true by then.
        """
        if self.request is not None:
            return None
        self._parts = {}
        # A device that is of another class now may be the first of it: then there is nothing to look for.
        of_windows = {name for o in operators for name in o.reads}
        read = also_read.union(of_windows) & buffers.keys()
        for devices in self._pending.values():
            for d in [d for d in devices if not site.owned[d] or site.classes[d] not in read]:
                del devices[d]
        chosen = self._take(before_ms // BUCKET_MS)
        if not chosen:
            spans = self._take_networks(before_ms, rows, site)
            if spans:
                name = f"{stream}:{offset}"
                self.request = RestateRequest(name, stream, offset, before_ms, (), (), spans, rows.sources())
            return self.request
        has = {
            name: _columns_had(buffers[name], len(site.ids))
            for name in {str(site.classes[d]) for d, *_ in chosen}
        }
        asked = []
        for d, first, last, why in chosen:
            name = str(site.classes[d])
            had = has[name][:, d] | (not is_whole(d))
            buffer = buffers[name]
            sought = (*buffer.columns, *(above_zero(buffer.columns[c]) for c in buffer.counters))
            columns = tuple(c for c, there in zip(sought, had, strict=True) if there)
            from_ms, to_ms = first * BUCKET_MS, (last + 1) * BUCKET_MS
            asked.append(Span(site.ids[d], name, from_ms, to_ms, columns, why, name not in of_windows))
        results = tuple(ResultKind(o.name, 1000 * o.every_s, o.reads) for o in operators)
        self.request = RestateRequest(f"{stream}:{offset}", stream, offset, before_ms, tuple(asked), results)
        return self.request

    def _take(self, before: int) -> list[tuple[int, int, int, str]]:
        """The oldest pending buckets: (device, first, last, why), taken off what is pending.

        Those from bucket `before` on are still open: they wait until they are not.
        """
        every = [
            (first, last, d, why)
            for why, devices in self._pending.items()
            for d, buckets in devices.items()
            for first, last in buckets
        ]
        if not every:
            return []
        every.sort()
        horizon = min(every[0][0] + _LONGEST_BUCKETS, before)
        taken: list[tuple[int, int, int, str]] = []
        room = _MOST_BUCKETS
        left: dict[str, dict[int, IntervalSet]] = {LATE: {}, GAP: {}}
        for first, last, d, why in every:
            until = min(last, horizon - 1, first + room - 1)
            if first <= until:
                taken.append((d, first, until, why))
                room -= until - first + 1
            if until < last:
                left[why].setdefault(d, IntervalSet()).add(max(first, until + 1), last)
        self._pending = left
        return taken

    def _take_networks(self, before_ms: int, rows: RowEngine, site: StreamSite) -> tuple[NetworkSpan, ...]:
        """The oldest steps of a network that wait, with what is needed to compute its windows again."""
        for name in [n for n in self._networks if n not in site.site.networks]:
            del self._networks[name]
        if not self._networks:
            return ()
        name = min(self._networks, key=lambda n: next(iter(self._networks[n]))[0])
        first, last = next(iter(self._networks[name]))
        until = min(last, first + _LONGEST_BUCKETS - 1)
        left = self._networks.pop(name).minus(IntervalSet([(first, until)]))
        if len(left):
            self._networks[name] = left
        mine = np.flatnonzero(site.owned & (site.networks == name))
        mine = np.union1d(mine, site.stations(site.site.networks[name]))
        devices = tuple(site.ids[d] for d in mine.tolist())
        from_ms, to_ms = first * BUCKET_MS, (until + 1) * BUCKET_MS
        low, high = rows.reach(name, from_ms, to_ms, site)
        return (NetworkSpan(name, devices, from_ms, to_ms, low, min(high, max(before_ms, to_ms))),)

    def gathered(self, answer: RestateAnswer) -> list[RestateAnswer] | None:
        """All parts of an answer about networks once its last is here; None before.

        Where a part is missing, since it was stepped before a crash, what was asked is asked again.
        """
        if self.request is None or answer.request != self.request.name:
            return None
        self._parts[answer.part] = answer
        if not answer.last:
            return None
        parts = [self._parts[at] for at in sorted(self._parts)]
        self._parts = {}
        if len(parts) != answer.part + 1:
            for span in self.request.networks:
                for step_ms in range(span.from_ms, span.to_ms, BUCKET_MS):
                    self.network(span.network, step_ms)
            self.request = None
            return None
        return parts

    def answered(self, answer: RestateAnswer) -> bool:
        """Whether `answer` is to the request under way; its last part ends the request."""
        if self.request is None or answer.request != self.request.name:
            return False
        if answer.last:
            self.request = None
        return True

    def to_bytes(self) -> bytes:
        """State as JSON; `from_bytes` reads it."""
        pending = {
            why: {str(d): list(b) for d, b in devices.items()} for why, devices in self._pending.items()
        }
        request = None if self.request is None else self.request.to_json()
        networks = {name: list(steps) for name, steps in self._networks.items()}
        state = {"version": 1, "pending": pending, "request": request, "networks": networks}
        state["aside"] = {str(d): waits for d, waits in self._aside.items()}
        return json.dumps(state).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Restatements:
        """Read what `to_bytes` wrote."""
        state = json.loads(data)
        if state["version"] != 1:
            raise ValueError(f"restatements of version {state['version']}")
        self = cls()
        self._pending = {
            why: {int(d): IntervalSet(b) for d, b in devices.items()}
            for why, devices in state["pending"].items()
        }
        self._aside = {
            int(d): [(why, a, b) for why, a, b in waits] for d, waits in state.get("aside", {}).items()
        }
        self._networks = {name: IntervalSet(steps) for name, steps in state["networks"].items()}
        self.request = None if state["request"] is None else RestateRequest.from_json(state["request"])
        return self


def _columns_had(buffer: ClassBuffer, devices: int) -> BoolArray:
    """Which of `holding` each device ever had, shape (columns + counters, devices)."""
    had = np.zeros((len(buffer.columns) + len(buffer.counters), devices), dtype=bool)
    for rows in [buffer.carry, *(b.last for b in buffer.buckets.values())]:
        column, at = np.nonzero(holding(rows.values, buffer.counters))
        had[column, rows.device[at]] = True
    return had


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
            samples = window_samples(operator, start, site, buffers, mask & site.owned, classes)
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
            rows = say_window(operator, samples, site, state, closed, failures, joined=mine)
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
