"""``hearthline`` with something altered on purpose: ``python -P mutant.py NAME[,NAME…] MARKER WORDS…``.

A harness that cannot fail proves nothing, so the fault tests run the server with a promise
taken out and expect the oracle to notice. MARKER is a file that exists while a kill would
hurt: what was acknowledged is not in the journal.
"""

from __future__ import annotations

import queue
import sys
import threading
import time
from pathlib import Path
from typing import Final

from hearthline.cli import main
from ingest.service import Ingest, columns_of
from ingest.subscriber import Subscriber
from journal.sqlite import SqliteJournal
from models.frame import Frame, FrameKind
from streams.core.deliveries import Arrival, Deliveries
from streams.operators import device_heat
from streams.runtime.local import LocalRuntime

TOLD_S: Final = 0.3  # until collectors have deleted what they were told is safe
HELD_S: Final = 1.0
CHECKPOINT_S: Final = 0.5


def frequent_checkpoints(_marker: Path) -> None:
    """Nothing is broken: a checkpoint every half second, so that kills come before, in and after many."""
    LocalRuntime.__init__.__kwdefaults__["checkpoint_every_s"] = CHECKPOINT_S


def twice(_marker: Path) -> None:
    """No promise is broken, the world is: the broker delivers every message twice, as QoS 1 allows."""
    deliver = Subscriber._on_publishes

    def on_publishes(self, publishes):
        deliver(self, publishes)
        deliver(self, publishes)

    Subscriber._on_publishes = on_publishes


def no_duplicate_filter(_marker: Path) -> None:
    """Take a message for new however often it came."""
    arrive = Deliveries.arrive

    def always_new(self, *name):
        arrive(self, *name)
        return Arrival.NEW

    Deliveries.arrive = always_new


def acks_before_commit(marker: Path) -> None:
    """Tell broker and collectors first, and journal then."""
    write = Ingest._write

    def tell_then_write(self, batch):
        decoded = self._decode(columns_of(batch))
        self._subscriber.acknowledge(batch)
        self._outbox.add(decoded.acks)
        self._outbox.flush(everything=True)
        if decoded.accepted.messages:
            time.sleep(TOLD_S)
            marker.touch()
            time.sleep(HELD_S)
            marker.unlink()
        return write(self, batch)

    Ingest._write = tell_then_write


def late_commit(marker: Path) -> None:
    """Let `append` return before the commit, which follows a second later."""

    def commit(self):
        time.sleep(TOLD_S)
        marker.touch()
        time.sleep(HELD_S)
        with self._write_lock:
            marker.unlink()
            self._writer.execute("COMMIT")

    def append(self, items):
        with self._write_lock:
            telemetry = any(Frame.decode(item.frame).kind is FrameKind.TELEMETRY for item in items)
            began = not self._writer.in_transaction
            if began:
                self._writer.execute("BEGIN IMMEDIATE")
            records, tails = self._insert(items, self._clock())
            if began and telemetry:
                threading.Thread(target=commit, args=(self,)).start()
            elif began:
                self._writer.execute("COMMIT")
            with self._changed:
                self._tails = self._tails | tails
                self._changed.notify_all()
        return records

    SqliteJournal.append = append


def checkpoint_before_store(marker: Path) -> None:
    """Count results as stored when they have only been handed over, so that a checkpoint may pass them."""
    frequent_checkpoints(marker)
    handed = queue.SimpleQueue()
    write = LocalRuntime._write

    def store(runtime):
        while True:
            waiting = [handed.get()]
            time.sleep(2 * CHECKPOINT_S)
            marker.touch()
            time.sleep(HELD_S)
            marker.unlink()
            while not handed.empty():
                waiting.append(handed.get())
            for outputs, stop in waiting:
                write(runtime, outputs, stop)

    def hand_over(self, outputs, stop):
        if not any(t.name == "store" for t in threading.enumerate()):
            threading.Thread(target=store, args=(self,), name="store", daemon=True).start()
        handed.put((outputs, stop))

    LocalRuntime._write = hand_over


def uncertainty_a_bit_off(_marker: Path) -> None:
    """Get one field of a result wrong by a part in a million million."""
    uncertainty = device_heat.heat_expanded_uncertainty
    device_heat.heat_expanded_uncertainty = lambda **given: uncertainty(**given) * (1 + 1e-12)


_ALTER: Final = {
    f.__name__: f
    for f in (
        frequent_checkpoints,
        twice,
        no_duplicate_filter,
        acks_before_commit,
        late_commit,
        checkpoint_before_store,
        uncertainty_a_bit_off,
    )
}

if __name__ == "__main__":
    _, names, place, *words = sys.argv
    for name in names.split(","):
        _ALTER[name](Path(place))
    sys.argv = ["hearthline", *words]
    main()
