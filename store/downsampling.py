"""Hourly figures of readings, kept when the readings themselves are gone: tasks that InfluxDB 2 runs.

Each is one pass that InfluxDB does in its storage engine. It looks back over three hours each time and
writes over what it wrote: what comes up to two hours late is in. What comes later is in the readings and in
the results, which are restated, and not here. Of two readings of one time the one that stands counts, with
what only the other had measured.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from models.measurements import CLASSES, Kind, known
from models.results import READING
from store import flux

__all__ = ["Task", "tasks"]

EVERY: Final = "1h"
OFFSET: Final = "20m"
"""After the hour: longer than the lateness that sites have (900 s unless set)."""
LOOK_BACK: Final = "3h"
_DEVICES: Final = ("plant", "substation", "meter", "weather")
"""Classes whose readings are states of something that stays where it is."""
_AGGREGATES: Final = {"mean": Kind.GAUGE, "min": Kind.GAUGE, "max": Kind.GAUGE, "last": Kind.COUNTER}
_FORECAST: Final = re.compile(r"outdoor_\d+h_c")
_IMPORTS: Final = 'import "date"\nimport "experimental"'
_RANGE: Final = (
    f"to_time = date.truncate(t: now(), unit: {EVERY})\n"
    f"from_time = experimental.subDuration(d: {LOOK_BACK}, from: to_time)\n"
)


@dataclass(frozen=True, slots=True)
class Task:
    """What InfluxDB is to do every hour.

    Attributes
    ----------
    name : str
    measurement : str
        What it writes: ``reading_hourly_mean``, ``_min``, ``_max`` of gauges, ``_last`` of counters.
    query : str
        Flux that gives what is to be written; the bounds are whole hours before ``now()``.
    target : str
        Bucket that it goes to.
    """

    name: str
    measurement: str
    query: str
    target: str

    @property
    def script(self) -> str:
        """With its options and its end, as InfluxDB 2 takes it."""
        imports, rest = self.query.split("\n\n", 1)
        option = f"option task = {{name: {flux.literal(self.name)}, every: {EVERY}, offset: {OFFSET}}}"
        return f"{imports}\n\n{option}\n\n{rest}\n  |> to(bucket: {flux.literal(self.target)})\n"


def tasks(readings: str, target: str) -> Iterator[Task]:
    """One for each device class and aggregate, from the bucket of readings into another."""
    for device_class in _DEVICES:
        numbers = [known[n] for n in CLASSES[device_class] if not _FORECAST.fullmatch(n)]
        for aggregate, kind in _AGGREGATES.items():
            fields = tuple(m.name for m in numbers if m.kind is kind)
            if fields:
                name = f"hearthline hourly {aggregate} of {device_class}"
                yield _task(name, device_class, fields, aggregate, (readings, target))


def _task(
    name: str, device_class: str, fields: Iterable[str], aggregate: str, buckets: tuple[str, str]
) -> Task:
    measurement = f"{READING}_hourly_{aggregate}"
    wanted = " or ".join(f"r._field == {flux.literal(f)}" for f in fields)
    of_class = f"r._measurement == {flux.literal(READING)} and r.class == {flux.literal(device_class)}"
    query = "\n  ".join([
        f"from(bucket: {flux.literal(buckets[0])})",
        "|> range(start: from_time, stop: to_time)",
        f"|> filter(fn: (r) => {of_class})",
        f"|> filter(fn: (r) => {wanted})",
        f'|> aggregateWindow(every: {EVERY}, fn: {aggregate}, timeSrc: "_start", createEmpty: false)',
        f'|> set(key: "_measurement", value: {flux.literal(measurement)})',
    ])  # fmt: skip
    return Task(name, measurement, f"{_IMPORTS}\n\n{_RANGE}{query}", buckets[1])
