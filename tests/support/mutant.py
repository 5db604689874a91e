"""``hearthline`` with something altered on purpose: ``python -P mutant.py NAME[,NAME…] HOME WORDS…``.

A harness that cannot fail proves nothing, so the fault tests run server and collector with a
promise taken out and expect the oracle to notice. Other alterations break no promise: they
make the world worse, or its waits shorter. HOME is the test's directory; in it a file
`MARKER` exists while a kill would hurt: what was acknowledged is not in the journal.

All modules have been imported by then (`forked`): what is altered is what a class, or a module for its own
use, looks up anew each time; a name that others have imported from there stays as it is with them.
"""

from __future__ import annotations

import faulthandler
import queue
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Final

MARKER: Final = "a kill would hurt"
SYNCED: Final = "journal as synced"
TOLD_S: Final = 0.3  # until collectors have deleted what they were told is safe
HELD_S: Final = 1.0
CHECKPOINT_S: Final = 0.5
SAYS_WHERE: Final = signal.SIGUSR2
"""The signal on which it says where each of its threads is."""
_SYNCHRONOUS_FULL: Final = 2


def kill_points(home: Path) -> None:
    """Nothing is broken: the server can be killed at named points."""
    from tests.support.kill_points import watch

    watch(home, "server")


def collector_kill_points(home: Path) -> None:
    """Nothing is broken: the collector can be killed at named points."""
    from tests.support.kill_points import watch

    watch(home, "collector")


def hasty(_home: Path) -> None:
    """Nothing is broken: the server notices a dead broker, and tries again, after seconds."""
    from ingest import subscriber

    subscriber._KEEPALIVE_S = 2
    make = subscriber.Subscriber._make

    def impatient(self, client_id):
        client = make(self, client_id)
        client.reconnect_delay_set(1, 2)
        return client

    subscriber.Subscriber._make = impatient


def hasty_collector(_home: Path) -> None:
    """Nothing is broken: what takes a collector half a minute takes it 3 s."""
    from edge import network, pacing

    pacing.FIRST_RETRY_S = 3.0
    pacing.LAST_RETRY_S = 12.0
    network.HANDSHAKE_S = 3.0
    network.LAST_DELAY_S = 2.0
    network.STEADY_S = 1.0


def patient_collector(_home: Path) -> None:
    """Nothing is broken: what a collector sends again by itself comes after ten minutes."""
    from edge import pacing

    pacing.FIRST_RETRY_S = pacing.LAST_RETRY_S = 600.0


def frequent_checkpoints(_home: Path) -> None:
    """Nothing is broken: a checkpoint every half second, so that kills come before, in and after many."""
    from streams.runtime.local import LocalRuntime

    begin = LocalRuntime.__init__

    def impatient(self, *parts, **more):
        begin(self, *parts, **more)
        self._checkpoint_every_s = CHECKPOINT_S

    LocalRuntime.__init__ = impatient


def power_cut(home: Path) -> None:
    """Nothing is broken: keep what a disk would hold of the journal after a power cut.

    kill -9 leaves what the kernel has yet to write, a power cut does not. By SQLite's documentation a log
    is synced at each commit when `synchronous` is FULL and at checkpoints alone when it is less, so the
    log is kept beside after the former. `RunningSystem.kill` puts it back.
    """
    from journal.sqlite import SqliteJournal

    append = SqliteJournal.append

    def keep(self, items):
        records = append(self, items)
        with self._write_lock:
            if self._writer.execute("PRAGMA synchronous").fetchone()[0] >= _SYNCHRONOUS_FULL:
                shutil.copyfile(f"{self._path}-wal", home / "scratch")
                (home / "scratch").replace(home / SYNCED)
        return records

    SqliteJournal.append = keep


def no_sync(_home: Path) -> None:
    """Leave to the kernel when the journal reaches the disk."""
    from journal import sound_file

    connect = sound_file.connect

    def unsynced(path):
        connection = connect(path)
        connection.execute("PRAGMA synchronous = OFF")
        return connection

    sound_file.connect = unsynced


def twice(_home: Path) -> None:
    """No promise is broken, the world is: the broker delivers every message twice, as QoS 1 allows."""
    from ingest.subscriber import Subscriber

    deliver = Subscriber._on_publishes

    def deliver_twice(self, publishes):
        deliver(self, publishes)
        deliver(self, publishes)

    Subscriber._on_publishes = deliver_twice


def no_duplicate_filter(_home: Path) -> None:
    """Take a message for new however often it came."""
    from streams.core.deliveries import Arrival, Deliveries

    arrive = Deliveries.arrive

    def always_new(self, *name):
        arrive(self, *name)
        return Arrival.NEW

    Deliveries.arrive = always_new


def acks_before_commit(home: Path) -> None:
    """Tell broker and collectors first, and journal then."""
    from ingest.service import Ingest, columns_of

    write = Ingest._write

    def tell_then_write(self, batch):
        decoded = self._decode(columns_of(batch))
        self._subscriber.acknowledge(batch)
        self._outbox.add(decoded.safe)
        self._outbox.flush(everything=True)
        if decoded.accepted.messages:
            time.sleep(TOLD_S)
            (home / MARKER).touch()
            time.sleep(HELD_S)
            (home / MARKER).unlink()
        return write(self, batch)

    Ingest._write = tell_then_write


def late_commit(home: Path) -> None:
    """Let `append` return before the commit, which follows a second later."""
    from journal.sqlite import SqliteJournal
    from models.frame import Frame, FrameKind

    later = {}

    def commit(self):
        time.sleep(TOLD_S)
        (home / MARKER).touch()
        time.sleep(HELD_S)
        with self._write_lock:
            (home / MARKER).unlink()
            self._writer.execute("COMMIT")
            show(self)

    def show(self):
        with self._changed:
            self._tails = self._tails | later
            self._changed.notify_all()

    def append(self, items):
        with self._write_lock:
            telemetry = any(Frame.decode(item.frame).kind is FrameKind.TELEMETRY for item in items)
            began = not self._writer.in_transaction
            if began:
                self._writer.execute("BEGIN IMMEDIATE")
            records, tails = self._insert(items, self._clock())
            later.update(tails)
            if began and telemetry:
                threading.Thread(target=commit, args=(self,)).start()
            elif began:
                self._writer.execute("COMMIT")
                show(self)
        return records

    SqliteJournal.append = append


def checkpoint_before_store(home: Path) -> None:
    """Count results as stored when they have only been handed over, so that a checkpoint may pass them."""
    from streams.runtime.local import LocalRuntime

    frequent_checkpoints(home)
    handed = queue.SimpleQueue()

    def store(runtime):
        while True:
            waiting = handed.get()
            time.sleep(2 * CHECKPOINT_S)
            (home / MARKER).touch()
            time.sleep(HELD_S)
            (home / MARKER).unlink()
            while not handed.empty():
                waiting += handed.get()
            runtime._store.write([outputs for outputs in waiting if not outputs.empty])

    def hand_over(self, _stop):
        if not any(t.name == "store" for t in threading.enumerate()):
            threading.Thread(target=store, args=(self,), name="store", daemon=True).start()
        handed.put(list(self._unwritten))
        self._done.update({outputs.stream: outputs.offset for outputs in self._unwritten})
        self._forwards.extend(forward for outputs in self._unwritten for forward in outputs.forwards)
        self._unwritten.clear()

    LocalRuntime._write = hand_over


def uncertainty_a_bit_off(_home: Path) -> None:
    """Get one field of a result wrong by a part in a million million."""
    from streams.operators import device_heat

    uncertainty = device_heat.heat_expanded_uncertainty
    device_heat.heat_expanded_uncertainty = lambda **given: uncertainty(**given) * (1 + 1e-12)


def readings_again(_home: Path) -> None:
    """Store readings again that the store holds already."""
    from store import duckdb_write

    duckdb_write._after = lambda table, _offset: table


def forgets_what_it_sent(_home: Path) -> None:
    """Take a broker that has a message for a server that has made it safe."""
    from edge.collector import Collector
    from models import wire

    live = Collector.live

    def live_and_forget(self, link, messages, now_s):
        live(self, link, messages, now_s)
        sent = [(m.seq, m.seq) for m in messages if self.pacer.knows(m.seq)]
        self._acked(self.outbox, wire.Ack(boot=self.outbox.boot, ranges=sent))

    Collector.live = live_and_forget


_ALTER: Final = {
    f.__name__: f
    for f in (
        acks_before_commit, checkpoint_before_store, collector_kill_points, forgets_what_it_sent,
        frequent_checkpoints, hasty, hasty_collector, kill_points, late_commit, no_duplicate_filter, no_sync,
        patient_collector, power_cut, readings_again, twice, uncertainty_a_bit_off,
    )
}  # fmt: skip


def main() -> None:
    """Alter what the arguments name, and run the command line that follows."""
    faulthandler.register(SAYS_WHERE, all_threads=True)
    _, names, place, *words = sys.argv
    for name in names.split(","):
        _ALTER[name](Path(place))
    sys.argv = ["hearthline", *words]
    from hearthline.cli import main as hearthline

    hearthline()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    main()
