"""Which measurements may be asked for."""

from __future__ import annotations

from pathlib import Path

from hearthline.client import ServerError
from hearthline.series_source import server

__all__ = ["measurement_names"]


def measurement_names(data_dir: Path | None, url: str | None) -> list[str]:
    """What this version computes and keeps, and whatever else the server or data directory has rows of."""
    return sorted(_computed() | _stored(data_dir, url))


def _computed() -> set[str]:
    """What this version can write; an operator need not bear the name of what it does."""
    from alerts.rows import ACTORS, ALARM, ALARM_OPEN, QUALITY
    from hearthline.parts_told import PART
    from models.restate import RESTATEMENT
    from models.results import READING, READING_REPEAT
    from store.rows import REFUSED
    from streams.core.entity_beyond import BEYOND_HORIZON
    from streams.core.entity_operator import EntityOperator, MarkOperator
    from streams.core.operator import Learner, discovered

    names = {READING, READING_REPEAT, RESTATEMENT, REFUSED, BEYOND_HORIZON, PART, "dead_letter"}
    names |= {ALARM, ALARM_OPEN, QUALITY, ACTORS}
    for operator in discovered():
        if isinstance(operator, EntityOperator):
            names.update(operator.writes.keys() - set(operator.hidden))
        elif isinstance(operator, Learner):
            names.add(operator.measurement)
        elif not isinstance(operator, MarkOperator):  # marks are no rows
            names.add(operator.name)
    return names


def _stored(data_dir: Path | None, url: str | None) -> set[str]:
    """Measurements with rows; none where nobody can say."""
    from store.duckdb_series import SERIES_FILE, DuckdbSeries
    from store.protocol import StoreError

    try:
        asked = server(data_dir, url)
        if asked is not None:
            return set(asked.status().get("rows", {}))
        assert data_dir is not None
        store = DuckdbSeries(data_dir / SERIES_FILE, read_only=True)
        try:
            return set(store.counts())
        finally:
            store.close()
    except (ServerError, StoreError):
        return set()
