"""Where in a case file a mistake stands, and checks of single values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

__all__ = ["CaseError", "Report"]

_TOP: Final = ""


class CaseError(ValueError):
    """A case that cannot be run: a line a fault, each with file, line, what was expected and what came."""


class Report:
    """Collects what is wrong with a file, each with its line.

    Parameters
    ----------
    name, text : str
        The file's name, for messages, and what it says.
    """

    def __init__(self, name: str, text: str) -> None:
        self.name, self.found = name, list[str]()
        self._heads: dict[tuple[str, int], int] = {}
        self._keys: dict[tuple[str, int, str], int] = {}
        table, number = _TOP, 0
        seen: dict[str, int] = {}
        for line, raw in enumerate(text.splitlines(), 1):
            stripped = raw.split("#")[0].strip()
            if stripped.startswith("["):
                table = stripped.strip("[]").strip()
                seen[table] = seen.get(table, 0) + 1
                number = seen[table] if stripped.startswith("[[") else 0
                self._heads.setdefault((table, number), line)
            elif "=" in stripped:
                key = stripped.split("=")[0].strip().replace('"', "").replace("'", "")
                self._keys.setdefault((table, number, key), line)

    def at(self, message: str, key: str = "", *, table: str = _TOP, number: int = 0) -> None:
        """Note a fault of `key` in a table, or in the `number`-th of an array of tables."""
        keys, heads = self._keys, self._heads
        line = keys.get((table, number, key)) or keys.get((_TOP, 0, f"{table}.{key}"))
        # A table may also be written in one line, or as an array of such tables: then its own key is named.
        line = line or heads.get((table, number)) or heads.get((table, 0)) or keys.get((_TOP, 0, table)) or 1
        self.found.append(f"{self.name}:{line}: {message}")

    def stop(self) -> None:
        """Raise what was found.

        Raises
        ------
        CaseError
            Something was.
        """
        if self.found:
            raise CaseError("\n".join(self.found))

    def keys(self, values: Mapping[str, Any], known: Iterable[str], *, table: str, number: int = 0) -> None:
        """Note keys of a table that mean nothing."""
        known = tuple(known)
        for key in values:
            if key not in known:
                self.at(f"{key}: expected one of {', '.join(sorted(known))}", key, table=table, number=number)

    def number(
        self,
        values: Mapping[str, Any],
        key: str,
        default: float,
        *,
        low: float,
        high: float = 1e9,
        table: str = _TOP,
        number: int = 0,
    ) -> float:
        """A number from `low` up to `high`, which it may not reach itself."""
        value = values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value < high:
            above = isinstance(value, int | float) and value >= high
            wanted = f"under {high:g}" if above else "any size" if low <= -1e9 else f"at least {low:g}"
            self.at(f"{key}: expected a number of {wanted}, got {value!r}", key, table=table, number=number)
            return default
        return float(value)

    def whole(
        self, values: Mapping[str, Any], key: str, default: int, *, low: int, high: int, table: str = _TOP
    ) -> int:
        """A whole number from `low` to `high`."""
        value = values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            above = isinstance(value, int) and not isinstance(value, bool) and value > high
            wanted = f"at most {high}" if above else f"at least {low}"
            self.at(f"{key}: expected a whole number of {wanted}, got {value!r}", key, table=table)
            return default
        return value
