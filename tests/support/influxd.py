"""A real InfluxDB on loopback: 1.8, which speaks the 2.x write and query interface when Flux is enabled.

It has neither buckets nor tasks nor tokens of version 2: what concerns those meets a stub.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Final, Self

from tests.support.mosquitto import free_port
from tests.support.needs import missing
from tests.support.waiting import PATIENCE_S

__all__ = ["Influxd"]

INSTALL = "go install github.com/influxdata/influxdb/cmd/influxd@v1.8.10"
DATABASE = "h"

# Go looks for what can be freed only when there is much: a third of what a question costs otherwise.
SPARING: Final = {"GOGC": "off", "GOMEMLIMIT": "512MiB"}


def binary() -> str:
    """Path of `influxd` 1.8: named by HEARTHLINE_INFLUXD, on the path, or where Go puts it."""
    beside = Path.home() / "go" / "bin" / "influxd"
    found = os.environ.get("HEARTHLINE_INFLUXD") or shutil.which("influxd")
    return found or (str(beside) if beside.exists() else missing("influxd", INSTALL))


class Influxd:
    """A server with one database, empty at first; use as a context manager.

    Its data outlives `kill`, and `start` goes on with it on the same port.
    """

    token, org, bucket = "user:password", "o", f"{DATABASE}/autogen"

    def __init__(self, home: Path):
        self._program, self.home, port = binary(), home, free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._config = home / "influxdb.conf"
        self._config.write_text(
            f'reporting-disabled = true\nbind-address = "127.0.0.1:{free_port()}"\n'
            f'[meta]\ndir = "{home}/meta"\n[data]\ndir = "{home}/data"\nwal-dir = "{home}/wal"\n'
            f'[http]\nbind-address = "127.0.0.1:{port}"\nflux-enabled = true\nlog-enabled = false\n'
            "[monitor]\nstore-enabled = false\n[continuous_queries]\nenabled = false\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        log = self.home / "log"
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [self._program, "-config", self._config], env=os.environ | SPARING, stdout=out, stderr=out
            )
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                urllib.request.urlopen(f"{self.url}/ping", timeout=1).close()
                break
            except OSError:
                assert self._process.poll() is None, log.read_text()[-2000:]
                assert time.monotonic() < deadline, f"influxd was not up in {PATIENCE_S:g} s"
                time.sleep(0.05)
        self.database(DATABASE)

    @property
    def pid(self) -> int:
        """Its process, while it runs."""
        assert self._process is not None
        return self._process.pid

    def database(self, name: str) -> str:
        """Make a database; the bucket that it is to clients of version 2."""
        request = urllib.request.Request(f"{self.url}/query?q=CREATE+DATABASE+{name}", method="POST")
        urllib.request.urlopen(request, timeout=PATIENCE_S).close()
        return f"{name}/autogen"

    def end(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(PATIENCE_S)
            self._process = None

    def kill(self) -> None:
        """End it as a power cut would."""
        self.end(signal.SIGKILL)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
