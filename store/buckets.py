"""Which bucket of InfluxDB a measurement rests in: readings are many and go first, results stay for years."""

from __future__ import annotations

from dataclasses import dataclass

from store.sql import is_reading

__all__ = ["Buckets"]


@dataclass(frozen=True, slots=True)
class Buckets:
    """Names of buckets.

    Attributes
    ----------
    results : str
        Everything that was computed, alarms and dead letters among it.
    readings : str
        Readings as received, and those that lost to a repeat. The same as `results` unless given.
    """

    results: str
    readings: str = ""

    def of(self, measurement: str) -> str:
        """The bucket of a measurement."""
        return (self.readings or self.results) if is_reading(measurement) else self.results

    def all(self) -> tuple[str, ...]:
        """Each of them once."""
        return tuple(dict.fromkeys((self.results, self.readings or self.results)))
