"""Anomalies that learners said and that stand, so that none outlives what watches for it."""

from __future__ import annotations

import json
from collections.abc import Container, Mapping, Sequence
from typing import Any

import pyarrow as pa

from models.anomaly import ANOMALY, ANOMALY_SCHEMA, State, unwatched
from models.results import Status
from streams.core.operator import Learner

__all__ = ["StandingAnomalies"]

Row = dict[str, Any]


class StandingAnomalies:
    """What learners said and did not end, by learner with the version that said it."""

    def __init__(self) -> None:
        self._of: dict[str, tuple[int, dict[str, Row]]] = {}

    def hear(self, learner: Learner, rows: pa.Table | None, *, anew: bool) -> pa.Table | None:
        """Take in what a learner tells of a step; gives it after the ends of what its former self said.

        Parameters
        ----------
        learner : Learner
        rows : pyarrow.Table or None
        anew : bool
            Whether it knows nothing of what it said before this step, as one of another version does not.
        """
        version, standing = self._of.get(learner.name, (learner.version, {}))
        if learner.measurement != ANOMALY or (rows is None and not standing):
            return rows
        told = [] if rows is None else rows.to_pylist()
        ends = list[Row]()
        if anew or version != learner.version:
            said = {row["key"] for row in told}
            ends = [_ended(row) for key, row in standing.items() if key not in said]
            standing = {}
        for row in told:
            standing.pop(row["key"], None)
            if row["state"] == State.ACTIVE and row["status"] == Status.FINAL:
                standing[row["key"]] = row
        self._keep(learner.name, learner.version, standing)
        return _together(ends, rows)

    def end_without(self, learners: Container[str]) -> pa.Table | None:
        """End what was said by others than `learners`, who are no more; its rows, if any."""
        gone = [name for name in self._of if name not in learners]
        return _together([_ended(row) for name in gone for row in self._of.pop(name)[1].values()], None)

    def _keep(self, name: str, version: int, standing: dict[str, Row]) -> None:
        self._of.pop(name, None)
        if standing:
            self._of[name] = version, standing

    def to_json(self) -> dict[str, tuple[int, list[Row]]]:
        """All of it; `load_json` reads it."""
        return {name: (version, list(rows.values())) for name, (version, rows) in self._of.items()}

    def load_json(self, kept: Mapping[str, Sequence[Any]]) -> None:
        """Read what `to_json` gave."""
        self._of = {name: (version, {r["key"]: r for r in rows}) for name, (version, rows) in kept.items()}


def _ended(row: Row) -> Row:
    """Its numbers stay, and it shows until it did last: nobody knows more."""
    try:
        evidence = json.loads(row["evidence"] or "{}")
    except ValueError:  # a text is declared, and not that it is JSON
        evidence = None
    known = unwatched(evidence if isinstance(evidence, dict) else {})
    said = json.dumps(known, ensure_ascii=False, sort_keys=True)
    return row | {"state": str(State.ENDED), "evidence": said}


def _together(ends: Sequence[Row], rows: pa.Table | None) -> pa.Table | None:
    if not ends:
        return rows
    table = pa.Table.from_pylist(ends, schema=ANOMALY_SCHEMA)
    # A learner's table may have columns that nobody declared, and an empty place where none is allowed.
    return table if rows is None else pa.concat_tables([table, rows], promote_options="default")
