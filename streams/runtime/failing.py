"""What operators of each stream cannot compute, as the runtimes show and log it."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from streams.core.containing import Failure

__all__ = ["Failing", "log_new"]

Failing = Mapping[str, tuple[Failure, ...]]
"""By stream; streams in which all can be computed are not in it."""


def log_new(before: Failing, now: Failing, log: logging.Logger) -> None:
    """Log what of `now` did not fail `before`: the first of each operator at full length."""
    for stream, failures in now.items():
        known = {(f.operator, f.subject, f.trace) for f in before.get(stream, ())}
        traced: set[str] = set()
        for f in failures:
            if (f.operator, f.subject, f.trace) in known:
                continue
            trace = "" if f.operator in traced else f"\n{f.trace}"
            traced.add(f.operator)
            log.error(
                "stream %s: %s cannot compute %s, which is unknown; all else goes on: %s%s",
                stream, f.operator, f.subject, f.error, trace,
            )  # fmt: skip
