"""Learners beside themselves: each goes on once as it is, and once for every field of its state without that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
import pytest

from streams.core.learning import Learning
from streams.core.network_rows import Settled
from streams.core.operator import Learner
from tests.support.forgetting import Field, learnt_fields, learnt_without

__all__ = ["Shadows"]

WHOLE: Field = ("as a checkpoint gives it back",)


class Shadows:
    """What learners tell who forget one field of their state every so many steps.

    Parameters
    ----------
    every : int
        Steps from one crash to the next.

    Attributes
    ----------
    told_otherwise : dict of tuple to str
        By learner and field, what was told that the learner itself did not tell, or an error.
    """

    def __init__(self, every: int) -> None:
        self.told_otherwise: dict[Field, str] = {}
        self._every = every
        self._step: dict[str, int] = {}
        self._states: dict[str, dict[Field, object]] = {}

    @property
    def fields(self) -> set[Field]:
        """Every field that ever held something."""
        return {field for states in self._states.values() for field in states} | self.told_otherwise.keys()

    @property
    def unseen(self) -> set[Field]:
        """Fields without which the same was told."""
        return self.fields - self.told_otherwise.keys()

    @contextmanager
    def beside(self) -> Iterator[None]:
        """Go on beside the learners of every pipeline within."""
        take_in = Learning.take_in

        def both(learning: Learning, learner: Learner, settled: Settled) -> pa.Table | None:
            before = learning._states.get(learner.name)
            rows = take_in(learning, learner, settled)
            self._take_in(learner, before, settled, learner.function(before, settled)[1])
            return rows

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Learning, "take_in", both)
            yield

    def _take_in(self, learner: Learner, before: object, settled: Settled, expected: pa.Table | None) -> None:
        step = self._step[learner.name] = self._step.get(learner.name, 0) + 1
        states = self._states.setdefault(learner.name, {})
        crash = before is not None and step % self._every == 0
        if crash:
            site = settled.site.site
            for field in learnt_fields(learner, before, site):
                states.setdefault((learner.name, *field[1:]), before)
            states.setdefault((learner.name, *WHOLE), before)
        for field in [f for f in states if f not in self.told_otherwise]:
            try:
                state = states[field]
                if crash:
                    left_out = None if field[1:] == WHOLE else field
                    state = learnt_without(learner, state, left_out, settled.site.site)
                states[field], rows = learner.function(state, settled)
            except Exception as error:  # noqa: BLE001  whatever becomes of it, it is seen
                self.told_otherwise[field] = repr(error)
                continue
            if _said(rows) != _said(expected):
                self.told_otherwise[field] = f"{settled.end_ms}: {_said(rows)}, expected {_said(expected)}"


def _said(rows: pa.Table | None) -> str:
    return "" if rows is None or not rows.num_rows else repr(rows.to_pydict())
