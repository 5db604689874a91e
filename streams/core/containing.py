"""What is said where an operator cannot compute something: that alone is unknown, and all else goes on.

An operator is a pure function, so what it cannot compute once it cannot compute anywhere: in each runtime,
after each crash and in a replay the same rows are unknown.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from streams.core.declared import numbers, texts

if TYPE_CHECKING:
    from streams.core.operator import WindowOperator
    from streams.core.samples import Samples
    from streams.core.stream_site import StreamSite

__all__ = [
    "CONTAINED", "FAILED", "RETRY_MS", "SHOWN_MS", "Failure", "Failures", "SourceError", "Values",
    "contained", "in_halves", "nothing", "of_result", "window_values",
]  # fmt: skip

FAILED: Final = "computing_failed"
"""Reason of rows that their operator could not compute."""
CONTAINED: tuple[type[Exception], ...] = (Exception,)
"""What is contained: not a lack of memory, which no input is to blame for."""
SHOWN_MS: Final = 7_200_000
"""How long after it failed last something counts as failing. [ms]"""
RETRY_MS: Final = SHOWN_MS // 2
"""When an entity is computed again of which nothing new came. [ms]"""
_MOST_ALONE: Final = 32
"""How many devices are tried alone before an operator counts as wrong."""
_NUMBERS: Final = frozenset({float, int})
_ARRAY: Final = np.ndarray
Values = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.object_]]
"""Fields, shape (fields, subjects), coverage and reason, shape (subjects,)."""


class SourceError(RuntimeError):
    """What an entity rests on cannot be computed."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Something that an operator cannot compute.

    Attributes
    ----------
    operator : str
    subject : str
        The device, network or entity; of a learner its stream, of a row that it tells the row's key.
    error : str
        What is wrong, and where in the code.
    trace : str
        The same at full length, for the log.
    first_ms, last_ms : int
        The stream's now when it failed first and last. [ms UTC]
    """

    operator: str
    subject: str
    error: str
    trace: str
    first_ms: int
    last_ms: int

    @property
    def follows(self) -> bool:
        """Whether it only rests on something that cannot be computed."""
        return _kind(self.error)[0] == SourceError.__name__


@dataclass(slots=True)
class Failures:
    """What the operators of a stream cannot compute, the newest `most` of it.

    Attributes
    ----------
    now_ms : int
        The stream's now. [ms UTC]
    """

    now_ms: int = 0
    most: int = 1000
    _of: dict[tuple[str, str], Failure] = field(default_factory=dict)

    def note(self, operator: str, subject: str, error: Exception) -> None:
        """Note that an operator could not compute a subject at this now."""
        before, told = self._of.pop((operator, subject), None), _told(error)
        if before is None or _kind(before.error) != _kind(told):
            trace = "".join(traceback.format_exception(error))
            noted = Failure(operator, subject, told, trace, self.now_ms, self.now_ms)
        else:
            noted = replace(before, error=told, last_ms=self.now_ms)
        self._of[operator, subject] = noted
        while len(self._of) > self.most:
            del self._of[next(iter(self._of))]

    def forget(self, operator: str, subject: str) -> None:
        """Note that all rows of an entity were computed again."""
        self._of.pop((operator, subject), None)

    def all(self) -> tuple[Failure, ...]:
        """What failed, the newest last."""
        return tuple(self._of.values())

    def recent(self) -> tuple[Failure, ...]:
        """What failed in the last two hours of now, the newest last."""
        return tuple(f for f in list(self._of.values()) if f.last_ms > self.now_ms - SHOWN_MS)


def contained(compute: Callable[[], Any], failed: Callable[[Exception], Any]) -> Any:
    """Give what `compute` gives, or what `failed` makes of its exception."""
    try:
        return compute()
    except MemoryError:
        raise
    except CONTAINED as error:
        return failed(error)


def window_values(operator: WindowOperator, samples: Samples, site: StreamSite, failures: Failures) -> Values:
    """Compute a window of every device; one that the operator cannot compute has no value, and says so.

    Where the operator raises, `in_halves` finds those that it is about; where one value is of another type
    than declared, that device is it.
    """

    def compute(of: NDArray[np.int64]) -> Values:
        def odd(at: int, error: Exception) -> None:
            failures.note(operator.name, site.ids[int(of[at])], error)

        given = samples if of is devices else samples.of(of)
        return of_result(operator.function(given, site), operator.fields, len(of), odd)

    def failed(of: NDArray[np.int64], error: Exception) -> Values:
        for device in of.tolist():
            failures.note(operator.name, site.ids[device], error)
        return nothing(len(operator.fields), len(of))

    devices = samples.devices
    parts = in_halves(devices, compute, failed)
    if len(parts) == 1:
        return cast("Values", parts[0])
    values, coverage, reason = zip(*parts, strict=True)
    return np.concatenate(values, axis=1), np.concatenate(coverage), np.concatenate(reason)


def in_halves(
    of: NDArray[np.int64],
    compute: Callable[[NDArray[np.int64]], Any],
    failed: Callable[[NDArray[np.int64], Exception], Any],
    left: list[int] | None = None,
) -> list[Any]:
    """What `compute` gives of subjects: of all, or of each half by itself where it raises, and so on.

    Of those of whom it can give nothing it is what `failed` gives. After 32 that were tried alone without
    any two others that it can compute, what is left is not tried one by one; `left` has how many may be.
    """
    n, left = len(of), [_MOST_ALONE] if left is None else left

    def halved(error: Exception) -> list[Any]:
        if n > 1 and left[0] > 0:
            halves = of[: n // 2], of[n // 2 :]
            return [part for half in halves for part in in_halves(half, compute, failed, left)]
        left[0] -= 1
        return [failed(of, error)]

    def whole() -> list[Any]:
        given = compute(of)
        if n > 1:  # so it is some of them that are wrong
            left[0] = _MOST_ALONE
        return [given]

    return cast("list[Any]", contained(whole, halved))


def of_result(
    result: Any, names: tuple[str, ...], subjects: int, odd: Callable[[int, Exception], object]
) -> Values:
    """What an operator gave, as columns of one length; ValueError where they are of another.

    Of a subject of which one value is of another type than declared there is nothing, and `odd` is told.
    """
    values, coverage = np.empty((len(names), subjects)), np.empty(subjects)
    reason = np.empty(subjects, dtype=object)
    refused: dict[int, Exception] = {}
    for at, name in enumerate(names):
        column = getattr(result, name)
        if column.__class__ not in _NUMBERS and (column.__class__ is not _ARRAY or column.dtype.kind != "f"):
            column = numbers(column, subjects, name, refused.setdefault)
        values[at] = column
    covered, why_not = result.coverage, result.reason
    if covered.__class__ is not _ARRAY or covered.dtype.kind != "f":
        covered = numbers(covered, subjects, "coverage", refused.setdefault)
    if why_not.__class__ is not str and (why_not.__class__ is not _ARRAY or why_not.dtype.kind != "U"):
        why_not = texts(why_not, subjects, "reason", refused.setdefault)
    coverage[:], reason[:] = covered, why_not
    for at, why in refused.items():
        values[:, at], coverage[at], reason[at] = np.nan, 0.0, FAILED
        odd(at, why)
    return values, coverage, reason


def nothing(fields: int, subjects: int) -> Values:
    """What is said of `subjects` that cannot be computed."""
    return np.full((fields, subjects), np.nan), np.zeros(subjects), np.full(subjects, FAILED, dtype=object)


def _kind(told: str) -> tuple[str, str]:
    """Of what was told of an error its type and the line of the code: its words may have numbers."""
    return told.partition(":")[0], told.rpartition("(")[2]


def _told(error: Exception) -> str:
    """What is wrong, and the line of the code at which it was raised."""
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    where = f" ({PurePath(at.tb_frame.f_code.co_filename).name}:{at.tb_lineno})" if at else ""
    return f"{type(error).__name__}: {error}"[:300] + where
