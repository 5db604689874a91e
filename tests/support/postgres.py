"""A real PostgreSQL on loopback, which refuses to run as root: then it runs as the user of Debian's package."""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

import psycopg

from tests.support.mosquitto import free_port
from tests.support.needs import missing
from tests.support.waiting import PATIENCE_S

__all__ = ["Postgres", "program"]

_QUICK: Final = {"fsync": "off", "full_page_writes": "off"}
_INITDB: Final = ("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8")
_INSTALL: Final = "apt-get install postgresql"


def program(name: str) -> str:
    """Path of one of PostgreSQL's programs; Debian keeps those of the server off the path."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda p: int(p.parts[-3]))
    return shutil.which(name) or (str(found[-1]) if found else missing(f"PostgreSQL ({name})", _INSTALL))


def _as_nobody_special() -> dict[str, Any]:
    """What `subprocess` needs to run something as another user than root; nothing for others."""
    if os.getuid():
        return {}
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


class Postgres:
    """One server in a directory of its own; use as a context manager.

    Parameters
    ----------
    settings : dict
        What is set on its command line.
    initdb : sequence of str
        How its files are made.

    Attributes
    ----------
    directory : Path
        Readable by the server's user alone.
    user : dict
        For `subprocess`: what has to run as the server's user.
    """

    def __init__(self, settings: Mapping[str, str] = _QUICK, initdb: Sequence[str] = _INITDB):
        self._initdb, self._postgres = program("initdb"), program("postgres")
        self.user = _as_nobody_special()
        self.directory = Path(tempfile.mkdtemp(prefix="postgres-", dir=_quick_place()))
        self.data, self.log = self.directory / "data", self.directory / "log"
        self.port, self.password = free_port(), secrets.token_urlsafe(12)
        self._numbers = itertools.count()
        self._process: subprocess.Popen[bytes] | None = None
        (first := self.directory / "first").write_text(self.password)
        if self.user:
            for path in (self.directory, first):
                os.chown(path, self.user["user"], self.user["group"])
        self.run(
            self._initdb, "--pgdata", self.data, "--username", "postgres", "--pwfile", first, *initdb,
            "--no-sync", "--no-instructions",
        )  # fmt: skip
        set_ = {
            "listen_addresses": "127.0.0.1", "port": str(self.port),
            "unix_socket_directories": str(self.directory), **settings,
        }  # fmt: skip
        self._options = [word for name, value in set_.items() for word in ("-c", f"{name}={value}")]

    def take(self, source: Path) -> Path:
        """A copy of a directory that the server's user may read."""
        target = self.directory / source.name
        shutil.copytree(source, target)
        for path in (target, *target.rglob("*")):
            if self.user:
                os.chown(path, self.user["user"], self.user["group"])
        return target

    def run(self, *words: Any, **more: Any) -> str:
        """Run a program as the server's user; what it printed."""
        done = subprocess.run(
            [str(w) for w in words], capture_output=True, text=True, cwd=self.directory, check=False,
            timeout=120, env={**os.environ, "PGPASSWORD": self.password, "HOME": str(self.directory)},
            **self.user, **more,
        )  # fmt: skip
        assert done.returncode == 0, f"{words[0]}: {done.stdout}{done.stderr}"
        return done.stdout

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._postgres, "-D", self.data, *self._options],
                stdout=log,
                stderr=log,
                cwd=self.directory,
                **self.user,
            )
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                self.connect().close()
                break
            except psycopg.OperationalError:
                assert self._process.poll() is None, self.log.read_text()[-3000:]
                assert time.monotonic() < deadline, f"PostgreSQL was not up in {PATIENCE_S:g} s"
                time.sleep(0.05)

    def connect(self, database: str = "postgres") -> psycopg.Connection[Any]:
        """As its superuser, outside transactions."""
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user="postgres", password=self.password, dbname=database,
            autocommit=True, connect_timeout=int(PATIENCE_S),
        )  # fmt: skip

    def database(self) -> str:
        """URL of a new, empty database."""
        name = f"d{next(self._numbers)}"
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {name}")  # type: ignore[call-overload]
        return self.url(name)

    def drop(self, url: str) -> None:
        """Delete a database, whoever is connected to it."""
        with self.connect() as connection:
            connection.execute(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")  # type: ignore[call-overload]

    def url(self, database: str, user: str = "postgres", password: str | None = None) -> str:
        secret = self.password if password is None else password
        return f"postgresql://{user}:{secret}@127.0.0.1:{self.port}/{database}"

    def kill(self) -> None:
        """End all of it as a power cut would."""
        if self._process is not None:
            children = _children(self._process.pid)
            self._process.kill()
            for child in children:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            self._process.wait(PATIENCE_S)
            self._process = None

    def stop(self) -> None:
        """End it at once but in order: connections are cut, everything is written."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(PATIENCE_S)
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()  # an orderly end would first write down what is about to be deleted
        shutil.rmtree(self.directory, ignore_errors=True)


def _quick_place() -> str | None:
    """In memory where there is room: a disk takes seconds to make and delete so many files."""
    memory = Path("/dev/shm")
    return str(memory) if memory.is_dir() and shutil.disk_usage(memory).free > 1 << 30 else None


def _children(pid: int) -> list[int]:
    import psutil

    return [child.pid for child in psutil.Process(pid).children(recursive=True)]
