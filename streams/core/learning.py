"""What the learners of a stream know, and its bytes in a checkpoint."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Final, cast

import pyarrow as pa
import pyarrow.compute as pc

from streams.core.containing import Failures, contained
from streams.core.network_rows import Settled
from streams.core.operator import Learner
from streams.core.standing_anomalies import StandingAnomalies

__all__ = ["BegunAnewError", "Learning"]

_VERSION = struct.Struct("<I")
_GIVEN_UP_AFTER: Final = 96
"""After so many steps in a row, a day, that it cannot take in a learner begins anew."""


class BegunAnewError(RuntimeError):
    """A learner knows nothing any more, since it could take nothing in with what it knew."""


class Learning:
    """States of learners by name; a learner that is gone, or of another version, begins anew.

    Parameters
    ----------
    learners : sequence of Learner
    failures : Failures
        Takes note of what cannot be learnt from.
    """

    def __init__(self, learners: Sequence[Learner], failures: Failures) -> None:
        self._failures = failures
        self._learners = tuple(learners)
        self._states: dict[str, object] = {}
        self._kept: dict[str, tuple[object, bytes]] = {}
        self._failing: dict[str, int] = {}
        self.standing = StandingAnomalies()

    def take_in(self, learner: Learner, settled: Settled) -> pa.Table | None:
        """Let a learner take in a step; gives rows that it tells, if any, with its name as their model.

        A row of which a value is of another type than declared is not told, and noted by its key.
        What it knows stays as it is where it cannot take the step in. Where that has been so for a day, and
        it could take this one in if it knew nothing, it begins anew with it, and what it said of anomalies
        that stand ends: it would end none of them.
        """
        known, anew = self._states.get(learner.name), False

        def learn(state: object) -> tuple[object, pa.Table | None]:
            after, rows = learner.function(state, settled)

            def odd(at: int, error: Exception) -> None:
                key = rows["key"][at].as_py() if isinstance(rows, pa.Table) else None
                self._failures.note(learner.name, key if isinstance(key, str) else settled.stream, error)

            told = learner.declared.of(rows, odd) if rows is not None and rows.num_rows else None
            modelled = _modelled(told, learner) if told is not None and told.num_rows else None
            self._failing.pop(learner.name, None)
            return after, modelled

        def failed(error: Exception) -> tuple[object, pa.Table | None]:
            nonlocal anew
            self._failures.note(learner.name, settled.stream, error)
            in_a_row = self._failing.get(learner.name, 0) + 1
            self._failing[learner.name] = min(in_a_row, _GIVEN_UP_AFTER)
            if known is None or in_a_row < _GIVEN_UP_AFTER:
                return known, None
            # A pure function of the steps, so that a replay and each crash begin it anew at the same one.
            begun = contained(lambda: learn(None), lambda _: None)
            if begun is None:  # it is the step, and nothing that was learnt
                return known, None
            why = BegunAnewError(
                f"begins anew: with what it knew it could take in no step of a day, at last for {error!r}"
            )
            self._failures.note(learner.name, settled.stream, why)
            anew = True
            return cast("tuple[object, pa.Table | None]", begun)

        self._states[learner.name], rows = contained(lambda: learn(known), failed)
        return self.standing.hear(learner, rows, anew=anew)

    def parts(self) -> dict[str, bytes]:
        """State of learners that makes bytes of itself, by learner; `load_part` reads it."""
        for x in self._learners:
            state = self._states.get(x.name)
            if x.state is not None and state is not None and self._kept.get(x.name, (None,))[0] is not state:
                assert isinstance(state, x.state)
                self._kept[x.name] = (state, _VERSION.pack(x.version) + state.to_bytes())
        return {name: data for name, (_, data) in self._kept.items()}

    def load_part(self, name: str, data: bytes) -> None:
        """Read one of `parts`."""
        for x in self._learners:
            if x.name == name and x.state is not None and _VERSION.unpack_from(data)[0] == x.version:
                self._states[name] = x.state.from_bytes(data[_VERSION.size :])
                self._kept[name] = (self._states[name], data)

    @property
    def failing(self) -> dict[str, int]:
        """Of each learner that could not take the last step in, for how many in a row, up to a day's."""
        return self._failing

    @failing.setter
    def failing(self, of: Mapping[str, int]) -> None:
        self._failing = {x.name: of[x.name] for x in self._learners if x.name in of}

    def to_json(self) -> dict[str, tuple[int, object]]:
        """Version and state of the learners whose state is JSON; `load_json` reads it."""
        return {x.name: (x.version, self._states.get(x.name)) for x in self._learners if not x.state}

    def load_json(self, kept: Mapping[str, Sequence[object]]) -> None:
        """Read what `to_json` gave."""
        for learner in self._learners:
            version, state = kept.get(learner.name, (None, None))
            if version == learner.version:
                self._states[learner.name] = state


def _modelled(rows: pa.Table, learner: Learner) -> pa.Table:
    """Rows that say by what they were learnt, so that nobody takes them for a pure function of samples."""
    at = rows.schema.get_field_index("model")
    model = pc.fill_null(rows.column(at), f"{learner.name}/{learner.version}")
    return rows.set_column(at, rows.schema.field(at), model)
