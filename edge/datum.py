"""GCJ-02, the datum of Chinese maps and of some vehicle terminals, to WGS 84, that of the wire."""

from __future__ import annotations

import math
from typing import Final

__all__ = ["gcj02_of", "in_china", "wgs84_of"]

_A_M: Final = 6_378_245.0  # semi-major axis of Krasovsky's ellipsoid, on which the shift is defined
_E2: Final = 0.00669342162296594323


def in_china(lat_deg: float, lon_deg: float) -> bool:
    """Whether GCJ-02 differs from WGS 84 there: the rectangle within which it is applied."""
    return 0.8293 <= lat_deg <= 55.8271 and 72.004 <= lon_deg <= 137.8347


def _waves(amplitudes: tuple[tuple[float, float], ...], x: float) -> float:
    return sum(amplitude * math.sin(math.pi * frequency * x) for amplitude, frequency in amplitudes)


def _shift(lat_deg: float, lon_deg: float) -> tuple[float, float]:
    """By how much GCJ-02 is off at a WGS 84 position. [°]"""
    x, y = lon_deg - 105.0, lat_deg - 35.0
    common = 2 / 3 * _waves(((20, 6), (20, 2)), x)
    north_m = (
        -100 + 2 * x + 3 * y + 0.2 * y * y + 0.1 * x * y + 0.2 * math.sqrt(abs(x)) + common
        + 2 / 3 * _waves(((20, 1), (40, 1 / 3), (160, 1 / 12), (320, 1 / 30)), y)
    )  # fmt: skip
    east_m = (
        300 + x + 2 * y + 0.1 * x * x + 0.1 * x * y + 0.1 * math.sqrt(abs(x)) + common
        + 2 / 3 * _waves(((20, 1), (40, 1 / 3), (150, 1 / 12), (300, 1 / 30)), x)
    )  # fmt: skip
    lat = math.radians(lat_deg)
    w2 = 1 - _E2 * math.sin(lat) ** 2
    meridian_m = _A_M * (1 - _E2) / w2**1.5
    parallel_m = _A_M / math.sqrt(w2) * math.cos(lat)
    return math.degrees(north_m / meridian_m), math.degrees(east_m / parallel_m)


def gcj02_of(lat_deg: float, lon_deg: float) -> tuple[float, float]:
    """Position on GCJ-02 of one on WGS 84. [°]"""
    if not in_china(lat_deg, lon_deg):
        return lat_deg, lon_deg
    north, east = _shift(lat_deg, lon_deg)
    return lat_deg + north, lon_deg + east


def wgs84_of(lat_deg: float, lon_deg: float) -> tuple[float, float]:
    """Position on WGS 84 of one on GCJ-02, to a tenth of a millimetre.

    Parameters
    ----------
    lat_deg, lon_deg : float
        On GCJ-02. [°]

    Returns
    -------
    tuple of float
        Latitude and longitude on WGS 84; outside China what was given. [°]

    Examples
    --------
    >>> lat, lon = wgs84_of(*gcj02_of(39.9087, 116.3975))
    >>> round(lat, 8), round(lon, 8)
    (39.9087, 116.3975)
    """
    if not in_china(lat_deg, lon_deg):
        return lat_deg, lon_deg
    lat, lon = lat_deg, lon_deg
    for _ in range(10):  # the shift changes by 1 in 10,000 of the way: each round gains four digits
        north, east = _shift(lat, lon)
        lat, lon = lat_deg - north, lon_deg - east
    return lat, lon
