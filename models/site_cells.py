"""What a single value of a site file may be: readers that say what they expected and what came."""

from __future__ import annotations

import math
import re
import zoneinfo
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from models.wire import check_id

__all__ = ["Choice", "Id", "Month", "Number", "Reader", "Text", "Zone"]

_MONTH: Final = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])")
# There is no year 0, and beside the first and the last one a calendar has no days before or after.
_FIRST_YEAR: Final = 1970
_END_YEAR: Final = 9000
_SHOWN: Final = 60


class Reader(Protocol):
    """Reads one value; ValueError says what was expected and what came."""

    def text(self, cell: str) -> Any:
        """Read a cell that is not empty."""
        ...

    def toml(self, value: object) -> Any:
        """Read a value of a TOML file."""
        ...


class _OfText:
    """Readers whose TOML value is a string that says the same as a cell."""

    def text(self, cell: str) -> Any:
        """Read a cell that is not empty."""
        return cell

    def toml(self, value: object) -> Any:
        """Read a value of a TOML file."""
        if not isinstance(value, str) or not value.strip():
            msg = f"expected text in quotes, got {shown(value)}"
            raise ValueError(msg)
        return self.text(value.strip())


class Text(_OfText):
    """Any text."""


@dataclass(frozen=True)
class Id(_OfText):
    """A name that may be a level of a topic.

    Parameters
    ----------
    reserved : str
        A name that is taken.
    """

    reserved: str = ""

    def text(self, cell: str) -> str:
        """Read a cell that is not empty."""
        if cell == self.reserved:
            msg = f"expected another name than the reserved {cell!r}"
            raise ValueError(msg)
        return check_id(cell)


@dataclass(frozen=True)
class Choice(_OfText):
    """One of a few words."""

    words: tuple[str, ...]

    def text(self, cell: str) -> str:
        """Read a cell that is not empty."""
        if cell not in self.words:
            msg = f"expected one of {', '.join(self.words)}, got {shown(cell)}"
            raise ValueError(msg)
        return cell


class Month(_OfText):
    """A month of the site's calendar, YYYY-MM."""

    def text(self, cell: str) -> str:
        """Read a cell that is not empty."""
        if not _MONTH.fullmatch(cell):
            msg = f"expected a month as YYYY-MM, got {shown(cell)}"
            raise ValueError(msg)
        if not _FIRST_YEAR <= int(cell[:4]) < _END_YEAR:
            msg = f"expected a month from {_FIRST_YEAR} up to {_END_YEAR - 1}, got {shown(cell)}"
            raise ValueError(msg)
        return cell


class Zone(_OfText):
    """A time zone by its IANA name."""

    def text(self, cell: str) -> str:
        """Read a cell that is not empty."""
        try:
            zoneinfo.ZoneInfo(cell)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
            msg = f"expected a time zone such as Asia/Shanghai, got {shown(cell)}"
            raise ValueError(msg) from error
        return cell


@dataclass(frozen=True)
class Number:
    """A finite number within bounds.

    Parameters
    ----------
    low, high : float
        Bounds, inclusive.
    positive : bool
        Zero is outside.
    whole : bool
        Only an integer.
    multiple : int
        Only a multiple of this.
    """

    low: float = -math.inf
    high: float = math.inf
    positive: bool = False
    whole: bool = False
    multiple: int = 1
    expects: str = field(init=False)

    def __post_init__(self) -> None:
        words = "a whole number" if self.whole else "a number"
        if self.multiple > 1:
            words = f"a multiple of {self.multiple}"
        if self.positive:
            words += " above 0"
        elif self.low > -math.inf:
            words += f" from {self.low:g}"
        if self.high < math.inf:
            words += f" up to {self.high:g}"
        object.__setattr__(self, "expects", words)

    def text(self, cell: str) -> float | int:
        """Read a cell that is not empty."""
        try:
            value = float(cell)
        except ValueError:
            value = math.nan
        # Python reads 1_000 as a number, spreadsheets do not.
        if "_" in cell:
            value = math.nan
        return self._within(value, cell)

    def toml(self, value: object) -> float | int:
        """Read a value of a TOML file."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return self._within(math.nan, value)
        try:
            number = float(value)
        except OverflowError:  # an integer beyond all floats
            number = math.nan
        return self._within(number, value)

    def _within(self, value: float, came: object) -> float | int:
        inside = (
            self.low <= value <= self.high and math.isfinite(value) and not (self.positive and value <= 0)
        )
        if inside and (self.whole or self.multiple > 1):
            inside = value % self.multiple == 0
        if not inside:
            msg = f"expected {self.expects}, got {shown(came)}"
            raise ValueError(msg)
        return int(value) if self.whole else value


def shown(value: object) -> str:
    """`value` as an error shows it: quoted, not too long."""
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
