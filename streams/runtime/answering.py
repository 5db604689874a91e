"""An answer to a request to restate, handed out in turns, so that live data does not wait for all of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from models.restate import RestateAnswer
from streams.core.buffer import BUCKET_MS

__all__ = ["Answering"]

_MOST_WINDOWS: Final = 200
"""Windows of different times that are computed in one turn: about a second."""


class Answering:
    """What is yet to be appended to a journal of an answer.

    The first sample of a device may be over a year old, and then all windows since are computed: some hundred
    frames. Were all appended at once, what comes live would stand behind them.

    Parameters
    ----------
    request : str
        Name of the request.
    parts : iterable of RestateAnswer
        The answer to it; read from the store as turns are asked for.

    Attributes
    ----------
    until : int
        Offset of the last frame that was appended, -1 before the first: the next turn is due when it is
        stepped.
    """

    def __init__(self, request: str, parts: Iterable[RestateAnswer]):
        self.request = request
        self.until = -1
        self._parts = iter(parts)
        self._first = next(self._parts, None)
        self._turn: list[bytes] = []

    def turn(self) -> list[bytes]:
        """Frames that are to be appended together, the same until they are `handed_out`."""
        windows = 0
        part = None if self._turn else self._first
        while part is not None:
            windows += len({t for w in part.windows for t in range(w.from_ms, w.to_ms, BUCKET_MS)})
            if self._turn and windows > _MOST_WINDOWS:
                break
            self._turn.append(part.encode())
            part = self._first = next(self._parts, None)
        return self._turn

    def handed_out(self, until: int) -> bool:
        """Note that the turn was appended, up to offset `until`; whether it was the last."""
        self._turn, self.until = [], until
        return self._first is None
