"""The case that the demo plays: a heating company with its coal, so small that a minute shows something.

Things go wrong in it soon after the start, and again every third day somewhere else, so that whoever looks
at the board for the first time finds what the tour of the demo speaks of.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from models.site import Site
from simulator.case import Case, parse

__all__ = ["demo_case"]

_TEXT: Final = """
seed = {seed}
hours = {hours}
interval_s = 10

[unit]
substations = 30

[logistics]
mines = 2
plants = 1
trucks = 8
contracts = 2
lane_km = [12, 30]
planned_share = 0.3
sampling = "both"
spread_h = 1
releases = 1
survey_days = 1
settle_days = 5

[logistics.gps]
interval_s = 10
parked_interval_s = 10

[[logistics.place]]
place = "plant-yard-1"
stock_t = 7000
"""
_HOURS: Final = 2160
_AGAIN_H: Final = 72
_HOUR_MS: Final = 3_600_000
_PAUSE_MS: Final = _HOUR_MS // 2  # from the beginning until the pipe bursts, or somewhat longer
_STORY: Final = (
    # kind, places in turn, size, onset and end in hours after the story's beginning
    ("outage", ("sub-07", "sub-18", "sub-03"), None, 0.2, 1.5),
    ("pump_trip", ("sub-12", "sub-21", "sub-16"), None, 0.4, 3.0),
    ("leak", ("n-05", "n-06", "n-04"), 28.0, 0.5, 7.0),
    ("sensor_broken", ("sub-25", "sub-09", "sub-28"), 250.0, 0.9, 4.0),
    ("detention", ("plant-yard-1",), 4.6, 0.0, 1.4),
)


def _story(start_ms: int) -> Iterator[str]:
    """Faults as the case's text has them: a cut line, a pump, a burst pipe, a sensor, a queue at the yard."""
    # Water is balanced by the hour: in the midst of one a burst looks like a draw-off until the next is over.
    to_hour_h = -(start_ms + _PAUSE_MS) % _HOUR_MS / _HOUR_MS
    for turn, begin_h in enumerate(range(0, _HOURS, _AGAIN_H)):
        for kind, places, size, onset_h, until_h in _STORY:
            yield "[[fault]]"
            yield f'kind = "{kind}"'
            yield f'place = "{places[turn % len(places)]}"'
            if size is not None:
                yield f"size = {size}"
            later_h = to_hour_h if kind == "leak" else 0.0
            yield f"onset_h = {begin_h + onset_h + later_h}"
            yield f"until_h = {begin_h + until_h + later_h}"


def _no_site(name: str) -> Site:
    raise OSError(f"no site {name!r} at hand")


def demo_case(seed: int, start_ms: int, *, earlier: bool = True) -> Case:
    """A quarter of a year from `start_ms` (ms UTC) on; the same seed and start give the same one.

    Papers of its first month from before it are told as it begins: else nobody could say how far the
    month's contracts are. A demo that was begun by a release without them (not `earlier`) goes on without.
    """
    text = "\n".join((_TEXT.format(seed=seed, hours=_HOURS), *_story(start_ms)))
    case = parse("demo", text, _no_site, begin_ms=lambda _hours: start_ms)
    assert case.logistics is not None
    plan = replace(case.logistics.plan, earlier=earlier)
    return replace(case, logistics=replace(case.logistics, plan=plan))
