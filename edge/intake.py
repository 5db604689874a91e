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
from edge.exceptions import Exceptions
from edge.outbox import Message, Outbox, OutboxFile
from edge.outbox_message import TEXT_CHARS
from edge.say import Complaints

__all__ = ["Batch", "Intake", "Unit"]

IDLE_S: Final = 1.0
GROUP_S: Final = 0.01  # samples due at the same instant come within this and share a transaction
RETRY_S: Final = 1.0


@dataclass(eq=False)
class Unit:
    """One device with what reads it and what keeps its samples.

    Attributes
    ----------
    interval_s : float
        How often it is read: the configuration's, or what the server has set. [s]
    held : list of Reading
        What came and is not yet in the outbox.
    open_since_s : float or None
        Since when a message of it gathers samples in the outbox, on the monotonic clock. [s]
    read_ms : int or None
        When it gave something last. [ms UTC]
    error : str
        What its driver complained of last.
    """

    device: DeviceConfig
    driver: Driver
    outbox: Outbox
    interval_s: float
    busy_since_s: float | None = None
    held: list[Reading] = field(default_factory=list)
    held_position: str | None = None
    open_since_s: float | None = None
    read_ms: int | None = None
    error: str = ""
    retired: bool = False
    exceptions: Exceptions | None = None

    def __post_init__(self) -> None:
        if self.device.report is not None:
            self.exceptions = Exceptions(self.device.report)

    @property
    def done(self) -> bool:
        """Whether nothing will ever come again and everything that came is in the outbox."""
        ended = self.retired or self.driver.exhausted
        return ended and self.busy_since_s is None and not self.held and self.open_since_s is None


_Sample = tuple[int, Mapping[str, float | str]]


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
        self._gathering: set[Unit] = set()
        self.turned_s = time.monotonic()
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
            self.turned_s = time.monotonic()
            taken: list[Batch] = []
            try:
                wait_s = 0.1 if self._gathering else IDLE_S
                while (batch := self._queue.get(timeout=wait_s)) is not None:
                    taken.append(batch)
                    wait_s = GROUP_S
                ended = True
            except queue.Empty:
                pass
            for batch in taken:
                self._hold(batch)
            holding = list(dict.fromkeys(batch.unit for batch in taken if batch.unit.held))
            if holding:
                self.commit([Batch(u, u.held, u.held_position) for u in holding], gather=True)
            for unit in holding:
                unit.held = []
            self._close(everything=ended)
            for batch in taken:
                batch.unit.busy_since_s = None

    def _hold(self, batch: Batch) -> None:
        unit, readings = batch.unit, batch.readings
        if readings:
            unit.read_ms = readings[-1].t_ms
        if unit.exceptions is not None:
            clean = [Reading(r.t_ms, self._clean(unit, r.values)) for r in readings]
            readings = unit.exceptions.select(clean)
        if readings:
            unit.held = [*unit.held, *readings]
            unit.held_position = batch.position

    def _close(self, *, everything: bool) -> None:
        """Send the messages that have gathered samples for long enough."""
        now_s = time.monotonic()
        for unit in list(self._gathering):
            since_s = unit.open_since_s if unit.open_since_s is not None else now_s
            ended = everything or unit.retired or unit.driver.exhausted
            if ended or now_s - since_s >= unit.device.batch_s:
                self._gathering.discard(unit)
                messages = unit.outbox.seal()
                unit.open_since_s = None
                if messages:
                    self._deliver(unit, messages)

    def commit(self, batches: Sequence[Batch], *, gather: bool = False) -> None:
        """Write batches in one transaction and deliver them; waits for a disk that takes no more.

        With `gather` the newest samples of a device with `batch_s` wait in the outbox for more.
        """
        while True:
            try:
                with self._file.group():
                    kept = [(batch.unit, self._put(batch, gather=gather)) for batch in batches]
                break
            except sqlite3.OperationalError as error:
                self._complaints.add(
                    "outbox",
                    f"degraded: {self._file.path}: expected room to write, got: {error}; keeps trying",
                )
                if self._stopping:
                    return
                time.sleep(RETRY_S)
                self.turned_s = time.monotonic()
        for unit, messages in kept:
            self._deliver(unit, messages)

    def _put(self, batch: Batch, *, gather: bool) -> list[Message]:
        unit = batch.unit
        samples = [(r.t_ms, self._clean(unit, r.values)) for r in batch.readings]
        messages: list[Message] = []
        step = unit.device.max_samples
        gathers = step if gather and unit.device.batch_s > 0 and not unit.retired else 0
        for start in range(0, len(samples), step):
            part = samples[start : start + step]
            position = batch.position if start + step >= len(samples) else None
            messages += self._keep(unit, part, position, gathers)
        if gathers and unit.outbox.gathering:
            if messages or unit.open_since_s is None:
                unit.open_since_s = time.monotonic()
            self._gathering.add(unit)
        return messages

    def _keep(self, unit: Unit, part: list[_Sample], position: str | None, gathers: int) -> list[Message]:
        """Put samples into the outbox; one that the wire cannot carry costs the others nothing."""
        try:
            return unit.outbox.put(part, position=position, open_until=gathers)
        except ValueError as error:
            if len(part) > 1:
                places = [*[None] * (len(part) - 1), position]
                kept = [self._keep(unit, [s], p, gathers) for s, p in zip(part, places, strict=True)]
                return [message for messages in kept for message in messages]
            self._complaints.add(
                f"refused {unit.device.id}", f"{unit.device.id}: a sample is left out: {error}"
            )
            return []

    def _clean(self, unit: Unit, values: Mapping[str, float | str]) -> Mapping[str, float | str]:
        bad = {name: why for name, value in values.items() if (why := _unfit(value))}
        if not bad:
            return values
        for name, why in bad.items():
            self._complaints.add(
                f"{unit.device.id} {name}", f"{unit.device.id}: {name}: {why}; it is left out", once=True
            )
        return {name: value for name, value in values.items() if name not in bad}


def _unfit(value: float | str) -> str:
    """Why the wire cannot carry a value; empty if it can."""
    if isinstance(value, float):
        return "" if math.isfinite(value) else f"expected a finite number, got {value}"
    if not isinstance(value, str):
        return ""
    if len(value) > TEXT_CHARS:
        return f"expected at most {TEXT_CHARS} characters, got {len(value)}"
    return "" if value.isascii() or value.encode(errors="ignore").decode() == value else "expected UTF-8"
