"""The master oracle: whatever happened on the way, what was generated is stored once, and equals a clean replay.

It trusts nothing that the run itself computed: samples are counted from the readings,
repeats and dead letters, messages from their names, and results are computed again by
``hearthline replay``, once from the journal as ``hearthline journal export`` writes it and
once from what was generated, each sample once and in the order of time.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from alerts.rows import ACTORS, ALARM, ALARM_OPEN, QUALITY
from models.anomaly import ANOMALY, State
from models.restate import RESTATEMENT
from models.results import RESULT_HEADER
from store.duckdb_series import SERIES_FILE, DuckdbSeries
from store.protocol import Select
from store.rows import READING_TRAILER, REFUSED
from streams.core.deliveries import LedgerCounts
from tests.support.clean_replay import Row, replay_generated, replay_journal

__all__ = ["Generated", "Verdict", "assert_whole", "judge"]

Generated = Mapping[str, Sequence[tuple[int, Mapping[str, float | str]]]]
"""By device the samples that were made: (t in ms UTC, values), repeated ones as often as they were made."""

Name = tuple[Any, ...]

_ABOUT: Final = frozenset(f.name for f in (*RESULT_HEADER, *READING_TRAILER))
_SHOWN: Final = 4
_LEDGER: Final = tuple(f for f in LedgerCounts._fields if f != "late")
"""What the ledger counts, but for what hangs on the order of arrival (decision 115): a replay brings in one
frame what came in two, and with it moves the data's clock otherwise."""
_NOT_WINDOWS: Final = frozenset({
    "reading", "reading_repeat", "dead_letter", "ledger", RESTATEMENT, REFUSED, ALARM, ALARM_OPEN, QUALITY, ACTORS,
})  # fmt: skip
"""What is compared otherwise; and alarms, which a desk makes of anomalies, people's deeds and the time of day:
no replay has them. Their own law is `tests/alerts/test_any_interleaving.py`."""
_REASONS: Final = frozenset({
    "schema", "unknown_device", "wrong_class", "future", "too_old", "seq_reused", "too_large", "topic_mismatch",
    "retained",
})  # fmt: skip
_FORGEABLE: Final = frozenset({"unknown_device", "topic_mismatch", "retained"})
"""Reasons that stand outside the ledger."""


@dataclass(slots=True)
class Verdict:
    """What the oracle found.

    Attributes
    ----------
    faults : dict of str to list of str
        By promise what broke it, a few examples each; empty when all is well.
    samples, messages : int
        Generated samples; messages whose names the store or a dead letter holds.
    readings, repeats, dead_letters, windows : int
        Rows of the run that were compared with the replay's.
    undisturbed : int
        Window rows that were compared with those of the samples as generated.
    ledger : dict of str to int
        Sums over the fleet, as the run left them.
    """

    faults: dict[str, list[str]] = field(default_factory=dict)
    samples: int = 0
    messages: int = 0
    readings: int = 0
    repeats: int = 0
    dead_letters: int = 0
    windows: int = 0
    undisturbed: int = 0
    ledger: dict[str, int] = field(default_factory=dict)

    def fault(self, promise: str, examples: Iterable[object]) -> None:
        """Note what breaks a promise, if anything does."""
        found = [str(e) for e in examples]
        if found:
            more = [f"… {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
            self.faults.setdefault(promise, []).extend([*found[:_SHOWN], *more])

    def __str__(self) -> str:
        return (
            f"{self.samples} samples generated, {self.messages} messages, unaccounted "
            f"{self.ledger.get('unaccounted')}, duplicates {self.ledger.get('duplicate')}; compared with the replay: "
            f"{self.readings} readings, {self.repeats} repeats, {self.dead_letters} dead letters, "
            f"{self.windows} window rows; with an undisturbed run {self.undisturbed}"
        )


def assert_whole(generated: Generated, data_dir: Path, scratch: Path) -> Verdict:
    """`judge`, and fail with every broken promise."""
    verdict = judge(generated, data_dir, scratch)
    lines = [f"{promise}: {line}" for promise, found in verdict.faults.items() for line in found]
    assert not lines, "\n".join([str(verdict), *lines])
    return verdict


def judge(generated: Generated, data_dir: Path, scratch: Path) -> Verdict:
    """Hold a stopped data directory against what was generated and against a clean replay of its journal.

    Parameters
    ----------
    generated : Generated
    data_dir : Path
        Of an embedded server that has been stopped.
    scratch : Path
        Directory for the export and the replay; made when there is none.
    """
    verdict = Verdict(samples=sum(map(len, generated.values())))
    stored = _stored(data_dir)
    _count_samples(generated, stored, verdict)
    _count_messages(generated, stored, verdict)
    verdict.fault("the store took every row", stored.get(REFUSED, ()))
    replayed = replay_journal(data_dir, scratch)
    _compare_rows(stored, replayed, verdict)
    undisturbed = replay_generated(generated, scratch)
    if any(r["measurement"] != "ledger" for rows in (stored, replayed) for r in rows.get(RESTATEMENT, ())):
        # What came later than the lateness was not learnt when it was due, and is not learnt again.
        stored, replayed, undisturbed = (_unlearnt(rows) for rows in (stored, replayed, undisturbed))
    verdict.windows = _compare_windows(stored, replayed, "the replay's", verdict)
    verdict.undisturbed = _compare_windows(stored, undisturbed, "those of an undisturbed run", verdict)
    return verdict


def _unlearnt(rows: Mapping[str, list[Row]]) -> dict[str, list[Row]]:
    """Rows that rest on samples alone, by measurement."""
    plain = {m: [row for row in found if row.get("model") is None] for m, found in rows.items()}
    return {m: found for m, found in plain.items() if found}


def _stored(data_dir: Path) -> dict[str, list[Row]]:
    store = DuckdbSeries(data_dir / SERIES_FILE, read_only=True)
    try:
        return {m: store.select(Select(m, withdrawn=True)).to_pylist() for m in store.counts()}
    finally:
        store.close()


def _values(row: Row) -> tuple[tuple[str, float | str], ...]:
    """What a reading measured, unknown measurements too."""
    values = {n: v for n, v in row.items() if n not in _ABOUT and v is not None}
    values.update(json.loads(row["extra"]) if row.get("extra") else {})
    return tuple(sorted(values.items()))


def _letter_samples(letter: Row) -> list[Name]:
    """Samples that a dead letter holds; none if its payload cannot be read."""
    try:
        samples = json.loads(letter["payload"])["samples"]
        return [
            (letter["device"], s["t"], tuple(sorted((n, v) for n, v in s.items() if n != "t")))
            for s in samples
        ]
    except (ValueError, TypeError, KeyError):
        return []


def _open_letters(rows: Mapping[str, Sequence[Row]]) -> list[Row]:
    """Dead letters that were not taken in again since."""
    return [letter for letter in rows.get("dead_letter", ()) if letter["state"] == "open"]


def _count_samples(generated: Generated, stored: Mapping[str, Sequence[Row]], verdict: Verdict) -> None:
    """Hold every generated sample against exactly one reading, repeat or dead letter of equal values."""
    made = Counter((d, t, tuple(sorted(v.items()))) for d, samples in generated.items() for t, v in samples)
    readings = stored.get("reading", ())
    kept = Counter(
        (r["key"], r["window_start"], _values(r)) for r in (*readings, *stored.get("reading_repeat", ()))
    )
    letters = _open_letters(stored)
    kept.update(
        name for letter in letters for name in _letter_samples(letter) if letter["device"] in generated
    )
    verdict.fault("every sample is stored or dead-lettered", (made - kept).elements())
    verdict.fault("nothing is stored twice or otherwise than sent", (kept - made).elements())
    named = Counter((r["key"], r["window_start"], r["class"]) for r in readings)
    verdict.fault("a reading stands once", (n for n, count in named.items() if count > 1))
    verdict.fault(
        "a dead letter has its reason", (x for x in letters if x["reason"] not in _REASONS | {"not_json"})
    )


def _count_messages(generated: Generated, stored: Mapping[str, Sequence[Row]], verdict: Verdict) -> None:
    """Hold the ledger against the names of the messages that are there."""
    ledger = _newest(stored.get("ledger", ()))
    verdict.ledger = {f: sum(row[f] or 0 for row in ledger.values()) for f in _LEDGER}
    verdict.fault("every device has a ledger", sorted(set(generated) - set(ledger)))
    verdict.fault(
        "nothing is unaccounted or waits",
        (
            (d, {f: row[f] for f in _LEDGER})
            for d, row in ledger.items()
            if row["unaccounted"] or row["waiting"]
        ),
    )
    names: dict[str, set[tuple[int, int]]] = defaultdict(set)
    for row in (*stored.get("reading", ()), *stored.get("reading_repeat", ())):
        names[row["key"]].add((row["boot"], row["seq"]))
    dead: dict[str, set[tuple[int, int]]] = defaultdict(set)
    for letter in _open_letters(stored):
        if letter["seq"] is not None and letter["reason"] not in _FORGEABLE:
            dead[letter["device"]].add((letter["boot"], letter["seq"]))
    verdict.messages = sum(map(len, (*names.values(), *dead.values())))
    verdict.fault(
        "the ledger counts what is stored",
        (
            (d, f"ledger {ledger[d]['stored']}, names {len(names[d])}")
            for d in generated
            if d in ledger and ledger[d]["stored"] != len(names[d])
        ),
    )
    verdict.fault(
        "the ledger counts what is dead-lettered",
        (
            (d, f"ledger {ledger[d]['dead_lettered']}, names {len(dead[d] - names[d])}")
            for d in generated
            if d in ledger and ledger[d]["dead_lettered"] != len(dead[d] - names[d])
        ),
    )


def _newest(rows: Iterable[Row]) -> dict[str, Row]:
    """The newest row of each key."""
    newest: dict[str, Row] = {}
    for row in rows:
        if row["key"] not in newest or row["window_start"] > newest[row["key"]]["window_start"]:
            newest[row["key"]] = row
    return newest


def _plain(row: Row, *without: str) -> tuple[tuple[str, Any], ...]:
    """A row that compares: absent and null are the same."""
    return tuple(sorted((n, v) for n, v in row.items() if v is not None and n not in without))


def _differences(mine: Counter[Name], other: Counter[Name]) -> list[str]:
    return [
        *(f"only in the run's: {row}" for row in (mine - other).elements()),
        *(f"only in the other's: {row}" for row in (other - mine).elements()),
    ]


def _compare_rows(run: Mapping[str, list[Row]], replay: Mapping[str, list[Row]], verdict: Verdict) -> None:
    """Compare rows that no window holds: all of them, less what tells of the journal's records."""
    for measurement in ("reading", "reading_repeat"):
        mine, other = (
            Counter(_plain(r, "offset", "received_ms") for r in rows.get(measurement, ()))
            for rows in (run, replay)
        )
        verdict.fault(f"{measurement} equals the replay's", _differences(mine, other))
    verdict.readings, verdict.repeats = (len(run.get(m, ())) for m in ("reading", "reading_repeat"))
    letter = ("topic", "device", "boot", "seq", "reason", "payload", "state", "retained")
    mine, other = (
        Counter(tuple(r[n] for n in letter) for r in rows.get("dead_letter", ())) for rows in (run, replay)
    )
    verdict.fault("dead letters equal the replay's", _differences(mine, other))
    verdict.dead_letters = mine.total()
    mine, other = (
        Counter((d, *(row[f] for f in _LEDGER)) for d, row in _newest(rows.get("ledger", ())).items())
        for rows in (run, replay)
    )
    verdict.fault("the ledger equals the replay's", _differences(mine, other))


def _settled(rows: Iterable[Row]) -> dict[str, dict[int, Row]]:
    """Final and unknown rows by key and window start."""
    settled: dict[str, dict[int, Row]] = defaultdict(dict)
    for row in rows:
        if row["status"] in ("final", "unknown"):
            settled[row["key"]][row["window_start"]] = dict(row)
    return settled


def _up_to_now(mine: dict[str, dict[int, Row]], other: dict[str, dict[int, Row]]) -> None:
    """Of anomalies that still were at the run's end leave what is settled: a replay goes on to see them end."""
    goes_on = {
        key for key, rows in mine.items() if any(row.get("state") == State.ACTIVE for row in rows.values())
    }
    for key in goes_on:
        for row in (*mine[key].values(), *other.get(key, {}).values()):
            for grows in ("until", "state", "score", "severity", "evidence"):
                row.pop(grows, None)


def _compare_windows(
    run: Mapping[str, list[Row]], replay: Mapping[str, list[Row]], whose: str, verdict: Verdict
) -> int:
    """Compare result rows, revisions apart, up to the last window that is final in both; how many there were.

    Whatever is stored is compared, of whatever measurement, unless it is named above. A key of which
    the run has nothing final is held to the earliest of the others' last windows; a measurement of
    which it has nothing, to the earliest of all.
    """
    settled = {
        m: (_settled(run.get(m, ())), _settled(replay.get(m, ())))
        for m in sorted((run.keys() | replay.keys()) - _NOT_WINDOWS)
    }
    if ANOMALY in settled:
        _up_to_now(*settled[ANOMALY])
    lasts = {
        m: {k: min(max(rows), max(other[k])) for k, rows in mine.items() if k in other}
        for m, (mine, other) in settled.items()
    }
    everywhere = min((min(x.values()) for x in lasts.values() if x), default=-(2**63))
    compared = 0
    for measurement, (mine, other) in settled.items():
        ends = lasts[measurement]
        earliest = min(ends.values(), default=None)
        a, b = (
            Counter(
                _plain(row, "revision")
                for key, rows in side.items()
                for start, row in rows.items()
                if (
                    start + row["window_ms"] <= everywhere
                    if earliest is None
                    else start <= ends.get(key, earliest)
                )
            )
            for side in (mine, other)
        )
        strangers = sorted(set(mine) - set(other))
        verdict.fault(f"{measurement} has the keys of {whose}", strangers)
        verdict.fault(f"{measurement} equals {whose}", _differences(a, b))
        compared += a.total()
    return compared
