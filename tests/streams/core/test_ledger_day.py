"""The ledger's days: under the data clock, which stands at 0 until a sample comes, and after their end."""

import json

import pytest

from ingest.messages import ClockMode
from ingest.service import registry_frame
from models.frame import Frame, Record
from streams.core.checkpoint import Checkpoint
from streams.core.pipeline import Pipeline
from streams.operators.ledger import ledger
from tests.support.payloads import NOW, decode, event, site, state, telemetry


@pytest.mark.parametrize("checkpointed", [False, True])
def test_a_device_born_before_the_first_sample_has_no_row_of_1970(checkpointed):
    pipeline = Pipeline("u1")
    rows = pipeline.step(Record("u1", 0, 0, registry_frame(site()).encode())).rows.get("ledger", [])
    birth = event("sub-1", "birth", at=NOW, **{"class": "substation"}, interval_s=10)
    for messages in ([birth, state("sub-1", 1)], [telemetry("sub-1", 1)], [telemetry("sub-1", 2)]):
        now_ms = {} if pipeline.now_ms in (None, 0) else {"u1": pipeline.now_ms}
        for placed in decode(messages, now_ms, ClockMode.DATA).placed:
            record = Record("u1", pipeline.offset + 1, placed.timestamp_ms, placed.frame.encode())
            rows += pipeline.step(record).rows.get("ledger", [])
        if checkpointed:
            pipeline = Pipeline.restore(pipeline.checkpoint())
    rows += pipeline.finish().rows.get("ledger", [])
    said = [row for table in rows for row in table.to_pylist()]
    assert {row["window_start"] for row in said} == {NOW - NOW % 86_400_000 - 8 * 3_600_000}
    assert (said[-1]["sent"], said[-1]["stored"], said[-1]["status"]) == (2, 2, "final")


MINUTE, DAY = 60_000, 86_400_000
MIDNIGHT = NOW - NOW % DAY + 16 * 60 * MINUTE  # of Asia/Shanghai


class Live:
    """One stream on the wall's clock, checkpointed after every record if told so."""

    def __init__(self, checkpointed):
        self.pipeline, self.checkpointed = Pipeline("u1", [ledger]), checkpointed
        self.told, self.restatements = [], []
        self.step(MIDNIGHT - 60 * MINUTE, registry_frame(site()))

    def step(self, at_ms, frame):
        record = Record("u1", self.pipeline.offset + 1, at_ms, frame.encode())
        outputs = self.pipeline.step(record)
        self.told += [row for t in outputs.rows.get("ledger", ()) for row in t.to_pylist()]
        self.restatements += [r for t in outputs.rows.get("restatement", ()) for r in t.to_pylist()]
        if self.checkpointed:
            self.pipeline = Pipeline.restore(self.pipeline.checkpoint(), [ledger])

    def take(self, at_ms, *messages):
        for placed in decode(messages, {}, ClockMode.WALL, wall_ms=at_ms).placed:
            self.step(at_ms, placed.frame)

    def beat(self, at_ms):
        self.step(at_ms, Frame.heartbeat())

    def day(self, start):
        row = [row for row in self.told if row["window_start"] == start][-1]
        return (*(row[n] for n in ("sent", "stored", "waiting", "unaccounted", "status", "revision")),)


def sample(seq, t):
    return telemetry("sub-1", seq, [{"t": t, "supply_c": 90.0}])


@pytest.mark.parametrize("checkpointed", [False, True])
def test_a_past_day_takes_back_that_a_message_was_missing_when_it_comes(checkpointed):
    live, past = Live(checkpointed), MIDNIGHT - DAY
    live.take(MIDNIGHT - 20_000, sample(1, MIDNIGHT - 30_000))
    live.take(MIDNIGHT - 1000, event("sub-1", "state", at=MIDNIGHT - 2000, next_seq=4, waiting=[[2, 2]]))
    live.take(MIDNIGHT + 20_000, sample(4, MIDNIGHT + 10_000))
    assert live.day(past) == (3, 1, 1, 1, "provisional", 0)
    assert live.day(MIDNIGHT)[:4] == (4, 2, 1, 1)
    live.beat(MIDNIGHT + 60 * MINUTE)
    assert live.day(past) == (3, 1, 1, 1, "final", 0)
    live.take(MIDNIGHT + 61 * MINUTE, sample(2, MIDNIGHT - 25_000), sample(3, MIDNIGHT - 20_000))
    live.beat(MIDNIGHT + 63 * MINUTE)
    assert live.day(past) == (3, 3, 0, 0, "final", 1)
    assert live.day(MIDNIGHT)[:4] == (4, 4, 0, 0)
    (row,) = (r for r in live.restatements if r["measurement"] == "ledger")
    assert json.loads(row["was"]) == {"stored": 1, "waiting": 1, "unaccounted": 1}
    assert json.loads(row["became"]) == {"stored": 3, "waiting": 0, "unaccounted": 0}
    live.beat(MIDNIGHT + 70 * MINUTE)
    assert not [row for row in live.told[-3:] if row["revision"] > 1]


@pytest.mark.parametrize("checkpointed", [False, True])
def test_messages_of_days_before_the_first_make_rows_of_these(checkpointed):
    live = Live(checkpointed)
    live.take(MIDNIGHT + 30 * MINUTE, sample(3, MIDNIGHT + 29 * MINUTE))
    live.take(MIDNIGHT + 31 * MINUTE, sample(1, MIDNIGHT - 2 * DAY), sample(2, MIDNIGHT - 1))
    live.beat(MIDNIGHT + 90 * MINUTE)
    told = {n: live.day(MIDNIGHT - n * DAY) for n in (2, 1, 0)}
    assert told == {
        2: (1, 1, 0, 0, "final", 0),
        1: (2, 2, 0, 0, "final", 0),
        0: (3, 3, 0, 0, "provisional", 0),
    }


def test_days_that_lack_nothing_are_let_go_and_the_others_are_not():
    live = Live(checkpointed=False)
    for n in range(30):
        live.take(MIDNIGHT + n * DAY + 2000, sample(n + 1, MIDNIGHT + n * DAY + 1000))
    book = live.pipeline._state.book
    assert len(json.loads(book.to_bytes())["deliveries"]["0"]) < 400
    assert book.days.kept[-1][0] - book.deliveries[0].floor_ms <= 12 * DAY
    for n in range(30, 60):
        live.take(MIDNIGHT + n * DAY + 2000, sample(n + 2, MIDNIGHT + n * DAY + 1000))
    assert live.day(MIDNIGHT + 30 * DAY)[3] == 1
    live.take(MIDNIGHT + 60 * DAY, sample(31, MIDNIGHT + 30 * DAY + 500))
    live.beat(MIDNIGHT + 60 * DAY + 2 * MINUTE)
    assert [live.day(MIDNIGHT + n * DAY)[3] for n in range(20, 61)] == [0] * 41


def test_a_checkpoint_of_before_late_readings_were_counted_is_gone_on_from():
    live = Live(checkpointed=False)
    live.take(MIDNIGHT - 20_000, sample(1, MIDNIGHT - 30_000))
    live.take(MIDNIGHT - 1000, event("sub-1", "state", at=MIDNIGHT - 2000, next_seq=4, waiting=[[2, 2]]))
    live.beat(MIDNIGHT + 60 * MINUTE)
    live.take(MIDNIGHT + 61 * MINUTE, sample(2, MIDNIGHT - 25_000))
    live.take(
        MIDNIGHT + 61 * MINUTE + 9000, sample(3, MIDNIGHT - 20_000)
    )  # the settled day waits for a minute
    kept = live.pipeline.checkpoint()
    book = json.loads(kept.parts["ledger"])
    for deliveries in book["deliveries"]:
        known = json.loads(book["deliveries"][deliveries])
        del known["late"]
        book["deliveries"][deliveries] = json.dumps(known)
    for name in ("said", "before"):
        assert book["days"][name]
        book["days"][name] = {
            a: {b: counts[:8] for b, counts in of.items()} for a, of in book["days"][name].items()
        }
    parts = {**kept.parts, "ledger": json.dumps(book).encode()}
    live.pipeline = Pipeline.restore(Checkpoint("u1", kept.offset, parts), [ledger])
    live.take(MIDNIGHT + 64 * MINUTE, sample(4, MIDNIGHT + 10_000))
    assert live.day(MIDNIGHT - DAY) == (3, 3, 0, 0, "final", 2)
    assert [row["late"] for row in live.told if row["window_start"] == MIDNIGHT][-1] == 1
