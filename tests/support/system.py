"""The programs of the system as an operator starts them: real processes, ephemeral ports, stopped by signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import paho.mqtt.client as mqtt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from hearthline.client import ServerClient
from tests.support import mutant
from tests.support.forked import ForkedProgram
from tests.support.waiting import PATIENCE_S, until

__all__ = [
    "HEARTHLINE",
    "Program",
    "Publisher",
    "Server",
    "device_rows",
    "ended",
    "recordings",
    "run",
    "write_site",
]

HEARTHLINE = str(Path(sys.executable).with_name("hearthline"))
_QUIET = {k: v for k, v in os.environ.items() if not k.startswith("HEARTHLINE_")}


def recordings(name: str) -> Path:
    """A file of the recordings; skips, saying so, where they are not at hand."""
    root = os.environ.get("HEARTHLINE_RECORDINGS", "")
    if not root:
        pytest.skip("HEARTHLINE_RECORDINGS is not set")
    return Path(root) / name


def ended(
    *words: object, timeout: float = PATIENCE_S, cwd: Path | None = None, env: Mapping[str, str] = _QUIET
) -> subprocess.CompletedProcess[str]:
    """What a command said until its end, and how it ended."""
    args = [HEARTHLINE, *map(str, words)]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        program = ForkedProgram(args, stdout=out, stderr=err, env=env, cwd=cwd)
        try:
            code = program.wait(timeout)
        finally:
            program.kill()
        said = [file.read().decode() for file in (out, err) if file.seek(0) == 0]
    return subprocess.CompletedProcess(args, code, *said)


def run(
    *words: object, code: int = 0, timeout: float = PATIENCE_S, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end and see that it ends with `code`."""
    done = ended(*words, timeout=timeout, cwd=cwd)
    assert done.returncode == code, f"{words} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done


class Program:
    """A command that runs until it is told to stop; what it says goes to files in `directory`.

    Parameters
    ----------
    directory : Path
        Its working directory, made when there is none.
    words
        What is typed after ``hearthline``.
    altered : (str, Path), optional
        What of it is altered, by the names in `mutant`, and the test's directory.
    executed : bool
        Start it as an operator does; else it is forked from a process that has imported everything.
    """

    def __init__(
        self,
        directory: Path,
        *words: object,
        altered: tuple[str, Path] | None = None,
        executed: bool = False,
    ):
        directory.mkdir(parents=True, exist_ok=True)
        count = len(list(directory.glob("*.out")))
        self._out, self._err = directory / f"{count}.out", directory / f"{count}.err"
        self.began = time.monotonic()
        with self._out.open("wb") as out, self._err.open("wb") as err:
            args = [HEARTHLINE] if altered is None else [mutant.__file__, altered[0], str(altered[1])]
            args += map(str, words)
            self.process: ForkedProgram | subprocess.Popen[bytes]
            if executed:
                self.process = subprocess.Popen(args, stdout=out, stderr=err, cwd=directory, env=_QUIET)
            else:
                self.process = ForkedProgram(args, stdout=out, stderr=err, cwd=directory, env=_QUIET)

    @property
    def out(self) -> str:
        """What it has said."""
        return self._out.read_text(encoding="utf-8")

    @property
    def err(self) -> str:
        """What it has complained of."""
        return self._err.read_text(encoding="utf-8")

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def wait(self, seconds: float, code: int = 0) -> None:
        """Wait for its own end and see that it is `code`."""
        try:
            ended = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            pytest.fail(f"{self.process.args} goes on after {seconds} s:\n{self.out}\n{self.err}")
        assert ended == code, f"{self.process.args} ended with {ended}:\n{self.out}\n{self.err}"

    def stop(self, number: int = signal.SIGTERM, seconds: float = PATIENCE_S, code: int = 0) -> float:
        """Tell it to stop; how long it took. [s]"""
        began = time.monotonic()
        self.process.send_signal(number)
        self.wait(seconds, code)
        return time.monotonic() - began

    def kill(self) -> None:
        """End it as a power cut would."""
        if self.running:
            self.process.kill()
            self.process.wait(PATIENCE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


class Server(Program):
    """``hearthline up``, ready when this returns.

    Parameters
    ----------
    directory : Path
        Holds what it says and, as ``data``, its data directory.
    site : Path
    mqtt : str or None
        None: the broker inside it, on a free port.
    options
        More words.
    executed : bool
    """

    def __init__(
        self, directory: Path, site: Path, mqtt: str | None, *options: object, executed: bool = False
    ):
        self.data = directory / "data"
        broker = ("--mqtt", mqtt) if mqtt else ("--mqtt-port", 0)
        words = ("up", "--site", site, "--data-dir", self.data, "--port", 0)
        super().__init__(directory, *words, *broker, *options, executed=executed)
        self.said: Mapping[str, Any] = {}
        try:
            until(self._ready, f"{self.process.args} is ready")
        except BaseException:
            self.kill()
            raise

    def _ready(self) -> bool:
        assert self.running, f"up ended with {self.process.returncode}:\n{self.out}\n{self.err}"
        try:
            self.said = json.loads((self.data / "server.json").read_bytes())
        except (OSError, ValueError):
            return False
        return self.said["pid"] == self.process.pid

    @property
    def url(self) -> str:
        """Where its board answers."""
        return str(self.said["url"])

    @property
    def broker(self) -> str:
        """Where collectors connect."""
        lines = until(
            lambda: [text for text in self.out.splitlines() if text.startswith("broker ")], "broker"
        )
        return lines[0].split()[1]  # said a moment after the server can be found

    def status(self) -> dict[str, Any]:
        """What ``hearthline status --json`` prints, asked without starting a process."""
        return ServerClient(self.url).status()

    def states(self) -> dict[str, str]:
        """State of each component."""
        return {part["name"]: part["state"] for part in self.status()["components"]}

    def ready_for_messages(self) -> None:
        """Wait until every component is ok, so that what is published is heard."""
        until(lambda: set(self.states().values()) == {"ok"}, "every component ok", every=0.2)

    def rows(self, measurement: str, *options: object) -> list[dict[str, Any]]:
        """What ``hearthline query`` gives."""
        return device_rows(self.data, measurement, *options)


def device_rows(data: Path, measurement: str, *options: object) -> list[dict[str, Any]]:
    """Rows of a data directory, whether a server owns it or not, through ``hearthline query``."""
    out = data.parent / "query.parquet"
    run("query", measurement, "--data-dir", data, "--format", "parquet", "--out", out, *options)
    table: pa.Table = pq.read_table(out)
    return table.to_pylist()


def write_site(directory: Path, files: Mapping[str, str]) -> Path:
    """A site directory."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / name).write_text(text, encoding="utf-8")
    return directory


class Publisher:
    """A device of somebody else's make: publishes what it is told at QoS 1.

    Parameters
    ----------
    url : str
        ``mqtt://127.0.0.1:port``.
    """

    def __init__(self, url: str):
        host, _, port = url.removeprefix("mqtt://").rpartition(":")
        self._acks: dict[str, set[int]] = defaultdict(set)
        subscribed = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._client.on_connect = lambda client, *_: client.subscribe("hearthline/v1/+/+/+/ack", qos=1)
        self._client.on_subscribe = lambda *_: subscribed.set()
        self._client.on_message = self._heard
        self._client.connect(host, int(port))
        self._client.loop_start()
        assert subscribed.wait(PATIENCE_S), f"no subscription at {url}"

    def _heard(self, _client: Any, _data: Any, message: mqtt.MQTTMessage) -> None:
        device = message.topic.split("/")[-2]
        for first, last in json.loads(message.payload)["ranges"]:
            self._acks[device].update(range(first, last + 1))

    def acknowledged(self) -> dict[str, set[int]]:
        """Numbers that the server said are safe, by device."""
        return {device: set(numbers) for device, numbers in self._acks.items()}

    def __call__(self, topic: str, payload: bytes | Mapping[str, Any], *, retain: bool = False) -> None:
        """Publish, and wait until the broker has it."""
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        sent = self._client.publish(topic, body, qos=1, retain=retain)
        sent.wait_for_publish(PATIENCE_S)
        assert sent.is_published()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()
