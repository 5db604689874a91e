"""The case that the demo plays: a heating company with its coal, so small that a minute shows something."""

from __future__ import annotations

from typing import Final

from models.site import Site
from simulator.case import Case, parse

__all__ = ["demo_case"]

_TEXT: Final = """
seed = {seed}
hours = 2160
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
survey_days = 1
settle_days = 5

[logistics.gps]
interval_s = 10
parked_interval_s = 10

[[logistics.place]]
place = "plant-yard-1"
stock_t = 7000
"""


def _no_site(name: str) -> Site:
    raise OSError(f"no site {name!r} at hand")


def demo_case(seed: int, start_ms: int) -> Case:
    """A quarter of a year from `start_ms` (ms UTC) on; the same seed and start give the same one."""
    return parse("demo", _TEXT.format(seed=seed), _no_site, begin_ms=lambda _hours: start_ms)
