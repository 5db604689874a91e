"""A GNSS receiver in a truck that drives rounds: RMC and GGA each second."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from edge.config import DeviceConfig
from edge.simulators.peer import Peer

__all__ = ["Receiver", "rmc", "rounds", "sentence", "start"]


def sentence(body: str) -> bytes:
    """Frame the body of a sentence."""
    check = 0
    for letter in body:
        check = check ^ ord(letter)
    return f"${body}*{check:02X}\r\n".encode()


def _angle(value: float, digits: int, letters: str) -> str:
    minutes = round(abs(value) * 60 * 10_000) / 10_000
    return f"{int(minutes // 60):0{digits}d}{minutes % 60:07.4f},{letters[value < 0]}"


def rmc(
    t_ms: int, lat: float, lon: float, speed_m_s: float, heading: float, *, status: str = "A", mode: str = "A"
) -> bytes:
    """Give one RMC sentence; positions to a ten-thousandth of a minute."""
    at = datetime.fromtimestamp(t_ms / 1000, UTC)
    return sentence(
        f"GNRMC,{at:%H%M%S}.{t_ms % 1000 // 10:02d},{status},{_angle(lat, 2, 'NS')},{_angle(lon, 3, 'EW')},"
        f"{speed_m_s * 3600 / 1852:.3f},{heading:.1f},{at:%d%m%y},,,{mode}"
    )


def rounds(unix_s: float) -> tuple[float, float, float, float]:
    """Where a truck is that drives a circle of 2 km at 15 m/s: latitude, longitude, speed, heading."""
    angle = unix_s * 15.0 / 2000.0
    lat = 39.7 + 2000.0 * math.cos(angle) / 111_195.0
    lon = 116.5 + 2000.0 * math.sin(angle) / (111_195.0 * math.cos(math.radians(39.7)))
    return lat, lon, 15.0, (math.degrees(angle) + 90.0) % 360.0


class Receiver:
    """Speaks each period."""

    def heard(self, data: bytes) -> bytes:  # noqa: ARG002  it listens to nobody
        """Nothing."""
        return b""

    def tick(self) -> bytes:
        """A position, and what else a receiver says."""
        now_s = time.time()
        return rmc(int(now_s * 1000), *rounds(now_s)) + sentence("GNGSA,A,3,01,02,03,,,,,,,,,,1.8,1.0,1.5")


def start(devices: Sequence[DeviceConfig]) -> Peer:
    """Play the receiver of one address."""
    serial = not str(devices[0].options["address"]).startswith("tcp://")
    return Peer(Receiver, serial=serial, period_s=1.0)
