"""Events as nobody would enter them: parts missing, instants shared, words of other events."""

import random

import pytest

from streams.core.operator import discovered
from tests.support.road import HOUR_MS, MINUTE_MS, Event, road_journal, run_road
from tests.support.telemetry import T0

OPERATORS = discovered()
TICKETS, PLATES, CONTRACTS = ("A", "B", "C", None), ("P1", "P2", "P9", None), ("C1", "C2", "C9", None)
MASSES = (15_000.0, 47_000.0, 0.0, -20.0, 60_000.0, None)


def odd(seed: int, count: int = 60) -> list[Event]:
    """Weighings, samples and papers whose every part is drawn by itself, on few instants."""
    rng = random.Random(seed)
    events = []
    for seq in range(1, count + 1):
        t = T0 + rng.randrange(8) * 30 * MINUTE_MS
        device = rng.choice(("bridge-m", "bridge-p", "bridge-m", "bridge-p", "lab-m", "lab-p", "desk"))
        values: dict = {"contract": rng.choice(CONTRACTS), "ticket": rng.choice(TICKETS)}
        if device.startswith("bridge"):
            values |= {
                "plate": rng.choice(PLATES), "tag": rng.choice(("T1", "T2", None)),
                "step": rng.choice(("tare", "gross", "odd", None)), "mass_kg": rng.choice(MASSES),
            }  # fmt: skip
        elif device.startswith("lab"):
            values |= {
                "lot": rng.choice(("L1", "L2", None)), "end": rng.choice(("origin", "destination", "odd", None)),
                "moisture_pct": rng.choice((8.0, 100.0, 130.0, None)), "q_net_ar_mj_kg": rng.choice((22.0, 0.0, -1.0, None)),
            }  # fmt: skip
        else:
            del values["ticket"]
            values |= {
                "ref": rng.choice(("R1", "R2", None)), "mass_kg": rng.choice(MASSES),
                "event": rng.choice(("release", "cancel", "settle", "reject", "correct", "survey", "odd", None)),
            }  # fmt: skip
        events.append(Event(device, seq, t, {k: v for k, v in values.items() if v is not None}))
    return events


@pytest.mark.parametrize("seed", [0, 1, 2, 195, 196, 223])
def test_odd_events_end_no_stream_and_no_weighing_is_lost(seed):
    """Seeds over 100 gave two rows one name: a ticket weighed on two bridges at once, one said to be forged twice."""
    events = odd(seed)
    told = run_road(
        road_journal([[e] for e in events], [T0 + HOUR_MS * 5 + n for n in range(len(events))]),
        OPERATORS, until_ms=T0 + 30 * HOUR_MS,
    )  # fmt: skip
    named = {
        (e.device, e.values["ticket"], e.values["step"])
        for e in events
        if e.device.startswith("bridge") and "ticket" in e.values and "step" in e.values
    }
    unnamed = [
        e for e in events if e.device.startswith("bridge") and "ticket" in e.values and "step" not in e.values
    ]
    assert len(told.of("weighing")) == len(named) + len(unnamed)
