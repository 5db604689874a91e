"""A device's first sample is 40 days old, over Kafka: what comes live waits for a turn, and rows are a replay's."""

from __future__ import annotations

import csv
import io
import json
import statistics
import time

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from models.frame import Frame
from store.influx_series import InfluxSeries
from store.protocol import Select
from tests.support.chain_feed import TOPIC
from tests.support.influxd import Influxd
from tests.support.two_modes import Chain, Day

OLD, DAYS, WINDOW_MS = "old-1", 40, 900_000
DAY_MS = 96 * WINDOW_MS
NAMES = frozenset({"data_quality", "device_heat", "ledger", "network_heat", "reading", "track"})
AT_MOST_S = 8.0
"""A turn takes about a second, and a worker flushes each second; twice that on a busy machine."""


class DayWithOld(Day):
    """A day in whose middle a meter that nobody has heard of says first what it showed 40 days ago."""

    def with_more(self, telemetry):
        """With the meter in the substations' network."""
        path = self.site / "devices.csv"
        rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
        like = next(row for row in rows if row["class"] == "substation")
        self.unit = like["unit"]
        new = dict.fromkeys(like, "") | {n: like[n] for n in ("unit", "network", "interval_s") if n in like}
        with path.open("a", encoding="utf-8", newline="") as file:
            csv.DictWriter(file, like).writerow(new | {"device": OLD, "class": "meter"})
        table = pq.read_table(telemetry)
        first = table.filter(pc.match_substring(table["topic"], f"/{like['device']}/telemetry")).to_pylist()
        assert len(first) > 12
        middle_ms = first[len(first) // 3]["received_ms"]
        times = [
            middle_ms - DAYS * DAY_MS,
            *(row["received_ms"] for row in first if row["received_ms"] > middle_ms),
        ]
        topic = first[0]["topic"].replace(like["device"], OLD)
        more = [
            {"topic": topic, "received_ms": max(t, middle_ms), "payload": json.dumps(said(seq, t))}
            for seq, t in enumerate(times, 1)
        ]
        kept = table.select(["topic", "payload", "received_ms"])
        out = telemetry.with_name("more.parquet")
        pq.write_table(pa.concat_tables([kept, pa.Table.from_pylist(more, schema=kept.schema)]), out)
        return out


def said(seq, t_ms):
    sample = {"t": t_ms, "supply_c": 90.0, "return_c": 50.0, "flow_m3_h": 10.0, "energy_gj": 100.0 + seq}
    return {"boot": 1, "seq": seq, "samples": [sample]}


class Live:
    """Publishes one message after the other, and looks until its reading is in the store."""

    def __init__(self, chain):
        self._chain = chain
        self._store = InfluxSeries(chain.influxd.url, Influxd.org, Influxd.bucket, Influxd.token)

    def wait_s(self, message):
        """From publishing until it can be read; None of what makes no reading. [s]"""
        topic, payload = message
        began = time.monotonic()
        self._chain.publish([message])
        if not topic.endswith("/telemetry"):
            return None
        told = json.loads(payload)
        device, t_ms = topic.split("/")[4], told["samples"][-1]["t"]
        asked = Select("reading", keys=(device,), from_ms=t_ms, to_ms=t_ms + 1)
        self._chain.until(lambda: self._store.select(asked).num_rows)
        return time.monotonic() - began

    def windows(self, of):
        """How many of its windows the store has so far."""
        return self._store.select(Select("device_heat", fields=("heat_gj",), keys=(of,))).num_rows

    def close(self):
        self._store.close()


@pytest.mark.soak
@pytest.mark.timeout(1500)
def test_live_data_waits_for_a_turn_and_killed_workers_begin_the_answer_anew(tmp_path):
    day = DayWithOld(tmp_path, substations=2, trucks=1, hours=4)
    wanted = sum(key == OLD for key, _ in day.rows["device_heat"])
    assert wanted > DAYS * 96
    old = next(n for n, (topic, _) in enumerate(day.messages) if f"/{OLD}/" in topic)
    began = time.monotonic()
    with Chain(tmp_path / "chain", day.site) as chain:
        chain.ingest()
        chain.worker("first")
        chain.worker("second")
        chain.ingest_ready()
        chain.until(lambda: chain.members() == 2)
        chain.publish(day.messages[: old - 30])
        live = Live(chain)
        before = [s for m in day.messages[old - 30 : old] if (s := live.wait_s(m)) is not None]
        asked = time.monotonic()
        live.wait_s(day.messages[old])
        at, waits, killed = old + 1, [], 0
        while live.windows(OLD) < DAYS * 96:
            assert at < len(day.messages), f"{live.windows(OLD)} windows after all messages: {waits}"
            if not killed and live.windows(OLD) > DAYS * 24:
                for name in ("first", "second"):
                    chain.kill_worker(name)
                    chain.worker(name)
                killed = live.windows(OLD)
                chain.until(lambda: chain.members() == 2)
                live.wait_s(day.messages[at])
            elif (wait_s := live.wait_s(day.messages[at])) is not None:
                waits.append(wait_s)
            at += 1
        took_s = time.monotonic() - asked
        live.close()
        chain.publish(day.messages[at:])
        chain.until(lambda: chain.journalled() >= day.numbered)
        for stream in day.streams:  # what went on from a checkpoint and gets nothing more is never committed
            chain.kafka.append(TOPIC, stream, Frame.heartbeat().encode(), day.end_ms)
        chain.kafka.flush()
        day.check(chain, NAMES)
        chain.went_on()
    print(
        f"{DAYS} days of a device in {took_s:.0f} s; a live message waited {statistics.median(waits):.1f} s,"
        f" at most {max(waits):.1f} s of {len(waits)} meanwhile, {statistics.median(before):.1f} and"
        f" {max(before):.1f} s before; killed at {killed} windows; {time.monotonic() - began:.0f} s"
    )
    assert killed
    assert max(waits) < AT_MOST_S + max(before), waits
