"""What people did to networks: water flushed, filled, drained or drawn, entered at the office."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Final

import pyarrow as pa

__all__ = ["OFFICE", "NetworkEvent", "NetworkEvents"]

OFFICE: Final = "office"
"""Class of the devices through which such events come, and what an operator that uses them reads."""
_KINDS: Final = frozenset({"flush", "fill", "drain", "draw"})
_KEPT_MS: Final = 60 * 86_400_000


@dataclass(frozen=True, slots=True)
class NetworkEvent:
    """One event.

    Attributes
    ----------
    t : int
        [ms UTC]
    network : str
    event : str
        `flush`, `fill`, `drain` or `draw`.
    volume_m3 : float or None
        As entered, which may be negative; None when it was not.
    boot, seq, pos : int
        Name of the message, and place in it.
    """

    t: int
    network: str
    event: str
    volume_m3: float | None
    boot: int
    seq: int
    pos: int


class NetworkEvents:
    """Events of one stream's networks of the last sixty days.

    Of several with one `ref` the highest (boot, seq, position) stands, as everywhere.
    """

    def __init__(self) -> None:
        self._by_name: dict[str, NetworkEvent] = {}

    def take(self, batch: pa.RecordBatch) -> set[tuple[str, int]]:
        """Take in accepted samples of the class; networks and times (ms UTC) of what changed."""
        changed: set[tuple[str, int]] = set()
        for row in batch.to_pylist():
            if row.get("event") not in _KINDS or not row.get("network"):
                continue
            event = NetworkEvent(
                row["t"],
                row["network"],
                row["event"],
                row.get("volume_m3"),
                row["boot"],
                row["seq"],
                row["pos"],
            )
            ref = row.get("ref")
            name = (
                f"{row['device']}/{ref}"
                if ref
                else f"{row['device']}//{row['boot']}/{row['seq']}/{row['pos']}"
            )
            before = self._by_name.get(name)
            if before is not None and (before.boot, before.seq, before.pos) >= (
                event.boot,
                event.seq,
                event.pos,
            ):
                continue
            self._by_name[name] = event
            changed.add((event.network, event.t))
            if before is not None:
                changed.add((before.network, before.t))
        return changed

    def of(self, network: str, from_ms: int, to_ms: int) -> Sequence[NetworkEvent]:
        """Events of a network in [from, to), in their order."""
        found = [e for e in self._by_name.values() if e.network == network and from_ms <= e.t < to_ms]
        return sorted(found, key=_in_time)

    def drop_before(self, now_ms: int) -> None:
        """Forget what is older than sixty days at `now_ms`. [ms UTC]"""
        for name in [n for n, e in self._by_name.items() if e.t < now_ms - _KEPT_MS]:
            del self._by_name[name]

    def to_json(self) -> str:
        """State as JSON text; `from_json` reads it."""
        return json.dumps({name: astuple(event) for name, event in self._by_name.items()})

    @classmethod
    def from_json(cls, text: str) -> NetworkEvents:
        """Read what `to_json` wrote."""
        self = cls()
        self._by_name = {name: NetworkEvent(*fields) for name, fields in json.loads(text).items()}
        return self


def _in_time(event: NetworkEvent) -> tuple[float, ...]:
    """The order of events, whether or not their volume was entered."""
    volume_m3 = -1.0 if event.volume_m3 is None else event.volume_m3
    return (event.t, event.boot, event.seq, event.pos, volume_m3)
