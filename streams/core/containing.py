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

if TYPE_CHECKING:
    from streams.core.operator import WindowOperator
    from streams.core.samples import Samples
    from streams.core.stream_site import StreamSite

__all__ = [
    "CONTAINED", "FAILED", "RETRY_MS", "SHOWN_MS", "Failure", "Failures", "SourceError", "Values",
    "contained", "nothing", "of_result", "window_values",
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
        The device, network or entity; of a learner its stream.
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

    Where the operator raises, each half of the devices is tried by itself, down to those that it is about.
    After 32 of them without any two others that it can, it is the operator that is wrong: then what is left
    is not tried one by one.
    """
    parts = _parts(operator, samples, site, failures, [_MOST_ALONE])
    if len(parts) == 1:
        return parts[0]
    values, coverage, reason = zip(*parts, strict=True)
    return np.concatenate(values, axis=1), np.concatenate(coverage), np.concatenate(reason)


def _parts(
    operator: WindowOperator, samples: Samples, site: StreamSite, failures: Failures, left: list[int]
) -> list[Values]:
    devices, n = samples.devices, len(samples.devices)

    def failed(error: Exception) -> list[Values]:
        if n > 1 and left[0] > 0:
            halves = samples.of(devices[: n // 2]), samples.of(devices[n // 2 :])
            return [part for half in halves for part in _parts(operator, half, site, failures, left)]
        left[0] -= 1
        for device in devices.tolist():
            failures.note(operator.name, site.ids[device], error)
        return [nothing(len(operator.fields), n)]

    def compute() -> list[Values]:
        values = of_result(operator.function(samples, site), operator.fields, n)
        if n > 1:  # so it is some devices that are wrong
            left[0] = _MOST_ALONE
        return [values]

    return cast("list[Values]", contained(compute, failed))


def of_result(result: Any, names: tuple[str, ...], subjects: int) -> Values:
    """What an operator gave, as columns of one length; ValueError where they are of another."""
    values, coverage = np.empty((len(names), subjects)), np.empty(subjects)
    reason = np.empty(subjects, dtype=object)
    for at, name in enumerate(names):
        values[at] = getattr(result, name)
    coverage[:], reason[:] = result.coverage, result.reason
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
