"""Programs without the seconds that their imports take: forked from a process that has made these already.

A fault test starts a server forty times, and most of what a start costs is imports. Each is a process
of its own all the same, with arguments, environment, directory and output of its own, and is killed,
stopped and waited for like any other; only `exec` is left out. That `hearthline` starts by itself is
seen by tests that execute it, such as those of its help and of its starting.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import pkgutil
import select
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final, NoReturn

__all__ = ["ForkedProgram"]

_ROOT: Final = Path(__file__).parents[2]
_LIBRARIES: Final = (
    "aiohttp", "amqtt.broker", "babel", "duckdb", "fastapi", "nicegui", "nicegui.elements.echart", "paho.mqtt.client",
    "prometheus_client", "pyarrow.compute", "pyarrow.parquet", "pydantic", "sqlalchemy", "typer", "uvicorn", "yaml",
)  # fmt: skip
_ROOMS: Final = (
    "alerts",
    "dashboards",
    "edge",
    "hearthline",
    "ingest",
    "journal",
    "models",
    "simulator",
    "store",
    "streams",
)
_PID: Final = "pid"
_ENDED: Final = "ended"


class ForkedProgram:
    """A program that runs; has what the tests use of `subprocess.Popen`.

    Parameters
    ----------
    args : sequence of str
        ``hearthline`` and its words; or the file of `mutant` or `faust_worker` and its own.
    stdout, stderr : file
        Where it writes.
    cwd : Path, optional
    env : mapping
        Its whole environment.

    Attributes
    ----------
    pid : int
    returncode : int or None
        As of `subprocess.Popen`: the signal's number below 0 when one ended it.
    """

    def __init__(
        self,
        args: Sequence[str],
        *,
        stdout: IO[bytes],
        stderr: IO[bytes],
        env: Mapping[str, str],
        cwd: Path | None = None,
    ):
        self.args = list(args)
        self.returncode: int | None = None
        self._told, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            request = {"args": self.args, "cwd": str(cwd or Path.cwd()), "env": dict(env)}
            fds = [stdout.fileno(), stderr.fileno(), theirs.fileno()]
            socket.send_fds(_stem(), [json.dumps(request).encode()], fds)
        said = self._hear(300.0)
        assert said, f"{self.args}: nothing was forked"
        self.pid = int(said[_PID])

    def _hear(self, seconds: float | None) -> dict[str, int]:
        if not select.select([self._told], [], [], seconds)[0]:
            return {}
        told: dict[str, int] = json.loads(self._told.recv(1024) or "{}")
        if _ENDED in told:
            self.returncode = told[_ENDED]
            self._told.close()
        return told

    def poll(self) -> int | None:
        """Its exit status, None while it runs."""
        if self.returncode is None:
            self._hear(0.0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; `subprocess.TimeoutExpired` when it goes on."""
        if self.returncode is None:
            self._hear(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)


@functools.cache
def _stem() -> socket.socket:
    """The process to fork from, started when the first program is."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        fd = theirs.fileno()
        words = [sys.executable, "-P", __file__, str(fd)]
        process = subprocess.Popen(words, pass_fds=[fd], stdin=subprocess.DEVNULL, start_new_session=True)

    def end() -> None:
        ours.close()
        process.wait(10)

    atexit.register(end)
    return ours


# -- in the process that is forked from ---------------------------------------------------


def _import() -> None:
    sys.path.insert(0, str(_ROOT))
    for name in _LIBRARIES:
        importlib.import_module(name)
    for room in _ROOMS:
        for module in pkgutil.walk_packages([str(_ROOT / room)], f"{room}."):
            if "faust" not in module.name and not module.name.endswith(
                "__main__"
            ):  # it alters what it imports
                importlib.import_module(module.name)


def _serve(asked: socket.socket) -> list[str]:
    """Fork for everyone who asks; in the process that was forked, return what it is to run."""
    _import()
    gc.collect()
    gc.freeze()  # or the first collection would copy every page
    running: dict[int, tuple[int, socket.socket]] = {}  # by pidfd
    selector = selectors.DefaultSelector()
    selector.register(asked, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is not asked:
                assert isinstance(key.fileobj, int)
                selector.unregister(key.fileobj)
                pid, told = running.pop(key.fileobj)
                os.close(key.fileobj)
                ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                _tell(told, {_ENDED: ended})
                told.close()
                continue
            message, fds, _, _ = socket.recv_fds(asked, 1 << 20, 3)
            if not message:
                _end(pid for pid, _ in running.values())
            request: dict[str, Any] = json.loads(message)
            told = socket.socket(fileno=fds.pop())
            sys.stdout.flush()
            sys.stderr.flush()
            pid = os.fork()
            if pid == 0:
                selector.close()
                asked.close()
                for pidfd, (_, of) in running.items():
                    os.close(pidfd)
                    of.close()
                told.close()
                return _become(request, fds)
            for fd in fds:
                os.close(fd)
            _tell(told, {_PID: pid})
            pidfd = os.pidfd_open(pid)
            running[pidfd] = pid, told
            selector.register(pidfd, selectors.EVENT_READ)


def _tell(told: socket.socket, what: Mapping[str, int]) -> None:
    with contextlib.suppress(BrokenPipeError):  # nobody waits for it any more
        told.send(json.dumps(what).encode())


def _end(pids: Any) -> NoReturn:
    """The tests are over: nothing that they started outlives them."""
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    os._exit(0)


def _become(request: Mapping[str, Any], fds: list[int]) -> list[str]:
    os.dup2(fds[0], 1)
    os.dup2(fds[1], 2)
    for fd in fds:
        os.close(fd)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    time.tzset()
    return list(request["args"])


def _run(args: list[str]) -> int:
    """Run a program as Python would; its exit status."""
    sys.argv = args
    if args[0].endswith("mutant.py"):
        from tests.support.mutant import main
    elif args[0].endswith("faust_worker.py"):
        from tests.support.faust_worker import main
    else:
        from hearthline.cli import main
    try:
        main()
    except SystemExit as done:
        if not isinstance(done.code, str):
            return done.code or 0
        sys.stderr.write(f"{done.code}\n")
        return 1
    except BaseException:  # noqa: BLE001 - shown as Python shows it
        sys.excepthook(*sys.exc_info())
        return 1
    return 0


if __name__ == "__main__":
    status = _run(_serve(socket.socket(fileno=int(sys.argv[1]))))
    # All that Python does at its end but to take every module apart, which would take longer than most programs.
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
