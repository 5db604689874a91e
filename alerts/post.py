"""The post: gathers letters into messages, and sends each on its channel until it arrived or is known not to.

Every channel has a thread of its own, so one that hangs holds up no other. What is not sent stays in the
records, with the reason, and is shown.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from alerts.channels import Fate, Message, Outcome, Sender
from alerts.letters import SIREN
from alerts.messages import Writer
from alerts.rules import Person, RuleSet
from models.anomaly import Severity
from store.records import Records, RecordsError

__all__ = ["Pace", "Post", "unsent"]

_WAITING, _SENDING, _SENT, _UNCONFIRMED, _LOST = "waiting", "sending", "sent", "unconfirmed", "given up"
_H_MS: Final = 3_600_000
_MOST_ERROR: Final = 500
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pace:
    """How the post tries again.

    Attributes
    ----------
    first_s, longest_s : float
        Pause after the first refusal, which doubles up to the longest. [s]
    before_fallback : int
        Refusals after which the next channel is tried.
    give_up_s : float
        After this a message is not sent any more; it stays visible. [s]
    """

    first_s: float = 5.0
    longest_s: float = 600.0
    before_fallback: int = 3
    give_up_s: float = 86_400.0

    def pause_ms(self, attempts: int) -> int:
        """Pause after so many refusals. [ms]

        Examples
        --------
        >>> [Pace().pause_ms(n) for n in (1, 2, 3, 20)]
        [5000, 10000, 20000, 600000]
        """
        return round(1000 * min(self.longest_s, self.first_s * 2.0 ** min(attempts - 1, 30)))


class Post:
    """Sends what the records have waiting.

    Parameters
    ----------
    records : Records
    rules : RuleSet
    senders : mapping of str to Sender
        By id of the channel.
    writer : Writer
    wall : callable
        [ms UTC]
    """

    def __init__(
        self,
        records: Records,
        rules: RuleSet,
        senders: Mapping[str, Sender],
        writer: Writer,
        wall: Callable[[], int],
        pace: Pace | None = None,
    ):
        self._records = records
        self._rules = rules
        self._senders = senders
        self._writer = writer
        self._wall = wall
        self._pace = pace or Pace()
        self._stop = threading.Event()
        self._bells = {channel: threading.Event() for channel in senders}
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Send from now on; what was under way at a crash has an unknown fate."""
        for row in self._records.deliveries(_SENDING):
            self._settle(row, Outcome(Fate.UNCONFIRMED, "expected an outcome, got a stop of the program"))
        self._readdress()
        for channel in self._senders:
            thread = threading.Thread(target=self._run, args=(channel,), name=f"alert-{channel}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self, wait_s: float = 5.0) -> None:
        """Send no more; a channel that hangs is left to itself."""
        self._stop.set()
        for bell in self._bells.values():
            bell.set()
        for thread in self._threads:
            thread.join(wait_s / max(len(self._threads), 1))
        for sender in self._senders.values():
            sender.close()

    # -- letters into messages -----------------------------------------------------------------

    def gather(self) -> None:
        """Make messages of the letters that are due, one for each person; the rest waits."""
        now_ms = self._wall()
        by_recipient: dict[str, list[dict[str, Any]]] = {}
        for letter in self._records.letters():
            by_recipient.setdefault(letter["recipient"], []).append(letter)
        for recipient, letters in by_recipient.items():
            due = [x for x in letters if x["due_ms"] <= now_ms]
            if not due:
                continue
            # With an alarm that is due goes all that waits about it: its end is told with its beginning.
            alarms = {x["alarm_id"] for x in due}
            self._make(recipient, [x for x in letters if x["alarm_id"] in alarms], now_ms)

    def _make(self, recipient: str, letters: list[dict[str, Any]], now_ms: int) -> None:
        person = self._rules.persons.get(recipient)
        chain = self._chain(person, recipient)
        if not chain:
            # A person or a channel that the rules no longer know: kept and shown.
            chain = [""]
        urgent = any(x["body"]["severity"] == Severity.CRITICAL for x in letters)
        if person is not None and not urgent and self._full(person, now_ms):
            return  # they gather into one digest, which goes when the hour has room
        lots = [letters] if person is not None else [[x] for x in letters]
        for lot in lots:
            delivery = self._delivery(recipient, person, chain, lot, now_ms)
            self._records.send([delivery], {x["id"]: delivery["id"] for x in lot})
            self._ring(chain[0])

    def _full(self, person: Person, now_ms: int) -> bool:
        return self._records.sent_to(person.id, now_ms - _H_MS) >= person.limit_per_hour

    def _chain(self, person: Person | None, recipient: str) -> list[str]:
        """Channels in the order in which they are tried."""
        first = person.channels if person is not None else (recipient.removeprefix(SIREN),)
        chain: list[str] = []
        for channel in first:
            name = channel
            while name in self._rules.channels and name not in chain:
                chain.append(name)
                name = self._rules.channels[name].fallback
        return chain

    def _delivery(
        self, recipient: str, person: Person | None, chain: list[str], lot: list[dict[str, Any]], now_ms: int
    ) -> dict[str, Any]:
        bodies = [x["body"] for x in sorted(lot, key=lambda x: (x["body"]["at_ms"], x["id"]))]
        subject, text = self._writer.write(bodies, person.language if person is not None else "en")
        # Named after what it holds: made once more after a crash it is the same message.
        name = sha256(json.dumps(sorted(x["id"] for x in lot)).encode()).hexdigest()[:32]
        body = {
            "chain": chain,
            "at": 0,
            "subject": subject,
            "text": text,
            "facts": {"alarms": bodies},
            "tried": [],
        }
        return {
            "id": name, "recipient": recipient, "channel": chain[0], "state": _WAITING, "made_ms": now_ms,
            "next_ms": now_ms, "attempts": 0, "error": "" if chain[0] else "expected a channel of the rules",
            "ended_ms": None, "body": body,
        }  # fmt: skip

    def _ring(self, channel: str) -> None:
        if channel in self._bells:
            self._bells[channel].set()

    def _readdress(self) -> None:
        """Give what waits on a channel that the rules no longer have to one that they have, or show it."""
        for row in self._records.deliveries(_WAITING):
            gone = row["channel"]
            if gone in self._senders:
                continue
            chain = self._chain(self._rules.persons.get(row["recipient"]), row["recipient"])
            if not chain:
                error = f"expected a channel of the rules, got {gone!r}" if gone else row["error"]
                self._records.update(row["id"], error=error)
                continue
            body = {**row["body"], "chain": chain, "at": 0, "tried": []}
            self._records.update(
                row["id"], channel=chain[0], attempts=0, next_ms=self._wall(), body=body,
                error=f"expected a channel of the rules, got {gone!r}" if gone else "",
            )  # fmt: skip

    # -- messages onto channels ------------------------------------------------------------------

    def _run(self, channel: str) -> None:
        bell = self._bells[channel]
        while not self._stop.is_set():
            try:
                pause_s = self._pass(channel)
            except RecordsError as error:
                _log.warning("channel %s: %s", channel, error)
                pause_s = 2.0
            except Exception:  # noqa: BLE001  a channel must not end for good
                _log.exception("channel %s failed and goes on", channel)
                pause_s = 2.0
            bell.wait(pause_s)
            bell.clear()

    def _pass(self, channel: str) -> float:
        """Send what is due on a channel; how long to wait then. [s]"""
        waiting = self._records.deliveries(_WAITING, channel=channel)
        for row in waiting:
            if self._stop.is_set():
                return 0.0
            wait_ms: int = row["next_ms"] - self._wall()
            if wait_ms > 0:
                return max(0.05, min(2.0, wait_ms / 1000))
            self._records.update(row["id"], state=_SENDING)
            body = row["body"]
            message = Message(row["id"], body["subject"], body["text"], row["made_ms"], body["facts"])
            self._settle(row, self._senders[channel].send(message))
        return 2.0

    def _settle(self, row: Mapping[str, Any], outcome: Outcome) -> None:
        """Note what became of a message, and where it goes next if it did not arrive."""
        now_ms, attempts = self._wall(), row["attempts"] + 1
        if outcome.fate is Fate.SENT:
            self._records.update(row["id"], state=_SENT, attempts=attempts, error="", ended_ms=now_ms)
            return
        channel = self._rules.channels.get(row["channel"])
        sure = outcome.fate is Fate.REFUSED or (channel is not None and channel.retry_unconfirmed)
        body = dict(row["body"])
        tried = len(body["tried"])
        on_this = attempts - (body["tried"][-1]["attempts"] if tried else 0)
        error = f"{row['channel']}: {outcome.detail}"[:_MOST_ERROR]
        _log.warning("alert %s for %s is not sent: %s", row["id"], row["recipient"], error)
        if body["at"] + 1 < len(body["chain"]) and (not sure or on_this >= self._pace.before_fallback):
            body["tried"] = [
                *body["tried"], {"channel": row["channel"], "fate": str(outcome.fate), "attempts": attempts}
            ]  # fmt: skip
            body["at"] += 1
            next_channel = body["chain"][body["at"]]
            self._records.update(
                row["id"], state=_WAITING, channel=next_channel, attempts=attempts, error=error,
                next_ms=now_ms, body=body,
            )  # fmt: skip
            self._ring(next_channel)
        elif not sure:
            self._records.update(
                row["id"], state=_UNCONFIRMED, attempts=attempts, error=error, ended_ms=now_ms
            )
        elif now_ms - row["made_ms"] > 1000 * self._pace.give_up_s:
            self._records.update(row["id"], state=_LOST, attempts=attempts, error=error, ended_ms=now_ms)
        else:
            self._records.update(
                row["id"], state=_WAITING, attempts=attempts, error=error,
                next_ms=now_ms + self._pace.pause_ms(on_this),
            )  # fmt: skip


def unsent(records: Records, since_ms: int) -> list[dict[str, Any]]:
    """Messages that did not arrive for certain: waiting after a failure, unconfirmed or given up."""
    rows: Iterable[dict[str, Any]] = records.deliveries(
        _WAITING, _SENDING, _UNCONFIRMED, _LOST, since_ms=since_ms
    )
    return [row for row in rows if row["error"]]
