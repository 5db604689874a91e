"""A haulage stream's life with what comes late, twice, absurd at first or from long ago."""

from __future__ import annotations

import random
from collections.abc import Iterator

from models.frame import Frame
from tests.support.road import HOUR_MS, MINUTE_MS, Event, road_journal, trips, weighing
from tests.support.telemetry import T0

DAY_MS = 86_400_000


def road_stream(seed: int) -> Iterator[tuple[int, Frame]]:
    """Frames of a haulage stream and when each is appended (ms UTC): weighings, an office, and a truck's way.

    Some come a day late, some twice; of two tickets what was weighed is absurd at first, and of one device what
    comes is from long ago.
    """
    rng = random.Random(seed)
    events = [*trips(seed), *_odd_weighings(), *_driven()]
    coming = [
        (e.t + rng.randint(0, 30 * HOUR_MS if rng.random() < 0.2 else 15 * MINUTE_MS), e) for e in events
    ]
    coming += [(at + rng.randint(0, HOUR_MS), e) for at, e in coming if rng.random() < 0.2]
    coming += [(T0 + n * 7 * HOUR_MS, e) for n, e in enumerate(_long_ago())]
    coming.sort(key=lambda each: (each[0], each[1].device, each[1].seq))
    for record in road_journal([[e] for _, e in coming], [at for at, _ in coming]):
        yield record.timestamp_ms, Frame.decode(record.frame)


def _driven() -> list[Event]:
    """Fixes of a truck that goes to and fro between the mine and the yard for a day."""
    fixes = []
    for n in range(48):
        share = abs((n % 16) - 8) / 8.0
        where = {
            "lat_deg": 39.0 + 0.5 * share,
            "lon_deg": 110.0 + share,
            "speed_m_s": 8.0 if 0 < share < 1 else 0.0,
        }
        fixes.append(Event("truck-1", n + 1, T0 + n * HOUR_MS // 2, where))
    return fixes


def _odd_weighings() -> list[Event]:
    """Tares of which a scale says less than nothing, and their gross weights a day later."""
    names = [("X1", 900), ("X2", 901)]
    tares = [weighing(n, T0 + 6 * HOUR_MS, ticket, "tare", -5.0) for ticket, n in names]
    return tares + [weighing(n + 2, T0 + 30 * HOUR_MS, ticket, "gross", 46_000.0) for ticket, n in names]


def _long_ago() -> list[Event]:
    """Weighings of a season ago."""
    return [weighing(950 + n, T0 - 90 * DAY_MS, f"L{n}", "gross", 45_000.0) for n in range(4)]
