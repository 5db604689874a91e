"""A leak, a detained truck and a frozen meter in the board's day, told by the operators that find them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from alerts.action import ALARM_STREAM
from alerts.book import Book
from alerts.condition import conditions_of
from alerts.rows import alarm_tables
from models.anomaly import ANOMALY, ANOMALY_SCHEMA
from models.results import Outputs
from streams.core.pipeline import Pipeline
from tests.streams.operators import test_frozen_value, test_visits, test_water_loss
from tests.support.alarm_book import Plain
from tests.support.board_data import NOW_MS, Day
from tests.support.board_running import Running
from tests.support.results import Said
from tests.support.telemetry import T0
from tests.support.trucks import truck_journal

HOUR_MS = 3_600_000
METER, PLATE, TICKET, NETWORK = "sub-04", "冀A5131", "T1", "net-1"
FROZEN_C = 91.3
FROZEN_SINCE_MS = NOW_MS - NOW_MS % 900_000 - 3 * HOUR_MS
_A_MOMENT = 1_000_000_000_000


class InjectedDay(Day):
    """A day on which one meter's supply stands still."""

    def readings(self, device, t):
        values = super().readings(device, t)
        if device.device == METER:
            values["supply_c"] = np.where(t >= FROZEN_SINCE_MS, FROZEN_C, values["supply_c"])
        return values


class Injected(Running):
    """A board on which three things are wrong, each found by its operator and raised by the book of alarms."""

    made = InjectedDay

    def write_anomalies(self) -> None:
        self.told = {"leak": _leak(), "truck": _truck(), "meter": _meter()}
        table = pa.Table.from_pylist(list(self.told.values()), schema=ANOMALY_SCHEMA)
        outputs = [Outputs("donghe", self.day._next()), Outputs(ALARM_STREAM)]
        outputs[0].add(ANOMALY, table)
        book = Book(Plain())
        book.take(conditions_of([table], 0), NOW_MS)
        for name, rows in alarm_tables(list(book.alarms.values()), ALARM_STREAM).items():
            outputs[1].add(name, rows)
        self.day.store.write(outputs)


def _leak() -> dict[str, Any]:
    """A leak of 2.4 m³/h, six hours after a week in which nothing was lost."""
    watched = test_water_loss.Watched()
    for hour in range(test_water_loss.LEARNT_H + 6):
        watched.lose(2.4 if hour >= test_water_loss.LEARNT_H else 0.0)
    return _moved(watched.rows[-1], NOW_MS - 6 * HOUR_MS, {"network:n": f"network:{NETWORK}"})


def _meter() -> dict[str, Any]:
    said, until = Said(), test_frozen_value.FROZEN[0] + 3 * HOUR_MS
    pipeline = Pipeline("u1", test_frozen_value.OPERATORS, provisional_every_ms=None)
    for record in test_frozen_value.in_order(test_frozen_value.history(2)):
        if record.timestamp_ms < until:
            said.take([pipeline.step(record)])
    (row,) = said.rows[ANOMALY].values()
    return _moved(row, FROZEN_SINCE_MS, {"sub-2": METER})


def _truck() -> dict[str, Any]:
    """A loaded truck that has stood before the yard for over four hours."""
    moves = [(0, 0.0), (1_200, 0.0), (2_400, 12_000.0), (25_000, 12_000.0)]
    tickets = [
        test_visits.ticket("bridge-m", 1, 300, "P1", "tare", "M1"),
        test_visits.ticket("bridge-m", 2, 900, "P1", "gross", "M1"),
    ]
    drives = test_visits.minutes([*test_visits.fixes("truck-1", moves, 60), *tickets])
    said = test_visits.run(truck_journal(*drives), until_ms=T0 + 7 * HOUR_MS)
    (row,) = [r for r in said.rows[ANOMALY].values() if r["code"] == "detention"]
    names = {"ticket:M1": f"ticket:{TICKET}", "P1": PLATE, "plant-yard": "yard"}
    return _moved(row, NOW_MS - HOUR_MS, names)


def _moved(row: Mapping[str, Any], first_ms: int, names: Mapping[str, str]) -> dict[str, Any]:
    """`row` as if it had begun at `first_ms`, about the devices of the board."""
    by = first_ms - row["window_start"]

    def moved(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: moved(v) for k, v in value.items()}
        if isinstance(value, list):
            return [moved(v) for v in value]
        if isinstance(value, int) and value > _A_MOMENT:
            return value + by
        return names.get(value, value) if isinstance(value, str) else value

    evidence = json.dumps(moved(json.loads(row["evidence"])), ensure_ascii=False)
    here = {"unit": "donghe", "region": "north", "stream": "donghe", "evidence": evidence}
    done = moved({k: row[k] for k in ANOMALY_SCHEMA.names}) | here
    return done | {"key": f"{done['subject']}:{done['code']}:{done['window_start']}"}
