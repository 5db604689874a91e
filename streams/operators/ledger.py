"""What became of every message, by device and local day, cumulative."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from streams.core.deliveries import LedgerCounts
from streams.core.operator import ledger_operator

__all__ = ["ledger"]


@ledger_operator(fields=LedgerCounts._fields)
def ledger(counts: Mapping[str, NDArray[np.int64]]) -> dict[str, NDArray[np.int64]]:
    """Give one row a device: messages by what became of them; `repeat` and `late` count samples."""
    return {name: counts[name] for name in LedgerCounts._fields}
