import json
import re
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pyarrow as pa
import pytest

from dashboards.api import ActionRefusedError
from dashboards.board import create_app
from dashboards.language import catalogue
from dashboards.panels import pages
from dashboards.serve import BindError, BoardServer
from store.protocol import Select, StoreUnavailableError
from tests.support.board_data import seeded, status
from tests.support.waiting import PATIENCE_S

TOKEN = "k3y-of-this-server"


class Actions:
    def __init__(self):
        self.retried = []

    def retry(self, dead_letter):
        if dead_letter == "gone:1:0":
            raise LookupError(dead_letter)
        if dead_letter == "donghe:2:0":
            raise ActionRefusedError("its device is still unknown")
        self.retried.append(dead_letter)


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    day = seeded(tmp_path_factory.mktemp("series"), trouble=True)
    actions = Actions()
    app = create_app(day.store, day.site, lambda: day.now_ms, status, actions, simulated=True, token=TOKEN)
    server = BoardServer(app, port=0)
    server.start()
    with httpx.Client(base_url=server.url, timeout=PATIENCE_S) as client:
        client.day, client.actions, client.server = day, actions, server
        yield client
    server.stop()
    day.store.close()


def test_what_the_site_says_does_not_wait_for_a_store_that_keeps_others_waiting(board):
    asked, go_on, select = threading.Semaphore(0), threading.Event(), board.day.store.select

    def slow(query):
        asked.release()
        assert go_on.wait(PATIENCE_S)
        return select(query)

    board.day.store.select = slow
    try:
        with ThreadPoolExecutor(4) as pool:
            answers = [
                pool.submit(board.get, f"/api/query?measurement=ledger&limit={n + 1}") for n in range(4)
            ]
            assert asked.acquire(timeout=PATIENCE_S)
            assert asked.acquire(timeout=PATIENCE_S)  # as many as the board has threads for
            assert len(board.get("/api/site").json()["devices"]) == 38
            assert board.get("/api/networks").status_code == 200
            go_on.set()
            assert [a.result().status_code for a in answers] == [200] * 4
    finally:
        go_on.set()
        del board.day.store.select


def test_health_and_status(board):
    assert board.get("/healthz").text == "ok\n"
    assert board.get("/api/status").json() == status()


def test_a_query_gives_the_stores_rows_in_every_format(board):
    wanted = board.day.store.select(Select("device_heat", keys=("sub-03",), limit=5))
    url = "/api/query?measurement=device_heat&key=sub-03&limit=5"
    assert board.get(url).json() == wanted.to_pylist()
    arrow = board.get(url + "&format=arrow")
    assert pa.ipc.open_stream(arrow.content).read_all().equals(wanted)
    lines = board.get(url + "&format=csv").text.splitlines()
    assert lines[0].replace('"', "").split(",") == wanted.column_names
    assert len(lines) == 6


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("measurement=device_heat&format=xml", "format: expected arrow, csv or json, got 'xml'"),
        ("measurement=device_heat&frm=1", "frm: expected one of"),
        ("", "measurement: expected the name of a measurement"),
        ("measurement=device_heat&field=nope", "device_heat: expected a field of"),
        ("measurement=device_heat&from=yesterday", "from: expected a time in ISO 8601"),
    ],
)
def test_a_wrong_query_is_told_what_was_expected(board, query, said):
    answer = board.get(f"/api/query?{query}")
    assert answer.status_code == 400
    assert said in answer.json()["detail"]


@pytest.mark.parametrize(
    ("url", "code", "said"),
    [
        ("/api/panels/nope/history", 404, "expected the id of a panel, got 'nope'"),
        ("/api/panels/ledger/history", 404, "expected a panel with history"),
        (
            "/api/panels/heat_windows/history?from=10&to=10",
            400,
            "expected a range that begins before it ends",
        ),
        ("/api/panels/heat_windows/history?from=0&to=999999999999999", 400, "at most 11 years"),
        (
            "/api/panels/primary/history?device=deleted",
            400,
            "expected a device of the registry, got 'deleted'",
        ),
        ("/api/panels/heat_windows/history?points=100000", 422, "points"),
        ("/api/alarms/trend?alarm=nobody", 404, "expected the id of an alarm, got 'nobody'"),
        ("/api/site?unit=elsewhere", 400, "expected a unit of the registry, got 'elsewhere'"),
    ],
)
def test_a_wrong_history_is_told_what_was_expected(board, url, code, said):
    answer = board.get(url)
    assert answer.status_code == code
    assert said in answer.text


def test_history_of_a_panel_equals_the_query(board):
    line = board.get("/api/panels/heat_windows/history").json()["series"][0]
    rows = board.get("/api/query?measurement=device_heat&key=plant-1").json()
    by_time = {r["window_start"]: r["heat_gj"] for r in rows}
    assert len(line["t"]) == 95
    assert line["v"] == [pytest.approx(by_time[t], abs=1e-6) for t in line["t"]]


def test_panels_that_ask_within_a_second_get_the_same_range_and_ask_the_store_once(board, monkeypatch):
    asked = []
    select = board.day.store.select
    monkeypatch.setattr(board.day.store, "select", lambda query: asked.append(query) or select(query))
    panels = ("delivered", "heat_windows", "overview_forecast")
    told = [
        board.get(f"/api/panels/{panel}/history?points={90 + n}").json() for n, panel in enumerate(panels)
    ]
    assert len({(t["from"], t["to"]) for t in told}) == 1
    assert told[0]["to"] % 1000 == 0
    assert board.day.now_ms < told[0]["to"] <= board.day.now_ms + 1000
    assert [q.measurement for q in asked].count("device_heat") == 1


def test_dead_letters_are_listed_with_their_reason(board):
    letters = board.get("/api/dead-letters").json()
    assert {(x["key"], x["reason"]) for x in letters} == {
        ("donghe:41:0", "future"), ("_refused:7:0", "unknown_device"),
    }  # fmt: skip


def test_a_retry_needs_the_servers_token(board):
    board.actions.retried.clear()
    url = "/api/dead-letters/donghe:41:0/retry"
    assert board.post(url).status_code == 403
    assert board.post(url, headers={"X-Hearthline-Token": "wrong"}).status_code == 403
    assert board.actions.retried == []
    assert board.post(url, headers={"X-Hearthline-Token": TOKEN}).json() == {"retried": "donghe:41:0"}
    assert board.actions.retried == ["donghe:41:0"]


@pytest.mark.parametrize(
    ("key", "code", "said"),
    [("gone:1:0", 404, "gone:1:0"), ("donghe:2:0", 409, "its device is still unknown")],
)
def test_a_retry_that_cannot_be_done_says_why(board, key, code, said):
    answer = board.post(f"/api/dead-letters/{key}/retry", headers={"X-Hearthline-Token": TOKEN})
    assert answer.status_code == code
    assert said in answer.text


@pytest.mark.parametrize(
    "path", ["/", "/trust", "/substation/sub-01", "/api/status", "/healthz", "/nowhere", "/api/nowhere"]
)
def test_every_answer_carries_the_headers_that_close_the_doors(board, path):
    headers = board.get(path).headers
    policy = headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe-eval" not in policy
    assert "'unsafe-inline'" not in policy.split("style-src")[0]
    assert headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in headers


def test_every_script_of_a_page_has_the_nonce_of_its_policy_and_no_two_pages_share_one(board):
    nonces = set()
    for _ in range(2):
        answer = board.get("/")
        nonce = answer.headers["content-security-policy"].split("'nonce-")[1].split("'")[0]
        assert answer.text.count("<script") == answer.text.count(f'<script nonce="{nonce}"') > 3
        nonces.add(nonce)
    assert len(nonces) == 2


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"host": "evil.example"}, 421),
        ({"host": "evil.example:8080"}, 421),
        ({"host": "127.0.0.1.evil.example"}, 421),
    ],
)
def test_a_foreign_origin_or_host_is_refused(board, headers, code):
    assert board.get("/api/status", headers=headers).status_code == code
    assert board.get("/_nicegui_ws/socket.io/?EIO=4&transport=polling", headers=headers).status_code == code


@pytest.mark.parametrize(
    ("origin", "opened"), [("http://evil.example", False), ("own", True), ("none", True)]
)
def test_the_websocket_checks_its_origin(board, origin, opened):
    from websockets.exceptions import InvalidStatus
    from websockets.sync.client import connect

    headers = {"own": {"Origin": board.server.url}, "none": {}}.get(origin, {"Origin": origin})
    url = board.server.url.replace("http", "ws") + "/_nicegui_ws/socket.io/?EIO=4&transport=websocket"
    if opened:
        with connect(url, additional_headers=headers) as ws:
            assert ws.recv(timeout=PATIENCE_S).startswith("0")
    else:
        with pytest.raises(InvalidStatus, match="403"):
            connect(url, additional_headers=headers)


def test_a_page_of_a_deleted_device_says_so(board):
    answer = board.get("/substation/%3Cscript%3Ealert(1)?lang=en")
    assert answer.status_code == 404
    assert "expected a device of the registry" in answer.text
    assert "<script>alert(1)" not in answer.text


def test_a_store_that_is_away_is_503_and_not_a_crash(board, monkeypatch):
    def away(query):
        raise StoreUnavailableError("series.duckdb: cannot be read now")

    monkeypatch.setattr(board.day.store, "select", away)
    answer = board.get("/api/query?measurement=device_heat")
    assert (answer.status_code, answer.json()["detail"]) == (503, "series.duckdb: cannot be read now")
    assert board.get("/").status_code == 200


def test_a_port_in_use_is_one_clear_error_before_anything_starts(board):
    told = rf"expected a free port, got {board.server.port} on 127\.0\.0\.1: .*; --port takes another, 0 any free one$"
    with pytest.raises(BindError, match=told):
        BoardServer(None, port=board.server.port)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.10", "::", "example.com", ""])
def test_only_loopback_is_bound(host):
    with pytest.raises(BindError, match="expected a loopback address to bind to"):
        BoardServer(None, host=host, port=0)


def test_a_server_starts_answers_and_stops_and_another_may_follow_in_the_same_process(tmp_path):
    day = seeded(tmp_path)
    for _ in range(2):
        app = create_app(day.store, day.site, lambda: day.now_ms, status)
        server = BoardServer(app, port=0)
        server.start()
        assert httpx.get(server.url + "/?lang=zh", timeout=PATIENCE_S).status_code == 200
        assert (
            httpx.post(server.url + "/api/dead-letters/x/retry", timeout=PATIENCE_S).status_code == 403
        )  # without a token nobody may
        server.stop()
        server.stop()
        with (
            pytest.raises(ConnectionError),
            socket.create_connection(("127.0.0.1", server.port), timeout=0.2),
        ):
            pass
    day.store.close()


def test_texts_of_the_registry_reach_the_browser_as_data_only(board):
    devices = json.loads(board.get("/api/site").content)["devices"]
    assert {d["id"] for d in devices} == set(board.day.site.devices)
    assert {d["class"] for d in devices} == {"plant", "substation", "truck", "weighbridge"}


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("page", pages(), ids=lambda page: page.path)
def test_scripts_of_every_page_are_given_the_texts_of_its_language(board, page, language):
    text = board.get(page.path.format(device="sub-01"), params={"lang": language}).text
    elements = json.loads(re.search(r"parseElements\(String\.raw`(.*?)`\)", text, re.DOTALL)[1])
    config = json.loads(
        next(e["props"]["config"] for e in elements.values() if "config" in e.get("props", {}))
    )
    plain = {name: said for name, said in catalogue(language).items() if name.replace(" ", "").isalnum()}
    assert len(plain) > 100
    assert config["language"] == language
    assert [name for name, said in plain.items() if config["texts"][name] != said] == []
