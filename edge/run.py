"""A collector process: every device of one configuration, read on schedule and sent."""

from __future__ import annotations

import heapq
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from edge import drivers
from edge.collector import Collector
from edge.config import ConfigError, DeviceConfig, EdgeConfig, MqttConfig
from edge.driver import Driver, DriverError, Recording
from edge.intake import Batch, Intake, Unit
from edge.live import Live
from edge.network import Link, Network
from edge.outbox import Message, Outbox, OutboxFile
from edge.playback import Playback, ahead_ms
from edge.say import Complaints, Say, to_stderr
from edge.workers import Workers
from models import wire

__all__ = ["Fleet", "make_drivers", "run", "wall_ms"]

HUNG_S: Final = 60.0
_MAX_BYTES: Final = 64_000_000


def wall_ms() -> int:
    """Time now. [ms UTC]"""
    return time.time_ns() // 1_000_000


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
        self.units: list[Unit] = []
        self._lines: dict[Unit, tuple[Collector, Link]] = {}
        for device, driver in devices:
            self._add(device, driver)
        self._intake = Intake(self.file, self._deliver, self.complaints)
        recordings = [u for u in self.units if isinstance(u.driver, Recording) and u.driver.fast]
        ahead = (
            ahead_ms([u.device.interval_s for u in recordings] or [10.0])
            if ahead_s is None
            else int(1000 * ahead_s)
        )
        self._playback = Playback(recordings, self._intake.commit, ahead=ahead, complaints=self.complaints)
        self._scheduled = [u for u in self.units if u not in recordings]
        self._workers = Workers("driver", max(1, len(self._scheduled)))
        self._stop = threading.Event()
        self.failure: BaseException | None = None
        self.final: dict[str, dict[str, Any]] = {}
        self._threads = [
            threading.Thread(target=self._guard, args=(work,), name=name, daemon=True)
            for name, work in (("schedule", self._schedule), ("playback", self._play))
        ]

    def _add(self, device: DeviceConfig, driver: Driver) -> None:
        if isinstance(driver, Live):
            driver.complaints = self.complaints
        unit = Unit(device, driver, self.file.outbox(device.id))
        if isinstance(driver, Recording) and unit.outbox.position is not None:
            if driver.resume(unit.outbox.position):
                end = ", at its end" if driver.exhausted else ""
                self._say(
                    f"{device.id}: goes on after message {unit.outbox.next_seq - 1} of {self.file.path}{end}"
                )
            else:
                self._say(f"{device.id}: the recording is another than before: from its beginning")
        collector = Collector(
            device, unit.outbox, clock=self._clock, acked=self._take_ack, complaints=self.complaints
        )
        self.units.append(unit)
        self._lines[unit] = collector, self._network.add(collector)

    def start(self) -> None:
        """Begin to read and send."""
        self._network.start()
        self._intake.start()
        for thread in self._threads:
            thread.start()

    def run(self, stop: threading.Event) -> None:
        """Run until `stop`, or until nothing is left to read and the server has everything."""
        self.start()
        try:
            while not stop.wait(0.05) and not self.drained:
                if (failure := self.failure or self._network.failure or self._intake.failure) is not None:
                    raise failure
        finally:
            self.stop()

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  `run` raises it: a thread that ended quietly loses data
            self.failure = error

    def _play(self) -> None:
        self._playback.run(self._stop)

    @property
    def drained(self) -> bool:
        """Whether nothing is left to read, everything is safe and the server knows of every device."""
        return all(
            unit.done and unit.outbox.count == 0 and self._lines[unit][0].introduced for unit in self.units
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
        self._intake.stop()
        self._network.stop()
        self._workers.close()
        for unit in self.units:
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
        collector, link = self._lines[unit]
        self._network.call(link, lambda: collector.live(link, messages, time.monotonic()))

    def _schedule(self) -> None:
        """Hand each device to a worker when it is due; one that still reads is left out, and said."""
        now = self._clock()
        due = [(now, index) for index in range(len(self._scheduled))]
        while due and not self._stop.is_set():
            at, index = due[0]
            now = self._clock()
            if at > now:
                if at > self._next_due(self._scheduled[index], now):
                    # The clock was set back: what was due at the time before is due by the time now.
                    due = [(self._next_due(unit, now), n) for n, unit in enumerate(self._scheduled)]
                    heapq.heapify(due)
                    continue
                self._stop.wait(min(0.5, (at - now) / 1000 / self._speed))
                continue
            heapq.heappop(due)
            unit = self._scheduled[index]
            if unit.busy_since_s is not None:
                self._mind(unit)
            elif unit.driver.exhausted:
                continue
            elif not (isinstance(unit.driver, Recording) and unit.driver.due_ms(now) > now):
                unit.busy_since_s = time.monotonic()
                self._workers.submit(partial(self._read, unit))
            heapq.heappush(due, (self._next_due(unit, now), index))

    def _next_due(self, unit: Unit, now: int) -> int:
        if isinstance(unit.driver, Recording):
            # No more often than 50 times a second by the wall.
            soonest = now + max(1, int(20 * self._speed))
            return soonest if unit.busy_since_s is not None else max(soonest, unit.driver.due_ms(now))
        period = max(1, round(unit.device.interval_s * 1000))
        return (now // period + 1) * period

    def _mind(self, unit: Unit) -> None:
        busy_s = time.monotonic() - (unit.busy_since_s or 0.0)
        if busy_s > max(HUNG_S, unit.device.interval_s / self._speed):
            self.complaints.add(
                f"hung {unit.device.id}",
                f"degraded: {unit.device.id}: expected driver {unit.device.driver!r} to answer, "
                f"got nothing for {busy_s:.0f} s",
            )

    def _read(self, unit: Unit) -> None:
        driver = unit.driver
        batch = Batch(unit, ())
        try:
            readings = driver.read(self._clock())
            batch = Batch(unit, readings, driver.position() if isinstance(driver, Recording) else None)
        except DriverError as error:
            self.complaints.add(f"driver {unit.device.id}", f"{unit.device.id}: {error}")
        except Exception as error:  # noqa: BLE001  a fault in one driver may not end the others
            self.complaints.add(f"driver {unit.device.id}", f"{unit.device.id}: driver failed: {error!r}")
        finally:
            self._intake.offer(batch)


def make_drivers(config: EdgeConfig, where: str) -> list[tuple[DeviceConfig, Driver]]:
    """Make every driver of a configuration; ConfigError with a line for each that cannot be made."""
    made: list[tuple[DeviceConfig, Driver]] = []
    faults: list[str] = []
    for number, device in enumerate(config.device, 1):
        try:
            made.append((device, drivers.make(device)))
        except (ConfigError, DriverError) as error:
            faults += [
                f"{where}: [[device]] number {number} ({device.id}): {line}"
                for line in str(error).splitlines()
            ]
    if faults:
        for _, driver in made:
            driver.close()
        raise ConfigError("\n".join(faults))
    return made


def run(
    config: EdgeConfig,
    *,
    where: str = "configuration",
    clock: Callable[[], int] = wall_ms,
    stop: threading.Event | None = None,
    say: Say = to_stderr,
) -> dict[str, Any]:
    """Run a whole configuration until `stop` or until it is drained.

    Returns
    -------
    dict
        ``devices`` (what each outbox held at the end), ``refused`` (how many complaints of which kind).

    Raises
    ------
    ConfigError, OutboxError
        If it cannot start.
    """
    fleet = Fleet(
        make_drivers(config, where),
        config.mqtt,
        config.outbox.dir,
        clock=clock,
        max_bytes=int(config.outbox.max_mb * 1_000_000),
        ahead_s=config.playback.ahead_s,
        say=say,
    )
    fleet.run(stop or threading.Event())
    return {"devices": fleet.final, "complaints": dict(fleet.complaints.counts)}
