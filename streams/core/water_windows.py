"""What learners of water share: settled windows of networks, and the local days that they make up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import numpy as np

from models.site import Network
from models.water_usual import WaterDay, WaterWindow, day_of
from streams.core.local_days import day_bounds_ms
from streams.core.network_rows import Settled

__all__ = ["KEPT_MS", "days_of", "settled_windows", "turn_day"]

KEPT_MS: Final = 96 * 3_600_000
"""How long windows are remembered: the last two whole days, and the longest time looked back over."""
_MOST_DAYS: Final = 28
_FIELDS: Final = WaterWindow._fields[2:]
_NAMES: Final = {"booked_m3": "authorised_m3"}


def settled_windows(settled: Settled) -> Iterator[tuple[Network, WaterWindow]]:
    """Windows of `network_water` that end with this step and close, in the order of their networks."""
    subjects = settled.subjects("network_water")
    if not len(subjects):
        return
    values = {name: settled("network_water", _NAMES.get(name, name)) for name in _FIELDS}
    final = settled.final("network_water")
    for at in sorted(range(len(subjects)), key=lambda n: settled.networks[int(subjects[n])]):
        network = settled.site.site.networks.get(settled.networks[int(subjects[at])])
        if network is None or not final[at]:
            continue
        window_s = int(network.window_s)
        told = (float(values[name][at]) for name in _FIELDS)
        if not (np.isfinite(values["leak_m3"][at]) and np.isfinite(values["leak_u_m3"][at])):
            continue  # what is looked for in it would be compared with nothing
        yield network, WaterWindow(settled.end_ms - 1000 * window_s, window_s / 3600.0, *told)


def turn_day(
    state: dict[str, Any],
    window: WaterWindow,
    timezone: str,
    usable: Callable[[Sequence[WaterWindow]], Sequence[WaterWindow]],
) -> bool:
    """Take a window into a network's `state`, and the day before yesterday once it is that.

    A day is summed up when another has passed, so that what began on it late is known by then.

    Parameters
    ----------
    state : dict
        With `windows`, `days` and `folded_ms`, which are brought up to date.
    window : WaterWindow
        Later than all before.
    timezone : str
    usable : callable
        Of a day's windows those in which nothing was out of the way.

    Returns
    -------
    bool
        Whether a day was summed up.
    """
    windows = [*state.get("windows", ()), list(window)]
    state["windows"] = [w for w in windows if w[0] > window.start_ms - KEPT_MS]
    today, _ = day_bounds_ms(window.start_ms, timezone)
    yesterday, _ = day_bounds_ms(today - 1, timezone)
    before, _ = day_bounds_ms(yesterday - 1, timezone)
    if state.get("folded_ms") == before:
        return False
    state["folded_ms"] = before
    mine = [WaterWindow(*w) for w in state["windows"] if before <= w[0] < yesterday]
    day = day_of(usable(mine), before)
    if day is None:
        return False
    state["days"] = [*state.get("days", ()), list(day)][-_MOST_DAYS:]
    return True


def days_of(state: dict[str, Any]) -> list[WaterDay]:
    """The days that `state` remembers."""
    return [WaterDay(*day) for day in state.get("days", ())]
