"""Devices that are not there: for each driver a peer on a real socket or pseudo-terminal.

A file of the driver's name with ``start(devices) -> Simulated``; the peer speaks the protocol by itself
and shares no code with the driver that it answers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, Protocol

from edge import drivers, simulators
from edge.config import DeviceConfig, EdgeConfig

__all__ = ["Simulated", "available", "simulate"]


class Simulated(Protocol):
    """What plays the devices of one address.

    Attributes
    ----------
    at : dict
        Options to put in place of the configured ones, so that the driver finds it.
    """

    at: dict[str, Any]

    def close(self) -> None:
        """Release ports and threads."""
        ...


def available() -> list[str]:
    """Names of the drivers whose devices can be simulated."""
    found = {module.name for module in iter_modules(simulators.__path__)}
    return [name for name in drivers.available() if name in found]


def _address(device: DeviceConfig) -> str:
    """What devices that hang on one line, port or broker have in common."""
    for key in ("address", "listen", "broker", "url"):
        if key in device.options:
            return str(device.options[key])
    return device.id


def simulate(config: EdgeConfig) -> tuple[EdgeConfig, list[Simulated]]:
    """Start a peer for each address of a configuration and point its drivers there.

    Returns
    -------
    EdgeConfig, list of Simulated
        The configuration with loopback addresses, and what is to be closed. A driver without a
        simulator (a recording) stays as it is.
    """
    groups: dict[tuple[str, str], list[DeviceConfig]] = defaultdict(list)
    for device in config.device:
        if device.driver in available():
            groups[device.driver, _address(device)].append(device)
    started: list[Simulated] = []
    at: dict[str, dict[str, Any]] = {}
    try:
        for (name, _), devices in groups.items():
            peer = _start(name, devices)
            started.append(peer)
            at |= {device.id: peer.at for device in devices}
    except BaseException:
        for peer in started:
            peer.close()
        raise
    moved = [_moved(device, at[device.id]) if device.id in at else device for device in config.device]
    return config.model_copy(update={"device": moved}), started


def _start(name: str, devices: Sequence[DeviceConfig]) -> Simulated:
    peer: Simulated = import_module(f"edge.simulators.{name}").start(devices)
    return peer


def _moved(device: DeviceConfig, at: dict[str, Any]) -> DeviceConfig:
    return device.model_copy(update={"options": {**device.options, **at}})
