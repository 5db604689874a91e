"""A desk in a process of its own makes the same alarms as one beside the streams, whatever is started anew."""

import json

import numpy as np
import pyarrow as pa
import pytest

from alerts.action import Deed
from alerts.alarm import Phase
from alerts.fast import FastFilter, FastWatch
from alerts.feed import FeedError, decode, encode, said_of
from hearthline.condition_feed import ConditionFeed
from journal.kafka_log import ACTIONS, CONDITIONS, KafkaLog, MissingTopicError
from journal.protocol import Append, JournalError
from models.anomaly import ANOMALY, Anomaly, Severity, State, anomaly_table
from models.results import Outputs, SinkUnavailableError, Status
from tests.support.alarm_book import MIN, S
from tests.support.alert_site import rules, site
from tests.support.mock_kafka import MockKafka
from tests.support.two_desks import Nowhere, TwoDesks

T0 = 1_767_585_600_000
SITE = site(40)
RULES = rules(
    """
[alerts]
shared_cause_least = 5
[[channel]]
id = "hook"
kind = "webhook"
url = "http://127.0.0.1:1/"
[[channel]]
id = "hall"
kind = "mqtt"
topic = "sirens/hall"
[[person]]
id = "li"
channels = ["hook"]
quiet = "22:00-07:00"
[[person]]
id = "wang"
channels = ["hook"]
language = "en"
[[route]]
id = "duty"
steps = ["li", "wang"]
escalate_after_s = 600
group_wait_s = 10
sirens = ["hall"]
[[fast]]
code = "too_much"
measurement = "supply_kpa"
classes = ["substation"]
above = 1600
clear = 1500
severity = "critical"
[[fast]]
code = "too_little"
measurement = "supply_kpa"
below = 200
[[rule]]
on_delay_s = 20
off_delay_s = 30
rearm_s = 300
route = "duty"
""",
    SITE,
)


@pytest.fixture
def kafka():
    cluster = MockKafka()
    cluster.make_topics(CONDITIONS, ACTIONS)
    yield cluster
    cluster.close()


@pytest.fixture
def desks(tmp_path, kafka):
    made = TwoDesks(tmp_path, kafka, RULES, SITE, T0)
    yield made
    made.close()


class History:
    """Conditions and readings of a unit by chance, batch after batch."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.offset = 0
        self.standing = {}
        self.high = {}

    def batch(self, now):
        before, self.offset = self.offset, self.offset + int(self.rng.integers(1, 9))
        outputs = Outputs("u1", self.offset)
        for _ in range(int(self.rng.integers(0, 4))):
            outputs.add(ANOMALY, anomaly_table([self._anomaly(now)], "u1"))
        if self.rng.random() < 0.15:  # one branch at once
            many = [self._anomaly(now, f"sub-{n:03}", "pump_trip") for n in range(8)]
            outputs.add(ANOMALY, anomaly_table(many, "u1"))
        outputs.readings.append(self._readings(now, before))
        return outputs

    def _anomaly(self, now, subject=None, code=None):
        subject = subject or f"sub-{self.rng.integers(0, 12):03}"
        code = code or str(self.rng.choice(["pump_trip", "high_return", "air"]))
        first = self.standing.setdefault((subject, code), now - int(self.rng.integers(0, 30)) * MIN)
        ended, gone = self.rng.random() < 0.35, self.rng.random() < 0.1
        if ended or gone:
            del self.standing[subject, code]
        severity = list(Severity)[int(self.rng.integers(0, 4))]
        return Anomaly(
            subject, code, severity, 1.5, {"rule": "乙", "numbers": {"x": now % 7}}, first, max(first, now - MIN),
            900_000, "u1", "r1", State.ENDED if ended else State.ACTIVE, None,
            Status.WITHDRAWN if gone else Status.FINAL,
        )  # fmt: skip

    def _readings(self, now, before):
        rows = []
        for n in range(6):
            device = f"sub-{n:03}"
            if self.rng.random() < 0.1:
                self.high[device] = float(self.rng.choice([1700.0, 100.0, 1550.0, 99_999.0, 900.0]))
            t = now - int(self.rng.integers(0, 30)) * S  # some come late
            rows.append({
                "key": device, "unit": "u1", "region": "r1", "window_start": t, "class": "substation",
                "supply_kpa": self.high.get(device, 900.0) if self.rng.random() < 0.9 else None,
                "offset": int(self.rng.integers(before, self.offset)) + 1,
            })  # fmt: skip
        schema = pa.schema([
            ("key", pa.string()), ("unit", pa.string()), ("region", pa.string()), ("window_start", pa.int64()),
            ("class", pa.string()), ("supply_kpa", pa.float64()), ("offset", pa.int64()),
        ])  # fmt: skip
        return pa.Table.from_pylist(rows, schema=schema)


@pytest.mark.parametrize("seed", [2, *(pytest.param(n, marks=pytest.mark.soak) for n in range(3, 23))])
def test_equal_rows_messages_and_histories_by_both_ways(desks, seed):
    print(f"seed {seed}")
    story, chance = History(seed), np.random.default_rng([seed, 1])
    for _ in range(30):
        desks.say(story.batch(desks.now))
        if chance.random() < 0.1:
            desks.drain()
            desks.restart_far()
        if chance.random() < 0.1:
            desks.restart_worker(say_again=int(chance.integers(0, 5)))
        desks.turn(int(chance.integers(1, 90)))
        known = sorted(a.id for a in desks.near.desk.book.alarms.values() if a.phase is Phase.RAISED)
        if known and chance.random() < 0.3:
            alarm = known[int(chance.integers(0, len(known)))]
            deed = [Deed.ACKNOWLEDGE, Deed.COMMENT, Deed.SHELVE][int(chance.integers(0, 3))]
            desks.act(deed, alarm, reason="看过", until_ms=desks.now + 10 * MIN)
    desks.turn(3600)
    desks.agree()
    notes = {e["note"] for _, e in desks.near.events()}
    assert {"raised", "cleared", "closed", "escalated", "suppressed", "withdrawn"} <= notes
    assert any(r["provisional"] for r in desks.near.rows())
    assert desks.near.letters()


def test_what_came_while_the_desk_was_away_is_taken_when_it_is_back(desks):
    story = History(7)
    desks.say(story.batch(T0))
    desks.turn(30)
    desks.far.records.close()
    for n in range(5):
        desks.say(story.batch(T0 + n * S))
    desks.restart_far()
    desks.turn(40)
    desks.agree()
    assert len(desks.near.rows()) > 3


def test_a_strange_record_is_passed_over_and_said(desks):
    desks.log.append([Append("u1", b"no word of a worker"), Append("u1", b'{"v": 9}')])
    desks.say(History(3).batch(T0))
    desks.turn()
    assert desks.intake.strange == 2
    assert "2 strange ones" in desks.intake.part().detail
    desks.agree()


def test_fast_rules_that_no_worker_watches_are_said(desks):
    desks.feed = ConditionFeed(Nowhere(), desks.log)
    one = Anomaly("sub-001", "air", Severity.MINOR, 1.0, {}, T0, T0, 900_000, "u1", "r1", State.ACTIVE)
    outputs = Outputs("u1", 1)
    outputs.add(ANOMALY, anomaly_table([one], "u1"))
    desks.say(outputs)
    desks.turn()
    part = desks.intake.part()
    assert (part.state, part.reason) == ("degraded", "no worker watches the fast rules too_little, too_much")


def test_a_deed_that_kafka_kept_without_saying_so_is_done_before_the_next(desks, monkeypatch):
    story = History(5)
    for _ in range(4):
        desks.say(story.batch(desks.now))
    desks.turn(60)
    one, other = sorted(a.id for a in desks.far.desk.book.alarms.values() if a.open)[:2]
    journal = desks.far.journal
    append = journal.append

    def silent(items):
        append(items)
        raise JournalError("no broker confirmed it")

    with monkeypatch.context() as broken:
        broken.setattr(journal, "append", silent)
        with pytest.raises(JournalError):
            desks.far.desk.act(_comment("a", one, desks.now))
    desks.far.desk.act(_comment("b", other, desks.now))
    said = {a: [e.action for e in desks.far.desk.book.alarms[a].events if e.action] for a in (one, other)}
    assert said == {one: ["a"], other: ["b"]}
    desks.restart_far()
    said = {a: [e.action for e in desks.far.desk.book.alarms[a].events if e.action] for a in (one, other)}
    assert said == {one: ["a"], other: ["b"]}


def _comment(name, alarm, now):
    from alerts.action import Action

    return Action(name, Deed.COMMENT, alarm, "Li", now, "seen")


@pytest.mark.parametrize("seed", range(4))
def test_what_is_left_out_of_readings_changes_nothing(seed):
    story = History(seed)
    plain, thinned, fast = FastWatch(RULES.fast), FastWatch(RULES.fast), FastFilter(RULES.fast)
    given = kept = 0
    for n in range(400):
        if n % 97 == 96:
            fast = FastFilter(RULES.fast)  # a worker that begins anew
        outputs = story.batch(T0 + n * 5 * S)
        expected = plain.take("u1", outputs.offset, outputs.readings)
        chosen = fast.take(outputs.readings)
        fast.settle()
        assert thinned.take("u1", outputs.offset, chosen) == expected, n
        given += outputs.readings[0].num_rows
        kept += sum(t.num_rows for t in chosen)
    assert kept < 0.8 * given


def test_a_batch_in_pieces_is_looked_at_whole():
    story = History(1)
    table = pa.concat_tables([story.batch(T0 + n * S).readings[0] for n in range(20)])
    whole = FastWatch(RULES.fast)
    expected = {c.key for c in whole.take("u1", 9, [table])}
    pieces = FastWatch(RULES.fast)
    cut = table.sort_by("window_start")
    told = [pieces.take("u1", 9, [cut.slice(n, 1)], more=n < cut.num_rows - 1) for n in range(cut.num_rows)]
    assert {c.key for one in told for c in one} == expected
    assert expected
    assert pieces.heard == whole.heard
    assert pieces.take("u1", 9, [table]) == []  # given again


def test_what_did_not_arrive_is_chosen_again():
    fast, story = FastFilter(RULES.fast), History(1)
    first = [fast.take(story.batch(T0 + n * S).readings) for n in range(5)]
    fast.settle(arrived=False)
    story = History(1)
    assert [fast.take(story.batch(T0 + n * S).readings) for n in range(5)] == first
    fast.settle()
    later = pa.concat_tables([story.batch(T0 + 10 * MIN + n * S).readings[0] for n in range(5)])
    given = later.num_rows
    assert sum(t.num_rows for t in fast.take([later])) < given


def test_words_travel_whole_and_in_pieces_of_a_bounded_size():
    outputs = Outputs("u1", 4)
    many = [
        Anomaly(
            f"sub-{n}",
            "air",
            Severity.MINOR,
            1.0,
            {"x": [n, None]},
            T0,
            T0,
            900_000,
            "u1",
            "r1",
            State.ACTIVE,
        )
        for n in range(450)
    ]
    outputs.add(ANOMALY, anomaly_table(many, "u1"))
    outputs.readings.append(History(2).batch(T0).readings[0])
    said = list(said_of(outputs, FastFilter(RULES.fast), 17))
    assert [len(one.conditions) for one in said] == [200, 200, 50, 0]
    assert [one.more for one in said] == [True, True, True, False]
    for one in said:
        again = decode(encode(one))
        assert again.conditions == one.conditions
        assert (again.stream, again.offset, again.now_ms, again.fast) == (
            "u1",
            4,
            17,
            ("too_much", "too_little"),
        )
        watched = [FastWatch(RULES.fast).take("u1", 4, x.readings) for x in (one, again)]
        assert watched[0] == watched[1]


@pytest.mark.parametrize(
    "record",
    [b"", b"[]", b"null", b'{"v": 2}', b'{"v": 1}', b"\xff", b'{"v": 1, "stream": 1, "offset": "x"}',
     json.dumps({"v": 1, "stream": "u", "offset": 1, "now_ms": 0, "conditions": [{"key": 1}], "readings": [],
                 "fast": [], "more": False}).encode(),
     json.dumps({"v": 1, "stream": "u", "offset": 1, "now_ms": 0, "conditions": [], "fast": [], "more": False,
                 "readings": [[{"key": "a", "supply_kpa": "many"}]]}).encode()],
)  # fmt: skip
def test_what_is_no_word_says_why(record):
    with pytest.raises(FeedError, match="expected"):
        decode(record)


def test_a_log_reads_what_it_wrote_and_says_what_is_missing(kafka):
    log = KafkaLog(kafka.bootstrap, ACTIONS)
    assert log.read("_alarms", -1) == []
    log.append([Append("_alarms", b"one", 5), Append("other", b"two", 6), Append("_alarms", b"three", 7)])
    assert [(r.offset, r.timestamp_ms, r.frame) for r in log.read("_alarms", -1)] == [
        (0, 5, b"one"), (2, 7, b"three")
    ]  # fmt: skip
    assert [r.frame for r in log.read("_alarms", 0)] == [b"three"]
    assert [r.frame for r in log.read("_alarms", -1, 1)] == [b"one"]
    assert log.streams() == {"_alarms": (2, 7), "other": (1, 6)}
    assert [r.frame for r in log.scan()] == [b"one", b"two", b"three"]
    assert [r.frame for r in log.follow(1)] == [b"three"]
    assert log.follow(2, wait_s=0.05) == []
    log.append([Append("_alarms", b"four", 9)])
    assert log.streams()["_alarms"][0] == 3
    assert log.bounds() == (0, 4)
    log.close()


def test_kafka_that_is_away_holds_the_worker_back(tmp_path):
    log = KafkaLog("127.0.0.1:1", CONDITIONS, timeout_s=0.5)
    feed = ConditionFeed(Nowhere(), log, RULES.fast)
    with pytest.raises(SinkUnavailableError, match="conditions"):
        feed.write([History(1).batch(T0)])
    log._timeout_s = 0.1
    with pytest.raises(JournalError, match="conditions: cannot be read"):
        log.bounds()
    assert issubclass(MissingTopicError, JournalError)
    log.close()
