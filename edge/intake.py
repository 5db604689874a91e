"""From readings to the outbox: cleaned, batched, and committed together with those of other devices."""

from __future__ import annotations

import math
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from edge.config import DeviceConfig
from edge.driver import Driver, Reading
from edge.outbox import Message, Outbox, OutboxFile
from edge.say import Complaints

__all__ = ["Batch", "Intake", "Unit"]

GROUP_S: Final = 0.01  # samples due at the same instant come within this and share a transaction
RETRY_S: Final = 1.0


@dataclass(eq=False)
class Unit:
    """One device with what reads it and what keeps its samples."""

    device: DeviceConfig
    driver: Driver
    outbox: Outbox
    busy_since_s: float | None = None
    held: list[Reading] = field(default_factory=list)
    held_since_s: float = 0.0
    held_position: str | None = None

    @property
    def done(self) -> bool:
        """Whether nothing will ever come again and everything that came is in the outbox."""
        return self.driver.exhausted and self.busy_since_s is None and not self.held


class Batch(NamedTuple):
    """Readings of one device, and where its driver stands after them."""

    unit: Unit
    readings: Sequence[Reading]
    position: str | None = None


class Intake:
    """The one writer of the outbox.

    Parameters
    ----------
    file : OutboxFile
        Where samples are kept.
    deliver : callable
        Given the messages of a unit once they are on disk.
    complaints : Complaints
        Told of values that the wire cannot carry and of a disk that takes no more.
    """

    def __init__(
        self, file: OutboxFile, deliver: Callable[[Unit, list[Message]], None], complaints: Complaints
    ):
        self._file = file
        self._deliver = deliver
        self._complaints = complaints
        self._queue: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        self._holding: set[Unit] = set()
        self._stopping = False
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._guard, name="intake", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def offer(self, batch: Batch) -> None:
        """Take readings; the unit is busy until they are held or kept."""
        self._queue.put(batch)

    def stop(self) -> None:
        """Write what is held, then end."""
        self._stopping = True
        self._queue.put(None)
        self._thread.join(5.0)

    def _guard(self) -> None:
        try:
            self._run()
        except BaseException as error:  # noqa: BLE001  the fleet raises it: without a writer nothing is kept
            self.failure = error

    def _run(self) -> None:
        ended = False
        while not ended:
            taken: list[Batch] = []
            try:
                wait_s = 0.1 if self._holding else None
                while (batch := self._queue.get(timeout=wait_s)) is not None:
                    taken.append(batch)
                    wait_s = GROUP_S
                ended = True
            except queue.Empty:
                pass
            now_s = time.monotonic()
            for batch in taken:
                self._hold(batch, now_s)
            ready = [u for u in self._holding if ended or self._is_due(u, now_s)]
            if ready:
                self.commit([Batch(u, u.held, u.held_position) for u in ready])
            for unit in ready:
                unit.held = []
                self._holding.discard(unit)
            for batch in taken:
                batch.unit.busy_since_s = None

    def _hold(self, batch: Batch, now_s: float) -> None:
        if not batch.readings:
            return
        if not batch.unit.held:
            batch.unit.held_since_s = now_s
        batch.unit.held = [*batch.unit.held, *batch.readings]
        batch.unit.held_position = batch.position
        self._holding.add(batch.unit)

    @staticmethod
    def _is_due(unit: Unit, now_s: float) -> bool:
        device = unit.device
        full = len(unit.held) >= device.max_samples
        return full or now_s - unit.held_since_s >= device.batch_s or unit.driver.exhausted

    def commit(self, batches: Sequence[Batch]) -> None:
        """Write batches in one transaction and deliver them; waits for a disk that takes no more."""
        while True:
            try:
                with self._file.group():
                    kept = [(batch.unit, self._put(batch)) for batch in batches]
                break
            except sqlite3.OperationalError as error:
                self._complaints.add(
                    "outbox",
                    f"degraded: {self._file.path}: expected room to write, got: {error}; keeps trying",
                )
                if self._stopping:
                    return
                time.sleep(RETRY_S)
        for unit, messages in kept:
            self._deliver(unit, messages)

    def _put(self, batch: Batch) -> list[Message]:
        unit = batch.unit
        samples = [(r.t_ms, self._clean(unit, r.values)) for r in batch.readings]
        messages: list[Message] = []
        step = unit.device.max_samples
        for start in range(0, len(samples), step):
            part = samples[start : start + step]
            position = batch.position if start + step >= len(samples) else None
            try:
                messages += unit.outbox.put(part, position=position)
            except ValueError as error:
                self._complaints.add(
                    f"refused {unit.device.id}", f"{unit.device.id}: samples left out: {error}"
                )
        return messages

    def _clean(self, unit: Unit, values: Mapping[str, float | str]) -> Mapping[str, float | str]:
        bad = [
            name for name, value in values.items() if isinstance(value, float) and not math.isfinite(value)
        ]
        if not bad:
            return values
        for name in bad:
            self._complaints.add(
                f"{unit.device.id} {name}",
                f"{unit.device.id}: {name}: expected a finite number, got {values[name]}; it is left out",
                once=True,
            )
        return {name: value for name, value in values.items() if name not in bad}
