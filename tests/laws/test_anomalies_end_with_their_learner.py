"""No anomaly outlives what watches for it: it ends, with why, where a learner begins anew or is no more."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from alerts.condition import conditions_of
from models.anomaly import ANOMALY, Anomaly, Severity, State, anomaly_table, unwatched
from streams.core import learning
from streams.core.network_rows import STEP_MS
from streams.core.operator import Operator, discovered, learner
from streams.core.standing_anomalies import StandingAnomalies
from tests.support.crash_unit import unit_stream
from tests.support.crashing import Run, crashed, uncrashed
from tests.support.road import Told

pytestmark = pytest.mark.contained

UNWATCHED = unwatched({})["rule"]
MOST = 5
IN_A_ROW = 4
CYCLE = MOST + IN_A_ROW - 1
"""So many steps after each other it begins anew."""
Row = dict[str, Any]


@pytest.fixture(scope="module", autouse=True)
def _sooner() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(learning, "_GIVEN_UP_AFTER", IN_A_ROW)
        yield


def _found(code: str, first_ms: int, until_ms: int, standing: State) -> Anomaly:
    return Anomaly(
        "network:n1", code, Severity.MAJOR, 2.0, {"rule": "seen", "lost_m3": 7.0}, first_ms, until_ms, STEP_MS,
        "u1", "r1", standing, "watching/1",
    )  # fmt: skip


@learner(reads=("device_heat",), version=1, writes=ANOMALY, subject="network")
def watching(state, settled):
    """Sees one thing begin and end, and two that go on; after a few steps it cannot judge what it knows."""
    first_ms, steps = state or (settled.start_ms, 0)
    steps += 1
    if steps > MOST:
        raise ZeroDivisionError
    told = []
    if steps == 1:
        told += [_found(code, first_ms, settled.end_ms, State.ACTIVE) for code in ("leak", "draw_off")]
    if steps == 2:
        told.append(_found("draw_off", first_ms, settled.start_ms, State.ENDED))
        told.append(_found("bypass", first_ms + STEP_MS, settled.end_ms, State.ACTIVE))
    return (first_ms, steps), anomaly_table(told, settled.stream) if told else None


def _operators(*mine: Operator) -> Sequence[Operator]:
    return (*(o for o in discovered() if o.name in {"reading", "device_heat"}), *mine)


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Told]:
    told = Told()
    home = tmp_path_factory.mktemp("watched")
    run = uncrashed(unit_stream(1), home, operators=_operators(watching), every_ms=400_000, hear=told.take)
    return run, told


def _by_first(told: Told, code: str) -> list[tuple[int, Row]]:
    """Anomalies of a code with the step, after the first, in which each began."""
    rows = sorted((at, r) for (_, at), r in told.of(ANOMALY).items() if r["code"] == code)
    return [((at - rows[0][0]) // STEP_MS, r) for at, r in rows]


def test_what_a_learner_said_ends_with_why_where_it_begins_anew(life) -> None:
    leaks = _by_first(life[1], "leak")
    assert [at for at, _ in leaks] == [CYCLE * n for n in range(len(leaks))]
    assert len(leaks) >= 2
    *former, (_, newest) = leaks
    assert newest["state"] == State.ACTIVE
    for at, row in former:
        evidence = json.loads(row["evidence"])
        assert (row["state"], row["status"], row["model"]) == ("ended", "final", "watching/1")
        assert evidence == {"rule": UNWATCHED, "lost_m3": 7.0}
        assert row["until"] == row["window_start"] + STEP_MS, f"{at}: shown until it was seen last"
    assert {r["state"] for _, r in _by_first(life[1], "bypass")[:-1]} == {State.ENDED}


def test_what_it_ended_itself_is_not_told_again(life) -> None:
    rows = [r for _, r in _by_first(life[1], "draw_off")]
    assert {json.loads(r["evidence"])["rule"] for r in rows} == {"seen"}


def test_an_alarm_of_it_hears_that_it_is_no_more(life) -> None:
    run, _ = life
    pipeline, said = run.pipeline(), dict[str, list[Any]]()
    for record in run.records:
        for c in conditions_of(pipeline.step(record).rows.get(ANOMALY, ()), record.offset):
            said.setdefault(c.key, []).append(c)
    former = [words for words in said.values() if words[0].code == "leak"][:-1]
    assert former
    for words in former:
        assert [w.active for w in words] == [True, False]
        assert not words[-1].withdrawn, "it is not known that it never was"
        assert words[-1].evidence["rule"] == UNWATCHED


def test_no_crash_changes_what_ends(life) -> None:
    run, _ = life
    assert list(crashed(run, range(2, len(run.records), 3))) == []


def _standing_at(run: Run) -> int:
    """A record after which one that cannot end by itself stands."""
    pipeline = run.pipeline()
    for record in run.records:
        for table in pipeline.step(record).rows.get(ANOMALY, ()):
            if any(r["code"] == "leak" and r["state"] == "active" for r in table.to_pylist()):
                return record.offset
    raise AssertionError("none")


@pytest.mark.parametrize(
    "others",
    [
        (replace(watching, version=2, function=lambda state, _settled: (state or [], None)),),
        (replace(watching, name="another", function=lambda state, _settled: (state, None)),),
    ],
    ids=["another version", "no more"],
)
def test_what_another_version_or_nobody_watches_for_ends(life, others) -> None:
    run, _ = life
    at, rows, pipeline = _standing_at(run), list[Row](), run.pipeline()
    for record in run.records:
        if record.offset in {at + 1, at + 2}:  # twice: it is no matter of the first start
            pipeline = replace(run, operators=_operators(*others)).restored(pipeline.checkpoint())
        tables = pipeline.step(record).rows.get(ANOMALY, ())
        rows += [r for table in tables for r in table.to_pylist() if record.offset > at]
    ended = [(r["code"], r["state"], json.loads(r["evidence"])["rule"]) for r in rows]
    assert ended == [("leak", State.ENDED, UNWATCHED), ("draw_off", State.ENDED, UNWATCHED)], "once each"


def test_a_checkpoint_of_before_such_anomalies_were_kept_is_read(life) -> None:
    run, _ = life
    at, pipeline = _standing_at(run), run.pipeline()
    for record in run.records[: at + 1]:
        pipeline.step(record)
    checkpoint = pipeline.checkpoint()
    rows = json.loads(checkpoint.parts["rows"])
    assert rows.pop("standing")
    checkpoint.parts["rows"] = json.dumps(rows).encode()  # type: ignore[index]
    assert run.restored(checkpoint).offset == at


@pytest.mark.parametrize("evidence", ["no JSON", "[1]", None, "{}"])
@pytest.mark.parametrize("more", [True, False])
def test_whatever_table_and_evidence_a_learner_gives_its_anomalies_end(evidence, more):
    """Nothing of it is contained: what is raised there would stop the stream for all."""
    given = anomaly_table([_found("leak", 0, STEP_MS, State.ACTIVE)], "s1")
    row = given.to_pylist()[0] | {"evidence": evidence} | ({"by": 7} if more else {})
    first, other = (
        watching.declared.of(pa.Table.from_pylist([one]), pytest.fail)
        for one in (row, row | {"key": "other", "evidence": "{}"})
    )
    standing = StandingAnomalies()
    standing.hear(watching, first, anew=False)
    told = standing.hear(watching, other, anew=True).to_pylist()
    assert [(r["key"], r["state"]) for r in told] == [(row["key"], State.ENDED), ("other", State.ACTIVE)]
    assert json.loads(told[0]["evidence"])["rule"] == UNWATCHED
