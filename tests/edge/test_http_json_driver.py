"""Documents over HTTP, by pointers."""

from __future__ import annotations

import json
from contextlib import closing, contextmanager

import pytest

from edge.config import ConfigError
from edge.driver import DriverError, RecordError
from edge.drivers import make
from edge.drivers.http_json import Options, decode
from edge.json_document import parse, point_to
from edge.simulators.http_json import Service, document
from tests.support.driving import device, driving

NOW = 1_767_225_600_000
ROW = {
    "time": {"pointer": "/at", "format": "unix_s"},
    "values": {"supply_c": {"pointer": "/t", "unit": "K"}, "plate": {"pointer": "/p", "text": True}},
}


def refuses(driver, error, match):
    with pytest.raises(error, match=match) as caught:
        driver.read(NOW)
    return caught


@contextmanager
def served(answer, options, path="/"):
    status, body = answer if isinstance(answer, tuple) else (200, answer)
    held = [body if isinstance(body, bytes) else json.dumps(body).encode()]
    service = Service(lambda _: (status, held[0]), path)
    with closing(service), driving("http_json", {**options, **service.at}) as driver:
        yield driver, service, held


def row(at, kelvin=300.0, plate="京A1"):
    return {"at": at, "t": kelvin, "p": plate}


def values(readings):
    return [(r.t_ms, dict(r.values)) for r in readings]


def test_one_document_is_one_reading():
    options = {
        "values": {"outdoor_c": {"pointer": "/main/temp", "unit": "K"}, "wind_m_s": {"pointer": "/wind/0"}}
    }
    with served({"main": {"temp": 263.15}, "wind": [3.5]}, options) as (driver, _, _):
        for _ in range(2):
            assert values(driver.read(NOW)) == [(NOW, {"outdoor_c": -10.0, "wind_m_s": 3.5})]


def test_rows_give_readings_once():
    with served({"data": [row(1000), row(1010, 310.0)]}, {**ROW, "rows": "/data"}) as (driver, _, held):
        first = [(1_000_000, pytest.approx(26.85)), (1_010_000, pytest.approx(36.85))]
        assert [(r.t_ms, r.values["supply_c"]) for r in driver.read(NOW)] == first
        assert driver.read(NOW) == []
        held[0] = json.dumps({"data": [row(1010), row(1020)]}).encode()
        assert [r.t_ms for r in driver.read(NOW)] == [1_020_000]


def test_columns_are_read_side_by_side():
    options = {
        "columns": True,
        "time": {"pointer": "/hourly/time"},
        "values": {"outdoor_c": {"pointer": "/hourly/t2m"}},
    }
    body = {"hourly": {"time": ["2026-01-01T00:00", "2026-01-01T01:00+01:00"], "t2m": [-3.5, None]}}
    with served(body, options) as (driver, _, held):
        assert values(driver.read(NOW)) == [(NOW, {"outdoor_c": -3.5})]
        held[0] = json.dumps({"hourly": {"time": ["2026-01-01T02:00"], "t2m": []}}).encode()
        refuses(driver, DriverError, "expected /hourly/t2m to be a list as long as /hourly/time")


def test_forecasts_by_hours_ahead():
    ahead = {"pointer": "/t", "time": {"pointer": "/at", "format": "unix_s"}, "hours": 3}
    hours = [NOW // 1000 + 3600 * h for h in range(-1, 6)]
    body = {"at": [*hours, NOW // 1000 + 1800], "t": [float(h) for h in range(-1, 6)] + [99.0]}
    with served(body, {"forecast": {"outdoor_{h}h_c": ahead}}) as (driver, _, held):
        expected = {"outdoor_1h_c": 1.0, "outdoor_2h_c": 2.0, "outdoor_3h_c": 3.0}
        assert values(driver.read(NOW + 1_234_567)) == [(NOW, expected)], "as issued at the full hour"
        assert driver.read(NOW + 1_300_000) == [], "the same forecast again"
        held[0] = json.dumps({**body, "t": [2.5] * 8}).encode()
        assert values(driver.read(NOW + 1_400_000)) == [(NOW, dict.fromkeys(expected, 2.5))]


@pytest.mark.parametrize(
    ("body", "good", "faults"),
    [
        (row(1, "hot"), {"plate": "京A1"}, {"supply_c unreadable"}),
        (row(1, True), {"plate": "京A1"}, {"supply_c unreadable"}),
        (row(1, 300.0, 7), {"supply_c"}, {"plate unreadable"}),
        (row(1, None), {"plate"}, set()),
        ({"at": 1, "p": "x"}, {"plate"}, {"supply_c unreadable"}),
        (row(1, 10**400), {"plate"}, {"supply_c unreadable"}),
        (row("soon"), None, {"time unreadable"}),
        (row(10**30), None, {"time unreadable"}),
    ],
)
def test_a_value_that_is_none_is_named_counted_and_its_neighbours_stand(body, good, faults):
    with served(body, ROW) as (driver, _, _):
        got = driver.read(NOW)
        assert (set(got[0].values) if got else None) == (set(good) if good else None)
        assert driver.complaints.counts == {f"d1 {kind}": 1 for kind in faults}


@pytest.mark.parametrize(
    ("body", "offset", "expected"),
    [
        (b'{"at": 1, "t": 30', 17, "expected JSON, got b''"),
        ('{"p": "京", "t": }'.encode(), 18, "expected JSON, got b'}'"),
        (b'{"t": 1}x', 8, "expected JSON, got b'x'"),
        (b'{"t": \xff}', 6, "expected UTF-8, got 0xFF"),
        (b'{"t": NaN}', 0, "expected JSON, got NaN"),
        (b'{"t": 1, "t": 2}', 0, "expected each key once"),
        (b"12.5", 0, "expected an object or a list, got 12.5"),
        (b"[" * 100_000, 0, "depth|recursion"),
        (b'{"t": ' + b"9" * 10_000 + b"}", 0, "4300 digits"),
        (b"", 0, "expected JSON"),
    ],
)
def test_what_is_no_document_is_an_error_that_names_the_byte(body, offset, expected):
    with pytest.raises(RecordError, match=expected) as caught:
        parse(body)
    assert caught.value.offset == offset


def test_pointers():
    held = {"a": [{"b/c~d": 1}], "": 2}
    assert point_to(held, "/a/0/b~1c~0d") == 1
    assert point_to(held, "/") == 2
    assert point_to(held, "") is held
    with pytest.raises(LookupError, match="expected /a/1, got nothing behind /a"):
        point_to(held, "/a/1")
    with pytest.raises(LookupError, match="expected /a/-1"):
        point_to(held, "/a/-1")


def test_answers_that_are_none():
    with served((503, b"busy"), ROW) as (driver, _, _):
        refuses(driver, DriverError, "expected status 200, got 503 Service Unavailable")
    with served((302, b"http://127.0.0.1:1/elsewhere"), ROW) as (driver, _, _):
        refuses(driver, DriverError, "expected status 200, got 302")
    with served(row(1), {**ROW, "max_bytes": 10}) as (driver, _, _):
        refuses(driver, DriverError, "expected at most 10 bytes, got more")
    with served(row(1), {**ROW, "rows": "/data"}) as (driver, _, _):
        refuses(driver, DriverError, "expected /data, got nothing behind the document")
    with driving("http_json", {**ROW, "url": "http://127.0.0.1:1/x?key=secret"}) as driver:
        caught = refuses(driver, DriverError, "http://127.0.0.1:1/x: expected an answer")
        assert "secret" not in str(caught.value)


def test_a_body_shorter_than_announced_is_an_error():
    with served(b"[1]   ", {"values": {"supply_c": {"pointer": "/0"}}}) as (driver, service, _):
        assert driver.read(NOW)[0].values == {"supply_c": 1.0}
        service.short_by = 3  # what comes is a document all the same
        refuses(driver, DriverError, "expected")


def test_a_token_comes_from_a_file(tmp_path):
    (tmp_path / "token").write_text("s3cret\n")
    options = {**ROW, "token_file": str(tmp_path / "token"), "headers": {"X-Site": "7"}}
    with served(row(1), options, "/v1/now?units=metric") as (driver, service, _):
        driver.read(NOW)
        path, headers = service.asked[0]
        assert path == "/v1/now?units=metric"
        assert (headers["Authorization"], headers["X-Site"]) == ("Bearer s3cret", "7")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"url": "file:///etc/passwd"}, "url: expected http://HOST"),
        ({"url": "http://u:p@h/"}, "expected no password in the URL"),
        ({"values": {}}, "expected values or forecast, got neither"),
        ({"rows": "/d"}, "expected time with rows or columns"),
        (
            {"forecast": {"outdoor_c": {"pointer": "/t", "time": {"pointer": "/at"}}}},
            "expected a name with {h}",
        ),
        ({"values": {"supply_c": {"pointer": "t"}}}, "pointer: .*pattern"),
        ({"url": "https://h/", "token_file": "nowhere"}, "token_file: expected a readable file"),
        ({"token_file": "nowhere"}, "expected https:// where a secret is sent, got http://h/"),
        ({"headers": {"authorization": "Basic x"}}, "expected https:// where a secret is sent"),
        (
            {"token_file": "nowhere", "private_network": True},
            "token_file: expected a readable file",
        ),
    ],
)
def test_wrong_options_are_named(change, expected):
    given = {"url": "http://h/", "values": {"supply_c": {"pointer": "/t"}}, **change}
    with pytest.raises(ConfigError, match=expected):
        make(device("http_json", given))


@pytest.mark.parametrize(
    "options",
    [
        ROW,
        {**ROW, "rows": "/data/items"},
        {"columns": True, "time": {"pointer": "/h/time"}, "values": {"outdoor_c": {"pointer": "/h/t"}}},
        {"values": {"outdoor_c": {"pointer": "/list/2/main"}}},
    ],
)
def test_the_simulated_service_has_what_a_configuration_points_to(options):
    checked = Options.model_validate({"url": "http://h/", **options})
    (got,) = decode(json.dumps(document(options, NOW / 1000)).encode(), checked)
    assert got.faults == []
    assert set(got.values) == set(options["values"])
    assert got.t_ms in (None, NOW)


def test_a_device_whose_clock_was_in_the_future_is_heard_again():
    with served(row(NOW // 1000), ROW) as (driver, _, held):
        assert [t for t, _ in values(driver.read(NOW))] == [NOW]
        held[0] = json.dumps(row(NOW // 1000 + 86_400 * 365)).encode()
        assert len(driver.read(NOW)) == 1, "the server says what it thinks of that"
        held[0] = json.dumps(row(NOW // 1000 + 10)).encode()
        assert [t for t, _ in values(driver.read(NOW + 10_000))] == [NOW + 10_000]
        assert driver.read(NOW + 10_000) == []
        held[0] = json.dumps(row(NOW // 1000 + 5)).encode()
        assert driver.read(NOW + 10_000) == [], "a late answer of a clock that is right is none"
        assert any("clock" in kind for kind in driver.complaints.counts)
