"""Chance by name for millions of things at once: the same numbers give the same draw, in any order."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["normals", "uniforms"]

Array = NDArray[np.float64]
_Words = NDArray[np.uint64]

_STEP: Final = np.uint64(0x9E3779B97F4A7C15)
_ONE: Final = np.uint64(0xBF58476D1CE4E5B9)
_TWO: Final = np.uint64(0x94D049BB133111EB)


def _mixed(words: _Words) -> _Words:
    """The finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    words = (words ^ (words >> np.uint64(30))) * _ONE
    words = (words ^ (words >> np.uint64(27))) * _TWO
    return words ^ (words >> np.uint64(31))


def uniforms(seed: int, name: int, *numbers: ArrayLike) -> Array:
    """Draws from [0, 1), one for each element of the broadcast integers `numbers`.

    Parameters
    ----------
    seed, name : int
        Which run, and which of its chances.

    Examples
    --------
    >>> uniforms(1, 2, [3, 4]).round(3).tolist() == uniforms(1, 2, [4, 3]).round(3).tolist()[::-1]
    True
    """
    words = np.full((), seed & 0xFFFFFFFFFFFFFFFF, dtype=np.uint64)
    with np.errstate(over="ignore"):
        words = _mixed(words + _STEP * np.uint64(name + 1))
        for number in numbers:
            words = _mixed(
                words + _STEP * (np.asarray(number).astype(np.int64).view(np.uint64) + np.uint64(1))
            )
    draws: Array = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return draws


def normals(seed: int, name: int, *numbers: ArrayLike) -> tuple[Array, Array]:
    """Two independent standard normal draws for each element, by Box and Muller's transform."""
    radius = np.sqrt(-2.0 * np.log1p(-uniforms(seed, 2 * name, *numbers)))
    angle = 2.0 * np.pi * uniforms(seed, 2 * name + 1, *numbers)
    return radius * np.cos(angle), radius * np.sin(angle)
