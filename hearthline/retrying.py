"""Give a dead letter to ingest again, once its cause is mended."""

from __future__ import annotations

import json
from collections.abc import Callable

from dashboards.api import ActionRefusedError
from ingest.decode import Decoder
from ingest.messages import ClockMode, Message
from ingest.service import Ingest
from journal.protocol import Append, Journal, JournalError
from models.frame import LETTER_ALLOWED, LETTER_RETRIED, SEQ_REUSED, Frame, FrameKind
from models.site import Site
from models.wording import listed, worded
from store.protocol import Select, SeriesStore

__all__ = ["DeadLetterRetry"]

_KEPT = ("unit", "region", "device", "topic", "boot", "seq", "detail", "retained")


class DeadLetterRetry:
    """What people may do with dead letters.

    Parameters
    ----------
    store, journal, ingest, site
        Of the running server.
    clock : callable
        [ms UTC]
    clock_mode : ClockMode
    """

    def __init__(
        self,
        store: SeriesStore,
        journal: Journal,
        ingest: Ingest,
        site: Site,
        clock: Callable[[], int],
        clock_mode: ClockMode,
    ):
        self._store = store
        self._journal = journal
        self._ingest = ingest
        self._decoder = Decoder(site)
        self._clock = clock
        self._clock_mode = clock_mode

    def retry(self, dead_letter: str) -> None:
        """Take the message of `dead_letter` in again.

        Raises
        ------
        LookupError
            There is no such dead letter.
        ActionRefusedError
            It was retried before, would be refused again, or cannot be journalled now.
        """
        rows = self._store.select(
            Select("dead_letter", keys=(dead_letter,), newest_first=True, limit=1)
        ).to_pylist()
        if not rows:
            raise LookupError(dead_letter)
        row = rows[0]
        if row["state"] != "open":
            raise ActionRefusedError(worded("dead letter {key} was retried before", key=dead_letter))
        message = Message(row["topic"], row["payload"].encode(), retained=False, received_ms=self._clock())
        tried = self._decoder.decode(
            [message], mode=self._clock_mode, wall_ms=self._clock(), now_ms=self._stream_times()
        )
        if tried.refused:
            reasons = listed(worded(str(reason)) for reason in tried.refused)
            raise ActionRefusedError(
                worded("it would be refused again: {reasons}; mend the cause first", reasons=reasons)
            )
        letter = {
            "id": row["key"], "at": row["window_start"], "state": "retried", "reason": row["reason"],
            **{name: row[name] for name in _KEPT},
            "payload": row["payload"],
        }  # fmt: skip
        try:
            if row["reason"] == SEQ_REUSED:
                # First, and once more if the program ends before the last of the three: that does no harm.
                about = {"boot": row["boot"], "seq": row["seq"], "oldest_t": _oldest_ms(row["payload"])}
                for placed in tried.placed:
                    self._act(placed.stream, row["device"], LETTER_ALLOWED, about)
            self._ingest.submit([message])
            self._act(row["stream"], row["device"] or "", LETTER_RETRIED, letter)
        except JournalError as error:
            raise ActionRefusedError(worded("it cannot be journalled now: {why}", why=str(error))) from error

    def _act(self, stream: str, device: str, kind: str, about: dict[str, object]) -> None:
        """Append what a person does, so that every replay does it at the same place."""
        action = Frame.events(
            [{"device": device, "kind": kind, "payload": json.dumps(about)}], FrameKind.ACTION
        )
        now_ms = self._stream_times().get(stream, self._clock())
        self._journal.append([Append(stream, action.encode(), now_ms)])

    def _stream_times(self) -> dict[str, int]:
        return {stream: ms for stream, (_, ms) in self._journal.streams().items()}


def _oldest_ms(payload: str) -> int:
    """Time of the oldest sample of a telemetry payload. [ms UTC]"""
    return min(int(sample["t"]) for sample in json.loads(payload)["samples"])
