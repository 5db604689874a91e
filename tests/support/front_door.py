"""The whole embedded path in this process, from `Ingest.submit` to the store, and what became of each message."""

from __future__ import annotations

import gc
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from ingest.decode import Decoder
from ingest.messages import FORGEABLE, ClockMode, Decoded, Message
from ingest.service import Ingest
from journal.sqlite import FILE_NAME, SqliteJournal
from models.results import Outputs
from store.duckdb_series import DuckdbSeries
from store.protocol import Select
from streams.runtime.local import LocalRuntime
from streams.runtime.sqlite_checkpoints import SqliteCheckpoints
from tests.support.bad_input import ANY, IGNORED, SEQ, STORED, Bad
from tests.support.payloads import BOOT, NOW, acks, site, telemetry

__all__ = ["FrontDoor"]

LIMIT_S = 1.0
CROWDED = 60.0
FIRST = 1_000_000
"""Number of the first case of a batch."""
KEPT = 480 * 1024 + 1
Row = dict[str, Any]


class _Heard:
    """A store that also tells what it was given."""

    def __init__(self, store: DuckdbSeries) -> None:
        self.store = store
        self.letters: list[Row] = []
        self.readings: list[Row] = []

    def write(self, outputs: Sequence[Outputs]) -> None:
        self.store.write(outputs)
        for output in outputs:
            self.letters += [r for t in output.rows.get("dead_letter", ()) for r in t.to_pylist()]
            self.readings += [r for t in (*output.readings, *output.repeats) for r in t.to_pylist()]

    def clear(self) -> None:
        self.letters, self.readings = [], []


@dataclass
class Numbers:
    """What the ledger of one device has to say, counted here number by number."""

    stored: set[tuple[int, int]] = field(default_factory=set)
    dead: set[tuple[int, int]] = field(default_factory=set)

    def counts(self) -> dict[str, int]:
        sent = Counter[int]()
        for boot, seq in self.stored | self.dead:
            sent[boot] = max(sent[boot], seq)
        stored, dead = len(self.stored), len(self.dead - self.stored)
        return {
            "sent": sent.total(), "stored": stored, "dead_lettered": dead,
            "unaccounted": sent.total() - stored - dead, "waiting": 0, "thinned": 0,
        }  # fmt: skip


class FrontDoor:
    """Journal, ingest, pipelines and store of one site, in `directory`; use as a context manager."""

    def __init__(self, directory: Path) -> None:
        self.now = NOW
        self.journal = SqliteJournal(directory / FILE_NAME, lambda: self.now)
        self.store = DuckdbSeries(directory / "series.duckdb")
        self.checkpoints = SqliteCheckpoints(directory / "checkpoints.sqlite3")
        self.heard = _Heard(self.store)
        self.ingest = Ingest(self.journal, site(), None, lambda: self.now)
        self.runtime = LocalRuntime(self.journal, self.heard, self.checkpoints)
        self.boot = BOOT
        self.numbers: dict[str, Numbers] = defaultdict(Numbers)
        self.slowest_alone: tuple[float, str] = (0.0, "")
        self._decoder = Decoder(site())
        self.good_t = NOW - 1_000_000
        self.slowest: tuple[float, str] = (0.0, "")

    def __enter__(self) -> Self:
        self.submit(
            [telemetry("sub-2", 1), telemetry("bridge-1", 1, ticket="0"), telemetry("sub-2", 1, odd=1)]
        )
        self.numbers["sub-2"].stored.add((BOOT, 1))
        self.numbers["bridge-1"].stored.add((BOOT, 1))
        return self

    def __exit__(self, *_: object) -> None:
        self.store.close()
        self.checkpoints.close()
        self.journal.close()

    def submit(self, messages: Sequence[Message]) -> Decoded:
        """Give messages in, and compute and store what follows from them."""
        self.heard.clear()
        decoded = self.ingest.submit(messages)
        while self.runtime.pass_once(threading.Event()):
            pass
        return decoded

    def restart(self) -> None:
        """Go on from a checkpoint, as after a restart."""
        self.runtime.save()
        self.runtime = LocalRuntime(self.journal, self.heard, self.checkpoints)
        self.runtime.load()

    def judge(self, case: Bad) -> None:
        """See alone what the decoder makes of a case: cheap, so that what fails here is shrunk."""
        message = case.message(self.boot, FIRST)
        gc.disable()  # what the test itself heaps up is no message's doing
        try:
            began = time.process_time()
            decoded = self._decoder.decode([message], mode=ClockMode.WALL, wall_ms=NOW, now_ms={})
            took = time.process_time() - began
        finally:
            gc.enable()
        if took > self.slowest_alone[0]:
            self.slowest_alone = (took, case.kind)
        assert took < LIMIT_S, f"{took:.1f} s for {case}"
        became = [str(reason) for reason in decoded.refused.elements()]
        became += [STORED] * (decoded.accepted.messages + decoded.accepted.events) + [
            IGNORED
        ] * decoded.ignored
        assert len(became) == 1, f"became {became}: {case}"
        right = {STORED} if case.kind == "seq_reused" else case.right  # found later, by the stream
        assert became[0] in right, f"became {became}: {case}"

    def take(self, bad: Sequence[Bad]) -> None:
        """Give `bad` cases in, each between good neighbours, and see that each became what is right."""
        self.boot += 1
        good = [
            telemetry("sub-1", at + 1, [{"t": self.good_t + at, "supply_c": 50.0 + at}], boot=self.boot)
            for at in range(len(bad) + 1)
        ]
        self.good_t += len(good)
        messages = [good[0]]
        for at, (case, neighbour) in enumerate(zip(bad, good[1:], strict=True)):
            messages += [case.message(self.boot, FIRST + at), neighbour]
        gc.freeze()  # nor is it looked through here
        try:
            began, busy = time.perf_counter(), time.process_time()
            decoded = self.submit(messages)
            wall_s, busy_s = time.perf_counter() - began, time.process_time() - busy
        finally:
            gc.unfreeze()
        # On a crowded machine the wall says little; what sleeps for long is caught all the same.
        took = max(min(wall_s, busy_s), wall_s / CROWDED)
        if took > self.slowest[0]:
            self.slowest = (took, ", ".join(sorted({case.kind for case in bad})))
        assert took < LIMIT_S * max(1, len(bad)), f"{took:.1f} s for {bad}"
        self._check(bad, decoded, len(good))

    def _check(self, bad: Sequence[Bad], decoded: Decoded, good: int) -> None:
        values = {
            (r["boot"], r["seq"]): r.get("supply_c") for r in self.heard.readings if r["key"] == "sub-1"
        }
        for at in range(good):
            assert values.get((self.boot, at + 1)) == 50.0 + at, (
                f"a neighbour is not stored: {at + 1} of {bad}"
            )
        self.numbers["sub-1"].stored |= {(self.boot, at + 1) for at in range(good)}
        stored = {(r["key"], r["boot"], r["seq"]) for r in self.heard.readings}
        stored -= {(device, *name) for device, numbers in self.numbers.items() for name in numbers.stored}
        letters = defaultdict(list)
        for letter in self.heard.letters:
            letters[letter["topic"], letter["payload"]].append(letter)
        acked = {
            (address.device, boot, seq)
            for address, boots in acks(decoded).items()
            for boot, ranges in boots.items()
            for first, last in ranges
            for seq in range(first, last + 1)
        }
        for at, case in enumerate(bad):
            self._check_case(case, FIRST + at, stored, letters, acked)
        assert not stored, f"stored, and nobody should have been: {stored} of {bad}"
        assert not any(letters.values()), f"letters too many: {dict(letters)} of {bad}"
        ignored = sum(IGNORED in case.right for case in bad)
        assert decoded.ignored == ignored, f"{decoded.ignored} passed over of {bad}"

    def _check_case(
        self,
        case: Bad,
        number: int,
        stored: set[tuple[str, int, int]],
        letters: dict[tuple[str, str], list[Row]],
        acked: set[tuple[str, int, int]],
    ) -> None:
        levels = case.topic.split("/")
        device = levels[4] if len(levels) == 6 else ""
        message = case.message(self.boot, number)
        own = number if case.seq == SEQ else case.seq
        text = message.payload[:KEPT].decode("utf-8", "backslashreplace")
        found = letters.get((case.topic, text), [])
        name = (device, self.boot, own or 0)
        if IGNORED in case.right:
            return
        if STORED in case.right:
            assert name in stored, f"not stored: {case}"
            stored.discard(name)
            assert name in acked, f"not acknowledged: {case}"
            self.numbers[device].stored.add(name[1:])
            return
        if case.kind == "seq_reused":  # its letter holds the message as it was read, not its bytes
            found = next((v for (to, _), v in letters.items() if to == case.topic and v
                          and v[0]["reason"] == "seq_reused"), [])  # fmt: skip
        assert found, f"neither stored nor a dead letter: {case}"
        letter = found.pop()
        assert letter["reason"] in case.right, f"refused as {letter['reason']} ({letter['detail']}): {case}"
        assert letter["detail"], f"no word of why: {case}"
        assert bool(letter["retained"]) is case.retained
        named = (letter["boot"], letter["seq"]) if None not in (letter["boot"], letter["seq"]) else None
        if own is None:
            assert named is None, f"a number was read, {named}: {case}"
        elif own != ANY:
            assert named == (self.boot, own), f"its number was read as {named}: {case}"
        if named is not None and letter["reason"] != "retained":
            assert not device or (device, *named) in acked or len(levels) != 6 or not _is_address(levels), (
                case
            )
        if named is not None and letter["reason"] not in FORGEABLE and device in site().devices:
            self.numbers[device].dead.add(named)

    def check_ledger(self) -> None:
        """See that the ledger says of every device what its numbers, one by one, say."""
        self.now += 11_000
        self.submit([])
        self.journal.append([])
        self.heard.write([p.report() for p in self.runtime._pipelines.values()])
        rows = {}
        for row in self.store.select(Select("ledger")).to_pylist():
            if row["key"] not in rows or row["window_start"] > rows[row["key"]]["window_start"]:
                rows[row["key"]] = row
        for device, numbers in self.numbers.items():
            if numbers.stored or numbers.dead:
                expected = numbers.counts()
                assert {name: rows[device][name] for name in expected} == expected, device


def _is_address(levels: Sequence[str]) -> bool:
    return (
        levels[:2] == ["hearthline", "v1"]
        and len(levels) == 6
        and all(
            1 <= len(level) <= 64 and all(c.isascii() and (c.isalnum() or c in "_.-") for c in level)
            for level in levels[2:5]
        )
    )
