"""Which of two readings of the same device and time stands, when only the store can tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from models.results import RESULT_HEADER
from store.rows import INTERNAL, READING_TRAILER, boolean, identity

__all__ = ["REPEAT_FLAG", "Settled", "flagged", "settle"]

REPEAT_FLAG: Final = "repeat"
_NO_VALUES: Final = frozenset({*INTERNAL, *(f.name for f in (*RESULT_HEADER, *READING_TRAILER))})


@dataclass(frozen=True, slots=True)
class Settled:
    """What a store has to do so that every reading stands once.

    Attributes
    ----------
    append : pyarrow.Table
        Rows for `reading`, without the internal columns.
    repeats : pyarrow.Table
        Rows that lost, for `reading_repeat`.
    delete : list of int
        Positions in the stored rows of those that leave `reading`.
    """

    append: pa.Table
    repeats: pa.Table
    delete: list[int]


def flagged(table: pa.Table) -> np.ndarray:
    """Rows whose identity a reading that was given before may have."""
    mask: np.ndarray = boolean(table, "replaces") | boolean(table, "late")
    return mask


def settle(new: pa.Table, stored: pa.Table, device_class: str) -> Settled:
    """Decide row by row, in the order given, which of the readings of one identity stands.

    A row marked `replaces` removes what it replaces, since the pipeline has
    already put that aside. Otherwise the higher (boot, seq, pos) stands and the
    other becomes a repeat; when their values differ, both are flagged.

    Parameters
    ----------
    new : pyarrow.Table
        Readings of one class, in the order in which they were accepted.
    stored : pyarrow.Table
        Rows in the store that may have the identity of a flagged one.
    device_class : str

    Returns
    -------
    Settled
    """
    rows = pa.concat_tables([stored, new], promote_options="default")
    held = stored.num_rows
    decided = _decide(rows, held, device_class)
    quality = rows["quality"].to_pylist()
    for place in decided.flag:
        quality[place] = add_flag(quality[place], REPEAT_FLAG)
    at = rows.column_names.index("quality")
    rows = rows.set_column(at, "quality", pa.chunked_array([pa.array(quality, pa.string())]))
    rows = rows.drop_columns([c for c in INTERNAL if c in rows.column_names])
    gone = set(decided.lost) | set(decided.replaced)
    changed = {i for i in decided.flag if i < held}
    append = [i for i in range(rows.num_rows) if i not in gone and (i >= held or i in changed)]
    return Settled(
        append=rows.take(pa.array(append, pa.int64())),
        repeats=rows.take(pa.array(decided.lost, pa.int64())),
        delete=sorted(i for i in (gone | changed) if i < held),
    )


@dataclass(frozen=True, slots=True)
class _Decided:
    lost: list[int]
    replaced: list[int]
    flag: set[int]


def _decide(rows: pa.Table, held: int, device_class: str) -> _Decided:
    replaces = boolean(rows, "replaces")
    messages = list(zip(*(rows[c].to_pylist() for c in ("boot", "seq", "pos")), strict=True))
    standing: dict[tuple[object, ...], int] = {}
    decided = _Decided([], [], set())
    for place, name in enumerate(identity(rows, device_class)):
        other = standing.get(name)
        if other is None or place < held:
            standing[name] = place
        elif messages[place] == messages[other]:
            decided.replaced.append(place)  # the same message, written again
        elif replaces[place]:
            decided.replaced.append(other)
            standing[name] = place
        else:
            winner, loser = (place, other) if messages[place] > messages[other] else (other, place)
            standing[name] = winner
            decided.lost.append(loser)
            decided.flag.add(loser)
            if _values(rows, winner) != _values(rows, loser):
                decided.flag.add(winner)
    return decided


def _values(rows: pa.Table, place: int) -> dict[str, object]:
    """What the reading at `place` measured; null is the same as absent."""
    values = {c: rows[c][place].as_py() for c in rows.column_names if c not in _NO_VALUES}
    return {c: v for c, v in values.items() if v is not None}


def add_flag(quality: str | None, flag: str) -> str:
    """`quality` with `flag` among its flags, which ``;`` joins."""
    flags = [f for f in (quality or "").split(";") if f]
    return ";".join(flags if flag in flags else [*flags, flag])
