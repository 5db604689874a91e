"""Randomness that can be asked for out of order: a generator for each name and number."""

from __future__ import annotations

from zlib import crc32

import numpy as np

__all__ = ["generator"]


def generator(seed: int, name: str, *numbers: int) -> np.random.Generator:
    """The generator of one thing at one instant.

    The same arguments give the same stream whatever was drawn elsewhere, so
    that adding a fault or a device changes nothing else of a case.
    """
    words = [seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF, crc32(name.encode())]
    for number in numbers:
        words += [number & 0xFFFFFFFF, number >> 32 & 0xFFFFFFFF]
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(words)))
