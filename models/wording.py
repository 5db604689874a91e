"""Sentences that people read, kept with what is filled in, so that they can be said in another language."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Self

__all__ = ["NOTHING", "Worded", "heard", "lasting", "listed", "reported", "tellable", "worded"]

_UNITS: Final = (("{n} s", 1, 90), ("{n} min", 60, 5_400), ("{n} h", 3_600, 172_800), ("{n} d", 86_400, None))
"""How a time is said: in units of so many seconds, below so many seconds."""


class Worded(str):
    """A sentence in English, which is all that logs and programs see, and what it is made of.

    It stays itself through `str`, so also as the only argument of an exception that is asked for its text.

    Attributes
    ----------
    wording : str
        The catalogue's entry, with names in braces for what is filled in; empty for a list.
    values : mapping of str to str
        What is filled in; what is `Worded` itself is said in the other language too.

    Examples
    --------
    >>> why = worded("expected an open alarm, got a closed one")
    >>> text = worded("it cannot be done: {why}", why=why)
    >>> text, str(ValueError(text)) is text
    ('it cannot be done: expected an open alarm, got a closed one', True)
    """

    __slots__ = ("values", "wording")
    wording: str
    values: Mapping[str, str]

    def __new__(cls, wording: str, values: Mapping[str, str], text: str) -> Self:
        """`text`, made from `wording` and `values`."""
        made = super().__new__(cls, text)
        made.wording = wording
        made.values = values
        return made

    def __str__(self) -> str:
        """Itself: a copy would be English alone."""
        return self


def worded(wording: str, /, **values: str) -> Worded:
    """`wording` with `values` in the places of their names."""
    return Worded(wording, values, wording.format_map(values))


def lasting(seconds: float) -> Worded:
    """How long something is, in the unit that people would take; of a time before now as if it were after it.

    Examples
    --------
    >>> [lasting(s) for s in (0.4, 61, 90, 34_560_000, -7_000)]
    ['0 s', '61 s', '2 min', '400 d', '2 h']
    """
    length = round(abs(seconds))
    unit, each = next((unit, each) for unit, each, below in _UNITS if below is None or length < below)
    return worded(unit, n=f"{length / each:,.0f}")


def listed(items: Iterable[str]) -> Worded:
    """`items` one after another.

    Examples
    --------
    >>> listed([worded("schema"), worded("late")])
    'schema, late'
    """
    of = list(items)
    return Worded("", {str(i): item for i, item in enumerate(of)}, ", ".join(of))


def reported(what: str | BaseException) -> Worded:
    """What went wrong: as it was worded, or in the own words of a library or a system.

    Examples
    --------
    >>> reported(OSError("disk full")).wording, reported(OSError("disk full"))
    ('{why}', 'disk full')
    """
    text = str(what)
    return text if isinstance(text, Worded) else worded("{why}", why=text)


NOTHING: Final = listed(())


def tellable(text: str) -> Any:
    """`text` for a page that says it in its own language: a text, or its wording with what is filled in.

    Examples
    --------
    >>> tellable(worded("{n} open alarms", n="3"))
    {'say': '{n} open alarms', 'with': {'n': '3'}}
    >>> tellable("DuckDB's own words")
    "DuckDB's own words"
    """
    if not isinstance(text, Worded):
        return text
    return {"say": text.wording, "with": {name: tellable(value) for name, value in text.values.items()}}


def heard(told: Any) -> str:
    """What `tellable` was made of, by whoever has it from another process.

    Examples
    --------
    >>> heard(tellable(worded("{n} open alarms", n="3"))), heard("DuckDB's own words")
    ('3 open alarms', "DuckDB's own words")
    >>> heard(tellable(listed([worded("schema"), worded("late")])))
    'schema, late'
    """
    if not isinstance(told, dict):
        return str(told)
    values = {name: heard(value) for name, value in told["with"].items()}
    return worded(told["say"], **values) if told["say"] else listed(values.values())
