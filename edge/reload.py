"""What another configuration changes in a collector that runs: decided at once, or refused whole. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edge.config import DeviceConfig, EdgeConfig

__all__ = ["Changes", "changes"]


@dataclass(frozen=True)
class Changes:
    """By device: what begins, what is read otherwise than before, what ends.

    Attributes
    ----------
    added, altered : tuple of DeviceConfig
    removed : tuple of str
    broker : bool
        Whether every connection has to be made again.
    """

    added: tuple[DeviceConfig, ...] = ()
    altered: tuple[DeviceConfig, ...] = ()
    removed: tuple[str, ...] = ()
    broker: bool = False

    def __str__(self) -> str:
        parts = [
            f"{len(names)} {what}{': ' if names else ''}{', '.join(names)}"
            for what, names in (
                ("added", [d.id for d in self.added]),
                ("changed", [d.id for d in self.altered]),
                ("removed", list(self.removed)),
            )
        ]
        return "; ".join([*parts, *(["broker settings changed"] if self.broker else [])])


def changes(before: EdgeConfig, after: EdgeConfig, fixed: Iterable[str] = ()) -> Changes:
    """What lies between two configurations.

    Parameters
    ----------
    before, after : EdgeConfig
    fixed : iterable of str
        Devices that cannot change while the process runs (recordings that play in step).

    Raises
    ------
    ValueError
        If something changed that only a new start can change; nothing may be changed then.
    """
    old = {device.id: device for device in before.device}
    new = {device.id: device for device in after.device}
    if before.outbox.dir != after.outbox.dir:
        raise ValueError(
            f"[outbox]: dir: expected {before.outbox.dir} as at the start, got {after.outbox.dir}; "
            "stop the collector to move its outbox"
        )
    for name in fixed:
        if new.get(name) != old.get(name):
            raise ValueError(
                f"[[device]] ({name}): expected it unchanged, because recordings play in step; "
                "stop the collector to change it"
            )
    return Changes(
        added=tuple(device for name, device in new.items() if name not in old),
        altered=tuple(device for name, device in new.items() if name in old and old[name] != device),
        removed=tuple(name for name in old if name not in new),
        broker=before.mqtt != after.mqtt,
    )
