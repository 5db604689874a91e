"""`query` and `dead-letters`, on a data directory and on a server."""

from __future__ import annotations

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hearthline.cli import UsageError, build
from hearthline.client import ServerClient, ServerError, ServerUnreachableError, owner
from models.results import result_schema
from store.duckdb_series import SERIES_FILE, DuckdbSeries
from store.params import from_params
from store.protocol import Select, StoreError
from tests.support.series import heat, heats, output, readings, sample

T0 = 1_767_225_600_000
LETTER = result_schema([
    pa.field("device", pa.string()), pa.field("topic", pa.string()), pa.field("boot", pa.int64()),
    pa.field("seq", pa.int64()), pa.field("detail", pa.string()), pa.field("payload", pa.string()),
    pa.field("state", pa.string()),
])  # fmt: skip


def letter(key, at, reason="future", state="open"):
    return heat(
        key, at, device="m1", topic="hearthline/v1/r1/u1/m1/telemetry", boot=1, seq=4, reason=reason,
        detail="expected t at most 10 minutes ahead", payload='{"boot": 1}\x1b[2J', state=state,
    )  # fmt: skip


@pytest.fixture
def data_dir(tmp_path):
    store = DuckdbSeries(tmp_path / SERIES_FILE)
    table = heats(*(heat(k, T0 + n * 900_000, n + 0.5) for k in ("a", "b") for n in range(3)))
    letters = heats(
        letter("u1:1:0", T0),
        letter("u1:2:0", T0 + 5, "schema"),
        letter("u1:3:0", T0 + 9, state="retried"),
        schema=LETTER,
    )
    given = {"device_heat": [table], "dead_letter": [letters]}
    store.write([output(1, rows=given, readings=[readings(sample("m1", T0, supply_c=80.0))])])
    store.close()
    return tmp_path


SITE = {
    "devices": [{"id": "sub-9", "unit": "donghe", "region": "north"}],
    "networks": [{"id": "east"}],
    "plates": {"辽A1": "t1"},
}
"""What a server says of a registry with a device that has sent nothing yet."""


class Server(ThreadingHTTPServer):
    """A server as the board's interface is, over a store that this process has open."""

    def __init__(self, data_dir):
        super().__init__(("127.0.0.1", 0), Handler)
        self.store = DuckdbSeries(data_dir / SERIES_FILE)
        self.retried = []
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        self.shutdown()
        self.server_close()
        self.store.close()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        parts = urlsplit(self.path)
        if parts.path == "/api/query":
            self.query(parse_qsl(parts.query, keep_blank_values=True))
        elif parts.path == "/api/status":
            self.answer(200, b'{"rows": {}}')
        elif parts.path == "/api/site":
            self.answer(200, json.dumps(SITE).encode())
        elif parts.path == "/api/dead-letters":
            self.answer(200, b'[{"key": "u1:1:0"}]')
        else:
            self.answer(302, b"", Location="http://127.0.0.1:1/")

    def query(self, params):
        try:
            table = self.server.store.select(from_params(params))
        except StoreError as error:
            self.answer(400, json.dumps({"detail": str(error)}).encode())
            return
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        self.answer(200, bytes(sink.getvalue()))

    def do_POST(self):
        if self.headers["X-Hearthline-Token"] != "secret":
            self.answer(403, b'{"detail": "expected the token"}')
        elif "u1:1:0" not in unquote(self.path):
            self.answer(404, b"<html>")
        else:
            self.server.retried.append(unquote(self.path))
            self.answer(200, b"{}")

    def answer(self, code, body, **headers):
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(data_dir):
    running = Server(data_dir)
    said = {"url": running.url, "pid": os.getpid(), "token": "secret"}
    (data_dir / "server.json").write_text(json.dumps(said))
    yield running
    running.close()


@pytest.fixture
def run(monkeypatch, capfdbinary):
    monkeypatch.delenv("HEARTHLINE_TOKEN", raising=False)

    def call(*arguments):
        code, wrong = 0, ""
        try:
            build()([str(a) for a in arguments])
        except SystemExit as done:
            code = done.code or 0
        except UsageError as error:
            code, wrong = 2, f"{error}\n"
        out, err = capfdbinary.readouterr()
        return code, out.decode(), err.decode() + wrong

    return call


def test_a_table_of_the_newest_rows(run, data_dir):
    code, out, _ = run("query", "device_heat", "--latest", "--data-dir", data_dir)
    assert code == 0
    assert [line.split()[:3] for line in out.splitlines()] == [
        ["key", "window_start", "heat_gj"],
        ["a", "2026-01-01T00:30:00Z", "2.5"],
        ["b", "2026-01-01T00:30:00Z", "2.5"],
    ]


def test_a_range_of_one_key_as_json(run, data_dir):
    span = ("--from", "2026-01-01T08:15:00+08:00", "--to", T0 + 1_800_000)
    code, out, _ = run(
        "query", "device_heat", "--key", "a", *span, "--format", "jsonl", "--data-dir", data_dir
    )
    (row,) = map(json.loads, out.splitlines())
    assert (code, row["key"], row["heat_gj"]) == (0, "a", 1.5)


def test_keys_that_begin_so_here_and_at_a_server(run, data_dir, server):
    store = server.store
    store.write([output(2, rows={"device_heat": [heats(heat("ab", T0, 9.0))]})])
    for place in (("--data-dir", data_dir), ("--url", server.url)):
        code, out, _ = run("query", "device_heat", "--key-prefix", "ab", "--json", *place)
        assert (code, [json.loads(line)["key"] for line in out.splitlines()]) == (0, ["ab"])


def test_the_same_from_the_server_that_owns_the_directory(run, data_dir, server):
    for place in (("--data-dir", data_dir), ("--url", server.url)):
        code, out, _ = run("query", "device_heat", "--limit", 1, "--json", "--field", "heat_gj", *place)
        assert code == 0
        assert json.loads(out)["heat_gj"] == 0.5


def test_the_file_is_read_where_another_process_has_the_servers_number(run, data_dir):
    (data_dir / "server.json").write_text(
        json.dumps({"url": "http://127.0.0.1:1", "pid": os.getpid(), "token": ""})
    )
    code, out, _ = run("query", "device_heat", "--limit", 1, "--json", "--data-dir", data_dir)
    assert (code, json.loads(out)["key"]) == (0, "a")


def test_csv_and_parquet_files(run, data_dir, tmp_path):
    out = tmp_path / "heat.parquet"
    assert run("query", "device_heat", "--format", "parquet", "--out", out, "--data-dir", data_dir)[0] == 0
    assert pq.read_table(out)["heat_gj"].to_pylist() == [0.5, 0.5, 1.5, 1.5, 2.5, 2.5]
    out = tmp_path / "heat.csv"
    assert run("query", "device_heat", "--format", "csv", "--out", out, "--data-dir", data_dir)[0] == 0
    assert out.read_text().startswith('"key","unit",')
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "expected one of --data-dir and --url, got neither"),
        (["--data-dir", "nowhere"], "--data-dir: expected a directory with series.duckdb, got nowhere"),
        (["--url", "ftp://x"], "--url: expected a URL such as http://127.0.0.1:8080, got 'ftp://x'"),
        (["--url", "http://x", "--data-dir", "y"], "expected one of --data-dir and --url, got both"),
        (
            ["--url", "http://x", "--from", "noon"],
            "--from: expected a time in ISO 8601 or ms UTC, got 'noon'",
        ),
        (
            ["--url", "http://x", "--from", "2026-02-01", "--to", "2026-01-01"],
            "--to: expected no time before --from 2026-02-01, got 2026-01-01",
        ),
        (["--url", "http://x", "--format", "parquet"], "--format parquet: expected --out FILE too, got none"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(run, arguments, said):
    code, out, err = run("query", "device_heat", *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err


def test_an_unknown_field_is_exit_2_and_an_unreachable_server_exit_1(run, data_dir, server):
    for place in (("--data-dir", data_dir), ("--url", server.url)):
        code, _, err = run("query", "device_heat", "--field", "heat_kw", *place)
        assert (code, err.count("\n")) == (2, 1)
        assert "expected a field of heat_gj, supply_c; got 'heat_kw'" in err
    code, _, err = run("query", "device_heat", "--url", "http://127.0.0.1:1")
    assert (code, err.count("\n")) == (1, 1)
    assert "expected a Hearthline server at http://127.0.0.1:1, got no answer" in err


@pytest.mark.parametrize(
    ("asked", "here", "at_a_server"),
    [
        (["--key", "aa"], "'aa' is not known here as a key (like it are: a)", None),
        (["--key", "sub-99"], "'sub-99' is not known here as a key", "(like it are: sub-9)"),
        (["--unit", "dongh"], "'dongh' is not known here as a unit", "(like it are: donghe)"),
        (["--region", "nrth"], "'nrth' is not known here as a region", "(like it are: north)"),
        (["--key", "a", "--from", "2030-01-01"], "", ""),
        (["--key", "a", "--key-prefix", "b"], "", ""),
        (["--key", "m1"], "", ""),
    ],
)
def test_a_name_that_nobody_knows_is_told_from_one_without_rows(
    run, data_dir, server, asked, here, at_a_server
):
    code, out, err = run("query", "device_heat", *asked, "--url", server.url)
    expected = here if at_a_server is None else at_a_server
    assert (code, out, expected in err, err.count("\n")) == (0, "no rows\n", True, bool(here)), err
    server.close()
    (data_dir / "server.json").unlink()
    code, out, err = run("query", "device_heat", *asked, "--data-dir", data_dir)
    assert (code, out, here in err, err.count("\n")) == (0, "no rows\n", True, bool(here)), err


def test_what_the_registry_names_and_nothing_is_kept_of_is_no_strange_name(run, server):
    for asked in (["--key", "sub-9"], ["--key", "east", "--unit", "donghe"], ["--region", "north"]):
        assert run("query", "device_heat", *asked, "--json", "--url", server.url) == (0, "", "")


def test_many_rows_are_cut_for_people_and_it_is_said(run, data_dir):
    store = DuckdbSeries(data_dir / SERIES_FILE)
    store.write([output(2, rows={"long": [heats(*(heat("a", n, 1.0) for n in range(1001)))]})])
    store.close()
    code, out, err = run("query", "long", "--data-dir", data_dir)
    assert (code, len(out.splitlines()), err) == (
        0,
        1001,
        "The first 1000 rows; --limit or --format gives more.\n",
    )
    assert len(run("query", "long", "--json", "--data-dir", data_dir)[1].splitlines()) == 1001


def test_dead_letters_are_listed_newest_first(run, data_dir):
    code, out, _ = run("dead-letters", "list", "--json", "--data-dir", data_dir)
    assert code == 0
    assert [(x["id"], x["reason"]) for x in json.loads(out)] == [("u1:2:0", "schema"), ("u1:1:0", "future")]
    out = run("dead-letters", "list", "--all", "--data-dir", data_dir)[1]
    assert [line.split()[0] for line in out.splitlines()] == ["id", "u1:3:0", "u1:2:0", "u1:1:0"]
    out = run("dead-letters", "list", "--reason", "future", "--json", "--data-dir", data_dir)[1]
    assert [x["id"] for x in json.loads(out)] == ["u1:1:0"]


def test_a_dead_letter_is_shown_whole_and_cannot_drive_a_terminal(run, data_dir):
    code, out, _ = run("dead-letters", "show", "u1:1:0", "--data-dir", data_dir)
    assert code == 0
    assert 'payload:  {"boot": 1}\\x1b[2J' in out
    assert "at:       2026-01-01T00:00:00Z" in out
    shown = json.loads(run("dead-letters", "show", "u1:1:0", "--json", "--data-dir", data_dir)[1])
    assert shown["payload"] == '{"boot": 1}\x1b[2J'
    code, _, err = run("dead-letters", "show", "u1:9:9", "--data-dir", data_dir)
    assert (code, err) == (1, "hearthline: expected the id of a dead letter, got 'u1:9:9', which is none\n")


def test_only_a_running_server_retries(run, data_dir):
    code, _, err = run("dead-letters", "retry", "u1:1:0", "--data-dir", data_dir)
    assert code == 1
    assert (
        err
        == f"hearthline: expected a running server on {data_dir}, got none: only it can take messages in\n"
    )


def test_retry_says_which_were_taken(run, data_dir, server, monkeypatch):
    code, out, err = run("dead-letters", "retry", "u1:1:0", "u1:9:9", "--json", "--data-dir", data_dir)
    assert code == 1
    assert json.loads(out)["retried"] == ["u1:1:0"]
    assert "HTTP 404" in json.loads(out)["refused"]["u1:9:9"]
    assert server.retried == ["/api/dead-letters/u1:1:0/retry"]
    code, _, err = run("dead-letters", "retry", "u1:1:0", "--url", server.url)
    assert (code, err) == (1, f"hearthline: u1:1:0: {server.url}: expected the token\n")
    monkeypatch.setenv("HEARTHLINE_TOKEN", "secret")
    assert run("dead-letters", "retry", "u1:1:0", "--url", server.url)[0] == 0


def test_the_client_reads_status_and_dead_letters(server):
    client = ServerClient(server.url)
    assert client.status() == {"rows": {}}
    assert client.dead_letters() == [{"key": "u1:1:0"}]
    assert client.query(Select("device_heat", keys=("a", "b"), latest=True)).num_rows == 2


def test_the_token_follows_no_redirect_and_is_not_shown(server):
    client = ServerClient(server.url, "secret")
    with pytest.raises(ServerError, match="HTTP 302"):
        client._get("/elsewhere", [])
    assert "secret" not in repr(client)
    with pytest.raises(ServerUnreachableError):
        ServerClient("http://127.0.0.1:1").status()


@pytest.mark.parametrize(
    "said",
    [
        "",
        "{",
        "[]",
        '{"url": "http://x", "pid": -1}',
        '{"url": "http://x", "pid": 99999999}',
        '{"url": "x", "pid": 1}',
    ],
)
def test_a_torn_or_stale_server_file_names_no_server(tmp_path, said):
    (tmp_path / "server.json").write_text(said)
    assert owner(tmp_path) is None
    assert owner(tmp_path / "nowhere") is None
