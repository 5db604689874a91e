"""A real store for tests of what follows from its rows, not of its writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from models.results import Outputs
from store.duckdb_series import DuckdbSeries
from store.protocol import Select

__all__ = ["WrittenWhenAsked"]


class WrittenWhenAsked(DuckdbSeries):
    """A store that takes what it is handed in one write, once somebody asks: each costs more than its rows."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._handed: list[Outputs] = []

    def write(self, outputs: Sequence[Outputs]) -> None:
        self._handed += outputs

    def select(self, query: Select) -> pa.Table:
        self._take()
        return super().select(query)

    def counts(self) -> dict[str, int]:
        self._take()
        return super().counts()

    def _take(self) -> None:
        handed, self._handed = self._handed, []
        if handed:
            super().write(handed)
