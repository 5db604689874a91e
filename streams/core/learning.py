"""What the learners of a stream know, and its bytes in a checkpoint."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import cast

import pyarrow as pa
import pyarrow.compute as pc

from streams.core.containing import Failures, contained
from streams.core.network_rows import Settled
from streams.core.operator import Learner

__all__ = ["Learning"]

_VERSION = struct.Struct("<I")


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

    def take_in(self, learner: Learner, settled: Settled) -> pa.Table | None:
        """Let a learner take in a step; gives rows that it tells, if any, with its name as their model.

        What it knows stays as it is where it cannot take the step in.
        """
        known = self._states.get(learner.name)

        def failed(error: Exception) -> tuple[object, None]:
            self._failures.note(learner.name, settled.stream, error)
            return known, None

        def learn() -> tuple[object, pa.Table | None]:
            state, rows = learner.function(known, settled)
            return state, _modelled(rows, learner) if rows is not None and rows.num_rows else None

        self._states[learner.name], rows = contained(learn, failed)
        return cast("pa.Table | None", rows)

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
