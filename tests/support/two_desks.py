"""The same history told to a desk beside the streams, and to one at the other end of a topic."""

from alerts.action import Action
from alerts.desk import Desk
from alerts.rules import SitePolicy
from hearthline.alerts_intake import Intake
from hearthline.condition_feed import ConditionFeed
from journal.kafka_log import ACTIONS, CONDITIONS, KafkaLog
from journal.sqlite import SqliteJournal
from store.duckdb_series import DuckdbSeries
from store.protocol import Select
from store.records import Records

ROW = ("key", "subject", "code", "severity", "state", "active", "since", "raised", "until", "acknowledged_by",
       "owner", "shelved_until", "suppressed", "level", "score", "provisional", "evidence", "comments", "told")  # fmt: skip


class Nowhere:
    """A store that holds nothing."""

    def write(self, _outputs):
        pass


class Seat:
    """A desk with records and a store of its own, that may be stopped dead."""

    def __init__(self, folder, rules, site, clock, journal):
        folder.mkdir()
        self.folder, self.rules, self.site, self.clock, self.journal = folder, rules, site, clock, journal
        self.series = DuckdbSeries(folder / "series.duckdb")
        self.open()

    def open(self):
        self.records = Records(self.folder / "records.sqlite3")
        policy = SitePolicy(self.rules, self.site)
        self.desk = Desk(self.records, policy, self.journal, self.clock, self.clock, self.series)

    def crash(self):
        self.records.close()
        self.open()

    def begin(self):
        if self.desk.fresh:
            self.desk._rebuild([])
        else:
            self.desk._catch_up()

    def rows(self):
        rows = self.series.select(Select("alarm")).to_pylist()
        return sorted(({name: row[name] for name in ROW} for row in rows), key=lambda r: r["key"])

    def letters(self):
        """Every letter there ever was: none has been sent."""
        return sorted(self.records.letters(), key=lambda x: x["id"])

    def events(self):
        """What ever happened to each alarm, in order."""
        alarms = sorted(self.records.alarms(0), key=lambda a: a["id"])
        return [(alarm["id"], event) for alarm in alarms for event in alarm["events"]]

    def close(self):
        self.records.close()
        self.series.close()
        self.journal.close()


class TwoDesks:
    """Both of them, and one history.

    `near` is given outputs by the streams, `far` reads what a worker's feed put into Kafka.
    """

    def __init__(self, folder, kafka, rules, site, start_ms):
        self.now = start_ms
        self.kafka, self.rules = kafka, rules
        clock = lambda: self.now  # noqa: E731
        self.near = Seat(
            folder / "near", rules, site, clock, SqliteJournal(folder / "journal.sqlite3", clock)
        )
        self.near.begin()
        self.far = Seat(folder / "far", rules, site, clock, KafkaLog(kafka.bootstrap, ACTIONS))
        self.log = KafkaLog(kafka.bootstrap, CONDITIONS)
        self.said = []
        self.restart_worker()
        self._begin()

    def _begin(self):
        self.intake = Intake(KafkaLog(self.kafka.bootstrap, CONDITIONS), self.far.desk, self.rules)
        self.intake.begin()
        self.far.begin()

    def restart_worker(self, say_again=0):
        """A new worker says again what came since its last checkpoint, in batches of its own."""
        self.feed = ConditionFeed(Nowhere(), self.log, self.rules.fast)
        for outputs in self.said[len(self.said) - say_again :]:
            self.feed.write([outputs])

    def restart_far(self):
        self.intake._log.close()
        self.far.crash()
        self._begin()

    def say(self, *outputs):
        self.near.desk.receive(outputs)
        self.feed.write(outputs)
        self.said += outputs

    def drain(self):
        while self.intake._after < self.log.bounds()[1] - 1:
            self.intake._pass()

    def turn(self, seconds=0):
        self.now += 1000 * seconds
        self.drain()
        self.near.desk.turn()
        self.far.desk.turn()

    def act(self, deed, alarm, who="王", **more):
        name = f"{deed}{self.now}"
        for seat in (self.near, self.far):
            seat.desk.act(Action(name, deed, alarm, who, self.now, **more))

    def agree(self):
        assert self.far.rows() == self.near.rows()
        assert self.far.letters() == self.near.letters()
        assert self.far.events() == self.near.events()

    def close(self):
        self.intake._log.close()
        self.log.close()
        self.near.close()
        self.far.close()
