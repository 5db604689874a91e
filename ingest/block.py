"""Telemetry of one class as columns, on its way from payloads to frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
import pyarrow as pa

from ingest.messages import Ints
from models.frame import telemetry_schema

__all__ = ["EXTRA", "Block", "concat"]

EXTRA: Final = "extra"


@cache
def _types(device_class: str) -> dict[str, pa.DataType]:
    return {field.name: field.type for field in telemetry_schema(device_class)}


@dataclass(frozen=True, slots=True)
class Block:
    """Messages of one device class, each with its samples in a row.

    Attributes
    ----------
    device_class : str
    index : ndarray, shape (n,)
        Each message's place in the batch.
    boot, seq, counts : ndarray, shape (n,)
        Identity and number of samples of each message.
    t : ndarray, shape (counts.sum(),)
        Sample times. [ms UTC]
    columns : dict of str to pyarrow.Array
        Measurements and `extra`, one value a sample; what is absent throughout is left out.
    """

    device_class: str
    index: Ints
    boot: Ints
    seq: Ints
    counts: Ints
    t: Ints
    columns: dict[str, pa.Array]

    @property
    def starts(self) -> Ints:
        """Where each message's samples begin."""
        ends = np.cumsum(self.counts)
        return np.asarray(ends - self.counts, dtype=np.int64)

    def span(self) -> tuple[Ints, Ints]:
        """Smallest and largest sample time of each message, ms UTC."""
        starts = self.starts
        return np.minimum.reduceat(self.t, starts), np.maximum.reduceat(self.t, starts)

    def take(self, rows: Ints) -> Block:
        """The messages at positions `rows`, in that order."""
        if len(rows) == len(self.index) and bool(np.all(np.diff(rows) == 1)):
            return self
        counts = self.counts[rows]
        ends = np.cumsum(counts)
        within = np.arange(int(counts.sum()), dtype=np.int64) - np.repeat(ends - counts, counts)
        samples = np.repeat(self.starts[rows], counts) + within
        places = pa.array(samples)
        return Block(
            self.device_class, self.index[rows], self.boot[rows], self.seq[rows], counts, self.t[samples],
            {name: column.take(places) for name, column in self.columns.items()},
        )  # fmt: skip


def concat(blocks: Sequence[Block]) -> Block:
    """All messages of `blocks`, which are of one class, in the order in which they came."""
    if len(blocks) == 1:
        return blocks[0]
    names = dict.fromkeys(name for block in blocks for name in block.columns)
    types = _types(blocks[0].device_class)
    columns = {
        name: pa.concat_arrays([
            block.columns[name] if name in block.columns else pa.nulls(len(block.t), types[name])
            for block in blocks
        ])
        for name in names
    }  # fmt: skip
    index, boot, seq, counts, t = (
        np.concatenate([getattr(block, name) for block in blocks])
        for name in ("index", "boot", "seq", "counts", "t")
    )
    return Block(blocks[0].device_class, index, boot, seq, counts, t, columns).take(
        np.argsort(index, kind="stable")
    )
