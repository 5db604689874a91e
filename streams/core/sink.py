"""What a runtime hands results to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from models.results import Outputs

__all__ = ["Sink"]


class Sink(Protocol):
    """Keeps results; every store of series is one."""

    def write(self, outputs: Sequence[Outputs]) -> None:
        """Keep all of it, durably when this returns; writing twice equals writing once.

        Raises
        ------
        models.results.SinkUnavailableError
            It cannot be reached now; the same call may succeed later.
        models.results.SinkError
            It refused something.
        """
        ...
