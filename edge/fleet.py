"""The devices of a collector process: each read on its schedule, kept, and sent by its own connection."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from edge.clock import wall_ms
from edge.collector import Collector
from edge.commands import AGE_MS, CommandBook
from edge.config import DeviceConfig, MqttConfig
from edge.driver import Driver, DriverError, Recording
from edge.intake import Batch, Intake, Unit
from edge.live import Live
from edge.network import Link, Network
from edge.outbox import Message, Outbox, OutboxFile
from edge.playback import Playback, ahead_ms
from edge.reload import Changes
from edge.say import Complaints, Say, to_stderr
from edge.schedule import Schedule
from edge.supervisor import Supervisor
from edge.workers import Workers
from models import wire

__all__ = ["Fleet"]

RETIRE_S: Final = 2.0
_MAX_BYTES: Final = 64_000_000


class Fleet:
    """The devices of one process, each with its own connection, all with one outbox file.

    Parameters
    ----------
    devices : sequence of (DeviceConfig, Driver)
        What is read; schedules are aligned to multiples of each device's interval.
    mqtt : MqttConfig
        The broker.
    outbox_dir : Path
        Where the outbox file lies.
    clock : callable
        Time that schedules, births and states follow, ms UTC.
    speed : float
        How fast that clock runs against the wall.
    max_bytes : int
        How much may wait in the outbox.
    ahead_s : float, optional
        See `PlaybackConfig`.
    say : callable
        Told what a person has to know.

    Raises
    ------
    OutboxError
        If the outbox cannot be written or another process holds it.
    """

    def __init__(
        self,
        devices: Sequence[tuple[DeviceConfig, Driver]],
        mqtt: MqttConfig,
        outbox_dir: Path,
        *,
        clock: Callable[[], int] = wall_ms,
        speed: float = 1.0,
        max_bytes: int = _MAX_BYTES,
        ahead_s: float | None = None,
        say: Say = to_stderr,
    ):
        self._clock = clock
        self._speed = speed
        self._say = say
        self.complaints = Complaints(say)
        # A boot is the wall's time even where an injected clock runs: it has to differ from all before it.
        self.file = OutboxFile(outbox_dir / "outbox.sqlite", boot_ms=wall_ms(), max_bytes=max_bytes, say=say)
        self._acks: list[tuple[Outbox, wire.Ack]] = []
        self._network = Network(mqtt, between=self._commit_acks, say=say)
        self._book = CommandBook(outbox_dir / "commands.json")
        self.units: list[Unit] = []
        self._retired: list[Unit] = []
        self._lines: dict[str, tuple[Collector, Link]] = {}
        for device, driver in devices:
            self.units.append(self._unit(device, driver))
            self._lines[device.id] = self._line(self.units[-1], self._network.add)
        self._intake = Intake(self.file, self._deliver, self.complaints)
        recordings = [u for u in self.units if isinstance(u.driver, Recording) and u.driver.fast]
        ahead = (
            ahead_ms([u.device.interval_s for u in recordings] or [10.0])
            if ahead_s is None
            else int(1000 * ahead_s)
        )
        self._playback = Playback(recordings, self._intake.commit, ahead=ahead, complaints=self.complaints)
        self._in_step = {u.device.id for u in recordings}
        scheduled = [u for u in self.units if u not in recordings]
        self._workers = Workers("driver", max(1, len(scheduled)))
        self._schedule = Schedule(
            scheduled, clock=clock, speed=speed, read=self._hand_over, complaints=self.complaints
        )
        self._stop = threading.Event()
        self.failure: BaseException | None = None
        self.final: dict[str, dict[str, Any]] = {}
        self._threads = [
            threading.Thread(target=self._guard, args=(work,), name=name, daemon=True)
            for name, work in (("schedule", self._schedule.run), ("playback", self._playback.run))
        ]

    def _unit(self, device: DeviceConfig, driver: Driver) -> Unit:
        if isinstance(driver, Live):
            driver.complaints = self.complaints
        interval_s = self._book.interval_s(device.id, device.interval_s)
        unit = Unit(device, driver, self.file.outbox(device.id), interval_s)
        if isinstance(driver, Recording) and unit.outbox.position is not None:
            if driver.resume(unit.outbox.position):
                end = ", at its end" if driver.exhausted else ""
                self._say(
                    f"{device.id}: goes on after message {unit.outbox.next_seq - 1} of {self.file.path}{end}"
                )
            else:
                self._say(f"{device.id}: the recording is another than before: from its beginning")
        return unit

    def _line(self, unit: Unit, add: Callable[[Collector], Link]) -> tuple[Collector, Link]:
        collector = Collector(
            unit.device,
            unit.outbox,
            clock=self._clock,
            acked=self._take_ack,
            complaints=self.complaints,
            book=self._book,
            obey=partial(self._obey, unit.device.id),
            age_ms=int(AGE_MS * max(1.0, self._speed)),
        )
        return collector, add(collector)

    def start(self) -> None:
        """Begin to read and send."""
        self._network.start()
        self._intake.start()
        for thread in self._threads:
            thread.start()

    def run(self, stop: threading.Event, supervisor: Supervisor | None = None) -> None:
        """Run until `stop`, or until nothing is left to read and the server has everything."""
        self.start()
        try:
            while not stop.wait(0.05) and not self.drained:
                if (failure := self.failure or self._network.failure or self._intake.failure) is not None:
                    raise failure
                self._see_off()
                if supervisor is not None:
                    supervisor.turn(self)
        finally:
            if supervisor is not None:
                supervisor.end()
            self.stop()

    @property
    def turned_s(self) -> float:
        """When the thread that is furthest behind last came around, on the monotonic clock. [s]"""
        return min(self._schedule.turned_s, self._network.turned_s, self._intake.turned_s)

    def _guard(self, work: Callable[[threading.Event], None]) -> None:
        try:
            work(self._stop)
        except BaseException as error:  # noqa: BLE001  `run` raises it: a thread that ended quietly loses data
            self.failure = error

    @property
    def drained(self) -> bool:
        """Whether nothing is left to read, everything is safe and the server knows of every device."""
        return all(
            unit.done and unit.outbox.count == 0 and self._lines[unit.device.id][0].introduced
            for unit in self.units
        )

    @property
    def connected(self) -> int:
        """How many devices have a standing connection."""
        return self._network.connected

    def standings(self) -> dict[str, dict[str, Any]]:
        """What every outbox reports, by device."""
        return {unit.device.id: unit.outbox.standing()._asdict() for unit in self.units}

    def stop(self) -> None:
        """End cleanly: what was read is kept, the last state is published, then the connections part."""
        self._stop.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(2.0)
        _await_readings((*self.units, *self._retired))
        self._intake.stop()
        self._network.stop()
        self._workers.close()
        for unit in (*self.units, *self._retired):
            if unit.busy_since_s is None:
                unit.driver.close()
        self.final = self.standings()
        self.file.close()

    def _take_ack(self, outbox: Outbox, ack: wire.Ack) -> None:
        self._acks.append((outbox, ack))

    def _commit_acks(self) -> None:
        """Delete what was acknowledged, all devices in one transaction."""
        if not self._acks:
            return
        try:
            with self.file.group():
                for outbox, ack in self._acks:
                    outbox.ack(ack.boot, ack.ranges)
        except sqlite3.OperationalError as error:
            # Nothing is lost: it is deleted later, or sent again and acknowledged again.
            self.complaints.add(
                "ack", f"degraded: {self.file.path}: expected room to write, got: {error}; keeps trying"
            )
            return
        self._acks.clear()

    def _deliver(self, unit: Unit, messages: list[Message]) -> None:
        collector, link = self._lines[unit.device.id]
        self._network.call(link, lambda: collector.live(link, messages, time.monotonic()))

    def _hand_over(self, unit: Unit) -> None:
        self._workers.submit(partial(self._read, unit))

    def _obey(self, device: str, command: wire.Command) -> dict[str, Any] | None:
        """What a command asks beyond sending again; in the network thread."""
        units = (*self.units, *self._retired)  # one that was taken out listens until all of it is safe
        unit = next((unit for unit in units if unit.device.id == device), None)
        if unit is None:
            return None
        if command.do == "set-interval":
            unit.interval_s = self._book.interval_s(device, unit.device.interval_s)
            self._schedule.replace([u for u in self.units if u.device.id not in self._in_step])
        return self._diagnose(unit) if command.do == "diagnose" else None

    def _diagnose(self, unit: Unit) -> dict[str, Any]:
        name = unit.device.id
        busy_s = time.monotonic() - unit.busy_since_s if unit.busy_since_s is not None else 0.0
        return {
            "driver": unit.device.driver,
            "interval_s": unit.interval_s,
            "last_read": unit.read_ms,
            "last_error": unit.error[:500],
            "busy_s": round(busy_s, 1),
            "held_back": unit.exceptions.held_back if unit.exceptions is not None else 0,
            "outbox_messages": unit.outbox.count,
            "outbox_bytes": unit.outbox.size,
            "complaints": {k: n for k, n in self.complaints.counts.items() if name in k.split()},
            "clock": wall_ms(),
        }

    def apply(self, change: Changes, made: Sequence[tuple[DeviceConfig, Driver]], mqtt: MqttConfig) -> None:
        """Go on with another set of devices; those that did not change are not disturbed.

        What a device that ends still has to say is sent before it parts.
        """
        drivers_of = {device.id: (device, driver) for device, driver in made}
        ended = {*change.removed, *(device.id for device in change.altered)}
        old = [unit for unit in self.units if unit.device.id in ended]
        self._retire(old)
        fresh = [self._unit(*drivers_of[device.id]) for device in (*change.added, *change.altered)]
        leaving = {unit.device.id: unit for unit in self._retired}
        self._retired = [u for u in (*self._retired, *old) if u.device.id not in drivers_of]
        self.units = [u for u in self.units if u.device.id not in ended] + fresh
        self._workers.most = max(1, len(self.units) + len(self._retired) + len(old))
        if change.broker:
            self._network.settings = mqtt
            for _, link in self._lines.values():
                self._network.renew(link)
        for unit in fresh:
            name = unit.device.id
            if name in self._lines and (name in ended or name in leaving):
                collector, link = self._lines[name]
                self._network.renew(link, partial(collector.become, unit.device))
            else:
                self._lines[name] = self._line(unit, self._network.add_later)
        self._schedule.replace([u for u in self.units if u.device.id not in self._in_step], fresh)

    def _retire(self, units: Sequence[Unit]) -> None:
        """Read some no more, and wait a little for what is being read: a recording goes on after it."""
        kept = [u for u in self.units if u not in units]
        self._schedule.replace([u for u in kept if u.device.id not in self._in_step])
        _await_readings(units)
        for unit in units:
            unit.retired = True
            if unit.busy_since_s is None:
                unit.driver.close()

    def _see_off(self) -> None:
        """Part from devices that are no longer in the configuration, once the server has what they gave."""
        for unit in [u for u in self._retired if u.done and u.outbox.count == 0]:
            self._retired.remove(unit)
            unit.driver.close()
            self._network.part(self._lines.pop(unit.device.id)[1])

    @property
    def in_step(self) -> set[str]:
        """Devices whose recordings play as fast as they go."""
        return self._in_step

    def _read(self, unit: Unit) -> None:
        driver = unit.driver
        batch = Batch(unit, ())
        try:
            readings = driver.read(self._clock())
            batch = Batch(unit, readings, driver.position() if isinstance(driver, Recording) else None)
            unit.error = ""
        except DriverError as error:
            unit.error = str(error)
            self.complaints.add(f"driver {unit.device.id}", f"{unit.device.id}: {error}")
        except Exception as error:  # noqa: BLE001  a fault in one driver may not end the others
            unit.error = repr(error)
            self.complaints.add(f"driver {unit.device.id}", f"{unit.device.id}: driver failed: {error!r}")
        finally:
            self._intake.offer(batch)


def _await_readings(units: Sequence[Unit]) -> None:
    """Wait a little for what is being read, until it is kept: a device that hangs is left behind."""
    end_s = time.monotonic() + RETIRE_S
    while any(unit.busy_since_s is not None for unit in units) and time.monotonic() < end_s:
        time.sleep(0.01)
