"""What can go wrong on the road, and the anomaly that each ought to raise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["KINDS", "Wrong", "WrongKind"]


@dataclass(frozen=True, slots=True)
class WrongKind:
    """What can go wrong on the road.

    Attributes
    ----------
    on : str
        What its `place` names: "plate", "bridge", "contract", "seller", "place" or "device".
    size : str
        What `size` means, with its unit; empty when it has none.
    code : str
        Code of the anomaly that it ought to raise; empty when none ought to be.
    subject : str
        Kind of that anomaly's subject: "plate", "ticket", "bridge", "supplier" or "contract".
    deadline_h : float
        By when staff would want to know, after the onset. [h]
    low, high : float
        Limits of `size`.
    """

    on: str
    size: str
    code: str
    subject: str
    deadline_h: float
    low: float = 0.0
    high: float = 1e6


KINDS: Final[dict[str, WrongKind]] = {
    "theft": WrongKind("plate", "coal taken from the load on the way, kg", "transit_loss", "plate", 168.0),
    "real_loss": WrongKind(
        "contract", "share of a load lost beyond the usual", "transit_loss", "contract", 240.0, high=0.9
    ),
    "watered": WrongKind(
        "contract", "coal taken and water poured in its place, kg", "transit_loss", "contract", 240.0
    ),
    "tare_inflated": WrongKind(
        "plate", "water in the tank at the origin's tare and gone by its gross, kg",
        "tare_inflated", "plate", 72.0,
    ),
    "tare_drift": WrongKind(
        "plate", "gained by the empty truck in a day, kg", "tare_drift", "plate", 240.0, -1e3, 1e3
    ),
    "plate_swapped": WrongKind("plate", "", "plate_swapped", "plate", 48.0),
    "repeated_weight": WrongKind(
        "plate", "coal missing behind the last delivery's weights shown again, kg",
        "repeated_weight", "plate", 72.0,
    ),
    "phantom_ticket": WrongKind("contract", "tickets a day", "phantom_ticket", "ticket", 48.0, high=1e4),
    "overload": WrongKind("plate", "gross over the rated mass, kg", "overload", "plate", 24.0, high=6e4),
    "impossible_time": WrongKind(
        "plate", "time shown over true time of the drive", "impossible_time", "ticket", 48.0, high=0.9
    ),
    "bridge_drift": WrongKind(
        "bridge", "relative error gained in a day", "bridge_drift", "bridge", 240.0, -0.1, 0.1
    ),
    "bridge_bias": WrongKind("bridge", "relative error", "bridge_drift", "bridge", 240.0, -0.5, 0.5),
    "short_quality": WrongKind(
        "seller", "share of the heat that the certificate says and the coal lacks",
        "supplier_short_quality", "supplier", 336.0, high=0.9,
    ),
    "route_deviation": WrongKind("plate", "off the lane, m", "route_deviation", "plate", 12.0, high=1e5),
    "detention": WrongKind(
        "place", "waiting added before unloading, h", "detention", "ticket", 12.0, high=240.0
    ),
    "offline": WrongKind("device", "", "", "", 2.0),
}  # fmt: skip
"""What can go wrong on the road, by its name in a case."""


@dataclass(frozen=True, slots=True)
class Wrong:
    """One thing that goes wrong on the road.

    Attributes
    ----------
    kind, place : str
    other : str
        The plate shown in place of the true one, of a swap.
    size, share : float
        In the unit of the kind; share of the trips on which it is done.
    onset_ms, until_ms, full_ms : int
        From when to when (ms UTC), and when it has reached its size.
    """

    kind: str
    place: str
    size: float
    onset_ms: int
    until_ms: int
    full_ms: int
    share: float = 1.0
    other: str = ""

    def at(self, t_ms: float) -> float:
        """Its size at an instant: it grows evenly until it is full; 0 outside its time."""
        if not self.onset_ms <= t_ms < self.until_ms:
            return 0.0
        if t_ms >= self.full_ms:
            return self.size
        return self.size * (t_ms - self.onset_ms) / (self.full_ms - self.onset_ms)
