"""Arrays in JSON, for state that is kept."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["packed", "unpacked"]


def packed(array: NDArray[Any]) -> list[str]:
    """An array as what JSON can hold; the same array gives the same text.

    Examples
    --------
    >>> unpacked(packed(np.array([1.5, 2.5])))
    array([1.5, 2.5])
    """
    return [array.dtype.str, base64.b64encode(zlib.compress(array.tobytes(), 1)).decode()]


def unpacked(kept: list[str]) -> NDArray[Any]:
    """The array of one dimension that `packed` was given."""
    return np.frombuffer(zlib.decompress(base64.b64decode(kept[1])), dtype=np.dtype(kept[0])).copy()
