"""Limits of the numbers about coal on the road in a case, and a reader of its tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final, Protocol

from simulator.logistics.plan import Disorder

__all__ = [
    "COAL", "DISORDER", "GPS", "PLACE", "PLAN", "SHARE", "SIZE", "TRAIN", "Reader", "Report", "rows",
    "single",
]  # fmt: skip

SHARE: Final = (0.0, 1.0)
GPS: Final[dict[str, tuple[float, float]]] = {
    "interval_s": (1.0, 86_400.0), "parked_interval_s": (1.0, 86_400.0), "tracked_share": SHARE,
    "fixes_a_message": (1, 1000), "noise_m": (0.0, 1e4), "outage_share": SHARE, "outage_s": (60.0, 86_400.0),
    "backfill_share": SHARE, "stale_share": SHARE, "stale_years_share": SHARE, "zero_share": SHARE,
    "jump_share": SHARE,
}  # fmt: skip
DISORDER: Final = {f.name: (0.0, 720.0) if f.name == "late_h" else SHARE for f in fields(Disorder)}
PLAN: Final[dict[str, tuple[float, float]]] = {
    "division_kg": (1.0, 1_000.0), "bridge_s": (5.0, 3_600.0), "bridge_noise_kg": (0.0, 1e4),
    "bridge_error": (0.0, 0.1), "loss_share": (0.0, 0.5), "moisture_change_pct": (-10.0, 10.0),
    "load_kg": (1_000.0, 1e5), "load_sd_kg": (0.0, 1e4), "rest_after_h": (0.1, 24.0),
    "rest_min": (1.0, 600.0), "off_duty_h": (0.0, 72.0),
    "jam_share": SHARE, "closed_day_share": SHARE, "releases": (1, 31),
    "settle_days": (1, 31), "cancel_share": SHARE, "reject_share": SHARE, "survey_days": (1, 366),
    "spread_h": (0.0, 240.0),
}  # fmt: skip
SIZE: Final[dict[str, tuple[float, float]]] = {
    "mines": (1, 500), "plants": (1, 500), "stations": (0, 200), "trucks": (0, 20_000),
    "contracts": (1, 2_000), "wagons": (1, 200), "train_sets": (1, 20), "planned_share": (0.01, 10.0),
}  # fmt: skip
PLACE: Final[dict[str, tuple[float, float]]] = {
    "bays": (1, 200), "bay_s": (10.0, 86_400.0), "opens_h": (0.0, 24.0), "closes_h": (0.0, 24.0),
    "stock_t": (0.0, 1e8), "burn_t_day": (0.0, 1e6),
}  # fmt: skip
COAL: Final[dict[str, tuple[float, float]]] = {
    "moisture_pct": (0.5, 40.0), "ash_pct": (1.0, 50.0), "sulphur_pct": (0.0, 10.0),
    "q_net_ar_mj_kg": (5.0, 35.0),
}  # fmt: skip
TRAIN: Final[dict[str, tuple[float, float]]] = {
    "wagons": (1, 200), "wagon_kg": (1_000.0, 1e5), "hours": (0.5, 500.0), "sets": (1, 20),
}  # fmt: skip
_WHOLE: Final = frozenset({
    "mines", "plants", "stations", "trucks", "contracts", "wagons", "train_sets", "bays", "sets", "releases",
    "settle_days", "survey_days", "fixes_a_message",
})  # fmt: skip


class Report(Protocol):
    """Takes what is wrong, with its place in the file."""

    found: list[str]

    def at(self, message: str, key: str = "", *, table: str = "", number: int = 0) -> None:
        """Note something wrong with `key` of a table, or of the `number`-th of its name."""


class Reader:
    """Reads tables of the part."""

    def __init__(self, report: Report) -> None:
        self.report = report

    def at(self, message: str, key: str, number: int, table: str) -> None:
        """Note something wrong."""
        self.report.at(message, key, table=table, number=number)

    def numbers(
        self, row: Mapping[str, Any], limits: Mapping[str, tuple[float, float]], table: str, number: int = 0
    ) -> dict[str, Any]:
        """The numbers of a table that are given and right."""
        found: dict[str, Any] = {}
        for key, (low, high) in limits.items():
            if key not in row:
                continue
            value, whole = row[key], key in _WHOLE
            if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
                kind = "a whole number" if whole else "a number"
                self.at(f"{key}: expected {kind}, got {value!r}", key, number, table)
            elif not low <= value <= high:
                self.at(
                    f"{key}: expected a number from {low:g} to {high:g}, got {value!r}", key, number, table
                )
            else:
                found[key] = value if whole else float(value)
        return found

    def known(self, row: Mapping[str, Any], names: set[str], table: str, number: int = 0) -> None:
        """Every key of a table is one of `names`."""
        for key in row.keys() - names:
            self.at(f"{key}: expected one of {', '.join(sorted(names))}", key, number, table)

    def choice(
        self,
        row: Mapping[str, Any],
        key: str,
        of: Mapping[str, Any] | set[str],
        what: str,
        table: str,
        number: int,
    ) -> str:
        """A name that must exist."""
        value = row.get(key)
        if not isinstance(value, str) or value not in of:
            self.at(f"{key}: expected {what}, got {value!r}", key, number, table)
            return ""
        return value


def rows(raw: Mapping[str, Any], name: str, reader: Reader) -> list[Mapping[str, Any]]:
    """Tables of an array; none where it is something else, which is noted."""
    found = raw.get(name, [])
    if not isinstance(found, list) or not all(isinstance(r, dict) for r in found):
        reader.at(f"{name}: expected [[logistics.{name}]] tables, got {found!r}", name, 0, "logistics")
        return []
    return found


def single(raw: Mapping[str, Any], name: str, reader: Reader) -> Mapping[str, Any]:
    """A table; an empty one where it is something else, which is noted."""
    row = raw.get(name, {})
    if not isinstance(row, dict):
        reader.at(f"{name}: expected a table [logistics.{name}], got {row!r}", name, 0, "logistics")
        return {}
    return row
