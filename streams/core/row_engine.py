"""Rows that rest on rows: networks when what they read changes, learners when it is settled."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.anomaly import ANOMALY
from models.restate import RowSource
from models.site import Network
from streams.core.buffer import ClassBuffer
from streams.core.containing import Failures, Values, contained, nothing, of_result
from streams.core.learner_samples import LateSamples, step_samples
from streams.core.learning import Learning
from streams.core.network_events import OFFICE, NetworkEvents
from streams.core.network_rows import STEP_MS, WEATHER, NetworkRows, Settled
from streams.core.network_windows import concerned, reach, windows_over
from streams.core.operator import Learner, NetworkOperator, WindowOperator, in_order_of_reading
from streams.core.row_states import RowStates, States
from streams.core.stranded import stranded
from streams.core.stream_site import StreamSite
from streams.core.window_state import PROVISIONAL, WindowRows, WindowState

__all__ = ["Changed", "NetworkComputed", "RowEngine"]

IntArray = NDArray[np.int64]
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
    site : StreamSite
        By which the window goes.
    rows : WindowRows
        By device index, or about the network itself, index 0 of `rows.device` being its subject.
    model : str
        What of that which was learnt the rows rest on; empty for nothing.
    """

    operator: NetworkOperator
    network: Network
    start_ms: int
    window_ms: int
    site: StreamSite
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
    late : LateSamples
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
        self._rows = RowStates(windows, self.networks, self.learners)
        self.settled_to_ms: int | None = None
        self._looked_to_ms: int | None = None
        self._learning = Learning(self.learners, failures)
        self.late = LateSamples(frozenset(name for x in self.learners if x.late for name in x.samples))
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
    def states(self) -> dict[tuple[str, int], WindowState]:
        """What was said last about each window at hand, by measurement and its start. [ms UTC]"""
        return self._rows.said

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
        end_ms = start_ms + 1000 * operator.every_s
        names = concerned(devices, start_ms, end_ms + (self.keep_ms(site) if site.history else 0), site)
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
        lacking: Callable[[str, int], None] | None = None,
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
        lacking : callable, optional
            Told of the network and start (ms UTC) of each window that has ended and is not `wanted`.
        """
        computed: list[NetworkComputed] = []
        changed = dict(changed)
        for operator in self.networks:
            todo: dict[tuple[int, str], StreamSite] = {}
            for name, step in set().union(*(changed.get(m, set()) for m in operator.reads)):
                over = windows_over(operator, name, step, now_ms, site)
                todo.update(((start, name), then) for start, then in over)
            for (start, name), then in sorted(todo.items(), key=itemgetter(0)):
                network = then.site.networks[name]
                end = start + 1000 * int(network.window_s or 0)
                settling = ended_ms is None or end <= ended_ms
                if not wanted(start, end, start - 1000 * operator.history_s):
                    if lacking is not None and settling:
                        lacking(name, start)
                    continue
                said = self._compute(operator, network, start, now_ms, then, windows, settling=settling)
                if said is not None:
                    computed.append(said)
                    changed.setdefault(operator.name, set()).add((name, start))
        return computed

    def stranded(self, until_ms: int, site: StreamSite) -> list[NetworkComputed]:
        """Rows of windows settled by `until_ms` (ms UTC) that nobody computes any more, to be withdrawn."""
        if self._looked_to_ms is not None and until_ms <= self._looked_to_ms:
            return []
        self._looked_to_ms = until_ms
        left = stranded(self.networks, self.states, self._rows.networks_at, until_ms, site)
        return [
            NetworkComputed(operator, then.site.networks[name], start, window_ms, then, rows)
            for operator, name, start, window_ms, then, rows in left
            if self.provisional
        ]

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
        if not self._rows.begun(operator, start, start + window_ms, windows):
            return None
        devices = np.flatnonzero(site.owned & (site.networks == network.id))
        at = self._rows.index(network.id)
        sources = {name: self._rows.source(name, windows, site) for name in operator.reads if name != OFFICE}
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
        if not len(said.device):
            return None
        return NetworkComputed(operator, network, start, window_ms, site, said, model)

    def _result(
        self, operator: NetworkOperator, rows: NetworkRows, subjects: int
    ) -> tuple[Values, str] | None:
        """What an operator gives for a network's window, if anything, and the model that it rests on."""

        def odd(at: int, error: Exception) -> None:
            of = rows.site.ids[int(rows.devices[at])] if operator.subject == "device" else rows.network.id
            self._failures.note(operator.name, of, error)

        def compute() -> tuple[Values, str] | None:
            result = operator.function(rows)
            if result is None:
                return None
            model = getattr(result, "model", "")
            if not isinstance(model, str):
                raise TypeError(f"expected model as text, got {model!r:.60}")
            return of_result(result, operator.fields, subjects, odd), model

        def failed(error: Exception) -> tuple[Values, str]:
            self._failures.note(operator.name, rows.network.id, error)
            return nothing(len(operator.fields), subjects), ""

        return cast("tuple[Values, str] | None", contained(compute, failed))

    # -- restatement --------------------------------------------------------------------

    def sources(self) -> tuple[RowSource, ...]:
        """Every measurement that rows of networks rest on, and their own."""
        read = {name for o in self.networks for name in o.reads}
        windows = [RowSource(name, "device", learnt=False) for name in self._windows if name in read]
        learnt = [RowSource(x.name, x.subject, learnt=True) for x in self.learners if x.name in read]
        return (*windows, *(RowSource(o.name, o.subject, learnt=False) for o in self.networks), *learnt)

    def reach(self, network: str, from_ms: int, to_ms: int, site: StreamSite) -> tuple[int, int]:
        """From when to when rows are needed to compute again what rests on steps in [from, to). [ms UTC]"""
        return reach(self.networks, network, from_ms, to_ms, site)

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
        scratch._rows.networks_at, scratch.events = self._rows.networks_at, self.events
        for name in dict.fromkeys(
            [*site.site.networks, *sorted({n for c in changed.values() for n, _ in c})]
        ):
            self._rows.index(name)
        windows: dict[tuple[str, int], WindowState] = {}
        for name, table in said.items():
            if name in self._windows:
                states = read(table, self._windows[name].fields, index)
                windows.update({(name, start): state for start, state in states.items()})
                continue
            learner = next((x for x in self.learners if x.name == name), None)
            if learner is not None:
                scratch._rows.learn(learner, table, site)
                continue
            operator = next(o for o in self.networks if o.name == name)
            subjects = index if operator.subject == "device" else self._rows.networks_at
            states = read(table, operator.fields, subjects)
            scratch.states.update({(name, start): state for start, state in states.items()})
        own = {o.name for o in self.networks}
        scratch.states.update({key: state for key, state in self.states.items() if key[0] in own})
        return scratch.follow(changed, now_ms, site, windows, wanted)

    # -- learners -----------------------------------------------------------------------

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
        names = {x.name for x in self.learners}
        for start in range(from_ms, until_ms - STEP_MS + 1, STEP_MS):
            gone = self._learning.standing.end_without(names)
            told: list[tuple[str, pa.Table]] = [] if gone is None else [(ANOMALY, gone)]
            read = {name for learner in self.learners for name in learner.reads}
            sources = {name: self._rows.source(name, windows, site) for name in sorted(read)}
            endings: dict[str, list[tuple[WindowState, IntArray]]] = {}
            late = self.late.handed_out(site)
            for learner in self.learners:
                samples = {
                    name: step_samples(buffers[name], start, site)
                    for name in learner.samples
                    if name in buffers
                }
                settled = Settled(
                    start,
                    start + STEP_MS,
                    site,
                    self.stream,
                    tuple(self._rows.networks_at),
                    {name: sources[name] for name in learner.reads},
                    self.events,
                    samples,
                    {name: late[name] for name in learner.samples if learner.late and name in late},
                    endings,
                )
                rows = self._learning.take_in(learner, settled)
                if rows is not None:
                    told.append((learner.measurement, rows))
                    self._rows.learn(learner, rows, site)
            self.settled_to_ms = start + STEP_MS
            yield told

    # -- keeping ------------------------------------------------------------------------

    def drop_before(self, before_ms: int, site: StreamSite) -> None:
        """Forget rows that nothing may read any more; of what was learnt the newest stays."""
        self.events.drop_before(before_ms)
        self._rows.drop_before(before_ms - self.keep_ms(site))

    def to_bytes(self) -> bytes:
        """State but for `states` and `learnt_parts`, as JSON; `load` reads it."""
        return json.dumps({
            "version": 1,
            "settled_to_ms": self.settled_to_ms,
            "subjects": list(self._rows.networks_at),
            "events": self.events.to_json(),
            "learnt": self._learning.to_json(),
            "failing": self._learning.failing,
            "standing": self._learning.standing.to_json(),
        }).encode()  # fmt: skip

    def learnt_parts(self) -> dict[str, bytes]:
        """State of learners that makes bytes of itself, by learner; `load_learnt` reads it."""
        return self._learning.parts()

    def load_learnt(self, name: str, data: bytes) -> None:
        """Read one of `learnt_parts`; a learner that is gone, or of another version, begins anew."""
        self._learning.load_part(name, data)

    def load(self, data: bytes) -> None:
        """Read what `to_bytes` wrote; a learner of another version begins anew."""
        kept = json.loads(data)
        if kept["version"] != 1:
            raise ValueError(f"rows of version {kept['version']}")
        self.settled_to_ms = kept["settled_to_ms"]
        self._rows.networks_at = {name: at for at, name in enumerate(kept["subjects"])}
        self.events = NetworkEvents.from_json(kept["events"])
        self._learning.load_json(kept["learnt"])
        self._learning.failing = kept.get("failing", {})  # of before learners began anew there is none
        self._learning.standing.load_json(kept.get("standing", {}))  # nor of before such anomalies ended
