"""Rows of `anomaly` on their way into conditions."""

from __future__ import annotations

import pyarrow as pa
import pytest

from alerts.condition import conditions_of
from models.anomaly import ANOMALY_SCHEMA, Severity


def _table(**odd: object) -> pa.Table:
    row = {
        "key": "sub-1:leak:1", "subject": "sub-1", "code": "leak", "unit": "u1", "region": "r1", "stream": "u1",
        "window_start": 1, "window_ms": 900_000, "until": 2, "score": 2.0, "severity": "minor", "state": "active",
        "evidence": '{"numbers": {"a": 1}}', "status": "final", "revision": 0,
    }  # fmt: skip
    return pa.Table.from_pylist([row | {"key": "whole"}, row | odd], schema=ANOMALY_SCHEMA)


def test_what_an_operator_gives_as_evidence_and_severity_is_the_conditions() -> None:
    _, condition = conditions_of([_table()], 7)
    assert (condition.severity, condition.evidence) == (Severity.MINOR, {"numbers": {"a": 1}})


@pytest.mark.parametrize(("said", "shown"), [
    ("no JSON", {"said": "no JSON"}), ("[1]", {"said": "[1]"}), ("NaN", {"said": "NaN"}), ("", {}), (None, {}),
    ("x" * 300, {"said": "x" * 200}),
])  # fmt: skip
def test_evidence_that_is_no_object_takes_no_alarm_with_it(said, shown) -> None:
    whole, odd = conditions_of([_table(evidence=said)], 7)
    assert (whole.evidence, odd.evidence) == ({"numbers": {"a": 1}}, shown)


def test_a_severity_that_nobody_knows_is_worth_a_look() -> None:
    assert [c.severity for c in conditions_of([_table(severity="dire")], 7)] == [
        Severity.MINOR,
        Severity.MAJOR,
    ]
