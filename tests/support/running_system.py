"""A collector, a broker and a server as processes, of which any may be killed and comes back at once."""

from __future__ import annotations

import contextlib
import json
import random
import shlex
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any, Literal, Self
from unittest import mock

from hearthline.server import CHECKPOINTS_FILE
from journal.sqlite import FILE_NAME
from tests.support import mutant, system
from tests.support.mosquitto import Mosquitto
from tests.support.recorded_fleet import RecordedFleet
from tests.support.system import Program, until

__all__ = ["RunningSystem", "Victim"]

Victim = Literal["server", "collector", "broker"]


class RunningSystem:
    """Mosquitto without persistence, ``hearthline up`` on the data's clock, ``hearthline edge`` on recordings.

    Parameters
    ----------
    fleet : RecordedFleet
    pace : float
        Recorded seconds a second.
    altered : str
        What of the server is altered on purpose, by the names in `mutant`.
    options
        Fields of every device of the collector's configuration.
    """

    def __init__(self, fleet: RecordedFleet, pace: float, *, altered: str = "", **options: object):
        self.fleet = fleet
        self.broker = Mosquitto()
        self.data = fleet.home / "up" / "data"
        self.marker = fleet.home / "a kill would hurt"
        self._altered = altered
        self._pace = pace
        self._options = options
        self.back_s: list[float] = []

    def __enter__(self) -> Self:
        self.broker.start()
        self.server = self._serve()
        until(self._server_ready, 40, "the server is ready")
        self.collector = self._collect()
        return self

    def __exit__(self, *_: object) -> None:
        for program in (getattr(self, "collector", None), getattr(self, "server", None)):
            if program is not None:
                program.kill()
        self.broker.__exit__()

    def _serve(self) -> Program:
        words = ("--data-dir", self.data, "--mqtt", self.broker.url, "--clock", "data", "--port", 0)
        with mock.patch.object(system, "HEARTHLINE", self._program()):
            return Program(self.fleet.home / "up", "up", "--site", self.fleet.site, *words)

    def _program(self) -> str:
        """What is started for `hearthline`: itself, or a script that alters something first."""
        if not self._altered:
            return system.HEARTHLINE
        script = self.fleet.home / "mutant.sh"
        words = (sys.executable, "-P", mutant.__file__, self._altered, str(self.marker))
        script.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n', encoding="utf-8")
        script.chmod(0o755)
        return str(script)

    def _collect(self) -> Program:
        config = self.fleet.collector(self.broker.url, self._pace, **self._options)
        return Program(self.fleet.home / "edge", "edge", "--config", config, "--json")

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

    def kill(self, victim: Victim, *, ready: bool = False) -> None:
        """End a process as a power cut would, and start it at once; with `ready` wait for the server and time it."""
        began = time.monotonic()
        if victim == "broker":
            self.broker.restart()
        elif victim == "collector":
            self.collector.kill()
            self.collector = self._collect()
        else:
            self.server.kill()
            self.server = self._serve()
            if ready:
                until(self._server_ready, 40, "the server is ready again", every=0.02)
                self.back_s.append(time.monotonic() - began)

    def kill_at(
        self, victim: Victim, rng: random.Random, kills: int, longest_s: float
    ) -> list[dict[str, Any]]:
        """Kill a process so many times, each after a random while in which something was journalled.

        Returns
        -------
        list of dict
            By kill how long after the one before it, how far journal and checkpoint had come, and whether
            the process was killed once more while it started.
        """
        done = []
        for _ in range(kills):
            before, began = self.journalled(), time.monotonic()
            time.sleep(rng.uniform(0.2, longest_s))
            until(lambda before=before: self.journalled() > before, 40, "something is journalled", every=0.02)
            assert self.collector.running, "expected to kill in mid-stream, the collector has ended"
            after_s = round(time.monotonic() - began, 2)
            done.append(
                {"after_s": after_s, "journalled": self.journalled(), "checkpointed": self.checkpointed()}
            )
            if starting := rng.random() < 1 / 3:
                self.kill(victim)
                time.sleep(rng.uniform(0.1, 2.0))
            done[-1]["starting"] = starting
            self.kill(victim, ready=True)
        return done

    def drain(self, seconds: float) -> None:
        """Let the collector play to its end, which is when the server has everything; then stop the server."""
        self.collector.wait(seconds)
        self.server.stop()


def _number(path: Path, query: str) -> int:
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        return int(db.execute(query).fetchone()[0] or 0)
