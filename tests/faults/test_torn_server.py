"""A server on a damaged journal: it starts, says what is lost, and is ok again once a person knows."""

from __future__ import annotations

import json
import sqlite3

from journal.sqlite import FILE_NAME
from tests.support.damage import flip
from tests.support.payloads import TEXTS
from tests.support.system import Publisher, Server, run, write_site
from tests.support.waiting import until


def part(server: Server, name: str) -> dict:
    return next(p for p in server.status()["components"] if p["name"] == name)


def test_it_starts_and_says_so(tmp_path):
    site = write_site(tmp_path / "site", TEXTS)
    with Server(tmp_path / "one", site, None) as server:
        server.ready_for_messages()
        with Publisher(server.broker) as publish:
            for seq in range(1, 6):
                publish(
                    "hearthline/v1/r1/u1/sub-1/telemetry",
                    {
                        "boot": 1,
                        "seq": seq,
                        "samples": [{"t": 1_767_225_600_000 + seq, "supply_c": 90.0 + seq}],
                    },
                )
            until(lambda: publish.acknowledged().get("sub-1") == {1, 2, 3, 4, 5}, "acknowledged")
        server.stop()
        path = server.data / FILE_NAME
        sound = json.loads(run("journal", "check", "--data-dir", server.data, "--json").stdout)
        assert sound["sound"], sound
        with sqlite3.connect(path) as db:
            frame, stream, offset = db.execute(
                "SELECT frame, stream, id & ((1 << 40) - 1) FROM record WHERE length(frame) ="
                " (SELECT max(length(frame)) FROM record WHERE instr(frame, CAST('telemetry' AS BLOB)))"
            ).fetchone()
        flip(path, (path.read_bytes().index(frame[-200:]) + 50) * 8)

        said = json.loads(run("journal", "check", "--data-dir", server.data, "--json", code=1).stdout)
        assert not said["sound"]
        assert f"record {offset} of stream '{stream}': expected its checksum" in said["faults"][0]

    with Server(tmp_path / "one", site, None) as server:
        journal = until(lambda: (p := part(server, "journal"))["state"] == "degraded" and p, "degraded")
        assert f"1 records lost ({stream} {offset}–{offset})" in journal["detail"]
        assert "journal.sqlite3.damaged-" in journal["detail"]
        assert "hearthline journal accept" in journal["advice"]
        losses = json.loads(run("journal", "check", "--data-dir", server.data, "--json").stdout)["losses"]
        assert [x["records"] for x in losses if x["stream"]] == [1]
        assert run("journal", "accept", "--data-dir", server.data).stdout == "2 losses accepted\n"
        until(lambda: part(server, "journal")["state"] == "ok", "ok again")
        done = run("journal", "recover", "--data-dir", server.data, code=2)
        assert "no server uses" in done.stderr
        server.stop()
        recovered = json.loads(run("journal", "recover", "--data-dir", server.data, "--json").stdout)
        assert recovered["records"] > 0
