"""What a pipeline tells: rows of windows, of networks and of learners, and of the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from models.restate import RESTATEMENT
from models.results import Outputs
from streams.core.operator import LedgerOperator
from streams.core.restating import LATE, SOURCE, Why
from streams.core.row_engine import Changed, NetworkComputed
from streams.core.stream_site import StreamSite
from streams.core.stream_state import StreamState
from streams.core.tables import ledger_rows, network_table, restated_rows, window_table
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
            table = window_table(operator, start_ms, rows, site, self._stream)
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
        )

    def networks(self, outputs: Outputs, computed: list[NetworkComputed]) -> None:
        """Tell of networks."""
        for each in computed:
            table = network_table(each, self._state.site, self._stream)
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

    def close(self, now_ms: int, outputs: Outputs) -> None:
        """Settle what ended, with what rests on it, in order of end."""
        state = self._state

        def ended(computed: list[Computed], end_ms: int, settled_ms: int) -> None:
            self.windows(outputs, computed, ended_ms=end_ms)
            self._learn(settled_ms, outputs)

        state.engine.close(now_ms, state.site, state.buffers, ended)
        if state.engine.begin_ms is not None:
            self._learn(state.kept_from_ms(), outputs)

    def _learn(self, settled_ms: int, outputs: Outputs) -> None:
        rows, engine = self._state.rows, self._state.engine
        if rows.idle or engine.begin_ms is None:
            return
        state = self._state
        for name, table in rows.settle(settled_ms, engine.begin_ms, state.site, engine.states, state.buffers):
            outputs.add(name, table)
        rows.drop_before(settled_ms, self._state.site)

    def ledger(
        self,
        outputs: Outputs,
        devices: Sequence[int],
        counts: Sequence[Any],
        *,
        final: bool,
        site: StreamSite | None = None,
    ) -> None:
        """Tell what the ledger counts of `devices` on the local day of now."""
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
                self._stream,
                final=final,
            )
            outputs.add(operator.name, table)
