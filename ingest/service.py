"""Ingest: from the broker to the journal, and only then the acknowledgements."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from itertools import chain, compress
from typing import Final

from ingest.announcing import announce, registry_frame
from ingest.decode import Decoder
from ingest.device_clocks import DeviceClocks
from ingest.endpoint import Endpoint
from ingest.framing import refusal_frames
from ingest.intake import Intake
from ingest.messages import Accepted, Address, ClockMode, Columns, Decoded, Message, Placed, Reason
from ingest.outbound import AckOutbox
from ingest.routes import Router
from ingest.status import IngestStatus, Meter
from ingest.subscriber import Delivered, Subscriber
from journal.protocol import Append, Journal, JournalError
from models.frame import REFUSED_STREAM, Frame
from models.site import Site
from models.wire import BIRTH, DEATH, ROOT, STATE, TELEMETRY, Command

__all__ = ["Ingest", "columns_of", "registry_frame"]

_FLUSH_S: Final = 0.1
_HEARTBEAT_S: Final = 1.0
_RETRY_S: Final = (0.2, 5.0)
_RECALLS: Final = 500_000
_BUSY_MESSAGES: Final = 1_000  # in one batch: then acknowledgements are gathered for longer
_log = logging.getLogger(__name__)


class Ingest:
    """The front door.

    Messages are decoded to frames in batches of at most 100 ms and appended
    to the journal; after that the broker and the collectors are told. While
    the journal refuses, nothing is acknowledged and all of it is tried again.

    Parameters
    ----------
    journal : Journal
    site : Site
    endpoint : Endpoint or None
        The broker; None takes messages only through `submit`.
    clock : callable
        The wall clock or a simulated one. [ms UTC]
    clock_mode : ClockMode
        WALL or DATA: where record times come from.
    client_id : str
        Of the broker's session: fixed, and another one for each ingest of a shared group.
    share_group : str or None
        Share the load with other ingests (``$share/<group>/…``, where the broker can).
    flush_s : float
        How long a message waits for others at most. [s]
    meter : Meter or None
        Counts; one of its own when None.
    no_room : callable
        Why nothing may be journalled now, empty while it may: what comes then stays with broker and
        collectors, and no heartbeat moves now.
    say_quiet : bool
        On the data clock, append one heartbeat to a stream that falls quiet: where the streams run in
        other processes only the journal can tell them that there is nothing more to wait for.
    """

    def __init__(
        self,
        journal: Journal,
        site: Site,
        endpoint: Endpoint | None,
        clock: Callable[[], int],
        *,
        clock_mode: ClockMode = ClockMode.WALL,
        client_id: str = "hearthline-ingest",
        share_group: str | None = None,
        flush_s: float = _FLUSH_S,
        meter: Meter | None = None,
        no_room: Callable[[], str] = str,
        say_quiet: bool = False,
    ) -> None:
        self._journal = journal
        self._site = site
        self._clock = clock
        self._mode = clock_mode
        columns_of(())  # pyarrow looks for pandas at its first array: two threads at once break that import
        self._decoder = Decoder(site)
        self._route = Router(site)
        self._recalls: deque[Address] = deque(maxlen=_RECALLS)
        self._intake = Intake(flush_s)
        self._meter = meter or Meter()
        self._no_room = no_room
        self.device_clocks = DeviceClocks()
        self._write_lock = threading.Lock()
        self._stopping = threading.Event()
        self._now_ms: dict[str, int] | None = None  # read once the journal answers
        self._written: dict[str, float] = {}
        self._say_quiet = say_quiet
        self._unsaid: set[str] = set()  # streams written to since they were said to be quiet
        prefix = f"$share/{share_group}/{ROOT}" if share_group else ROOT
        filters = [f"{prefix}/+/+/+/{kind}" for kind in (TELEMETRY, BIRTH, STATE, DEATH)]
        self._subscriber = Subscriber(endpoint, client_id, filters, self._receive) if endpoint else None
        self._outbox = AckOutbox(self._subscriber.publish if self._subscriber else len)
        self._thread = threading.Thread(target=self._run, name="ingest", daemon=True)

    def start(self) -> None:
        """Connect and work, in threads of its own."""
        self._thread.start()
        if self._subscriber is not None:
            self._subscriber.start()

    def stop(self) -> None:
        """Journal and acknowledge what has come so far, then disconnect. The journal stays open."""
        self._stopping.set()
        self._intake.close()
        if self._thread.is_alive():
            self._thread.join(30)
        if self._subscriber is not None:
            self._subscriber.stop()

    @property
    def status(self) -> IngestStatus:
        """How it fares."""
        broker = self._subscriber.trouble if self._subscriber is not None else ""
        messages, size, waiting_s = self._intake.standing()
        return self._meter.snapshot(messages, broker, queued_bytes=size, waiting_s=waiting_s)

    @property
    def outbox(self) -> AckOutbox:
        """What collectors have still to be told."""
        return self._outbox

    @property
    def ready(self) -> bool:
        """Whether the journal has answered and every stream has the site's registry."""
        return self._now_ms is not None

    def submit(self, messages: Sequence[Message]) -> Decoded:
        """Take messages that did not come from the broker, such as dead letters tried again.

        Raises
        ------
        JournalError
            They could not be journalled; nothing of them was kept.
        """
        columns = Columns.of(
            [m.topic for m in messages], [m.payload for m in messages], [m.retained for m in messages]
        )
        with self._write_lock:
            decoded = self._decode(columns)
            self._append(decoded.placed)
        self._meter.count(decoded, len(messages))
        self._outbox.add(decoded.safe)
        return decoded

    def _receive(self, delivered: Delivered) -> None:
        self._meter.received += len(delivered)
        publishes = delivered.publishes
        if any(publishes.retained):
            for topic in compress(publishes.topics, publishes.retained):
                self._note_recall(topic)
        self._intake.put(delivered)

    def _note_recall(self, topic: str) -> None:
        """Remember a collector that was there before us, when the broker kept nothing for us meanwhile."""
        assert self._subscriber is not None
        route = self._route(topic)
        if self._subscriber.forgotten and route.kind == BIRTH and route.address and not route.reason:
            self._recalls.append(route.address)

    def _recall(self) -> None:
        """Ask those collectors to send again what waits; by themselves they would only after their delay."""
        while self._recalls and self._subscriber is not None:
            now_ms = self._clock()
            command = Command(id=f"recall-{now_ms}", at=now_ms, do="resend")
            if not self._subscriber.publish([
                (self._recalls[0].command_topic, command.model_dump_json().encode())
            ]):  # fmt: skip
                return
            self._recalls.popleft()

    def _run(self) -> None:
        while not self._stopping.is_set() or len(self._intake):
            try:
                self._round()
            except Exception:  # noqa: BLE001  a fault of ours must not end the front door
                _log.exception("ingest: unexpected fault; going on")
                self._stopping.wait(_RETRY_S[0])
        self._outbox.flush(everything=True)

    def _round(self) -> None:
        if self._held_back():
            return
        batch = self._intake.take(_HEARTBEAT_S / 4)
        if batch and not self._write(batch):
            return
        if not self._stopping.is_set():
            self._beat()
        self._outbox.flush(everything=sum(map(len, batch)) < _BUSY_MESSAGES)
        self._recall()

    def _held_back(self) -> bool:
        """Whether what comes has to wait outside; not at the stop, when nothing more comes."""
        reason = "" if self._stopping.is_set() else self._no_room()
        self._meter.trouble("streams", reason)
        if reason:
            self._stopping.wait(_HEARTBEAT_S / 4)
            self._outbox.flush()
        return bool(reason)

    def _write(self, batch: Sequence[Delivered]) -> bool:
        """Journal `batch`, trying until it is done; False when stopped before."""
        delay = _RETRY_S[0]
        while True:
            try:
                # In here too: of a batch that is dropped the broker would wait for acknowledgements for ever.
                messages = columns_of(batch)
                with self._write_lock:
                    decoded = self._decode(messages)
                    self._append(decoded.placed)
                break
            except Exception as error:  # noqa: BLE001  whatever it is, these messages are not safe yet
                if self._stopping.is_set():
                    return False
                self._refused(error)
                self._stopping.wait(delay)
                delay = min(2 * delay, _RETRY_S[1])
        self._meter.count(decoded, len(messages))
        if self._mode is ClockMode.WALL:
            self.device_clocks.notice(decoded.placed, self._clock())
        if self._subscriber is not None:
            self._subscriber.acknowledge(batch)
        self._outbox.add(decoded.safe)
        return True

    def _refused(self, error: Exception) -> None:
        _log.warning(
            "ingest: nothing is acknowledged: %s", error, exc_info=not isinstance(error, JournalError)
        )
        self._meter.trouble("journal", str(error))

    def _known_now(self) -> dict[str, int]:
        """Each stream's now; the first call reads the journal and makes sure that it has the registry."""
        if self._now_ms is None:
            now_ms = {stream: ms for stream, (_, ms) in self._journal.streams().items()}
            wall_ms = self._clock() if self._mode is ClockMode.WALL else 0
            announce(self._journal, self._site, now_ms, wall_ms)
            self._now_ms = now_ms
        return self._now_ms

    def _decode(self, messages: Columns) -> Decoded:
        now_ms = self._known_now()
        wall_ms = self._clock()
        try:
            return self._decoder.decode_columns(
                messages.topics,
                messages.payloads,
                retained=messages.retained,
                mode=self._mode,
                wall_ms=wall_ms,
                now_ms=now_ms,
            )
        except Exception:  # noqa: BLE001  one message that breaks the decoder must not hold up the others
            if len(messages) == 1:
                _log.exception("ingest: cannot decode a message of topic %.200r", messages.topics[0].as_py())
                return _poison(messages, wall_ms)
        half = len(messages) // 2
        return _join(self._decode(messages.slice(0, half)), self._decode(messages.slice(half, len(messages))))

    def _append(self, placed: Sequence[Placed]) -> None:
        now_ms = self._known_now()
        items = [Append(p.stream, p.frame.encode(), p.timestamp_ms) for p in placed]
        with self._meter.appending():
            records = self._journal.append(items)
        self._meter.appended(records)
        self._meter.trouble("journal", "")
        written = time.monotonic()
        for record in records:
            now_ms[record.stream] = max(record.timestamp_ms, now_ms.get(record.stream, record.timestamp_ms))
            self._written[record.stream] = written
            self._unsaid.add(record.stream)

    def _beat(self) -> None:
        """Move the now of streams to which nothing was written for a second."""
        due = time.monotonic() - _HEARTBEAT_S
        quiet = [stream for stream in self._site.streams if self._written.get(stream, due) <= due]
        announced = self._now_ms is not None
        if announced and self._mode is ClockMode.DATA:  # there an empty frame moves nothing
            quiet = [stream for stream in quiet if self._say_quiet and stream in self._unsaid]
        if not quiet:
            return
        try:
            with self._write_lock:
                known = self._known_now()
                if self._mode is ClockMode.WALL or announced:
                    wall_ms = self._clock() if self._mode is ClockMode.WALL else 0
                    beats = [
                        Placed(stream, Frame.heartbeat(), max(wall_ms, known.get(stream, 0)))
                        for stream in quiet
                    ]
                    self._append(beats)
                    self._unsaid.difference_update(quiet)
        except JournalError as error:
            self._refused(error)


def columns_of(batch: Sequence[Delivered]) -> Columns:
    """The messages of `batch`, one after the other."""
    parts = [delivered.publishes for delivered in batch]
    return Columns.of(
        list(chain.from_iterable(p.topics for p in parts)),
        list(chain.from_iterable(p.payloads for p in parts)),
        list(chain.from_iterable(p.retained for p in parts)),
    )


def _poison(message: Columns, wall_ms: int) -> Decoded:
    """A dead letter for the one message that our own decoder cannot stand."""
    row: dict[str, object] = {
        "topic": message.topics[0].as_py(), "device": "", "boot": None, "seq": None,
        "reason": Reason.SCHEMA.value,
        "detail": "expected a message that can be decoded, got one that this version fails on",
        "payload": message.payloads[0].as_py()[: 480 * 1024], "retained": bool(message.retained[0]),
    }  # fmt: skip
    placed = [Placed(REFUSED_STREAM, frame, wall_ms) for frame in refusal_frames([row])]
    return Decoded(placed, Accepted(0, 0, 0), Counter({Reason.SCHEMA: 1}))


def _join(a: Decoded, b: Decoded) -> Decoded:
    newest = dict(a.newest_ms)
    for stream, ms in b.newest_ms.items():
        newest[stream] = max(ms, newest.get(stream, ms))
    accepted = Accepted(
        a.accepted.messages + b.accepted.messages,
        a.accepted.samples + b.accepted.samples,
        a.accepted.events + b.accepted.events,
    )
    return Decoded(
        [*a.placed, *b.placed],
        accepted,
        a.refused + b.refused,
        a.ignored + b.ignored,
        (*a.safe, *b.safe),
        newest,
    )
