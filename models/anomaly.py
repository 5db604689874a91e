"""Rows of `anomaly`: what is wrong with whom, since when, how sure that is, and why it is said."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import pyarrow as pa

from models.results import Status, result_schema

__all__ = [
    "ANOMALY", "ANOMALY_SCHEMA", "Anomaly", "Severity", "State", "anomaly_table", "unwatched",
]  # fmt: skip

ANOMALY: Final = "anomaly"
"""Name of the measurement."""

ANOMALY_SCHEMA: Final = result_schema([
    pa.field("subject", pa.string()),
    pa.field("code", pa.string()),
    pa.field("severity", pa.string()),
    pa.field("score", pa.float64()),
    pa.field("evidence", pa.string()),
    pa.field("until", pa.int64()),
    pa.field("state", pa.string()),
])  # fmt: skip


class Severity(StrEnum):
    """How much an anomaly matters, most first."""

    CRITICAL = "critical"
    MAJOR = "major"
    MINOR = "minor"
    INFO = "info"


class State(StrEnum):
    """Whether it still is."""

    ACTIVE = "active"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Anomaly:
    """One thing that is wrong.

    Attributes
    ----------
    subject : str
        A device; or ``network:``, ``plate:``, ``ticket:``, ``bridge:``, ``supplier:``, ``contract:``,
        ``haulage:`` (a stream) and an id.
    code : str
    severity : Severity
    score : float
        How sure it is, as a multiple of what would do to say it: 1 or more.
    evidence : mapping
        Numbers, window and rule; what JSON holds.
    first_ms, until_ms : int
        Start of the window that first showed it, which with subject and code is its name for ever, and the
        end of the last that did. [ms UTC]
    window_ms : int
        Length of that first window. [ms]
    unit, region : str
        Where it belongs.
    state : State
    model : str, optional
        Version of what was learnt that it rests on.
    status : Status
        `WITHDRAWN` takes one back that never was.
    """

    subject: str
    code: str
    severity: Severity
    score: float
    evidence: Mapping[str, Any]
    first_ms: int
    until_ms: int
    window_ms: int
    unit: str
    region: str
    state: State = State.ACTIVE
    model: str | None = None
    status: Status = Status.FINAL

    @property
    def key(self) -> str:
        """Its name.

        Examples
        --------
        >>> Anomaly("sub-1", "flow_meter_drift", Severity.MINOR, 1.2, {}, 900_000, 1_800_000, 900_000,
        ...         "u1", "r1").key
        'sub-1:flow_meter_drift:900000'
        """
        return f"{self.subject}:{self.code}:{self.first_ms}"

    @property
    def fields(self) -> dict[str, Any]:
        """Its own fields, as a row has them."""
        return {
            "subject": self.subject, "code": self.code, "severity": str(self.severity), "score": self.score,
            "evidence": json.dumps(self.evidence, ensure_ascii=False, sort_keys=True), "until": self.until_ms,
            "state": str(self.state),
        }  # fmt: skip


def anomaly_table(anomalies: Sequence[Anomaly], stream: str) -> pa.Table:
    """Anomalies as rows of `ANOMALY`, as a learner gives them."""
    rows = [
        {
            "key": a.key, "unit": a.unit, "region": a.region, "stream": stream, "window_start": a.first_ms,
            "window_ms": a.window_ms, **a.fields, "coverage": None, "status": str(a.status), "reason": None,
            "revision": 0, "model": a.model,
        }
        for a in anomalies
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=ANOMALY_SCHEMA)


def unwatched(evidence: Mapping[str, Any]) -> dict[str, Any]:
    """Evidence of an anomaly that ends without anybody having seen its end: its numbers, and that."""
    return {
        **evidence,
        "rule": "no longer watched: what watched for it began anew or was taken out, and nobody knows "
        "whether it goes on; it is said again when it shows again",
    }
