"""What DuckDB says when its file is not as it was written."""

from __future__ import annotations

from typing import Final

__all__ = ["first_line", "is_damage"]

_DAMAGE: Final = (
    "Corrupt database file",
    "not a valid DuckDB database file",
    "Could not read enough bytes",
)
"""It has no class of error of its own for this; its words are held in tests."""


def is_damage(error: BaseException) -> bool:
    """Whether an error of DuckDB says that the file itself is damaged, not that it is busy or full."""
    return any(words in str(error) for words in _DAMAGE)


def first_line(error: BaseException) -> str:
    """The first line of a library's message: what follows is its own query text."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
