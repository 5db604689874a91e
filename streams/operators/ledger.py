"""What became of every message, by device and local day, cumulative."""

from __future__ import annotations

from collections.abc import Sequence

from streams.core.deliveries import LedgerCounts
from streams.core.operator import ledger_operator

__all__ = ["ledger"]


@ledger_operator(fields=LedgerCounts._fields)
def ledger(counts: Sequence[LedgerCounts]) -> dict[str, list[int]]:
    """Give one row a device: messages by what became of them; `repeat` and `late` count samples."""
    return {name: [getattr(c, name) for c in counts] for name in LedgerCounts._fields}
