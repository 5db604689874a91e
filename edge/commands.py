"""What the server may tell a device, each request once and only while it is new.

A command is recorded traffic to whoever can read along, so obeying one twice has to be impossible:
what was obeyed is on disk before it is done, and outlives the process.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any, Final, NamedTuple

from models.wire import Command

__all__ = ["AGE_MS", "CommandBook", "Obeyed", "refusal"]

AGE_MS: Final = 600_000
"""How far a command's time may be from the collector's clock. [ms]"""
_IDS: Final = 64
_NO_TIME: Final = -(2**63)


class Obeyed(NamedTuple):
    """What one device has obeyed.

    Attributes
    ----------
    at : int
        Newest time of a command. [ms UTC]
    ids : tuple of str
        Commands of late, newest last.
    interval : tuple of float, optional
        The configuration's interval at the time of a `set-interval`, and the one that was set. [s]
    """

    at: int = _NO_TIME
    ids: tuple[str, ...] = ()
    interval: tuple[float, float] | None = None


def refusal(
    command: Command, obeyed: Obeyed, *, boot: int, now_ms: int, retained: bool, age_ms: int = AGE_MS
) -> str:
    """Why a command is not obeyed; empty if it is to be. Pure.

    Parameters
    ----------
    command : Command
    obeyed : Obeyed
        What the device has obeyed before.
    boot : int
        Of the device's outbox. [ms UTC]
    now_ms : int
        The collector's clock. [ms UTC]
    retained : bool
        Whether the broker had kept it: then nobody knows when it was said.
    age_ms : int
        How far its time may be from the clock. [ms]
    """
    if retained:
        return "expected a command that is said now, got a retained one"
    if command.boot is not None and command.boot != boot:
        return f"expected boot {boot}, got one for boot {command.boot}"
    if abs(command.at - now_ms) > age_ms:
        return f"expected a time within {age_ms / 60_000:g} minutes of {now_ms}, got {command.at}"
    if command.id in obeyed.ids:
        return f"expected a new id, got {command.id!r} again"
    if command.at < obeyed.at:
        return f"expected a time not before that of the last one, {obeyed.at}, got {command.at}"
    return ""


class CommandBook:
    """What every device of a collector has obeyed, in a file beside the outbox.

    Parameters
    ----------
    path : Path
        A damaged or missing file is an empty book: the age of a command still bounds what can be replayed.
    """

    def __init__(self, path: Path):
        self._path = path
        self._devices: dict[str, Obeyed] = {}
        try:
            for device, entry in json.loads(path.read_text(encoding="utf-8")).items():
                self._devices[device] = _read(entry)
        except (OSError, ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError):
            self._devices = {}

    def of(self, device: str) -> Obeyed:
        """What a device has obeyed."""
        return self._devices.get(device, Obeyed())

    def interval_s(self, device: str, configured_s: float) -> float:
        """How often a device is read: what was set holds until the configuration's own value changes. [s]"""
        known = self.of(device).interval
        return known[1] if known is not None and known[0] == configured_s else configured_s

    def note(self, device: str, command: Command, configured_s: float) -> None:
        """Keep that a command is obeyed; OSError if that cannot be written, and then it must not be."""
        before = self.of(device)
        interval = before.interval if command.interval_s is None else (configured_s, command.interval_s)
        after = Obeyed(command.at, (*before.ids, command.id)[-_IDS:], interval)
        self._write({**self._devices, device: after})
        self._devices[device] = after

    def _write(self, devices: dict[str, Obeyed]) -> None:
        new = self._path.with_name(self._path.name + ".new")
        with new.open("w", encoding="utf-8") as file:
            json.dump({device: obeyed._asdict() for device, obeyed in devices.items()}, file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path)
        place = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(place)
        finally:
            os.close(place)


def _read(entry: dict[str, Any]) -> Obeyed:
    interval = entry["interval"]
    pair = None if interval is None else (float(interval[0]), float(interval[1]))
    if pair is not None and not all(0 < interval_s < math.inf for interval_s in pair):
        raise ValueError(f"expected two intervals, got {pair}")
    return Obeyed(int(entry["at"]), tuple(str(i) for i in entry["ids"]), pair)
