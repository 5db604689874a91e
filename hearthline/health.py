"""The ledger of the whole fleet, from what the store keeps."""

from __future__ import annotations

from typing import Final

from store.protocol import Select, SeriesStore

__all__ = ["LEDGER_FIELDS", "ledger_totals"]

LEDGER_FIELDS: Final = (
    "sent", "stored", "dead_lettered", "waiting", "thinned", "unaccounted", "duplicate", "repeat",
)  # fmt: skip


def ledger_totals(store: SeriesStore) -> dict[str, int]:
    """Sum of every device's newest ledger row, by field."""
    rows = store.select(Select("ledger", latest=True))
    names = set(rows.column_names)
    return {
        field: sum(value or 0 for value in rows.column(field).to_pylist()) if field in names else 0
        for field in LEDGER_FIELDS
    }
