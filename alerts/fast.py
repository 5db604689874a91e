"""Fast rules: limits watched on readings as they come. Their word is provisional, and says so."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alerts.alarm import Alarm
from alerts.condition import Condition
from alerts.rules import FastRule
from models.measurements import known

__all__ = ["FastWatch"]

_STEP_MS: Final = 10_000
_TOLD_EVERY_MS: Final = 60_000


@dataclass(slots=True)
class _Standing:
    """A limit that a device is beyond."""

    first_ms: int
    until_ms: int
    told_ms: int
    unit: str
    region: str
    worst: float


class FastWatch:
    """What fast rules say of readings; knows which devices are beyond a limit."""

    def __init__(self, rules: Sequence[FastRule], alarms: Iterable[Alarm] = ()):
        self._rules = rules
        self._standing: dict[tuple[str, str], _Standing] = {}
        for alarm in alarms:
            if alarm.provisional and alarm.active:
                until = alarm.until_ms
                self._standing[alarm.subject, alarm.code] = _Standing(
                    max(m.first_ms for m in alarm.members.values() if m.active), until, until, alarm.unit,
                    alarm.region, 0.0,
                )  # fmt: skip

    def take(self, stream: str, order: int, readings: Iterable[pa.Table]) -> list[Condition]:
        """What the readings of one batch, one table a class of devices, change."""
        told: dict[tuple[str, str], Condition] = {}
        for table in readings:
            for rule in self._rules:
                if rule.measurement in table.column_names and table.num_rows:
                    self._look(rule, table, stream, order, told)
        return list(told.values())

    def _look(
        self, rule: FastRule, table: pa.Table, stream: str, order: int,
        told: dict[tuple[str, str], Condition],
    ) -> None:  # fmt: skip
        value = table[rule.measurement].to_numpy(zero_copy_only=False).astype(float)
        beyond = self._beyond(rule, value)
        standing = [device for device, code in self._standing if code == rule.code]
        concerned = beyond
        if standing:
            named = pc.is_in(table["key"], pa.array(standing, pa.string()))
            concerned = beyond | (named.to_numpy(zero_copy_only=False).astype(bool) & ~np.isnan(value))
        at = np.flatnonzero(concerned)
        if rule.classes and len(at):
            classes = pc.is_in(table["class"].take(pa.array(at)), pa.array(rule.classes, pa.string()))
            at = at[classes.to_numpy(zero_copy_only=False).astype(bool)]
        if not len(at):
            return
        rows = table.select(["key", "unit", "region", "window_start"]).take(pa.array(at)).to_pylist()
        for row, v, bad in sorted(
            zip(rows, value[at], beyond[at], strict=True), key=lambda x: int(x[0]["window_start"])
        ):
            condition = self._one(rule, row, float(v), bool(bad), stream, order)
            if condition is not None:
                told[row["key"], f"{rule.code}:{condition.first_ms}"] = condition

    @staticmethod
    def _beyond(rule: FastRule, value: np.ndarray) -> np.ndarray:
        """Which values are beyond the limit; what is physically impossible is a sensor's fault, not this."""
        measured = known[rule.measurement]
        low = -np.inf if measured.low is None else measured.low
        high = np.inf if measured.high is None else measured.high
        possible = (value >= low) & (value <= high)
        limit = value > rule.above if rule.above is not None else value < (rule.below or 0.0)
        return np.asarray(possible & limit)

    def _one(
        self, rule: FastRule, row: dict[str, object], value: float, bad: bool, stream: str, order: int
    ) -> Condition | None:
        device, t = str(row["key"]), int(str(row["window_start"]))
        name = (device, rule.code)
        now = self._standing.get(name)
        if now is None:
            if not bad:
                return None
            now = _Standing(t // _STEP_MS * _STEP_MS, t, t, str(row["unit"]), str(row["region"]), value)
            self._standing[name] = now
            return self._say(rule, device, now, stream, order, active=True)
        if t <= now.until_ms:
            return None  # of before: what is newer has been judged
        back = value <= rule.clear if rule.above is not None else value >= rule.clear
        if not bad and back:
            del self._standing[name]
            return self._say(rule, device, now, stream, order, active=False)
        now.until_ms = t
        now.worst = max(now.worst, value) if rule.above is not None else min(now.worst, value)
        if t - now.told_ms < _TOLD_EVERY_MS:
            return None
        now.told_ms = t
        return self._say(rule, device, now, stream, order, active=True)

    @staticmethod
    def _say(
        rule: FastRule, device: str, now: _Standing, stream: str, order: int, *, active: bool
    ) -> Condition:
        limit = rule.above if rule.above is not None else rule.below
        side = "above" if rule.above is not None else "below"
        unit = known[rule.measurement].unit
        evidence = {
            "rule": f"{rule.measurement} {side} {limit:g} {unit}, on readings as they come",
            rule.measurement: now.worst, "limit": limit, "provisional": True,
        }  # fmt: skip
        return Condition(
            f"{device}:{rule.code}:{now.first_ms}", device, rule.code, rule.severity, now.first_ms,
            now.until_ms, active, provisional=True, unit=now.unit, region=now.region, stream=stream,
            evidence=evidence, order=order,
        )  # fmt: skip
