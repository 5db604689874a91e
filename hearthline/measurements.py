"""Which measurements may be asked for."""

from __future__ import annotations

from pathlib import Path

from hearthline.client import ServerError
from hearthline.series_source import server

__all__ = ["measurement_names"]


def measurement_names(data_dir: Path | None, url: str | None) -> list[str]:
    """What this version computes and keeps, and whatever else the server or data directory has rows of."""
    from models.restate import RESTATEMENT
    from models.results import READING, READING_REPEAT
    from store.rows import REFUSED
    from streams.core.operator import discovered

    names = {READING, READING_REPEAT, RESTATEMENT, REFUSED, "dead_letter", *(o.name for o in discovered())}
    return sorted(names | _stored(data_dir, url))


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
