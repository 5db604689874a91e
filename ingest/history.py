"""Recordings as records to be: what replay feeds to the pipeline instead of a journal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from ingest.decode import Decoder
from ingest.messages import Accepted, ClockMode, Decoded, Placed, Reason
from journal.replay_files import Recording, ReplayError
from models.frame import Frame, FrameKind
from models.site import Site

__all__ = ["Chapter", "read_history"]

_QUARTER_MS: Final = 900_000


@dataclass(frozen=True, slots=True)
class Chapter:
    """A stretch of a recording as frames with the times of their records, in order within each stream.

    Attributes
    ----------
    placed : list of Placed
    messages : int
        Messages read (heartbeats and the like are none).
    accepted : Accepted
    refused : Counter of Reason
    progress : float
        How much of the recording has been read, 0 to 1.
    timed : bool
        Whether the recording says when each message came.
    """

    placed: list[Placed]
    messages: int
    accepted: Accepted
    refused: Counter[Reason] = field(default_factory=Counter)
    progress: float = 1.0
    timed: bool = True


def read_history(
    recordings: Iterable[Recording], decoder: Decoder, latest_ms: int | None = None
) -> Iterator[Chapter]:
    """Decode `recordings` for the pipeline.

    The clock is `received_ms` where the recording has it (a sample more than
    10 minutes ahead of it is refused), else the largest sample time seen that
    is no more than 10 minutes ahead of `latest_ms`, the present: one sample of
    a wrong year would be the clock of all others. None believes them all. No
    frame then holds messages from both sides of a local midnight, nor of an
    instant at which a quarter of an hour closes: so what a ledger says of a day
    is what it said when the messages came, in whatever frames.
    """
    now_ms: dict[str, int] = {}
    shifts_ms = _shifts_ms(decoder.site)
    for recording in recordings:
        placed: list[Placed] = []
        accepted = Accepted(0, 0, 0)
        refused: Counter[Reason] = Counter()
        messages = 0
        for start, stop, is_message in _runs(recording, shifts_ms):
            if is_message:
                decoded = _decode(recording, start, stop, decoder, now_ms, latest_ms)
                placed.extend(decoded.placed)
                refused.update(decoded.refused)
                accepted = _sum(accepted, decoded.accepted)
                messages += stop - start
                new = decoded.placed
            else:
                new = [_carried(recording, i, now_ms) for i in range(start, stop)]
                placed.extend(new)
            for item in new:
                now_ms[item.stream] = max(item.timestamp_ms, now_ms.get(item.stream, item.timestamp_ms))
        timed = recording.received_ms is not None
        yield Chapter(placed, messages, accepted, refused, recording.progress, timed)


def _sum(a: Accepted, b: Accepted) -> Accepted:
    return Accepted(a.messages + b.messages, a.samples + b.samples, a.events + b.events)


def _shifts_ms(site: Site) -> tuple[int, ...]:
    """How long after the quarters of an hour of the clock days end, and windows by their lateness.

    Offsets of time zones are whole quarters of an hour, so that midnights are among them. [ms]
    """
    longest: dict[tuple[str, str], int] = {}
    for device in site.devices.values():
        of = device.stream, device.device_class
        longest[of] = max(longest.get(of, 0), site.lateness_of_ms(device))
    return tuple(
        sorted({0, 1000 * site.lateness_s % _QUARTER_MS, *(ms % _QUARTER_MS for ms in longest.values())})
    )


def _runs(recording: Recording, shifts_ms: Sequence[int]) -> Iterator[tuple[int, int, bool]]:
    """Runs [start, stop) of messages within one quarter of an hour, and of lines that are none (no topic)."""
    topics, received = recording.topics, recording.received_ms
    plain = topics.cast(pa.string()) if pa.types.is_dictionary(topics.type) else topics
    is_message = np.asarray(pc.not_equal(plain, "").to_numpy(zero_copy_only=False), dtype=bool)
    cuts = np.diff(is_message.astype(np.int8)) != 0
    if received is not None:
        for shift_ms in shifts_ms:
            cuts |= np.diff((received - shift_ms) // _QUARTER_MS) != 0
    edges = [0, *(np.flatnonzero(cuts) + 1).tolist(), len(is_message)]
    for start, stop in pairwise(edges):
        if start < stop:
            yield start, stop, bool(is_message[start])


def _decode(
    recording: Recording,
    start: int,
    stop: int,
    decoder: Decoder,
    now_ms: dict[str, int],
    latest_ms: int | None,
) -> Decoded:
    count = stop - start
    received = recording.received_ms
    return decoder.decode_columns(
        recording.topics.slice(start, count),
        recording.payloads.slice(start, count),
        received_ms=None if received is None else received[start:stop],
        retained=recording.retained[start:stop],
        mode=ClockMode.DATA if received is None else ClockMode.RECEIVED,
        wall_ms=None,
        now_ms=now_ms,
        latest_ms=latest_ms,
    )


def _carried(recording: Recording, index: int, now_ms: dict[str, int]) -> Placed:
    payload = recording.payloads[index].as_py()
    try:
        value = orjson.loads(payload)
        stream = value["heartbeat"] if "heartbeat" in value else value["stream"]
        frame = Frame.heartbeat() if "heartbeat" in value else Frame.events(value["action"], FrameKind.ACTION)
        if not isinstance(stream, str):
            raise TypeError("a stream is text")
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError, pa.ArrowException) as error:
        msg = f"expected a heartbeat or action where the topic is empty, got {payload[:120]!r}"
        raise ReplayError(msg) from error
    received = recording.received_ms
    ms = now_ms.get(stream, 0) if received is None else int(received[index])
    return Placed(stream, frame, max(ms, now_ms.get(stream, ms)))
