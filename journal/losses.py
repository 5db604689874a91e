"""What a journal has lost: noted in its file, told until a person has accepted it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from journal.sqlite_format import DamageError, crc_of
from models.wording import worded

__all__ = ["Loss", "after_losses", "note_losses", "read_losses", "told"]


@dataclass(frozen=True, slots=True)
class Loss:
    """Records that were promised and are no more, or a torn end that never was promised.

    Attributes
    ----------
    at_ms : int
        When it was found. [ms UTC]
    stream : str
        Empty for a torn end.
    first_offset, last_offset : int
        Of the records that are lost.
    bytes : int
        What could be told of their size, or of the torn end. [bytes]
    reason : str
    accepted : bool
        Whether a person has said that it is known.
    """

    at_ms: int
    stream: str
    first_offset: int
    last_offset: int
    bytes: int
    reason: str
    accepted: bool = False

    @property
    def records(self) -> int:
        """How many records are lost."""
        return self.last_offset - self.first_offset + 1 if self.stream else 0

    @property
    def values(self) -> tuple[object, ...]:
        """Its row, without the key."""
        told = (
            self.at_ms, self.stream, self.first_offset, self.last_offset, self.bytes, self.reason,
            int(self.accepted),
        )  # fmt: skip
        return (*told, crc_of("loss", *told))

    @classmethod
    def read(cls, row: Sequence[object]) -> Loss:
        """Take a row without its key; DamageError if it is not as it was written."""
        found = cls(*row[:6], bool(row[6]))  # type: ignore[arg-type, call-arg]
        if found.values != tuple(row):
            raise DamageError("expected the note of a loss, got one with a wrong checksum")
        return found


def note_losses(db: sqlite3.Connection, losses: Iterable[Loss]) -> None:
    """Write notes of losses into the running transaction."""
    db.executemany(
        "INSERT INTO loss (at_ms, stream, first_offset, last_offset, bytes, reason, accepted, crc)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [loss.values for loss in losses],
    )


def read_losses(db: sqlite3.Connection) -> list[Loss]:
    """What is known to be lost, oldest first; a note that is itself damaged is found again by the gap."""
    losses = []
    for row in db.execute(
        "SELECT at_ms, stream, first_offset, last_offset, bytes, reason, accepted, crc FROM loss ORDER BY id"
    ):
        try:
            losses.append(Loss.read(row))
        except DamageError:
            continue
    return losses


def after_losses(offset: int, losses: Iterable[Loss]) -> int:
    """The first offset from `offset` on that is not known to be lost; `losses` of one stream."""
    for loss in sorted(losses, key=lambda loss: loss.first_offset):
        if loss.first_offset <= offset <= loss.last_offset:
            offset = loss.last_offset + 1
    return offset


def told(losses: Sequence[Loss]) -> tuple[bool, str]:
    """Whether nothing waits for a person, and what is to be said; empty where there is nothing."""
    found = []
    if unseen := [loss for loss in losses if not loss.accepted]:
        lost = sum(loss.records for loss in unseen)
        where = ", ".join(f"{x.stream} {x.first_offset}–{x.last_offset}" for x in unseen if x.stream)
        damaged = sum(loss.bytes for loss in unseen)
        found.append(
            worded(
                "DAMAGED: {lost} records lost{where}, {damaged} damaged bytes: {why}; "
                "see `hearthline journal check`, then `hearthline journal accept`",
                lost=str(lost), where=f" ({where[:200]})" if where else "", damaged=str(damaged),
                why=unseen[0].reason,
            )
        )  # fmt: skip
    if torn := [loss for loss in losses if loss.accepted and not loss.stream and loss.bytes]:
        cut = str(torn[-1].bytes)
        found.append(worded("a torn end of {n} bytes was cut at the last unclean start", n=cut))
    if len(found) == 2:
        return not unseen, worded("{reason}; {far}", reason=found[0], far=found[1])
    return not unseen, found[0] if found else ""
