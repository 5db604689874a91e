"""A case played live: its devices are read by real collectors, which send to a broker."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from edge.config import MqttConfig
from edge.outbox import OutboxError
from edge.run import Fleet
from hearthline.cli import UsageError
from hearthline.stopping import stop_on_signals
from ingest.clock import SimulatedClock, wall_clock
from simulator.case import Case
from simulator.coal import CoalReadings
from simulator.fleet import SimulatedUnit, UnitReadings
from simulator.simulate import write_site
from simulator.truth_files import TruthFiles

__all__ = ["Live", "live_start_ms", "play"]

_MINUTE_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class Live:
    """How a case is played.

    Attributes
    ----------
    mqtt : str
        The broker, mqtt://HOST[:PORT] or mqtts://.
    speed : float
        Simulated seconds a second.
    user : str or None
        Name at the broker; the password comes from the environment.
    """

    mqtt: str
    speed: float = 1.0
    user: str | None = None


def live_start_ms(hours: float, speed: float) -> int:
    """Where a case of so many hours begins that is played now: a whole minute. [ms UTC]

    One that is played faster begins so much earlier that it ends in the present: what is ahead of the wall
    clock would be refused.
    """
    behind_ms = round(hours * 3_600_000 * max(0.0, 1.0 - 1.0 / speed))
    return (wall_clock() - behind_ms) // _MINUTE_MS * _MINUTE_MS


def play(case: Case, out: Path, live: Live, say: Callable[[str], None]) -> dict[str, Any]:
    """Play `case` until its end or Ctrl-C; gives the summary.

    The site lies in ``out/site`` before the first message, and the truth
    beside it at the end.
    """
    try:
        mqtt = MqttConfig(url=live.mqtt, username=live.user)
    except ValidationError as error:
        raise UsageError(f"mqtt: {error.errors()[0]['msg']}, got {live.mqtt!r}") from error
    stop, began = stop_on_signals(), time.monotonic()
    write_site(case, out)
    truths = TruthFiles(out, case)
    coal = None if case.logistics is None else CoalReadings(case, out)
    readings = coal or UnitReadings.of(case)
    readings.watchers.append(truths.take)
    unit = SimulatedUnit(case.seed, case.start_ms, readings=readings, end_ms=case.end_ms)
    clock = SimulatedClock(case.start_ms, live.speed)
    try:
        fleet = Fleet(unit.fleet(), mqtt, out / "outbox", clock=clock, speed=live.speed, say=say)
    except OutboxError as error:
        raise UsageError(str(error)) from error
    say(
        f"SIMULATED: {len(unit.devices())} devices to {live.mqtt} at {live.speed:g} times real time for "
        f"{case.hours:g} h of their time; their site is {out / 'site'}; Ctrl-C stops"
    )
    missing_kg = 0
    try:
        fleet.run(stop)
    finally:
        truths.close(readings.faults)
        if coal:
            missing_kg = coal.close()
    waiting = sum(sum(b - a + 1 for a, b in told["waiting"]) for told in fleet.final.values())
    closure = truths.closure
    return {
        "simulated": True, "seconds": round(time.monotonic() - began, 1),
        "devices": len(unit.devices()), "steps": closure.steps, "closes": closure.closes and missing_kg == 0,
        "energy_error": closure.energy_error, "mass_error": closure.mass_error, "waiting": waiting,
    }  # fmt: skip
