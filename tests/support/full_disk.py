"""A disk with no room, without privileges: no file of a process may grow beyond a size."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["full", "room"]


def full(pid: int, limit: int) -> None:
    """From now on no write of `pid` (0: of this process) may go beyond byte `limit` of a file."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit, hard))


def room(pid: int) -> None:
    """There is room again."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))


@contextmanager
def full_disk(limit: int) -> Iterator[None]:
    """This process meets a full disk meanwhile; Python ignores the signal, so that writes fail as on one."""
    full(0, limit)
    try:
        yield
    finally:
        room(0)
