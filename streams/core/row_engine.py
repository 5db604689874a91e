"""Rows that rest on rows: networks when what they read changes, learners when it is settled."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.restate import RowSource
from models.site import Network
from streams.core.buffer import ClassBuffer
from streams.core.containing import Failures, Values, contained, nothing, of_result
from streams.core.learning import Learning
from streams.core.network_events import OFFICE, NetworkEvents
from streams.core.network_rows import STEP_MS, WEATHER, NetworkRows, Settled, Source
from streams.core.operator import Learner, NetworkOperator, WindowOperator, in_order_of_reading
from streams.core.rows import Rows, concat, numeric_columns
from streams.core.samples import ClassSamples
from streams.core.stream_site import StreamSite
from streams.core.window_state import FINAL, NONE, PROVISIONAL, WindowRows, WindowState

__all__ = ["LATE_MS", "MODEL_AGE_MS", "Changed", "NetworkComputed", "RowEngine", "States"]

LATE_MS = 7 * 86_400_000
"""How old samples may be that learners are given later than their step. [ms]"""
MODEL_AGE_MS = 86_400_000
"""How old what was learnt must be before a window may use it: longer than any window stays open."""
IntArray = NDArray[np.int64]
States = Mapping[tuple[str, int], WindowState]
"""Rows by measurement and window start (ms UTC)."""
Changed = dict[str, set[tuple[str, int]]]
"""By measurement the networks and starts of steps (ms UTC) in which a row of it changed."""


@dataclass(frozen=True, slots=True)
class NetworkComputed:
    """Rows of one network's window that differ from what was said.

    Attributes
    ----------
    operator : NetworkOperator
    network : Network
    start_ms, window_ms : int
    rows : WindowRows
        By device index, or about the network itself, index 0 of `rows.device` being its subject.
    model : str
        What of that which was learnt the rows rest on; empty for nothing.
    """

    operator: NetworkOperator
    network: Network
    start_ms: int
    window_ms: int
    rows: WindowRows
    model: str = ""


class RowEngine:
    """Network operators and learners of one stream.

    Parameters
    ----------
    stream : str
    windows : sequence of WindowOperator
        Whose rows may be read.
    networks : sequence of NetworkOperator
    learners : sequence of Learner
    provisional : bool
        Whether rows are given while windows fill.
    failures : Failures
        Takes note of what cannot be computed.

    Attributes
    ----------
    states : dict
        What was said last about each window at hand, by subject index.
    settled_to_ms : int or None
        Learners know all that ended until then. [ms UTC]
    """

    def __init__(
        self,
        stream: str,
        windows: Sequence[WindowOperator],
        networks: Sequence[NetworkOperator],
        learners: Sequence[Learner],
        *,
        provisional: bool,
        failures: Failures,
    ):
        self.stream = stream
        self._failures = failures
        self._windows = {o.name: o for o in windows}
        written = {*self._windows, *(o.name for o in networks), *(x.name for x in learners)}
        self.networks = in_order_of_reading([o.reading(written) for o in networks])
        self.learners = tuple(learners)
        self.provisional = provisional
        self.states: dict[tuple[str, int], WindowState] = {}
        self.settled_to_ms: int | None = None
        self._learning = Learning(self.learners, failures)
        self._subjects: dict[str, int] = {}
        self._late: dict[str, list[Rows]] = {}
        self._takes_late = frozenset(name for x in self.learners if x.late for name in x.samples)
        self.events = NetworkEvents()
        self._check()

    def _check(self) -> None:
        rows = {*self._windows, *(o.name for o in self.networks)}
        learnt = {x.name for x in self.learners}
        reading = [(o.name, o.reads, rows | learnt | {OFFICE}) for o in self.networks]
        reading += [(x.name, x.reads, rows) for x in self.learners]
        for operator, reads, allowed in reading:
            for name in reads:
                if name not in allowed:
                    expected = ", ".join(sorted(allowed))
                    msg = f"{operator}: expected to read one of {expected}, got {name!r}"
                    raise ValueError(msg)

    @property
    def idle(self) -> bool:
        """Whether nothing reads rows."""
        return not (self.networks or self.learners)

    def keep_ms(self, site: StreamSite) -> int:
        """How long after their end rows may still be read. [ms]"""
        if self.idle:
            return 0
        longest = max((1000 * n.window_s for n in site.site.networks.values() if n.window_s), default=STEP_MS)
        return longest + max((1000 * o.history_s for o in self.networks), default=0)

    # -- networks ---------------------------------------------------------------------

    def changed(
        self, operator: WindowOperator, start_ms: int, devices: IntArray, site: StreamSite
    ) -> Changed:
        """Which steps of which networks a window operator's new rows of `devices` concern."""
        names = site.concerned(devices)
        steps = range(start_ms, start_ms + 1000 * operator.every_s, STEP_MS)
        return {operator.name: {(name, step) for name in names for step in steps}}

    def follow(
        self,
        changed: Changed,
        now_ms: int,
        site: StreamSite,
        windows: States,
        wanted: Callable[[int, int, int], bool],
        ended_ms: int | None = None,
    ) -> list[NetworkComputed]:
        """Compute the windows that rest on `changed` steps, those that others read first.

        Parameters
        ----------
        changed : dict
        now_ms : int
        site : StreamSite
        windows : mapping
            Rows of window operators.
        wanted : callable
            Given a window's start, its end and from when it reads rows [ms UTC], whether to compute it.
        ended_ms : int, optional
            Of windows that end later some sources are yet to be computed, however far now has moved:
            they stay provisional. [ms UTC]
        """
        computed: list[NetworkComputed] = []
        changed = dict(changed)
        for operator in self.networks:
            todo: set[tuple[int, str]] = set()
            for name, step in set().union(*(changed.get(m, set()) for m in operator.reads)):
                todo.update((start, name) for start in self._windows_over(operator, name, step, now_ms, site))
            for start, name in sorted(todo):
                network = site.site.networks[name]
                end = start + 1000 * int(network.window_s or 0)
                if not wanted(start, end, start - 1000 * operator.history_s):
                    continue
                settling = ended_ms is None or end <= ended_ms
                said = self._compute(operator, network, start, now_ms, site, windows, settling=settling)
                if said is not None:
                    computed.append(said)
                    changed.setdefault(operator.name, set()).add((name, start))
        return computed

    def _windows_over(
        self, operator: NetworkOperator, name: str, step_ms: int, now_ms: int, site: StreamSite
    ) -> Iterable[int]:
        """Starts of the windows, begun by now, that read a step of a network."""
        network = site.site.networks.get(name)
        if network is None or not network.window_s:
            return ()
        window_ms = 1000 * network.window_s
        first = step_ms // window_ms * window_ms
        last = min(step_ms + 1000 * operator.history_s, now_ms) // window_ms * window_ms
        return range(first, last + 1, window_ms)

    def _compute(
        self,
        operator: NetworkOperator,
        network: Network,
        start: int,
        now_ms: int,
        site: StreamSite,
        windows: States,
        *,
        settling: bool,
    ) -> NetworkComputed | None:
        window_ms = 1000 * int(network.window_s or 0)
        if not self._begun(operator, start, start + window_ms, windows):
            return None
        devices = np.flatnonzero(site.owned & (site.networks == network.id))
        at = self._subject(network.id)
        sources = {name: self._source(name, windows, site) for name in operator.reads if name != OFFICE}
        events = self.events.of(network.id, start, start + window_ms)
        rows = NetworkRows(
            network, at, start, start + window_ms, 1000 * operator.history_s, devices, site, sources, events
        )
        if not any(bool(rows.status(name)[rows.window].any()) for name, s in sources.items() if not s.learnt):
            return None
        state = self.states.get((operator.name, start))
        heard = np.append(devices, site.stations(network)) if WEATHER in sources else devices
        over = start + window_ms + int(site.lateness_ms[heard].max(initial=0)) <= now_ms
        closes = settling and over and not rows.open
        if state is None and not closes and not self.provisional:
            return None  # it would only be told as provisional
        subjects = devices if operator.subject == "device" else np.array([at])
        rows.filling = not (closes or (state is not None and state.settled_of(subjects).any()))
        result = self._result(operator, rows, len(subjects))
        if result is None:
            return None
        if state is None:
            state = self.states[operator.name, start] = WindowState(len(operator.fields))
        (values, coverage, reason), model = result
        said = state.say(subjects, values, coverage, reason, np.full(len(subjects), closes))
        if not self.provisional:
            said = said.settled(PROVISIONAL)
        return NetworkComputed(operator, network, start, window_ms, said, model) if len(said.device) else None

    def _result(
        self, operator: NetworkOperator, rows: NetworkRows, subjects: int
    ) -> tuple[Values, str] | None:
        """What an operator gives for a network's window, if anything, and the model that it rests on."""

        def compute() -> tuple[Values, str] | None:
            result = operator.function(rows)
            if result is None:
                return None
            return of_result(result, operator.fields, subjects), str(getattr(result, "model", ""))

        def failed(error: Exception) -> tuple[Values, str]:
            self._failures.note(operator.name, rows.network.id, error)
            return nothing(len(operator.fields), subjects), ""

        return cast("tuple[Values, str] | None", contained(compute, failed))

    def _begun(self, operator: NetworkOperator, start: int, end: int, windows: States) -> bool:
        """Whether anything that `operator` reads has a row in the window; most others are yet to come."""
        learnt = {x.name for x in self.learners}
        return any(
            (name, step) in (windows if name in self._windows else self.states)
            for name in operator.reads
            if name not in learnt
            for step in range(start, end, STEP_MS)
        )

    def _subject(self, network: str) -> int:
        return self._subjects.setdefault(network, len(self._subjects))

    def _source(self, name: str, windows: States, site: StreamSite) -> Source:
        operator = self._windows.get(name)
        if operator is not None:
            lengths = (
                None
                if operator.every_s * 1000 == STEP_MS
                else np.full(len(site.ids), 1000 * operator.every_s)
            )
            return Source(operator.fields, "device", _of(windows, name), lengths)
        for learner in self.learners:
            if learner.name == name:
                return Source(
                    learner.fields,
                    learner.subject,
                    _of(self.states, name),
                    learnt=True,
                    model=f"{name}/{learner.version}",
                )
        reader = next(o for o in self.networks if o.name == name)
        if reader.subject == "device":
            window_s = {n.id: n.window_s for n in site.site.networks.values()}
            lengths = np.array([1000 * (window_s.get(n) or 0) for n in site.networks], dtype=np.int64)
        else:
            lengths = np.array(
                [1000 * int(getattr(site.site.networks.get(n), "window_s", 0) or 0) for n in self._subjects],
                dtype=np.int64,
            )
        return Source(reader.fields, reader.subject, _of(self.states, name), lengths)

    # -- restatement --------------------------------------------------------------------

    def sources(self) -> tuple[RowSource, ...]:
        """Every measurement that rows of networks rest on, and their own."""
        read = {name for o in self.networks for name in o.reads}
        windows = [RowSource(name, "device", learnt=False) for name in self._windows if name in read]
        learnt = [RowSource(x.name, x.subject, learnt=True) for x in self.learners if x.name in read]
        return (*windows, *(RowSource(o.name, o.subject, learnt=False) for o in self.networks), *learnt)

    def reach(self, network: str, from_ms: int, to_ms: int, site: StreamSite) -> tuple[int, int]:
        """From when to when rows are needed to compute again what rests on steps in [from, to). [ms UTC]"""
        window_ms = 1000 * int(site.site.networks[network].window_s or 0) or STEP_MS
        history_ms = max((1000 * o.history_s for o in self.networks), default=0)
        # An operator that reads another's rows of before reaches further: once for each in the line.
        line = max(1, len(self.networks))
        low = (from_ms // window_ms * window_ms) - line * history_ms
        high = (to_ms - 1 + line * history_ms) // window_ms * window_ms + window_ms
        return low, high

    def again(
        self,
        changed: Changed,
        said: Mapping[str, pa.Table],
        index: Mapping[str, int],
        now_ms: int,
        site: StreamSite,
        read: Callable[[pa.Table, Sequence[str], Mapping[str, int]], dict[int, WindowState]],
        wanted: Callable[[int, int, int], bool],
    ) -> list[NetworkComputed]:
        """Compute the windows over `changed` steps from rows `said`, which `read` makes states of.

        Parameters and result otherwise as of `follow`; `index` has each device's.
        """
        scratch = RowEngine(
            self.stream,
            tuple(self._windows.values()),
            self.networks,
            self.learners,
            provisional=self.provisional,
            failures=self._failures,
        )
        scratch._subjects, scratch.events = self._subjects, self.events
        for name in site.site.networks:
            self._subject(name)
        windows: dict[tuple[str, int], WindowState] = {}
        for name, table in said.items():
            if name in self._windows:
                states = read(table, self._windows[name].fields, index)
                windows.update({(name, start): state for start, state in states.items()})
                continue
            learner = next((x for x in self.learners if x.name == name), None)
            if learner is not None:
                scratch._note(learner, table, site)
                continue
            operator = next(o for o in self.networks if o.name == name)
            subjects = index if operator.subject == "device" else self._subjects
            states = read(table, operator.fields, subjects)
            scratch.states.update({(name, start): state for start, state in states.items()})
        own = {o.name for o in self.networks}
        scratch.states.update({key: state for key, state in self.states.items() if key[0] in own})
        return scratch.follow(changed, now_ms, site, windows, wanted)

    # -- learners -----------------------------------------------------------------------

    def take_late(self, device_class: str, rows: Rows, now_ms: int) -> bool:
        """Keep samples of steps that were taken in for the next one; whether a learner asks for any of them.

        What is older than a week is history or of a wrong clock, and nothing to follow a device by.
        """
        if device_class not in self._takes_late:
            return False
        rows = rows.take(rows.t >= now_ms - LATE_MS)
        if rows.n:
            self._late.setdefault(device_class, []).append(rows)
        return rows.n > 0

    def settle(
        self,
        until_ms: int,
        begin_ms: int,
        site: StreamSite,
        windows: States,
        buffers: Mapping[str, ClassBuffer],
    ) -> Iterator[list[tuple[str, pa.Table]]]:
        """Let learners take in what ended by `until_ms` and was not taken in yet, a step after the other.

        Gives what they tell of each step, before the next is taken in.

        Parameters
        ----------
        until_ms : int
            Nothing that ended by then can change any more but by a restatement. [ms UTC]
        begin_ms : int
            Where the first step begins, when there was none. [ms UTC]
        site : StreamSite
        windows : mapping
            Rows of window operators.
        buffers : mapping
            Samples of what ended and was not taken in yet, by device class.
        """
        if not self.learners:
            return
        # Until a step is taken in, an older sample that is in time may still move where the first begins.
        from_ms = begin_ms // STEP_MS * STEP_MS if self.settled_to_ms is None else self.settled_to_ms
        for start in range(from_ms, until_ms - STEP_MS + 1, STEP_MS):
            told: list[tuple[str, pa.Table]] = []
            read = {name for learner in self.learners for name in learner.reads}
            sources = {name: self._source(name, windows, site) for name in sorted(read)}
            endings: dict[str, list[tuple[WindowState, IntArray]]] = {}
            late = {name: _late_samples(name, rows, site) for name, rows in self._late.items()}
            self._late = {}
            for learner in self.learners:
                samples = {
                    name: _step_samples(buffers[name], start, site)
                    for name in learner.samples
                    if name in buffers
                }
                settled = Settled(
                    start,
                    start + STEP_MS,
                    site,
                    self.stream,
                    tuple(self._subjects),
                    {name: sources[name] for name in learner.reads},
                    self.events,
                    samples,
                    {name: late[name] for name in learner.samples if learner.late and name in late},
                    endings,
                )
                rows = self._learning.take_in(learner, settled)
                if rows is not None:
                    told.append((learner.measurement, rows))
                    self._note(learner, rows, site)
            self.settled_to_ms = start + STEP_MS
            yield told

    def _note(self, learner: Learner, rows: pa.Table, site: StreamSite) -> None:
        """Keep what was learnt for those who read it, by the time from which they may."""
        if not learner.fields or not any(learner.name in o.reads for o in self.networks):
            return
        index = {d: at for at, d in enumerate(site.ids)}
        keys = rows["key"].to_pylist()
        kind = learner.subject
        usable = np.asarray(rows["window_start"].to_numpy() + rows["window_ms"].to_numpy() + MODEL_AGE_MS)
        subjects = np.array([index.get(k, -1) if kind == "device" else self._subject(k) for k in keys])
        values = np.array([rows[f].cast(pa.float64()).to_numpy() for f in learner.fields])
        for at in np.unique(usable):
            mine = (usable == at) & (subjects >= 0)
            n = int(mine.sum())
            state = self.states.setdefault((learner.name, int(at)), WindowState(len(learner.fields)))
            state.remember(
                subjects[mine],
                values[:, mine],
                np.ones(n),
                np.full(n, FINAL),
                np.full(n, "", object),
                np.zeros(n, np.int64),
            )

    # -- keeping ------------------------------------------------------------------------

    def drop_before(self, before_ms: int, site: StreamSite) -> None:
        """Forget rows that nothing may read any more; of what was learnt the newest stays."""
        keep_from = before_ms - self.keep_ms(site)
        self.events.drop_before(before_ms)
        learnt = {x.name for x in self.learners}
        for name, start in [k for k in self.states if k[1] < keep_from and k[0] not in learnt]:
            del self.states[name, start]
        for name in learnt:
            old = sorted(start for n, start in self.states if n == name and start <= keep_from)
            for earlier, start in pairwise(old):
                _carry_over(self.states.pop((name, earlier)), self.states[name, start])

    def to_bytes(self) -> bytes:
        """State but for `states` and `learnt_parts`, as JSON; `load` reads it."""
        return json.dumps({
            "version": 1,
            "settled_to_ms": self.settled_to_ms,
            "subjects": list(self._subjects),
            "events": self.events.to_json(),
            "learnt": self._learning.to_json(),
            "failing": self._learning.failing,
        }).encode()  # fmt: skip

    def learnt_parts(self) -> dict[str, bytes]:
        """State of learners that makes bytes of itself, by learner; `load_learnt` reads it."""
        return self._learning.parts()

    def late_parts(self) -> dict[str, bytes]:
        """Samples that wait for the next step, by device class; `load_late` reads them."""
        return {
            name: concat(rows, len(numeric_columns(name))).to_bytes() for name, rows in self._late.items()
        }

    def load_late(self, device_class: str, data: bytes) -> None:
        """Read one of `late_parts`."""
        self._late[device_class] = [Rows.from_bytes(data)]

    def load_learnt(self, name: str, data: bytes) -> None:
        """Read one of `learnt_parts`; a learner that is gone, or of another version, begins anew."""
        self._learning.load_part(name, data)

    def load(self, data: bytes) -> None:
        """Read what `to_bytes` wrote; a learner of another version begins anew."""
        kept = json.loads(data)
        if kept["version"] != 1:
            raise ValueError(f"rows of version {kept['version']}")
        self.settled_to_ms = kept["settled_to_ms"]
        self._subjects = {name: at for at, name in enumerate(kept["subjects"])}
        self.events = NetworkEvents.from_json(kept["events"])
        self._learning.load_json(kept["learnt"])
        self._learning.failing = kept.get("failing", {})  # of before learners began anew there is none


def _late_samples(device_class: str, parts: list[Rows], site: StreamSite) -> ClassSamples:
    """Of samples of one time that of the latest message."""
    columns = numeric_columns(device_class)
    rows = concat(parts, len(columns)).in_order()
    rows = rows.take(site.owned[rows.device] & (site.classes[rows.device] == device_class))
    again = (rows.device[1:] == rows.device[:-1]) & (rows.t[1:] == rows.t[:-1])
    return ClassSamples(columns, rows.take(~np.append(again, False)) if again.any() else rows)


def _step_samples(buffer: ClassBuffer, start_ms: int, site: StreamSite) -> ClassSamples:
    rows = buffer.inside(start_ms, start_ms + STEP_MS)
    mine = site.owned[rows.device] & (site.classes[rows.device] == buffer.device_class)
    return ClassSamples(buffer.columns, rows if mine.all() else rows.take(mine))


def _of(states: States, name: str) -> dict[int, WindowState]:
    return {start: state for (n, start), state in states.items() if n == name}


def _carry_over(older: WindowState, newer: WindowState) -> None:
    """Let what was said in `older` stand in `newer` where that says nothing."""
    subjects = np.arange(len(older))
    mine = (older.status_of(subjects) != NONE) & (newer.status_of(subjects) == NONE)
    newer.take_over(older, subjects[mine])
