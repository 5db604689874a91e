"""Results of a run, last said, in a form that compares."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from models.results import Outputs

Row = dict[str, Any]


class Said:
    """Everything that outputs said, as a store would keep it."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[tuple[str, int], Row]] = {}
        self.readings: dict[tuple[str, int], Row] = {}
        self.repeats: list[Row] = []

    def take(self, outputs: Iterable[Outputs]) -> Said:
        for output in outputs:
            for measurement, tables in output.rows.items():
                for table in tables:
                    for row in table.to_pylist():
                        self.rows.setdefault(measurement, {})[row["key"], row["window_start"]] = row
            for table in output.readings:
                for row in table.to_pylist():
                    name = (row["key"], row["window_start"])
                    assert name not in self.readings or row["replaces"], f"reading given twice: {name}"
                    self.readings[name] = row
            for table in output.repeats:
                self.repeats.extend(table.to_pylist())
        return self

    def settled(self, measurement: str, *without: str) -> dict[tuple[str, int], Row]:
        """Final and unknown rows, less the columns `without`."""
        return {
            k: {c: v for c, v in row.items() if c not in without}
            for k, row in self.rows.get(measurement, {}).items()
            if row["status"] in {"final", "unknown"}
        }
