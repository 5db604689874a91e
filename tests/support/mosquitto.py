"""A real Mosquitto on an ephemeral loopback port."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

import pytest

from tests.support.needs import missing
from tests.support.waiting import PATIENCE_S

__all__ = ["Mosquitto", "free_port"]


_PORTS = range(15_000, 32_000)
"""Below those that Linux gives to connections: what ends and starts again finds its port still free."""


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on."""
    while True:
        port = random.SystemRandom().choice(_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _binary() -> str:
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        missing("mosquitto", "apt-get install mosquitto")
    return found


class Mosquitto:
    """A broker process; use as a context manager.

    Parameters
    ----------
    config_extra : str
        Lines added to its configuration.
    persistence : bool
        Whether it keeps sessions and retained messages on disk (`kill` loses what it had not written).
    """

    def __init__(self, config_extra: str = "", *, persistence: bool = False):
        self._binary = _binary()
        self.port = free_port()
        self.directory = Path(tempfile.mkdtemp(prefix="mosquitto-"))
        self.data = self.directory / "data"
        self.data.mkdir()
        lines = [
            f"listener {self.port} 127.0.0.1",
            "allow_anonymous true",
            "max_queued_messages 0",
            "log_dest none",
            f"persistence {'true' if persistence else 'false'}",
            f"persistence_location {self.data}/",
            "autosave_interval 1",
        ]
        if os.getuid() == 0:
            lines.append("user root")
        self.config = self.directory / "mosquitto.conf"
        self.config.write_text("\n".join([*lines, config_extra, ""]), encoding="utf-8")
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it listens."""
        self.process = subprocess.Popen(
            [self._binary, "-c", str(self.config)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                text = self.process.stderr.read().decode() if self.process.stderr else ""
                pytest.fail(f"mosquitto ended with {self.process.returncode}: {text}")
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=0.2).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        pytest.fail(f"mosquitto does not listen after {PATIENCE_S:g} s")

    def _end(self, number: int) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(PATIENCE_S)
            if self.process.stderr:
                self.process.stderr.close()
            self.process = None

    def stop(self) -> None:
        """End it as an operator would."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._end(signal.SIGKILL)

    def restart(self, *, wipe: bool = False) -> None:
        """Kill it if it runs and start it on the same port; `wipe` loses its sessions and queues."""
        self.kill()
        if wipe:
            shutil.rmtree(self.data)
            self.data.mkdir()
        self.start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)
