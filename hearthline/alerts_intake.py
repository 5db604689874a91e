"""What workers say on Kafka, on its way to the desk: in order, and each word once."""

from __future__ import annotations

import logging
import threading
import time
from typing import Final

from alerts.desk import Desk
from alerts.feed import FeedError, Said, decode
from alerts.rules import RuleSet
from hearthline.health import Part, Trouble
from journal.kafka_log import CONDITIONS, KafkaLog
from journal.protocol import JournalError
from models.frame import Record
from models.wording import NOTHING, listed, reported, worded
from store.records import RecordsError

__all__ = ["Intake"]

_MOST: Final = 500
_WAIT_S: Final = 0.5
_ASK_LAG_S: Final = 2.0
_RETRY_S: Final = 1.0
_log = logging.getLogger("hearthline.alerts")


class Intake:
    """Follows the topic of conditions from where the records stop.

    Attributes
    ----------
    now_ms : int
        The newest now that a worker said. [ms UTC]
    conditions : int
        Taken in since the start.
    strange : int
        Records since the start that were none of a worker's, and were passed over.
    lag : int or None
        Records that wait in Kafka; None while nobody knows.
    """

    def __init__(self, log: KafkaLog, desk: Desk, rules: RuleSet):
        self._log = log
        self._desk = desk
        self._fast = {rule.code for rule in rules.fast}
        self._after, self._high = -1, 0
        self._asked = float("-inf")
        self._unwatched: set[str] = set()
        self._away = self._lost = ""
        self.now_ms = self.conditions = self.strange = 0
        self.lag: int | None = None

    def begin(self) -> None:
        """Find where to go on; new records begin at the topic's end: the store has what was before."""
        low, high = self._log.bounds()
        known = self._desk.progress(CONDITIONS)
        if self._desk.fresh:
            known = high - 1
            self._desk.receive_conditions([], {CONDITIONS: known})
        self._after = low - 1 if known is None else known
        self._measure(low, high)

    def run(self, stop: threading.Event) -> None:
        """Take in what comes until `stop`."""
        while not stop.is_set():
            try:
                self._pass()
                self._away = ""
            except (JournalError, RecordsError) as error:
                if self._away != str(error):
                    _log.warning("conditions degraded: %s", error)
                self._away, self.lag = str(error), None
                self._asked = float("-inf")
                stop.wait(_RETRY_S)

    def _pass(self) -> None:
        if time.monotonic() - self._asked > _ASK_LAG_S:
            self._measure(*self._log.bounds())
        records = self._log.follow(self._after, _MOST, _WAIT_S)
        if not records:
            return
        said = [one for record in records if (one := self._said(record)) is not None]
        self._desk.receive_said(said, {CONDITIONS: records[-1].offset})
        self._after = records[-1].offset
        self._high = max(self._high, self._after + 1)
        self.lag = self._high - 1 - self._after
        self.conditions += sum(len(one.conditions) for one in said)
        self.now_ms = max([self.now_ms, *(one.now_ms for one in said)])
        for one in said:
            self._unwatched = self._fast - set(one.fast)

    def _said(self, record: Record) -> Said | None:
        try:
            return decode(record.frame)
        except FeedError as error:
            self.strange += 1
            _log.error("record %d of topic %s is passed over: %s", record.offset, CONDITIONS, error)
            return None

    def _measure(self, low: int, high: int) -> None:
        """How far it is; and whether what comes next is there at all."""
        self._high = high
        if self._after < low - 1:
            self._lost = worded("{n} records are no longer kept by Kafka", n=f"{low - 1 - self._after:,}")
        elif self._after >= high:
            self._lost = worded("the topic began anew")
        else:
            self.lag, self._asked = high - 1 - self._after, time.monotonic()
            return
        _log.error("topic %s: expected record %d, but %s", CONDITIONS, self._after + 1, self._lost)
        self._after = low - 1
        self.lag, self._asked = high - low, time.monotonic()

    def part(self) -> Part:
        """How it fares, for health."""
        troubles: list[Trouble] = []
        if self._away:
            advice = worded(
                "look at Kafka, and at the records in the data directory; what workers say is kept meanwhile"
            )
            troubles.append((reported(self._away), NOTHING, advice))
        if self._lost:
            advice = worded("look at the alarms that stand: what came in between is in the store only")
            troubles.append((worded("conditions were lost: {why}", why=self._lost), NOTHING, advice))
        if self._unwatched:
            names = ", ".join(sorted(self._unwatched))
            advice = worded("start the workers with --site, and anew when its alerts.toml changes")
            unwatched = worded("no worker watches the fast rules {names}", names=names)
            troubles.append((unwatched, NOTHING, advice))
        waits = worded("an unknown number of records wait in Kafka")
        if self.lag is not None:
            waits = worded("{n} records wait in Kafka", n=f"{self.lag:,}")
        strange = worded("{n} strange ones passed over", n=f"{self.strange:,}")
        return Part.judged("conditions", troubles, listed([waits, strange]) if self.strange else waits)
