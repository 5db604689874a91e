"""Copies of small files with something wrong in them, and what may be read from a journal then."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from journal.protocol import Append
from journal.sqlite import SqliteJournal
from models.frame import Record

__all__ = ["Truth", "copied", "every_bit", "flip", "flip_everywhere", "judge", "pieces"]

Truth = Mapping[str, list[Record]]
"""The records that were promised, by stream."""
_LATER_MS = 9_000_000_000_000


def pieces(path: Path) -> list[Path]:
    """A SQLite file and its log, without what is only of use to running processes."""
    return [p for p in (path, path.with_name(f"{path.name}-wal")) if p.exists() and p.stat().st_size]


def copied(source: Path, into: Path) -> Path:
    """A fresh copy of a file and its log in the directory `into`, which is emptied."""
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    for piece in pieces(source):
        shutil.copyfile(piece, into / piece.name)
    return into / source.name


def flip(path: Path, bit: int) -> None:
    """Flip one bit of a file."""
    with path.open("r+b") as file:
        file.seek(bit // 8)
        (byte,) = file.read(1)
        file.seek(bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))


def every_bit(path: Path) -> list[int]:
    """Every bit of each byte that says something, and one of each that is zero: unused room, mostly."""
    return [
        8 * at + bit for at, byte in enumerate(path.read_bytes()) for bit in (range(8) if byte else (at % 8,))
    ]


def flip_everywhere(source: Path, judged: Callable[[Path, str], str]) -> Counter[str]:
    """Flip every bit of a file and of its log, each in a copy of its own, on all cores; what `judged` says of them.

    The copies lie in memory where the system has room for files there: nothing here is about syncing.
    A judgement that fails does not end it: all are told together.
    """
    context = multiprocessing.get_context("fork")
    told = context.SimpleQueue()
    cores = os.cpu_count() or 1
    todo = [(piece.name, bit) for piece in pieces(source) for bit in every_bit(piece)]

    def work(share: int) -> None:
        verdicts: Counter[str] = Counter()
        faults: list[str] = []
        memory = Path("/dev/shm")
        with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as room:
            for name, bit in todo[share::cores]:
                path = copied(source, Path(room) / "x")
                flip(path.with_name(name), bit)
                try:
                    verdicts[judged(path, f"bit {bit} of {name}")] += 1
                except Exception as fault:  # noqa: BLE001 -- whatever it is, it is told
                    faults.append(f"bit {bit} of {name}: {type(fault).__name__}: {fault}")
        told.put((verdicts, len(faults), faults[:20]))

    processes = [context.Process(target=work, args=(share,)) for share in range(cores)]
    for process in processes:
        process.start()
    verdicts, count, faults = Counter[str](), 0, []
    for _ in processes:
        its_verdicts, its_count, its_faults = told.get()
        verdicts += its_verdicts
        count += its_count
        faults += its_faults
    for process in processes:
        process.join()
    assert not count, "\n".join([f"{count} of {len(todo)} flips:", *faults])
    assert verdicts.total() == len(todo)
    return verdicts


def _held(journal: SqliteJournal, stream: str) -> Iterator[Record]:
    after = -1
    while records := journal.read(stream, after, 100):
        yield from records
        after = records[-1].offset


def judge(path: Path, truth: Truth, where: str) -> str:
    """Open a damaged journal as the server does, and see that it tells the truth: all of it, or what is missing.

    Returns
    -------
    str
        ``whole``; ``stated`` where something is missing and said to be; ``torn`` where the end is
        missing and the bytes that were cut are said.
    """
    journal = SqliteJournal(path, lambda: _LATER_MS)
    try:
        verdict = "whole"
        losses = journal.losses
        torn = sum(loss.bytes for loss in losses if not loss.stream)
        tails = journal.streams()
        for stream, promised in truth.items():
            held = {r.offset: r for r in _held(journal, stream)}
            wrong = [o for o, record in held.items() if record != promised[o]]
            assert not wrong, f"{where}: {stream} {wrong} differ from what was written"
            for record in promised:
                if record.offset in held:
                    continue
                stated = any(
                    x.stream == stream and x.first_offset <= record.offset <= x.last_offset for x in losses
                )
                at_end = record.offset > max(held, default=-1)
                assert stated or (at_end and torn), (
                    f"{where}: {stream} {record.offset} is lost in silence: {losses}"
                )
                verdict = "stated" if stated else "torn"
                assert not stated or not journal.condition[0], f"{where}: {journal.condition}"
            last = tails.get(stream, (-1, 0))[0]
            (added,) = journal.append([Append(stream, b"next")])
            assert added.offset == last + 1, f"{where}: {added}"
            assert added.offset > max(held, default=-1), f"{where}: {added}"
        registries = {(r.stream, r.offset): r for r in journal.registries()}
        for place, record in registries.items():
            assert record == truth[place[0]][place[1]], f"{where}: registry {place}"
    finally:
        journal.close()
    again = SqliteJournal(path, lambda: _LATER_MS)
    kept = again.losses
    again.close()
    assert kept == losses, f"{where}: what was said is forgotten by the next start"
    return verdict
