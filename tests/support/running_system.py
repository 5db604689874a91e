"""A collector, a broker and a server as processes, of which any may be killed and comes back at once."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal, Self

from hearthline.client import ServerClient
from hearthline.server import CHECKPOINTS_FILE
from journal.sqlite import FILE_NAME
from tests.support import kill_points, mutant
from tests.support.fault_proxy import FaultProxy
from tests.support.mosquitto import Mosquitto
from tests.support.recorded_fleet import RecordedFleet
from tests.support.system import Program
from tests.support.waiting import until
from tests.support.weather import change

__all__ = ["RunningSystem", "Victim", "until_restated"]

Victim = Literal["server", "collector", "broker"]
CATCH_UP_S: Final = 10.0
KEEPALIVE_S: Final = 5
RESTATED_S: Final = 180.0  # on a machine that is busy with other things


class RunningSystem:
    """Mosquitto without persistence, ``hearthline up`` on the data's clock, ``hearthline edge`` on recordings.

    Collector and server reach the broker each through a `FaultProxy` of its own.

    Parameters
    ----------
    fleet : RecordedFleet
    pace : float
        Recorded seconds a second.
    altered, collector_altered : str
        What of the server and of the collector is altered on purpose, by the names in `mutant`.
    broker : Mosquitto, optional
        Another broker.
    options
        Fields of every device of the collector's configuration.

    Attributes
    ----------
    back_s : list of float
        How long the server took to be ready again, by kill. [s]
    """

    def __init__(
        self,
        fleet: RecordedFleet,
        pace: float,
        *,
        altered: str = "",
        collector_altered: str = "",
        broker: Mosquitto | None = None,
        **options: object,
    ):
        self.fleet = fleet
        self.broker = broker or Mosquitto()
        self.data = fleet.home / "up" / "data"
        self.marker = fleet.home / mutant.MARKER
        self._altered = {"up": altered, "edge": collector_altered}
        self._pace = pace
        self._options = options
        self.back_s: list[float] = []

    def __enter__(self) -> Self:
        self._stack = contextlib.ExitStack()
        try:
            self._stack.enter_context(self.broker)
            self.edge_side = self._stack.enter_context(FaultProxy(self.broker.port))
            self.server_side = self._stack.enter_context(FaultProxy(self.broker.port))
            self.server = self._serve()
            self._stack.callback(self._kill_programs)
            until(self._server_ready, "the server is ready")
            self.collector = self._collect()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _kill_programs(self) -> None:
        for program in (getattr(self, "collector", None), self.server):
            if program is not None:
                program.kill()

    def _serve(self) -> Program:
        words = ("--data-dir", self.data, "--mqtt", self.server_side.url, "--clock", "data", "--port", 0)
        return self._start("up", "--site", self.fleet.site, *words)

    def _collect(self) -> Program:
        keepalive = {"keepalive_s": KEEPALIVE_S}
        config = self.fleet.collector(self.edge_side.url, self._pace, mqtt=keepalive, **self._options)
        return self._start("edge", "--config", config, "--json")

    def _start(self, command: str, *words: object) -> Program:
        names = self._altered[command]
        altered = (names, self.fleet.home) if names else None
        return Program(self.fleet.home / command, command, *words, altered=altered)

    def _server_ready(self) -> bool:
        """Whether the board answers, and the broker has let ingest subscribe."""
        assert self.server.running, f"up ended with {self.server.process.returncode}: {self.server.err}"
        try:
            said = json.loads((self.data / "server.json").read_bytes())
        except (OSError, ValueError):
            return False
        return bool(said["pid"] == self.server.process.pid) and "subscribed" in self.server.err

    def journalled(self) -> int:
        """The journal's last offset: how far the server has come."""
        return _number(self.data / FILE_NAME, "SELECT max(last_offset) FROM stream")

    def checkpointed(self) -> int:
        """The last checkpoint's offset, 0 when there is none."""
        return _number(self.data / CHECKPOINTS_FILE, "SELECT max(offset) FROM checkpoint")

    def await_progress(self) -> None:
        """Wait until something more is journalled."""
        before = self.journalled()
        try:
            until(lambda: self.journalled() > before, "something is journalled", every=0.02)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self._said()}") from None

    def _said(self) -> str:
        """Whether the processes run, what they said last, and where each of their threads is."""
        parts = [("server", self.server), ("collector", self.collector)]
        for name, program in parts:
            if self._altered["up" if name == "server" else "edge"] and program.running:
                program.process.send_signal(mutant.SAYS_WHERE)
        time.sleep(1.0)
        return "\n".join(
            f"{name} {'runs' if program.running else 'ended'}: {program.out[-800:]}\n{program.err[-8000:]}"
            for name, program in parts
        )

    def status(self) -> dict[str, Any]:
        """What ``hearthline status --json`` prints."""
        said = json.loads((self.data / "server.json").read_bytes())
        return ServerClient(said["url"]).status()

    def states(self) -> dict[str, str]:
        """State of each component."""
        return {part["name"]: part["state"] for part in self.status()["components"]}

    def kill(
        self, victim: Victim, *, ready: bool = False, wipe: bool = False, power_cut: bool = False
    ) -> None:
        """End a process as a power cut would, and start it at once.

        Parameters
        ----------
        victim : Victim
        ready : bool
            Wait for the server, and time it.
        wipe : bool
            Delete what the broker kept on disk.
        power_cut : bool
            Of the server's journal leave only what was synced; it is altered with `power_cut`.
        """
        if victim == "broker":
            self.broker.restart(wipe=wipe)
            return
        program = self.server if victim == "server" else self.collector
        program.kill()
        if power_cut:
            self._cut_power()
        self.start(victim, ready=ready)

    def start(self, victim: Literal["server", "collector"], *, ready: bool = False) -> None:
        """Start what has ended; with `ready` wait for the server and time it."""
        began = time.monotonic()
        if victim == "collector":
            self.collector = self._collect()
            return
        self.server = self._serve()
        if ready:
            until(self._server_ready, "the server is ready again", every=0.02)
            self.back_s.append(time.monotonic() - began)

    def _cut_power(self) -> None:
        log, synced = self.data / f"{FILE_NAME}-wal", self.fleet.home / mutant.SYNCED
        log.with_name(f"{FILE_NAME}-shm").unlink(missing_ok=True)
        log.unlink(missing_ok=True)
        if synced.exists():
            log.write_bytes(synced.read_bytes())

    def kill_at_point(
        self, victim: Literal["server", "collector"], point: str, passage: int = 1
    ) -> dict[str, Any]:
        """Have a process end itself where it passes a point, and start it at once; how far it had come."""
        self.await_progress()
        kill_points.arm(self.fleet.home, victim, point, passage)
        if point in kill_points.STARTING_POINTS:
            self.kill(victim)
        program = self.server if victim == "server" else self.collector
        until(lambda: not program.running, f"{victim} passes {point!r}", every=0.01)
        assert program.process.returncode == -signal.SIGKILL, f"{point}: {program.err}"
        assert not kill_points.armed(self.fleet.home, victim)
        done = {"point": point, "journalled": self.journalled(), "checkpointed": self.checkpointed()}
        self.start(victim, ready=True)
        return done

    def kill_at_random(self, rng: random.Random, kills: int, longest_s: float) -> list[dict[str, Any]]:
        """Kill a random process so many times, each after a random while, in changing weather.

        Returns
        -------
        list of dict
            By kill the victim, how long after the one before it, the weather of collector and server, how
            far journal and checkpoint had come, and whether it was killed once more while it started.
        """
        done = []
        for _ in range(kills):
            weather = [change(rng, side) for side in (self.edge_side, self.server_side)]
            began = time.monotonic()
            time.sleep(rng.uniform(0.2, longest_s))
            assert self.collector.running, "expected to kill in mid-stream, the collector has ended"
            victim = rng.choice(("server", "collector", "broker"))
            done.append({
                "victim": victim, "after_s": round(time.monotonic() - began, 2), "weather": weather,
                "journalled": self.journalled(), "checkpointed": self.checkpointed(),
            })  # fmt: skip
            if starting := rng.random() < 1 / 4:
                self.kill(victim, wipe=True)
                time.sleep(rng.uniform(0.1, 1.5))
            done[-1]["starting"] = starting
            for side in (self.edge_side, self.server_side):
                change(rng, side, "clear")
            self.kill(victim, ready=True, wipe=rng.random() < 1 / 2)
            self.await_progress()
        return done

    def drain(self, seconds: float, pace: float | None = None, *, restated: bool = False) -> None:
        """Let the collector play to its end, which is when the server has everything; then stop the server.

        With `pace` it is killed once more and plays what is left at that pace. With `restated` the server
        may first restate what came later than the lateness, which goes on after everything is safe.
        """
        if pace is not None:
            self._pace = pace
            self.kill("collector")
        self.collector.wait(seconds)
        if restated:
            until_restated(self.status)
        else:
            self._let_streams_catch_up()
        self.server.stop()

    def _let_streams_catch_up(self) -> None:
        """Give the streams time for what is journalled: a stop leaves what they have not begun to the next start.

        Whether they did is for the oracle to say, not for this.
        """
        end_s = time.monotonic() + CATCH_UP_S
        while time.monotonic() < end_s and self.server.running:
            with contextlib.suppress(Exception):
                ledger = self.status()["ledger"]
                if 0 < ledger["sent"] <= ledger["stored"] + ledger["dead_lettered"]:
                    return
            time.sleep(0.2)


def until_restated(status: Callable[[], dict[str, Any]]) -> None:
    """Wait until all that is journalled is computed and stored, and nothing of it waits to be restated."""

    def done() -> bool:
        said = status()
        waits = [wait.get(what, 0) for wait in said["lag"].values() for what in ("messages", "records")]
        return not any(waits) and bool(said["restating"]) and not any(said["restating"].values())

    until(done, "all is computed and restated", seconds=RESTATED_S, every=0.2)


def _number(path: Path, query: str) -> int:
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        return int(db.execute(query).fetchone()[0] or 0)
