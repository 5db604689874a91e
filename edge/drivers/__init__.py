"""Drivers, one file each, found by their module name."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import cast

from edge import drivers
from edge.config import ConfigError, DeviceConfig
from edge.driver import Driver

__all__ = ["available", "make"]


def available() -> list[str]:
    """Names that `driver` may have in a configuration."""
    return sorted(module.name for module in iter_modules(drivers.__path__))


def make(device: DeviceConfig) -> Driver:
    """Make the driver of one device.

    Raises
    ------
    ConfigError
        If there is no such driver or its options are wrong.
    """
    if device.driver not in available():
        raise ConfigError(f"driver: expected one of {', '.join(available())}, got {device.driver!r}")
    module = import_module(f"edge.drivers.{device.driver}")
    return cast("Driver", module.make(device, device.options))
