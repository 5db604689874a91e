"""Which windows of a network rest on a step of time, and by which registry each goes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from models.site import Network
from streams.core.network_rows import STEP_MS, WEATHER
from streams.core.operator import NetworkOperator
from streams.core.stream_site import StreamSite

__all__ = ["concerned", "members", "reach", "registered", "windows_over"]

IntArray = NDArray[np.int64]


def windows_over(
    operator: NetworkOperator, name: str, step_ms: int, now_ms: int, site: StreamSite
) -> Iterator[tuple[int, StreamSite]]:
    """Starts (ms UTC) of the windows, begun by now, that read a step of a network, and the site each goes by.

    That is the site of when the window was due, its end being past by the longest lateness of what it reads:
    where the network was not registered then it has no window.
    """
    settled_to_ms: int | None = None
    for until_ms, then in site.since(step_ms):
        network = then.site.networks.get(name)
        done_ms = None if until_ms is None else until_ms - _lateness_ms(operator, network, then)
        if network is not None and network.window_s:
            window_ms = 1000 * network.window_s
            first = step_ms // window_ms * window_ms
            last = min(step_ms + 1000 * operator.history_s, now_ms) // window_ms * window_ms
            for start in range(first, last + 1, window_ms):
                end = start + window_ms
                late = settled_to_ms is not None and end <= settled_to_ms
                if not late and (done_ms is None or end <= done_ms):
                    yield start, then
            if done_ms is not None and last + window_ms <= done_ms:
                return
        if done_ms is not None:
            settled_to_ms = done_ms if settled_to_ms is None else max(settled_to_ms, done_ms)


def _lateness_ms(operator: NetworkOperator, network: Network | None, site: StreamSite) -> int:
    if network is None:
        return 1000 * site.site.lateness_s
    heard = np.flatnonzero(site.owned & (site.networks == network.id))
    if WEATHER in operator.reads:
        heard = np.append(heard, site.stations(network))
    return int(site.lateness_ms[heard].max(initial=0))


def concerned(devices: IntArray, from_ms: int, to_ms: int, site: StreamSite) -> set[str]:
    """Networks whose windows that end in [from, to] (ms UTC) rows of `devices` concern, then or now."""
    names: set[str] = set()
    for _, then in site.since(from_ms, to_ms):
        names |= then.concerned(devices)
    return names


def reach(
    operators: Iterable[NetworkOperator], name: str, from_ms: int, to_ms: int, site: StreamSite
) -> tuple[int, int]:
    """From when to when rows are needed to compute again what rests on steps in [from, to). [ms UTC]"""
    lengths_ms = {1000 * int(n.window_s or 0) or STEP_MS for n in _versions(name, from_ms, site)} or {STEP_MS}
    histories_ms = [1000 * o.history_s for o in operators]
    # An operator that reads another's rows of before reaches further: once for each in the line.
    history_ms = max(1, len(histories_ms)) * max(histories_ms, default=0)
    low = min(from_ms // ms * ms for ms in lengths_ms) - history_ms
    high = max((to_ms - 1 + history_ms) // ms * ms + ms for ms in lengths_ms)
    return low, high


def registered(name: str, from_ms: int, site: StreamSite) -> bool:
    """Whether a network is registered at present, or was when what ended since `from_ms` was due. [ms UTC]"""
    return any(True for _ in _versions(name, from_ms, site))


def members(name: str, from_ms: int, site: StreamSite) -> IntArray:
    """Devices, by index, whose rows since `from_ms` (ms UTC) windows of a network rest on, then or now."""
    found = np.empty(0, np.int64)
    for _, then in site.since(from_ms):
        network = then.site.networks.get(name)
        if network is not None:
            mine = np.flatnonzero(then.owned & (then.networks == name))
            found = np.union1d(found, np.union1d(mine, then.stations(network)))
    return found


def _versions(name: str, from_ms: int, site: StreamSite) -> Iterator[Network]:
    """A network in each registry by which windows may go that end from `from_ms` on. [ms UTC]"""
    for _, then in site.since(from_ms):
        if name in then.site.networks:
            yield then.site.networks[name]
