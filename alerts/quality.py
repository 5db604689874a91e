"""What alarms ask of a desk: the figures of ISA-18.2 and EEMUA 191, and the limits that rules are held to."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from alerts.rules import Limits

__all__ = ["STALE_MS", "Figures", "Standing", "figures", "over"]

TEN_MIN_MS: Final = 600_000
STALE_MS: Final = 86_400_000
_DAY_MS: Final = 86_400_000
_CHATTER_MS: Final = 60_000
_CHATTER: Final = 3


@dataclass(frozen=True, slots=True)
class Standing:
    """An alarm that stood in front of people, from its raising until it cleared or was put aside.

    Attributes
    ----------
    from_ms, to_ms : int
        [ms UTC]
    """

    alarm: str
    from_ms: int
    to_ms: int


@dataclass(frozen=True, slots=True)
class Figures:
    """What a desk had to bear.

    Attributes
    ----------
    alarms : int
        Alarms that people were told of.
    a_day : float
        Of these, a desk and day.
    worst_10_min : int
        Most of them in 10 minutes, at one desk.
    flood_pct : float
        Share of time in flood: from more than ten in 10 minutes until under five. [%]
    chatter : int
        Alarms raised three times or more in a minute.
    stale : int
        Alarms that stood for over 24 h.
    worst : dict of str to int
        The ten alarms by subject and code that rang most often.
    """

    alarms: int
    a_day: float
    worst_10_min: int
    flood_pct: float
    chatter: int
    stale: int
    worst: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """All of it, as JSON holds it."""
        return asdict(self)


def figures(
    rung: Iterable[tuple[int, str]], standing: Iterable[Standing], from_ms: int, to_ms: int, desks: int = 1
) -> Figures:
    """Figures of [from_ms, to_ms).

    Parameters
    ----------
    rung : iterable of (int, str)
        When people were told that something is wrong, and of which alarm (its subject and code).
    standing : iterable of Standing
    desks : int
        How many desks share them.

    Examples
    --------
    >>> figures([(n * 1000, f"a{n}") for n in range(30)], [], 0, 3_600_000).flood_pct.__round__(1)
    17.1
    """
    times = sorted((t, name) for t, name in rung if from_ms <= t < to_ms)
    at = [t for t, _ in times]
    worst = max((n + 1 - bisect_left(at, t - TEN_MIN_MS + 1) for n, t in enumerate(at)), default=0)
    counts: dict[str, list[int]] = {}
    for t, name in times:
        counts.setdefault(name, []).append(t)
    chatter = sum(
        any(b - a < _CHATTER_MS for a, b in zip(ts, ts[_CHATTER - 1 :], strict=False))
        for ts in counts.values()
    )
    stale = sum(s.to_ms - s.from_ms > STALE_MS and s.to_ms > from_ms and s.from_ms < to_ms for s in standing)
    days = max((to_ms - from_ms) / _DAY_MS, 1e-9)
    most = sorted(counts.items(), key=lambda x: (-len(x[1]), x[0]))[:10]
    flooded_pct = 100.0 * _flooded_ms(at, to_ms, desks) / (days * _DAY_MS)
    return Figures(
        len(at),
        len(at) / days / desks,
        -(-worst // desks),
        flooded_pct,
        chatter,
        stale,
        {name: len(ts) for name, ts in most},
    )


def _flooded_ms(at: Sequence[int], to_ms: int, desks: int) -> int:
    """Time in flood: it begins with the eleventh in 10 minutes, and ends when fewer than five lie in them."""
    total, began = 0, None
    # The count changes when one rings and when one leaves the last 10 minutes.
    changes = sorted([(t, 1) for t in at] + [(t + TEN_MIN_MS, -1) for t in at])
    count = 0
    for t, change in changes:
        count += change
        if began is None and count > 10 * desks:
            began = t
        elif began is not None and count < 5 * desks:
            total += max(0, min(t, to_ms) - began)
            began = None
    return total + (max(0, to_ms - began) if began is not None else 0)


def over(found: Figures, limits: Limits) -> list[str]:
    """Which limits are broken, in words; none when all are kept."""
    pairs = (
        ("alarms a desk a day", found.a_day, limits.a_day),
        ("alarms in the worst 10 minutes", found.worst_10_min, limits.worst_10_min),
        ("per cent of time in flood", found.flood_pct, limits.flood_pct),
        ("chattering alarms", found.chatter, limits.chatter),
        ("alarms that stood for over 24 h", found.stale, limits.stale),
    )
    return [f"{what}: expected at most {most:g}, got {got:.4g}" for what, got, most in pairs if got > most]
