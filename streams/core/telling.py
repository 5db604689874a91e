"""What a pipeline tells: rows of windows, of networks and of learners, and of the ledger."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from models.restate import RESTATEMENT
from models.results import Outputs, Status
from streams.core.containing import in_halves
from streams.core.declared import expect_whole
from streams.core.deliveries import LedgerCounts
from streams.core.ledger_days import LedgerSaid
from streams.core.operator import LedgerOperator
from streams.core.restating import LATE, SOURCE, Why
from streams.core.row_engine import Changed, NetworkComputed
from streams.core.stream_site import StreamSite
from streams.core.stream_state import StreamState
from streams.core.tables import ledger_rows, network_table, restated_rows, window_table
from streams.core.window_state import FINAL, NONE, WindowRows
from streams.core.windows import Computed

__all__ = ["Telling"]


class Telling:
    """Turns what was computed from a stream's state into result rows.

    Parameters
    ----------
    stream : str
    state : StreamState
    ledgers : sequence of LedgerOperator
    """

    def __init__(self, stream: str, state: StreamState, ledgers: Sequence[LedgerOperator]):
        self._stream = stream
        self._state = state
        self._ledgers = tuple(ledgers)

    def windows(
        self,
        outputs: Outputs,
        computed: list[Computed],
        site: StreamSite | None = None,
        why: Why = lambda _device, _start_ms, _end_ms: LATE,
        ended_ms: int | None = None,
    ) -> None:
        """Tell of windows, of what of them is restated and why, and of what rests on them.

        `ended_ms` is as of `RowEngine.follow`.
        """
        site = self._state.site if site is None else site
        for operator, start_ms, rows in computed:
            then = site.over(start_ms + 1000 * operator.every_s)
            table = window_table(operator, start_ms, rows, then, self._stream)
            outputs.add(operator.name, table)
            if rows.restated.any():
                outputs.add(RESTATEMENT, restated_rows(operator, table, rows, self._state.now_ms or 0, why))

        if not self._state.rows.idle and computed:
            self.networks(outputs, self.follow(self.changed(computed, site), site, ended_ms))

    def changed(self, computed: list[Computed], site: StreamSite) -> Changed:
        """Steps of networks in which rows changed, by measurement."""
        changed: Changed = {}
        for operator, start_ms, rows in computed:
            for name, steps in self._state.rows.changed(operator, start_ms, rows.device, site).items():
                changed.setdefault(name, set()).update(steps)
        return changed

    def follow(
        self, changed: Changed, site: StreamSite, ended_ms: int | None = None
    ) -> list[NetworkComputed]:
        """What rests on rows that changed, where its sources are at hand."""
        state = self._state
        forgotten_ms = state.engine.forgotten_ms
        return state.rows.follow(
            changed,
            self._state.moving_to_ms,
            site,
            state.engine.states,
            lambda _start, _end, reads_from: reads_from >= forgotten_ms,
            ended_ms,
            # More is read of before than was kept until now: the store has it.
            None if ended_ms is None else state.restatements.network,
        )

    def networks(self, outputs: Outputs, computed: list[NetworkComputed]) -> None:
        """Tell of networks."""
        for each in computed:
            table = network_table(each, self._stream)
            outputs.add(each.operator.name, table)
            if each.rows.restated.any():
                now_ms = self._state.now_ms or 0
                listed = restated_rows(each.operator, table, each.rows, now_ms, lambda *_: SOURCE)
                outputs.add(RESTATEMENT, listed)

    def mark_before_close(self, now_ms: int) -> None:
        """Make marks of samples that are about to be let go."""
        state = self._state
        kept_from_ms = state.engine.kept_from_ms(now_ms, state.site)
        if kept_from_ms > state.engine.floor_ms:
            state.entities.marking.update(state.engine.floor_ms, now_ms, state.site, state.buffers)

    def entities(self, now_ms: int, outputs: Outputs, *, always: bool = False) -> None:
        """Tell of entities; `always` is as of `EntityEngine.run`."""
        state = self._state
        state.entities.marking.update(state.kept_from_ms(), now_ms, state.site, state.buffers)
        state.entities.run(now_ms, outputs, always=always)

    def close(self, now_ms: int) -> Iterator[tuple[int, Outputs]]:
        """Settle what ended, with what rests on it, in order of end: each end (ms UTC) and what is told."""
        state = self._state
        for computed, end_ms, settled_ms in state.engine.close(now_ms, state.site, state.buffers):
            outputs = Outputs(self._stream)
            self.windows(outputs, computed, ended_ms=end_ms)
            if computed:
                yield end_ms, outputs
            yield from self._learn(settled_ms)
        if state.engine.begin_ms is not None:
            yield from self._learn(state.kept_from_ms())

    def _learn(self, settled_ms: int) -> Iterator[tuple[int, Outputs]]:
        rows, engine, state = self._state.rows, self._state.engine, self._state
        if rows.idle or engine.begin_ms is None:
            return
        for told in rows.settle(settled_ms, engine.begin_ms, state.site, engine.states, state.buffers):
            outputs = Outputs(self._stream)
            for name, table in told:
                outputs.add(name, table)
            yield rows.settled_to_ms or settled_ms, outputs
        left = rows.stranded(settled_ms, state.site)
        if left:
            outputs = Outputs(self._stream)
            self.networks(outputs, left)
            yield settled_ms, outputs
        rows.drop_before(settled_ms, state.site)

    def ledger(self, outputs: Outputs, told: Sequence[LedgerSaid], site: StreamSite | None = None) -> None:
        """Tell what the ledger counts on local days, and of which settled ones it counts anew."""
        site = self._state.site if site is None else site
        for said in told:
            mine = np.array([bool(site.owned[d]) for d in said.devices], dtype=bool)
            if mine.any():
                for operator in self._ledgers:
                    self._ledger_of(operator, outputs, said, np.flatnonzero(mine).tolist(), site)

    def _ledger_of(
        self, operator: LedgerOperator, outputs: Outputs, said: LedgerSaid, mine: list[int], site: StreamSite
    ) -> None:
        mine, fields = self._counted(operator, said.counts, said.devices, mine, site)
        if not mine:
            return
        devices, revisions = [said.devices[at] for at in mine], [said.revisions[at] for at in mine]
        status = Status.FINAL if said.final else Status.PROVISIONAL
        table = ledger_rows(
            fields, devices, revisions, said.day_ms, said.end_ms, site, self._stream,
            status=Status.WITHDRAWN if said.withdrawn else status,
        )  # fmt: skip
        outputs.add(operator.name, table)
        before = [at for at in mine if said.was[at] is not None]
        if before:
            known, old = self._counted(operator, said.was, said.devices, before, site)
            places = {at: place for place, at in enumerate(mine)}  # a search for each: a fleet's square
            rows = _as_rows(operator, fields, devices, revisions, [places[at] for at in known], old)
            now_ms = self._state.now_ms or 0
            outputs.add(RESTATEMENT, restated_rows(operator, table, rows, now_ms, lambda *_: LATE))

    def _counted(
        self, operator: LedgerOperator, counts: Sequence[LedgerCounts | None], devices: Sequence[int],
        mine: Sequence[int], site: StreamSite,
    ) -> tuple[list[int], dict[str, list[int]]]:  # fmt: skip
        """What an operator makes of `counts` of the places that are mine, and of which of them it can."""

        def compute(of: NDArray[np.int64]) -> tuple[list[int], Mapping[str, Sequence[int]]]:
            given = cast("list[LedgerCounts]", [counts[at] for at in of.tolist()])
            fields = operator.function(given)
            expect_whole({name: fields[name] for name in operator.fields}, len(of))
            return of.tolist(), fields

        def failed(of: NDArray[np.int64], error: Exception) -> tuple[list[int], Mapping[str, Sequence[int]]]:
            for at in of.tolist():
                self._state.failures.note(operator.name, site.ids[devices[at]], error)
            return [], {name: [] for name in operator.fields}

        parts = in_halves(np.array(mine, dtype=np.int64), compute, failed)
        if len(parts) == 1:
            return cast("tuple[list[int], dict[str, list[int]]]", parts[0])
        fields = {name: [int(x) for _, of in parts for x in of[name]] for name in operator.fields}
        return [at for some, _ in parts for at in some], fields


def _as_rows(
    operator: LedgerOperator,
    fields: Mapping[str, Sequence[int]],
    devices: Sequence[int],
    revisions: Sequence[int],
    known: Sequence[int],
    old: Mapping[str, Sequence[int]],
) -> WindowRows:
    """Rows of a settled day, and `old`, what was said of it before of the `known` ones of them."""
    n, ones = len(devices), np.ones(len(devices))
    was = np.full((len(operator.fields) + 1, n), np.nan)
    was[:, known] = [*(old[name] for name in operator.fields), ones[list(known)]]
    status = np.full(n, NONE)
    status[list(known)] = FINAL
    values = np.array([fields[name] for name in operator.fields], dtype=float)
    return WindowRows(
        np.array(devices), values, ones, np.full(n, FINAL), np.full(n, "", object), np.array(revisions), was,
        status,
    )  # fmt: skip
