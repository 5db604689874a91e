"""What the ledger says of a day hangs on its messages alone: not on frames, clocks or when they came."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest

from ingest.decode import Decoder
from ingest.history import read_history
from ingest.messages import ClockMode, Message
from ingest.service import registry_frame
from journal.export import export_lines, write_recording
from journal.replay_files import read_recordings
from models.frame import Record
from models.site_files import parse_site
from streams.core.deliveries import LedgerCounts
from streams.core.operator import LedgerOperator, discovered
from streams.core.pipeline import Pipeline
from tests.support.payloads import TEXTS, topic
from tests.support.restating import REWRITTEN_MS

MIDNIGHT = 1_767_283_200_000  # of Asia/Shanghai
BOOT = MIDNIGHT - 86_400_000
PLACES = dict.fromkeys(("sub-1", "sub-2", "meter-1"), ("r1", "u1"))
HOUR = 3_600_000


def a_night(seed: int, refused: float = 0.05) -> list[tuple[int, list[Message]]]:
    """Batches with their times of arrival: late, sent again, measured twice, refused, over local midnight."""
    rng = np.random.default_rng(seed)
    arriving: list[tuple[int, Message]] = []
    for device, every_ms in (("sub-1", 60_000), ("sub-2", 90_000), ("meter-1", 600_000)):
        seq = 0
        for t in range(MIDNIGHT - 2 * HOUR + int(rng.integers(every_ms)), MIDNIGHT + 2 * HOUR, every_ms):
            for _ in range(1 + int(rng.random() < 0.2)):  # the same reading in two messages: a repeat
                seq += 1
                payload = {"boot": BOOT, "seq": seq, "samples": [{"t": t, "supply_c": 80.0}]}
                if rng.random() < refused:
                    payload["samples"] = [{"t": t, "supply_c": "hot"}]
                message = Message(topic(device), json.dumps(payload).encode())
                for _ in range(1 + int(rng.random() < 0.1)):
                    late = HOUR if rng.random() < 0.2 else 40_000
                    arriving.append((t + int(rng.integers(1000, late)), message))
            if rng.random() < 0.3:
                told = {"boot": BOOT, "at": t, "next_seq": seq + 1, "waiting": [[max(1, seq - 3), seq]]}
                arriving.append((t + 1500, Message(topic(device, "state"), json.dumps(told).encode())))
    arriving.sort(key=lambda x: x[0])
    batches: dict[int, list[Message]] = {}
    for at, message in arriving:
        batches.setdefault(at // 5000 * 5000 + 5000, []).append(message)
    return sorted(batches.items())


def days(records: list[Record], site) -> dict:
    operators = [o for o in discovered() if isinstance(o, LedgerOperator) or o.name == "device_heat"]
    pipeline = Pipeline("u1", operators, provisional_every_ms=REWRITTEN_MS)
    first = Record("u1", 0, MIDNIGHT - 3 * HOUR, registry_frame(site).encode())
    rest = (Record("u1", n, r.timestamp_ms, r.frame) for n, r in enumerate(records, start=1))
    outputs = [*(pipeline.step(record) for record in (first, *rest)), pipeline.finish()]
    rows = [row for o in outputs for table in o.rows.get("ledger", ()) for row in table.to_pylist()]
    columns = LedgerCounts._fields
    return {
        (row["key"], row["window_start"]): {c: row[c] for c in columns}
        for row in rows
        if row["status"] == "final"
    }


@pytest.mark.parametrize(("seed", "lateness_s"), [(0, 900), pytest.param(1, 1000, marks=pytest.mark.soak)])
def test_past_days_are_the_same_live_and_replayed(tmp_path, seed: int, lateness_s: int) -> None:
    texts = dict(TEXTS)
    texts["site.toml"] = texts["site.toml"].replace("retention", f"lateness_s = {lateness_s}\nretention")
    site = parse_site(texts)[0]
    live, now = [], {"u1": MIDNIGHT - 3 * HOUR}
    for at, messages in a_night(seed):
        for placed in Decoder(site).decode(messages, mode=ClockMode.WALL, wall_ms=at, now_ms=now).placed:
            live.append(Record("u1", len(live) + 1, placed.timestamp_ms, placed.frame.encode()))
            now["u1"] = placed.timestamp_ms
    expected = days(live, site)
    assert len({start for _, start in expected}) == 2
    before = [row for (_, start), row in expected.items() if start < MIDNIGHT]
    for column in ("stored", "dead_lettered", "duplicate", "repeat", "late"):
        assert sum(row[column] for row in before) > 0, column

    write_recording(export_lines(live, PLACES), tmp_path / "night.jsonl")
    for chunk in (500, 20_000):
        read = read_history(read_recordings([tmp_path / "night.jsonl"], chunk), Decoder(site))
        placed_again = [p for chapter in read for p in chapter.placed]
        again = [Record("u1", n, p.timestamp_ms, p.frame.encode()) for n, p in enumerate(placed_again)]
        assert days(again, site) == expected, f"in chunks of {chunk}"


@pytest.mark.parametrize("seed", [2, pytest.param(3, marks=pytest.mark.soak)])
def test_days_are_the_same_in_any_order_within_the_lateness_and_in_any_flushes(seed: int) -> None:
    texts = dict(TEXTS)
    texts["site.toml"] = texts["site.toml"].replace("retention", "lateness_s = 10000\nretention")
    site = parse_site(texts)[0]
    rng = np.random.default_rng(seed)
    night = [(at, m) for at, messages in a_night(seed, refused=0.0) for m in messages]
    told = []
    for mixed_ms, most in ((0, 1), (HOUR, 90)):
        moved = sorted(((at + int(rng.integers(mixed_ms + 1)), n) for n, (at, _) in enumerate(night)))
        messages, records, now = [night[n][1] for _, n in moved], [], {}
        while messages:
            size = int(rng.integers(1, most + 1))
            flush, messages = messages[:size], messages[size:]
            for p in Decoder(site).decode(flush, mode=ClockMode.DATA, wall_ms=2**60, now_ms=now).placed:
                records.append(Record("u1", len(records) + 1, p.timestamp_ms, p.frame.encode()))
                now["u1"] = p.timestamp_ms
        told.append(days(records, site))
    assert told[0] == told[1]
    said = [(m.topic.split("/")[4], json.loads(m.payload)) for _, m in night if m.topic.endswith("telemetry")]
    names = {(device, x["seq"]) for device, x in said if x["samples"][0]["t"] < MIDNIGHT}
    sent = Counter(device for device, _ in names)
    before = {device: row for (device, start), row in told[0].items() if start < MIDNIGHT}
    assert {device: row["sent"] for device, row in before.items()} == sent
    assert {device: row["stored"] for device, row in before.items()} == sent
