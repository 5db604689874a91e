"""A collector process: every device of one configuration, read on schedule and sent."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from edge import drivers
from edge.clock import wall_ms
from edge.config import ConfigError, DeviceConfig, EdgeConfig
from edge.driver import Driver, DriverError, Recording
from edge.fleet import Fleet
from edge.live import Live
from edge.reload import changes
from edge.say import Say, to_stderr
from edge.supervisor import Supervisor

__all__ = ["Fleet", "make_drivers", "run", "wall_ms"]


def make_drivers(
    config: EdgeConfig,
    where: str,
    only: Collection[str] | None = None,
    beside: Sequence[tuple[DeviceConfig, Driver]] = (),
) -> list[tuple[DeviceConfig, Driver]]:
    """Make the drivers of a configuration, or of `only` some `beside` others that go on.

    ConfigError, a line each, if one cannot be.
    """
    made: list[tuple[DeviceConfig, Driver]] = []
    faults: list[str] = []
    for number, device in enumerate(config.device, 1):
        if only is not None and device.id not in only:
            continue
        try:
            made.append((device, drivers.make(device)))
        except (ConfigError, DriverError) as error:
            faults += [
                f"{where}: [[device]] number {number} ({device.id}): {line}"
                for line in str(error).splitlines()
            ]
    faults += [f"{where}: {line}" for line in _twice([*beside, *made])]
    if faults:
        for _, driver in made:
            driver.close()
        raise ConfigError("\n".join(faults))
    return made


def _twice(made: Sequence[tuple[DeviceConfig, Driver]]) -> Iterator[str]:
    """A line for each device on a line whose table is that of another: it was copied and not changed.

    Two devices may follow one web service or one recording, but no two meters are one.
    """
    first: dict[tuple[str, str], str] = {}
    for device, driver in made:
        if not (isinstance(driver, Live) and driver.whom):
            continue
        name = first.setdefault((device.driver, driver.whom), device.id)
        if name != device.id:
            yield f"[[device]] {device.id}: {device.driver}: expected another one than {name}, got the same"


def run(
    config: EdgeConfig,
    *,
    where: str = "configuration",
    clock: Callable[[], int] = wall_ms,
    stop: threading.Event | None = None,
    say: Say = to_stderr,
    read_again: Callable[[], EdgeConfig] | None = None,
    asked: threading.Event | None = None,
) -> dict[str, Any]:
    """Run a whole configuration until `stop` or until it is drained.

    Parameters
    ----------
    config : EdgeConfig
    where : str
        Its name in messages.
    clock : callable
        [ms UTC]
    stop : threading.Event, optional
        Ends the run.
    say : callable
        Told what a person has to know.
    read_again : callable, optional
        Gives the configuration as it is now.
    asked : threading.Event, optional
        Set when it is to be read again.

    Returns
    -------
    dict
        ``devices`` (what each outbox held at the end), ``refused`` (how many complaints of which kind).

    Raises
    ------
    ConfigError, OutboxError
        If it cannot start.
    """
    fleet = Fleet(
        make_drivers(config, where),
        config.mqtt,
        config.outbox.dir,
        clock=clock,
        max_bytes=int(config.outbox.max_mb * 1_000_000),
        ahead_s=config.playback.ahead_s,
        say=say,
    )
    reload = _Reloader(fleet, config, where, read_again, say) if read_again is not None else None
    fleet.run(stop or threading.Event(), Supervisor(say, reload=reload, asked=asked))
    return {"devices": fleet.final, "complaints": dict(fleet.complaints.counts)}


class _Reloader:
    """Reads the configuration again and has a fleet go on with it; a wrong one changes nothing."""

    def __init__(
        self, fleet: Fleet, config: EdgeConfig, where: str, read: Callable[[], EdgeConfig], say: Say
    ):
        self._fleet, self._config, self._where, self._read, self._say = fleet, config, where, read, say

    def __call__(self) -> None:
        made: list[tuple[DeviceConfig, Driver]] = []
        try:
            after = self._read()
            after.check_secrets()
            change = changes(self._config, after, self._fleet.in_step)
            begun = {device.id for device in (*change.added, *change.altered)}
            ended = {*begun, *change.removed}
            beside = [(u.device, u.driver) for u in self._fleet.units if u.device.id not in ended]
            made = make_drivers(after, self._where, begun, beside)
            for device, driver in made:
                if isinstance(driver, Recording) and driver.fast:
                    raise ConfigError(
                        f"{device.id}: a recording that plays as fast as it goes needs a new start"
                    )
        except (ConfigError, ValueError) as error:
            for _, driver in made:
                driver.close()
            for line in str(error).splitlines():
                self._say(f"configuration not taken, the old one holds: {line}")
            return
        self._fleet.file.max_bytes = int(after.outbox.max_mb * 1_000_000)
        self._fleet.apply(change, made, after.mqtt)
        self._config = after
        self._say(f"configuration read again: {change}")
