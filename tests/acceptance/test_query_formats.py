"""The same rows in every format, from a running server and from the files that it leaves."""

from __future__ import annotations

import csv
import io
import json
import time

import pyarrow.parquet as pq
import pytest

from tests.support.system import Publisher, Server, run, write_site
from tests.support.waiting import until

SITE = {
    "site.toml": (
        '[site]\nname = "one"\ntimezone = "UTC"\n[[region]]\nid = "r1"\nname = "r"\n'
        '[[unit]]\nid = "u1"\nregion = "r1"\nname = "u"\n'
    ),
    "devices.csv": "device,class,unit,interval_s\nmeter-1,meter,u1,10\nmeter-2,meter,u1,10\n",
}
ROWS = 40
FIELDS = ("key", "window_start", "seq", "supply_c")


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """Answers in each format, asked of a running server, then of its files."""
    home = tmp_path_factory.mktemp("query")
    site = write_site(home / "site", SITE)
    now = time.time_ns() // 1_000_000
    sent = []
    answers = []
    with Server(home / "up", site, None) as server:
        server.ready_for_messages()
        with Publisher(server.broker) as publish:
            for i in range(ROWS):
                device, seq, t = f"meter-{1 + i % 2}", 1 + i // 2, now - 300_000 + 1000 * i
                sent.append((device, t, seq, 60.0 + i / 3))
                sample = {"t": t, "supply_c": 60.0 + i / 3}
                publish(
                    f"hearthline/v1/r1/u1/{device}/telemetry", {"boot": 7, "seq": seq, "samples": [sample]}
                )
        until(lambda: server.status()["rows"].get("reading", 0) == ROWS, "every reading stored")
        answers.append(answer("--url", server.url, out=home / "url.parquet"))
        answers.append(answer("--data-dir", server.data, out=home / "running.parquet"))
        server.stop()
    answers.append(answer("--data-dir", server.data, out=home / "stopped.parquet"))
    return sorted(sent), answers


def answer(*where, out):
    words = ("query", "reading", *(w for f in FIELDS[2:] for w in ("--field", f)), *where)
    run(*words, "--format", "parquet", "--out", out)
    return {
        "table": run(*words).stdout,
        "csv": run(*words, "--format", "csv").stdout,
        "jsonl": run(*words, "--format", "jsonl").stdout,
        "parquet": pq.read_table(out),
    }


@pytest.mark.parametrize("place", [0, 1, 2], ids=["url", "data-dir-running", "data-dir-stopped"])
def test_every_format_holds_every_row(asked, place):
    sent, answers = asked
    given = answers[place]
    table = sorted(tuple(row[f] for f in FIELDS) for row in given["parquet"].to_pylist())
    lines = [json.loads(line) for line in given["jsonl"].splitlines()]
    assert table == sent
    assert sorted(tuple(line[f] for f in FIELDS) for line in lines) == sent
    cells = list(csv.DictReader(io.StringIO(given["csv"])))
    assert (
        sorted((c["key"], int(c["window_start"]), int(c["seq"]), float(c["supply_c"])) for c in cells) == sent
    )
    head, *body = given["table"].splitlines()
    assert set(FIELDS) <= set(head.split())
    assert len(body) == ROWS
    print(f"{ROWS} rows in table, csv, jsonl and parquet")


def test_a_server_and_its_files_give_the_same_text(asked):
    _, (by_url, running, stopped) = asked
    for shape in ("table", "csv", "jsonl"):
        assert by_url[shape] == running[shape] == stopped[shape]
