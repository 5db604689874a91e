"""Several learners may tell of anomalies: their rows stand under that name, not under their own."""

from __future__ import annotations

import json

import pytest

from models.anomaly import ANOMALY, ANOMALY_SCHEMA, Anomaly, Severity, State, anomaly_table
from models.results import Status
from streams.core.operator import discovered, learner
from streams.core.pipeline import Pipeline
from streams.core.standing_anomalies import StandingAnomalies
from tests.laws.test_pipeline_laws import journal
from tests.support.restating import REWRITTEN_MS
from tests.support.telemetry import history


def telling(name, code):
    """A learner that tells once of the first device it sees."""

    def function(state, settled):
        seen = settled.subjects("device_heat")
        if state or not len(seen):
            return state, None
        device = settled.site.ids[int(seen[0])]
        found = Anomaly(
            device, code, Severity.MINOR, 1.5, {"rule": name}, settled.start_ms, settled.end_ms,
            settled.end_ms - settled.start_ms, "u1", "r1",
        )  # fmt: skip
        return [1], anomaly_table([found], settled.stream)

    function.__name__ = name
    return learner(reads=("device_heat",), version=1, writes=ANOMALY)(function)


def test_rows_of_two_learners_stand_under_one_measurement():
    operators = (*discovered(), telling("one", "high_return"), telling("two", "bypass"))
    messages = sorted(history(3, hours=2.0, longest_gap_ms=0), key=lambda m: (m.newest_t, m.device))
    pipeline = Pipeline("u1", operators, provisional_every_ms=REWRITTEN_MS)
    rows = []
    for record in journal([[m] for m in messages], [m.newest_t + 500 for m in messages]):
        outputs = pipeline.step(record)
        assert not {"one", "two"} & set(outputs.rows)
        rows += [r for t in outputs.rows.get(ANOMALY, ()) for r in t.to_pylist()]
    mine = [r for r in rows if json.loads(r["evidence"])["rule"] in {"one", "two"}]
    assert [r["code"] for r in mine] == ["high_return", "bypass"]
    assert mine[0]["key"] == f"{mine[0]['subject']}:high_return:{mine[0]['window_start']}"
    assert {r["state"] for r in mine} == {str(State.ACTIVE)}


def test_evidence_is_json_and_the_schema_is_one():
    anomaly = Anomaly("网-1", "high_return", Severity.INFO, 1.0, {"窗": [1, 2]}, 5, 9, 4, "u", "r")
    table = anomaly_table([anomaly], "u")
    assert table.schema == ANOMALY_SCHEMA
    assert json.loads(table["evidence"][0].as_py()) == {"窗": [1, 2]}


def test_fields_of_a_learner_that_writes_under_another_name_are_refused():
    with pytest.raises(ValueError, match="writes anomaly"):
        learner(reads=("device_heat",), version=1, fields=("x",), writes=ANOMALY)


def _rows(*first_ms):
    """Rows of one anomaly that goes on, for each beginning."""
    return anomaly_table(
        [Anomaly("d", "high_return", Severity.INFO, 1.0, {}, at, 9, 4, "u", "r") for at in first_ms], "u"
    )


def test_what_is_said_again_by_one_that_begins_anew_goes_on():
    one, standing = telling("one", "high_return"), StandingAnomalies()
    assert standing.hear(one, _rows(1, 2), anew=False).num_rows == 2
    told = standing.hear(one, _rows(2, 3), anew=True).to_pylist()
    assert [(r["window_start"], r["state"]) for r in told] == [(1, "ended"), (2, "active"), (3, "active")]
    told = standing.hear(one, None, anew=True).to_pylist()
    assert [(r["window_start"], r["state"]) for r in told] == [(2, "ended"), (3, "ended")]
    assert standing.hear(one, None, anew=True) is None


def test_what_was_taken_back_does_not_end_again():
    one, standing = telling("one", "high_return"), StandingAnomalies()
    standing.hear(one, _rows(1), anew=False)
    back = Anomaly(
        "d", "high_return", Severity.INFO, 1.0, {}, 1, 9, 4, "u", "r", State.ENDED, status=Status.WITHDRAWN
    )
    assert standing.hear(one, anomaly_table([back], "u"), anew=True).num_rows == 1
    assert standing.to_json() == {}
