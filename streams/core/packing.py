"""Arrays as texts that JSON holds, bit for bit: what learners keep of many devices."""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["packed", "unpacked"]


def packed(array: NDArray[Any]) -> list[Any]:
    """Type, shape and bytes of an array, as JSON holds them; `unpacked` reads it."""
    whole = np.ascontiguousarray(array)
    return [whole.dtype.str, list(whole.shape), b64encode(whole.tobytes()).decode("ascii")]


def unpacked(kept: list[Any]) -> NDArray[Any]:
    """Read what `packed` wrote, into an array of its own.

    Examples
    --------
    >>> unpacked(packed(np.array([[1.5, np.nan]])))
    array([[1.5, nan]])
    """
    kind, shape, data = kept
    return np.frombuffer(b64decode(data), dtype=np.dtype(kind)).reshape(shape).copy()
