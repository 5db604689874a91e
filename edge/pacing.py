"""When to send what: live messages at once, the backlog as the server's acknowledgements allow. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

__all__ = ["Pacer"]

FIRST_RETRY_S: Final = 30.0
LAST_RETRY_S: Final = 600.0
WINDOW: Final = 64
MAX_LIVE: Final = 4096


@dataclass
class _Sent:
    at_s: float
    attempts: int = 0

    @property
    def due_s(self) -> float:
        return self.at_s + min(FIRST_RETRY_S * 2.0 ** min(self.attempts, 16), LAST_RETRY_S)


@dataclass
class Pacer:
    """What of one outbox is under way; times are monotonic seconds that the caller passes.

    A message is *live* from its first sending for 30 s; if no `ack` came by then it joins the
    backlog, as does everything that waited before. Of the backlog at most `window` messages are
    under way, each sent again after 30 s, doubling to 10 minutes.

    Attributes
    ----------
    cursor : int
        Every waiting number up to it is live or in the window.
    """

    window: int = WINDOW
    cursor: int = 0
    _live: dict[int, float] = field(default_factory=dict)
    _sent: dict[int, _Sent] = field(default_factory=dict)
    _heard_s: float | None = None

    def restart(self) -> None:
        """Forget what is under way: a new connection sends everything that waits."""
        self._live.clear()
        self._sent.clear()
        self.cursor = 0

    def live(self, seq: int, now_s: float) -> None:
        """Note a message that was sent as soon as it was kept."""
        if len(self._live) >= MAX_LIVE:
            return  # it is sent once more, as backlog, when the cursor comes by
        self._live[seq] = now_s
        if seq == self.cursor + 1:
            self.cursor = seq

    def acked(self, ranges: Iterable[tuple[int, int]], now_s: float) -> None:
        """Note what the server has made safe."""
        for first, last in ranges:
            for table in (self._live, self._sent):
                for seq in [s for s in table if first <= s <= last]:
                    del table[seq]
        if self._heard_s is None or now_s - self._heard_s > FIRST_RETRY_S:
            # The server is back: what it missed need not wait for the doubled delay.
            for sent in self._sent.values():
                sent.attempts = 0
        self._heard_s = now_s

    def resend(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Send numbers again, at once: the server asked for them. None means all."""
        if not ranges:
            self.restart()
            return
        for first, last in ranges:
            for seq in [s for s in (*self._live, *self._sent) if first <= s <= last]:
                self._live.pop(seq, None)
                self._sent.pop(seq, None)
            self.cursor = min(self.cursor, first - 1)

    def expire(self, now_s: float) -> list[int]:
        """Numbers of the window that are due again; live ones that were not answered join the backlog."""
        late = [seq for seq, at_s in self._live.items() if now_s - at_s >= FIRST_RETRY_S]
        for seq in late:
            del self._live[seq]
        if late:
            self.cursor = min(self.cursor, min(late) - 1)
        due = [seq for seq, sent in self._sent.items() if sent.due_s <= now_s]
        for seq in due:
            again = self._sent[seq]
            again.at_s, again.attempts = now_s, again.attempts + 1
        return due

    def knows(self, seq: int) -> bool:
        """Whether a message is under way."""
        return seq in self._live or seq in self._sent

    @property
    def room(self) -> int:
        """How many messages of the backlog may be sent now."""
        return max(0, self.window - len(self._sent))

    @property
    def under_way(self) -> int:
        """How many messages were sent and not yet acknowledged."""
        return len(self._live) + len(self._sent)

    def wanted(self, seq: int) -> bool:
        """Whether a waiting message beyond the cursor is to be sent; moves the cursor over it."""
        self.cursor = max(self.cursor, seq)
        return not self.knows(seq)

    def backlog(self, seq: int, now_s: float) -> None:
        """Note that a message of the backlog was sent."""
        self._sent[seq] = _Sent(now_s)

    def lost(self, seq: int) -> None:
        """Forget a number that no longer waits (thinned, or acknowledged meanwhile)."""
        self._sent.pop(seq, None)
        self._live.pop(seq, None)
