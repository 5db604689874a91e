"""What a checkpoint is: a stream's whole state at a record boundary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

__all__ = ["Checkpoint", "CheckpointError", "Checkpoints"]


class CheckpointError(RuntimeError):
    """A checkpoint cannot be kept or read; says which and why."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """State of one stream after the record at `offset`.

    Attributes
    ----------
    stream : str
    offset : int
        The last record that is part of the state; recovery goes on at `offset` + 1.
    parts : mapping of str to bytes
        State by part name; each part carries its own version. Parts named
        ``segment/<id>`` never change once written.
    """

    stream: str
    offset: int
    parts: Mapping[str, bytes]


@runtime_checkable
class Checkpoints(Protocol):
    """Keeps the last complete checkpoint of every stream."""

    def load(self) -> dict[str, Checkpoint]:
        """The last complete checkpoint of each stream."""
        ...

    def save(self, checkpoints: Sequence[Checkpoint]) -> None:
        """Keep all of `checkpoints` or none, durably when this returns."""
        ...

    def clear(self) -> None:
        """Forget every checkpoint, after `load` has said that they cannot be read."""
        ...

    def close(self) -> None:
        """Release files."""
        ...
