"""Whether a DuckDB file is told of every checkpoint before it is kept: an older copy of it then shows."""

from __future__ import annotations

from typing import Any, Final

from store.catalogue import PROGRESS

__all__ = ["TELL_CHECKPOINTS", "is_told_of_checkpoints", "prepare_progress"]

_TOLD: Final = "told of every checkpoint before it is kept"
TELL_CHECKPOINTS: Final = f"COMMENT ON TABLE {PROGRESS} IS '{_TOLD}'"
"""A comment, since releases that do not tell a store of checkpoints leave it as it is."""
_COMMENT: Final = f"SELECT comment FROM duckdb_tables() WHERE table_name = '{PROGRESS}'"  # noqa: S608  a constant


def prepare_progress(connection: Any) -> None:
    """Make the table of how far each stream is kept, where there is none: a new file is told of all."""
    if connection.execute(_COMMENT).fetchone() is None:
        connection.execute(f'CREATE TABLE {PROGRESS} (stream VARCHAR PRIMARY KEY, "offset" BIGINT NOT NULL)')
        connection.execute(TELL_CHECKPOINTS)


def is_told_of_checkpoints(connection: Any) -> bool:
    """Whether an open file is."""
    return bool(connection.execute(_COMMENT).fetchone() == (_TOLD,))
