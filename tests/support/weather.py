"""The network's weather between two programs: what a `FaultProxy` does for a while, chosen by a seeded generator."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from tests.support.fault_proxy import FaultProxy, Faults

__all__ = ["WEATHER", "change"]

Event = Callable[[FaultProxy], object]

WEATHER: Final[dict[str, tuple[Faults, Event]]] = {
    "clear": (Faults(), lambda _: None),
    "latency": (Faults(latency_s=0.15), lambda _: None),
    "throttle": (Faults(bytes_per_s=4000), lambda _: None),
    "slices": (Faults(slice_bytes=1), lambda _: None),
    "blackhole": (Faults(blackhole=True), lambda _: None),
    "replies lost": (Faults(drop_replies=True), lambda _: None),
    "refused": (Faults(refuse=True), lambda proxy: proxy.reset()),
    "reset": (Faults(), lambda proxy: proxy.reset()),
    "server vanished": (Faults(), lambda proxy: proxy.half_open("server")),
    "client vanished": (Faults(), lambda proxy: proxy.half_open("client")),
    "cut": (Faults(), lambda proxy: proxy.cut_after(700)),
}


def change(rng: random.Random, proxy: FaultProxy, name: str = "") -> str:
    """Let the weather be `name`, or what `rng` chooses; its name."""
    name = name or rng.choice([*WEATHER])
    faults, event = WEATHER[name]
    proxy.cut_after(None)
    proxy.switch(faults)
    event(proxy)
    return name
