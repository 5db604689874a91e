"""Fast rules: limits watched on readings as they come. Their word is provisional, and says so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alerts.alarm import Alarm
from alerts.condition import Condition
from alerts.rules import FastRule
from models.measurements import known

__all__ = ["FastFilter", "FastWatch"]

_STEP_MS: Final = 10_000
_UNSURE_MS: Final = 60_000
_CALM_EVERY_MS: Final = 300_000
_NAMED: Final = ("key", "class", "unit", "region", "window_start", "offset")
_TOLD_EVERY_MS: Final = 60_000


@dataclass(slots=True)
class _Standing:
    """A limit that a device is beyond."""

    first_ms: int
    until_ms: int
    told_ms: int
    unit: str
    region: str
    worst: float | None


class FastWatch:
    """What fast rules say of readings; knows which devices are beyond a limit.

    Parameters
    ----------
    rules : sequence of FastRule
    alarms : iterable of Alarm
        Those that stand from before.
    waiting : iterable of Condition
        What was said before and is in no alarm yet.
    heard : mapping of str to int
        By stream the journal offset up to which readings were looked at: what is given again is not looked at
        again.
    """

    def __init__(
        self,
        rules: Sequence[FastRule],
        alarms: Iterable[Alarm] = (),
        waiting: Iterable[Condition] = (),
        heard: Mapping[str, int] | None = None,
    ):
        self._rules = rules
        self._standing: dict[tuple[str, str], _Standing] = {}
        self.heard = dict(heard or {})
        self._newest: dict[str, int] = {}
        measured = {rule.code: rule.measurement for rule in rules}
        for alarm in alarms:
            if alarm.provisional and alarm.active:
                until = alarm.until_ms
                self._standing[alarm.subject, alarm.code] = _Standing(
                    max(m.first_ms for m in alarm.members.values() if m.active), until, until, alarm.unit,
                    alarm.region, alarm.evidence.get(measured.get(alarm.code, "")),
                )  # fmt: skip
        for said in waiting:
            if said.provisional:
                self._standing.pop((said.subject, said.code), None)
                if said.active:
                    self._standing[said.subject, said.code] = _Standing(
                        said.first_ms, said.until_ms, said.until_ms, said.unit, said.region,
                        said.evidence.get(measured.get(said.code, "")),
                    )  # fmt: skip

    def take(
        self, stream: str, order: int, readings: Iterable[pa.Table], *, more: bool = False
    ) -> list[Condition]:
        """What the readings of one batch, one table a class of devices, change; `more` of it may follow."""
        told: dict[tuple[str, str], Condition] = {}
        before = newest = self.heard.get(stream, -1)
        for given in readings:
            table = given.filter(pc.greater(given["offset"], before)) if before >= 0 else given
            if not table.num_rows:
                continue
            newest = max(newest, pc.max(table["offset"]).as_py())
            for rule in self._rules:
                if rule.measurement in table.column_names:
                    self._look(rule, table, stream, order, told)
        newest = max(newest, self._newest.pop(stream, -1))
        if more:
            self._newest[stream] = newest
        else:
            self.heard[stream] = newest
        return list(told.values())

    def _look(
        self, rule: FastRule, table: pa.Table, stream: str, order: int,
        told: dict[tuple[str, str], Condition],
    ) -> None:  # fmt: skip
        value = table[rule.measurement].to_numpy(zero_copy_only=False).astype(float)
        beyond = _beyond(rule, value)
        # Of devices that come or stand beyond it every reading counts, in whatever batches they come.
        concerned = [device for device, code in self._standing if code == rule.code]
        if beyond.any():
            concerned += table["key"].filter(pa.array(beyond)).unique().to_pylist()
        if not concerned:
            return
        named = pc.is_in(table["key"], pa.array(concerned, pa.string()))
        at = np.flatnonzero(named.to_numpy(zero_copy_only=False).astype(bool) & ~np.isnan(value))
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
        if not bad and bool(_back(rule, np.array(value))):
            del self._standing[name]
            return self._say(rule, device, now, stream, order, active=False)
        now.until_ms = t
        worst = value if now.worst is None else now.worst
        now.worst = max(worst, value) if rule.above is not None else min(worst, value)
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


def _beyond(rule: FastRule, value: np.ndarray) -> np.ndarray:
    """Which values are beyond the limit; what is physically impossible is a sensor's fault, not this."""
    measured = known[rule.measurement]
    low = -np.inf if measured.low is None else measured.low
    high = np.inf if measured.high is None else measured.high
    possible = (value >= low) & (value <= high)
    limit = value > rule.above if rule.above is not None else value < (rule.below or 0.0)
    return np.asarray(possible & limit)


def _back(rule: FastRule, value: np.ndarray) -> np.ndarray:
    """Which values are so far within the limit that it is over."""
    return np.asarray(value <= rule.clear if rule.above is not None else value >= rule.clear)


@dataclass(slots=True)
class _Given:
    """What was chosen of a device last."""

    newest_ms: int = -1
    calm: bool = False
    told_ms: int = -1


class FastFilter:
    """Chooses of readings what a `FastWatch` elsewhere needs in order to say the same.

    That is whatever is not safely within its limit, and the first that is so again after it; the rest, nearly
    all, changes nothing. As nobody knows what a predecessor gave, all of the first minute is chosen; and
    whatever is calm is said every five minutes, so that no end can stay unheard of.
    """

    def __init__(self, rules: Sequence[FastRule]):
        self._rules = rules
        self.codes = tuple(rule.code for rule in rules)
        self._given: dict[tuple[str, str], _Given] = {}
        self._new: dict[tuple[str, str], _Given] = {}
        self._sure_ms: int | None = None

    def take(self, readings: Iterable[pa.Table]) -> list[pa.Table]:
        """Rows that are needed, of each table those columns that are."""
        found = []
        for table in readings:
            rules = [r for r in self._rules if r.measurement in table.column_names]
            if rules and table.num_rows:
                if self._sure_ms is None:
                    self._sure_ms = pc.max(table["window_start"]).as_py() + _UNSURE_MS
                wanted = np.zeros(table.num_rows, dtype=bool)
                for rule in rules:
                    wanted |= self._needed(rule, table)
                if wanted.any():
                    columns = [*_NAMED, *dict.fromkeys(r.measurement for r in rules)]
                    chosen = table.select(columns).filter(pa.array(wanted))
                    found.append(chosen.sort_by("window_start"))  # so that it may be cut anywhere
        return found

    def settle(self, *, arrived: bool = True) -> None:
        """What was taken has arrived, or has to be taken again."""
        if arrived:
            self._given.update(self._new)
        self._new.clear()

    def _needed(self, rule: FastRule, table: pa.Table) -> np.ndarray:
        """Which rows one rule needs."""
        value = table[rule.measurement].to_numpy(zero_copy_only=False).astype(float)
        mine = ~np.isnan(value)
        if rule.classes:
            of = pc.is_in(table["class"], pa.array(rule.classes, pa.string()))
            mine &= of.to_numpy(zero_copy_only=False).astype(bool)
        calm = _back(rule, value) & ~_beyond(rule, value)
        out = np.zeros(table.num_rows, dtype=bool)
        times = table["window_start"].to_numpy(zero_copy_only=False)
        at = np.flatnonzero(mine)
        at = at[np.argsort(times[at], kind="stable")]  # as the watch looks at them
        devices = table["key"].take(pa.array(at)).to_pylist()
        for n, device in zip(at.tolist(), devices, strict=True):
            out[n] = self._one((device, rule.code), int(times[n]), bool(calm[n]))
        return out

    def _one(self, name: tuple[str, str], t: int, calm: bool) -> bool:
        """Whether a row is needed."""
        now = self._new.get(name)
        if now is None:
            now = self._new[name] = replace(self._given.get(name, _Given()))
        needed = not (calm and now.calm) or t - now.told_ms >= _CALM_EVERY_MS
        # What is older than what was given before ends nothing for sure.
        if not calm or t > now.newest_ms:
            now.newest_ms, now.calm = max(t, now.newest_ms), calm and t >= (self._sure_ms or 0)
        if needed:
            now.told_ms = max(t, now.told_ms)
        return needed
