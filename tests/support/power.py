"""A power cut for SQLite: what was written since the last fsync is lost, or torn in any subset.

`Recorder` stands between SQLite and the disk: it puts its own functions into the methods of every
file that SQLite opens in this process, passes all calls on, and notes writes, truncations, fsyncs
and removals in their order, with what the program under test was promised in between. `disk_at`
gives the files as one of many possible disks would hold them after a cut at any point of that order.
Pure Python over ctypes: no compiler, no privileges.
"""

from __future__ import annotations

import ctypes
import random
import re
import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import pytest

__all__ = ["Event", "Recorder", "disk_at"]

_SECTOR: Final = 512
_WRITE, _TRUNCATE, _SYNC = 3, 4, 5  # places among the methods, after the version: close, read, write …
_RECORDED = 0x80000 | 0x100 | 0x800  # the log, the file, the rollback journal of its first page


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened: `what` is write, truncate, sync, remove or promise."""

    what: str
    name: str = ""
    at: int = 0
    data: bytes = b""
    promise: Any = None


class _Methods(ctypes.Structure):
    # Of sqlite3_io_methods: the version, then up to eighteen functions.
    _fields_ = [("version", ctypes.c_int), ("functions", ctypes.c_void_p * 18)]


class _File(ctypes.Structure):
    _fields_ = [("methods", ctypes.POINTER(_Methods))]


class _Vfs(ctypes.Structure):
    _fields_ = [
        ("version", ctypes.c_int), ("file_size", ctypes.c_int), ("path_size", ctypes.c_int),
        ("next", ctypes.c_void_p), ("name", ctypes.c_char_p), ("data", ctypes.c_void_p),
        ("functions", ctypes.c_void_p * 18),
    ]  # fmt: skip


_P, _I, _L = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64
_Open = ctypes.CFUNCTYPE(_I, _P, _P, _P, _I, _P)
_Delete = ctypes.CFUNCTYPE(_I, _P, ctypes.c_char_p, _I)
_WriteCall = ctypes.CFUNCTYPE(_I, _P, _P, _I, _L)
_TruncateCall = ctypes.CFUNCTYPE(_I, _P, _L)
_SyncCall = ctypes.CFUNCTYPE(_I, _P, _I)


def _library() -> ctypes.CDLL:
    """The SQLite that this Python uses."""
    sqlite3.connect(":memory:").close()
    maps = Path("/proc/self/maps")
    found = re.search(r"/\S*libsqlite3\.so\S*", maps.read_text()) if maps.exists() else None
    if found is None:
        pytest.skip("this Python has SQLite built in, so that nothing can stand between it and the disk")
    library = ctypes.CDLL(found[0])
    library.sqlite3_vfs_find.restype = ctypes.POINTER(_Vfs)
    library.sqlite3_vfs_find.argtypes = [ctypes.c_char_p]
    library.sqlite3_vfs_register.argtypes = [ctypes.POINTER(_Vfs), _I]
    library.sqlite3_vfs_unregister.argtypes = [ctypes.POINTER(_Vfs)]
    return library


class Recorder(AbstractContextManager["Recorder"]):
    """Notes what SQLite does to the files of `directory` while the context lasts."""

    def __init__(self, directory: Path):
        self.directory = directory.resolve()
        self.events: list[Event] = []
        self._library = _library()
        self._names: dict[int, str] = {}
        self._kept: list[Any] = []
        self._tables: dict[int, _Methods] = {}

    def promise(self, what: Any) -> None:
        """Note that the program under test was told that something is safe."""
        self.events.append(Event("promise", promise=what))

    def __enter__(self) -> Self:
        self._real = self._library.sqlite3_vfs_find(None)
        self._vfs = _Vfs.from_buffer_copy(self._real.contents)
        self._vfs.name = b"recorder"
        open_real = _Open(self._real.contents.functions[0])
        delete_real = _Delete(self._real.contents.functions[1])
        opener, deleter = _Open(self._opener(open_real)), _Delete(self._deleter(delete_real))
        self._vfs.functions[0] = ctypes.cast(opener, _P).value
        self._vfs.functions[1] = ctypes.cast(deleter, _P).value
        self._kept += [open_real, delete_real, opener, deleter]
        self._library.sqlite3_vfs_register(ctypes.byref(self._vfs), 1)
        return self

    def __exit__(self, *_: object) -> None:
        self._library.sqlite3_vfs_register(self._real, 1)
        self._library.sqlite3_vfs_unregister(ctypes.byref(self._vfs))

    def _opener(self, real: Callable[..., int]) -> Callable[..., int]:
        def opened(vfs: int, name: int | None, file: int, flags: int, out: int | None) -> int:
            code = real(vfs, name, file, flags, out)
            if code == 0 and name and flags & _RECORDED:
                path = Path(ctypes.string_at(name).decode())
                if path.parent.resolve() == self.directory:
                    self._names[file] = path.name
                    head = ctypes.cast(file, ctypes.POINTER(_File)).contents
                    head.methods = ctypes.pointer(self._table(head.methods))
            return code

        return opened

    def _deleter(self, real: Callable[..., int]) -> Callable[..., int]:
        def deleted(vfs: int, name: bytes, sync: int) -> int:
            path = Path(name.decode())
            if path.parent.resolve() == self.directory:
                self.events.append(Event("remove", path.name))
            return real(vfs, name, sync)

        return deleted

    def _table(self, real: Any) -> _Methods:
        """Methods that note and pass on, one table for each of SQLite's own."""
        address = ctypes.addressof(real.contents)
        if address in self._tables:
            return self._tables[address]
        functions = real.contents.functions
        write, truncate = _WriteCall(functions[_WRITE - 1]), _TruncateCall(functions[_TRUNCATE - 1])
        sync = _SyncCall(functions[_SYNC - 1])

        def note(what: str, file: int, at: int = 0, data: bytes = b"") -> None:
            self.events.append(Event(what, self._names[file], at, data))

        def wrote(file: int, data: int, size: int, at: int) -> int:
            note("write", file, at, ctypes.string_at(data, size))
            return write(file, data, size, at)

        def truncated(file: int, size: int) -> int:
            note("truncate", file, size)
            return truncate(file, size)

        def synced(file: int, flags: int) -> int:
            code = sync(file, flags)
            note("sync", file)
            return code

        table = _Methods.from_buffer_copy(real.contents)
        for place, function in (
            (_WRITE, _WriteCall(wrote)),
            (_TRUNCATE, _TruncateCall(truncated)),
            (_SYNC, _SyncCall(synced)),
        ):
            table.functions[place - 1] = ctypes.cast(function, _P).value
            self._kept.append(function)
        self._kept += [write, truncate, sync]
        self._tables[address] = table
        return table


def _apply(content: bytearray, event: Event) -> None:
    if event.what == "truncate":
        del content[event.at :]
        return
    if len(content) < event.at:
        content.extend(bytes(event.at - len(content)))
    content[event.at : event.at + len(event.data)] = event.data


def _torn(event: Event, rng: random.Random) -> list[Event]:
    """Sectors of a write that reached the disk: all, none or some, in any order."""
    chance = rng.choice((0.0, 0.5, 1.0))
    if event.what != "write":
        return [event] if rng.random() < 0.5 else []
    parts = []
    at, end = event.at, event.at + len(event.data)
    while at < end:
        stop = min(end, (at // _SECTOR + 1) * _SECTOR)
        if rng.random() < chance:
            parts.append(Event("write", event.name, at, event.data[at - event.at : stop - event.at]))
        at = stop
    return parts


def disk_at(
    events: list[Event], cut: int, rng: random.Random, into: Path, before: dict[str, bytes] | None = None
) -> list[Any]:
    """Write the files as a power cut before event `cut` may leave them; what had been promised by then.

    What an fsync had covered is there. Of everything else each sector is there or not. A removal is
    as good as an fsync, as on a journalling file system; `before` is what the disk held at first.
    """
    durable = {name: bytearray(data) for name, data in (before or {}).items()}
    pending: dict[str, list[Event]] = {}
    promised = []
    for event in events[:cut]:
        if event.what == "promise":
            promised.append(event.promise)
        elif event.what == "remove":
            durable.pop(event.name, None)
            pending.pop(event.name, None)
        elif event.what == "sync":
            content = durable.setdefault(event.name, bytearray())
            for done in pending.pop(event.name, []):
                _apply(content, done)
        else:
            pending.setdefault(event.name, []).append(event)
    lose_all = rng.random() < 0.3
    for name, waiting in pending.items():
        content = durable.setdefault(name, bytearray())
        for event in waiting:
            for part in [] if lose_all else _torn(event, rng):
                _apply(content, part)
    into.mkdir(parents=True)
    for name, content in durable.items():
        (into / name).write_bytes(content)
    return promised
