"""Conditions: what is wrong with whom, as the streams say it, on its way into an alarm."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa

from models.anomaly import Severity, State
from models.results import Status

__all__ = ["Condition", "conditions_of", "most_severe"]

_ORDER: Final = (Severity.CRITICAL, Severity.MAJOR, Severity.MINOR, Severity.INFO)


@dataclass(frozen=True, slots=True)
class Condition:
    """One row of `anomaly`, or the word of a fast rule.

    Attributes
    ----------
    key : str
        Subject, code and the window that first showed it: its name for ever.
    subject, code, unit, region, stream : str
    severity : Severity
    score : float
    evidence : mapping
        Numbers, window and rule.
    first_ms, until_ms : int
        Start of the first window and end of the last one that showed it. [ms UTC]
    active : bool
        Whether it still is.
    withdrawn : bool
        Whether it never was: later data took it back.
    provisional : bool
        Said by a fast rule, of data that may still change.
    order : int
        Journal offset up to which this is known: of two words about one key the one of the higher order
        stands, so what is said again after a restart changes nothing.
    """

    key: str
    subject: str
    code: str
    severity: Severity
    first_ms: int
    until_ms: int
    active: bool = True
    withdrawn: bool = False
    provisional: bool = False
    unit: str = ""
    region: str = ""
    stream: str = ""
    score: float = 1.0
    evidence: Mapping[str, Any] = field(default_factory=dict)
    order: int = -1

    def to_json(self) -> dict[str, Any]:
        """All of it, as JSON holds it."""
        return {name: getattr(self, name) for name in self.__slots__} | {"evidence": dict(self.evidence)}

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Condition:
        """Read what `to_json` gave."""
        return cls(**{**said, "severity": Severity(said["severity"])})


def most_severe(severities: Iterable[Severity]) -> Severity:
    """The one that matters most; `INFO` where there is none.

    Examples
    --------
    >>> most_severe([Severity.MINOR, Severity.MAJOR]).value
    'major'
    """
    return min(severities, key=_ORDER.index, default=Severity.INFO)


def conditions_of(tables: Iterable[pa.Table], order: int) -> list[Condition]:
    """The last word of `tables` of `anomaly` rows about each key; rows that are not final say nothing.

    Parameters
    ----------
    order : int
        Journal offset that the rows cover.
    """
    last: dict[str, Condition] = {}
    for table in tables:
        for row in table.to_pylist():
            status = row["status"]
            if status not in {Status.FINAL, Status.WITHDRAWN}:
                continue
            last[row["key"]] = Condition(
                key=row["key"],
                subject=row["subject"],
                code=row["code"],
                severity=_severity(row["severity"]),
                first_ms=row["window_start"],
                until_ms=max(row["until"] or 0, row["window_start"]),
                active=row["state"] == State.ACTIVE and status == Status.FINAL,
                withdrawn=status == Status.WITHDRAWN,
                unit=row["unit"],
                region=row["region"],
                stream=row["stream"],
                score=row["score"] or 0.0,
                evidence=_evidence(row["evidence"]),
                order=order,
            )
    return list(last.values())


def _severity(said: str | None) -> Severity:
    """One that nobody knows, as of an operator to come, is worth a look."""
    return Severity(said) if said in set(Severity) else Severity.MAJOR


def _evidence(said: str | None) -> Mapping[str, Any]:
    """What an operator gave as evidence; what is no JSON object stands as it is: no alarm goes with it."""
    try:
        found = json.loads(said or "{}")
    except ValueError:
        found = said
    return found if isinstance(found, dict) else {"said": str(said)[:200]}
