"""What was said of networks and learnt, and how operators and learners read it and rows of windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streams.core.network_rows import STEP_MS, Source
from streams.core.operator import Learner, NetworkOperator, WindowOperator
from streams.core.stream_site import StreamSite
from streams.core.window_state import FINAL, NONE, WindowState

__all__ = ["MODEL_AGE_MS", "RowStates", "States"]

MODEL_AGE_MS = 86_400_000
"""How old what was learnt must be before a window may use it: longer than any window stays open."""
States = Mapping[tuple[str, int], WindowState]
"""Rows by measurement and window start (ms UTC)."""


class RowStates:
    """Rows of networks' windows and of learners at hand.

    Parameters
    ----------
    windows : sequence of WindowOperator
        Whose rows may be read too; they are kept elsewhere.
    networks : sequence of NetworkOperator
    learners : sequence of Learner

    Attributes
    ----------
    said : dict
        What was said last about each window, by subject index.
    networks_at : dict
        Index of each network that is a subject.
    """

    def __init__(
        self,
        windows: Sequence[WindowOperator],
        networks: Sequence[NetworkOperator],
        learners: Sequence[Learner],
    ):
        self._windows = {o.name: o for o in windows}
        self._networks = {o.name: o for o in networks}
        self._learners = {x.name: x for x in learners}
        self._learnt_read = {name for o in networks for name in o.reads} & self._learners.keys()
        self.said: dict[tuple[str, int], WindowState] = {}
        self.networks_at: dict[str, int] = {}

    def index(self, network: str) -> int:
        """Index of a network as a subject."""
        return self.networks_at.setdefault(network, len(self.networks_at))

    def begun(self, operator: NetworkOperator, start_ms: int, end_ms: int, windows: States) -> bool:
        """Whether anything that `operator` reads has a row in the window; most others are yet to come."""
        return any(
            (name, step) in (windows if name in self._windows else self.said)
            for name in operator.reads
            if name not in self._learners
            for step in range(start_ms, end_ms, STEP_MS)
        )

    def source(self, name: str, windows: States, site: StreamSite) -> Source:
        """Rows of a measurement as whoever reads them has them; `windows` has those of window operators."""
        operator = self._windows.get(name)
        if operator is not None:
            lengths = (
                None
                if operator.every_s * 1000 == STEP_MS
                else np.full(len(site.ids), 1000 * operator.every_s)
            )
            return Source(operator.fields, "device", _of(windows, name), lengths)
        said = _of(self.said, name)
        learner = self._learners.get(name)
        if learner is not None:
            model = f"{name}/{learner.version}"
            return Source(learner.fields, learner.subject, said, learnt=True, model=model)
        reader = self._networks[name]
        return Source(reader.fields, reader.subject, said, self._lengths_ms(reader, site))

    def _lengths_ms(self, reader: NetworkOperator, site: StreamSite) -> NDArray[np.int64]:
        """How long windows of each subject are. [ms]"""
        window_s = {n.id: n.window_s for n in site.site.networks.values()}
        networks = site.networks if reader.subject == "device" else self.networks_at
        return np.array([1000 * int(window_s.get(n) or 0) for n in networks], dtype=np.int64)

    def learn(self, learner: Learner, rows: pa.Table, site: StreamSite) -> None:
        """Keep what was learnt for those who read it, by the time from which they may."""
        if not learner.fields or learner.name not in self._learnt_read:
            return
        index = {d: at for at, d in enumerate(site.ids)}
        keys = rows["key"].to_pylist()
        kind = learner.subject
        usable = np.asarray(rows["window_start"].to_numpy() + rows["window_ms"].to_numpy() + MODEL_AGE_MS)
        subjects = np.array([index.get(k, -1) if kind == "device" else self.index(k) for k in keys])
        values = np.array([rows[f].cast(pa.float64()).to_numpy() for f in learner.fields])
        for at in np.unique(usable):
            mine = (usable == at) & (subjects >= 0)
            n = int(mine.sum())
            state = self.said.setdefault((learner.name, int(at)), WindowState(len(learner.fields)))
            state.remember(
                subjects[mine],
                values[:, mine],
                np.ones(n),
                np.full(n, FINAL),
                np.full(n, "", object),
                np.zeros(n, np.int64),
            )

    def drop_before(self, keep_from_ms: int) -> None:
        """Forget rows that begin before; of what was learnt the newest stays. [ms UTC]"""
        for name, start in [k for k in self.said if k[1] < keep_from_ms and k[0] not in self._learners]:
            del self.said[name, start]
        for name in self._learners:
            old = sorted(start for n, start in self.said if n == name and start <= keep_from_ms)
            for earlier, start in pairwise(old):
                _carry_over(self.said.pop((name, earlier)), self.said[name, start])


def _of(states: States, name: str) -> dict[int, WindowState]:
    return {start: state for (n, start), state in states.items() if n == name}


def _carry_over(older: WindowState, newer: WindowState) -> None:
    """Let what was said in `older` stand in `newer` where that says nothing."""
    subjects = np.arange(len(older))
    mine = (older.status_of(subjects) != NONE) & (newer.status_of(subjects) == NONE)
    newer.take_over(older, subjects[mine])
