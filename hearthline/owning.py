"""A data directory belongs to one process at a time, and says where that is to be asked."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

from edge.whose import whose
from hearthline.cli import UsageError
from hearthline.client import SERVER_FILE

__all__ = ["announce", "own"]

_FILES = (".sqlite3", ".sqlite3-wal", ".sqlite3-shm", ".duckdb", ".duckdb.wal", "audit.jsonl")
"""How what a server reads and writes is called; what was put aside is let be."""


def own(data_dir: Path, stack: ExitStack) -> None:
    """Make the data directory and take it for this process until `stack` ends; UsageError if it is taken."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        lock: IO[str] = stack.enter_context((data_dir / "owner.lock").open("a+"))
    except OSError as error:
        told = f"data-dir: expected a writable directory, got {data_dir}: {error.strerror}"
        held = [p for p in (data_dir / "owner.lock", data_dir) if p.exists() and not os.access(p, os.W_OK)]
        raise UsageError(f"{told}: {whose(held[0], data_dir)}" if held else told) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise UsageError(
            f"data-dir: expected a directory that no other server uses, got {data_dir}: "
            "stop that server first"
        ) from error
    _see_that_all_is_ours(data_dir)


def announce(data_dir: Path, said: Mapping[str, Any], stack: ExitStack) -> None:
    """Tell commands on this machine who owns the directory, for its owner's eyes, until `stack` ends."""
    path = data_dir / SERVER_FILE
    scratch = path.with_suffix(".new")
    with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump({**said, "pid": os.getpid()}, file)
    scratch.replace(path)
    stack.callback(path.unlink, missing_ok=True)


def _see_that_all_is_ours(data_dir: Path) -> None:
    """UsageError names a file that this process may not write; the libraries say `readonly` at most."""
    for path in sorted(data_dir.iterdir()):
        if path.name.endswith(_FILES) and not os.access(path, os.R_OK | os.W_OK):
            told = whose(path, data_dir)
            raise UsageError(
                f"data-dir: expected files that this process may read and write, got others: {told}"
            )
