"""What people give to read may be anything: it is taken, or refused with one clear line; never a traceback."""

from __future__ import annotations

import gzip
import json
import string
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dashboards.board import create_app
from dashboards.panels import pages
from dashboards.serve import BoardServer
from edge.config import ConfigError, load
from hearthline.cli import UsageError
from hearthline.settings import load_settings
from hearthline.site_dir import check_site
from ingest.decode import Decoder
from ingest.history import read_history
from journal.replay_files import ReplayError, read_recordings
from models.site_files import SiteError
from tests.support.board_data import seeded, status
from tests.support.commands import run_command
from tests.support.payloads import NOW, site, telemetry, topic
from tests.support.system import ended
from tests.support.telemetry import SITE_TEXTS
from tests.support.waiting import PATIENCE_S

SETTINGS = settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
WHOLE_SITE = {
    **SITE_TEXTS,
    "pipes.csv": "pipe,network,from_node,to_node,length_m,inner_diameter_m,u_w_m_k\np1,n1,a,b,100,0.3,0.4\n",
    "places.csv": "place,unit,kind,name,lat_deg,lon_deg,radius_m\ny1,u1,yard,yard,40,110,200\nm1,,mine,m,39,109,500\n",
    "contracts.csv": (
        "contract,seller,buyer,unit,origin,destination,grade,month,planned_t,price_cny_t,q_ref_mj_kg,stream\n"
        "c1,s,b,u1,m1,y1,g,2026-01,1000,600,20,u1\n"
    ),
    "vehicles.csv": "plate,device,tag,tare_kg,rated_kg\nA1,,t1,15000,49000\n",
}
CELLS = [
    "", " ", "nan", "inf", "-inf", "1e999", "-1", "0", "9" * 400, "0x10", "1,5", '"', '""', "\x00", "#", "+", "a/b", "..",
    "a" * 65, "换热站", "\u202e", "=1+1", "true", "2026-13", "2026-00", "0000-01", "9999-12", "substation", "plant", "\r", "\ufeff",
]  # fmt: skip


def told(kind: type[Exception], read: Callable[..., object], *given: object) -> Exception | None:
    """The error of its kind that reading ends with; any other is a fault of ours."""
    try:
        read(*given)
    except kind as error:
        return error
    return None


@st.composite
def spoilt(draw: st.DrawFn, good: bytes, cells: list[str] = CELLS) -> bytes:
    """`good` cut, with bytes put in or left out, lines twice or away, or a cell of another kind."""
    data = good
    for _ in range(draw(st.integers(1, 3))):
        how = draw(st.sampled_from(["cut", "bytes", "drop", "twice", "away", "cell", "cell", "cell"]))
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        lines = data.split(b"\n")
        line = draw(st.integers(0, len(lines) - 1))
        if how == "cut":
            data = data[:at]
        elif how == "bytes":
            data = data[:at] + draw(st.binary(min_size=1, max_size=4)) + data[at:]
        elif how == "drop":
            data = data[:at] + data[at + draw(st.integers(1, 9)) :]
        elif how == "twice":
            data = b"\n".join([*lines[:line], lines[line], *lines[line:]])
        elif how == "away":
            data = b"\n".join([*lines[:line], *lines[line + 1 :]])
        else:
            mark = b"," if b"," in lines[line] else b"="
            fields = lines[line].split(mark)
            fields[draw(st.integers(0, len(fields) - 1))] = draw(st.sampled_from(cells)).encode()
            data = b"\n".join([*lines[:line], mark.join(fields), *lines[line + 1 :]])
    return data


@pytest.mark.parametrize("name", WHOLE_SITE)
def test_a_spoilt_site_is_read_or_every_fault_is_named(name: str) -> None:
    refused = 0

    @SETTINGS
    @given(spoilt(WHOLE_SITE[name].encode()))
    def each(data: bytes) -> None:
        nonlocal refused
        with tempfile.TemporaryDirectory() as home:
            for other, text in WHOLE_SITE.items():
                (Path(home) / other).write_bytes(data if other == name else text.encode())
            error = told(SiteError, check_site, Path(home))
        if isinstance(error, SiteError):
            refused += 1
            assert error.faults
            for fault in error.faults:
                assert fault.file in WHOLE_SITE
                assert fault.line >= 1
                assert str(fault).strip()

    each()
    assert refused > 10


GOOD_LINES = [
    json.dumps({"topic": topic("sub-1"), "payload": json.loads(telemetry("sub-1", n).payload), "received_ms": NOW + n})
    for n in range(1, 6)
] + [json.dumps({"topic": "", "payload": {"heartbeat": "u1"}, "received_ms": NOW + 9})]  # fmt: skip
ODD_LINES = [
    "[]", "null", "{}", '{"topic": 1}', '{"topic": "x"}', '{"topic": "x", "payload": null, "received_ms": 1}', "{" * 5000,
    '{"topic": "", "payload": {"action": [1]}, "received_ms": 1}', '{"topic": "", "payload": {"action": [{"device": 1}], "stream": "u1"}, "received_ms": 1}',
    '{"topic": "", "payload": {"heartbeat": []}, "received_ms": 1}', '{"topic": "", "payload": {"heartbeat": "nowhere"}, "received_ms": 1}',
    '{"topic": "", "payload": {"action": [{"device": "sub-1", "kind": "dead_letter_retried", "payload": "x"}], "stream": "u1"}, "received_ms": 1}',
    '{"topic": "x", "payload": {}, "received_ms": 1e99}', '{"topic": "x", "payload": {}, "received_ms": 9223372036854775808}',
    '{"topic": "x", "payload_base64": "***", "received_ms": 1}', '{"topic": "x", "payload_base64": 7, "received_ms": 1}',
    '{"topic": "x", "payload": {}}', '{"topic": "x", "payload": {}, "received_ms": -9223372036854775808}', "\x00", "\ufeff{}",
]  # fmt: skip


def read_all(path: Path) -> int:
    return sum(chapter.messages for chapter in read_history(read_recordings([path]), Decoder(site())))


def either(path: Path) -> bool:
    """Whether a recording is refused, with a line that names it."""
    error = told(ReplayError, read_all, path)
    if error is None:
        return False
    assert path.name in str(error) or "heartbeat or action" in str(error), error
    assert "expected" in str(error)
    assert "\n" not in str(error)
    return True


PACKED: dict[str, Callable[[bytes], bytes]] = {
    ".jsonl": bytes, ".gz": lambda d: gzip.compress(d, mtime=0), ".zst": lambda d: zstandard.ZstdCompressor().compress(d),
}  # fmt: skip


@pytest.mark.parametrize("suffix", PACKED)
@pytest.mark.parametrize("inside", [True, False], ids=["lines spoilt", "file spoilt"])
def test_a_spoilt_recording_is_read_or_refused_with_its_name(
    tmp_path: Path, suffix: str, inside: bool
) -> None:
    path = tmp_path / f"recording{suffix}"
    refused = 0

    def spoil(data: bytes) -> st.SearchStrategy[bytes]:
        return spoilt(data, [*CELLS, *ODD_LINES])

    good = "\n".join(GOOD_LINES).encode()
    odd = st.lists(st.sampled_from([*GOOD_LINES, *ODD_LINES]), max_size=6).map(
        lambda ls: "\n".join(ls).encode()
    )

    @SETTINGS
    @given(st.one_of(spoil(good), odd).map(PACKED[suffix]) if inside else spoil(PACKED[suffix](good)))
    def each(data: bytes) -> None:
        nonlocal refused
        path.write_bytes(data)
        refused += either(path)

    each()
    assert refused > 10


def tables() -> Iterator[tuple[str, pa.Table]]:
    topics, payloads = (
        pa.array([topic("sub-1")] * 2),
        pa.array([telemetry("sub-1", n).payload for n in (1, 2)]),
    )
    whole = pa.table({"topic": topics, "payload": payloads, "received_ms": pa.array([NOW, NOW])})
    for name in whole.column_names:
        yield f"without {name}", whole.drop_columns([name])
        yield (
            f"null {name}",
            whole.set_column(whole.column_names.index(name), name, pa.nulls(2, whole[name].type)),
        )
        for odd in (pa.array([1.5, float("nan")]), pa.array([[1], [2]]), pa.array([True, False]), pa.array(["a", None]),
                    pa.array([b"\xff", b""]), pa.array([2**63, 1], pa.uint64()), pa.nulls(2)):  # fmt: skip
            yield f"{name} of {odd.type}", whole.set_column(whole.column_names.index(name), name, odd)
    yield "empty", whole.slice(0, 0)
    yield "base64 that is none", whole.append_column("payload_base64", pa.array(["*", None]))
    yield "base64 of numbers", whole.append_column("payload_base64", pa.array([1, 2]))
    yield "retained of text", whole.append_column("retained", pa.array(["yes", "no"]))


@pytest.mark.parametrize(("name", "table"), tables(), ids=lambda v: v if isinstance(v, str) else "")
def test_a_parquet_recording_with_other_columns_is_read_or_refused(
    tmp_path: Path, name: str, table: pa.Table
) -> None:
    path = tmp_path / "recording.parquet"
    pq.write_table(table, path)
    refused = either(path)
    assert (
        refused
        or name in {"empty", "without received_ms", "null received_ms", "received_ms of null"}
        or "binary" in name
        or "string" in name
    )


@SETTINGS
@given(st.data())
def test_a_torn_parquet_file_is_refused(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as home:
        path = Path(home) / "torn.parquet"
        pq.write_table(
            next(t for n, t in tables() if n == "retained of text").drop_columns(["retained"]), path
        )
        path.write_bytes(data.draw(spoilt(path.read_bytes())))
        either(path)


TOML = (
    'mqtt = "mqtt://127.0.0.1:1883"\nport = 8080\nclock = "wall"\ndata_dir = "x"\nkafka = "127.0.0.1:9092"\n'
    'influx_url = "http://127.0.0.1:8086"\n'
)
TOML_CELLS = [*CELLS, "[]", "{}", '"ftp://x"', "99999999999999999999", "1.5", "1979-05-27", '"\\ud800"', "[[1]]", '"mqtt://[::1"',
              '"http://a:b@c"', "8080 # x", '"data"', "[[a]]", "'''"]  # fmt: skip


@SETTINGS
@given(spoilt(TOML.encode(), TOML_CELLS))
def test_a_spoilt_configuration_is_taken_or_refused_in_one_line(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as home:
        path = Path(home) / "hearthline.toml"
        path.write_bytes(data)
        error = told(UsageError, load_settings, {}, path)
    assert error is None or str(error)


EDGE = (
    'mqtt = "mqtt://127.0.0.1:1883"\nregion = "r1"\nunit = "u1"\noutbox = "box"\n'
    '[[device]]\nid = "sub-1"\nclass = "substation"\ninterval_s = 10\ndriver = "modbus"\nhost = "127.0.0.1"\n'
)


@SETTINGS
@given(spoilt(EDGE.encode(), TOML_CELLS))
def test_a_spoilt_collector_configuration_is_taken_or_refused(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as home:
        path = Path(home) / "edge.toml"
        path.write_bytes(data)
        error = told(ConfigError, load, path)
    assert error is None or str(path) in str(error)


# -- the board's interface ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    day = seeded(tmp_path_factory.mktemp("series"))
    app = create_app(day.store, day.site, lambda: day.now_ms, status, None, simulated=True, token="t0ken")
    server = BoardServer(app, port=0)
    server.start()
    with httpx.Client(base_url=server.url, timeout=PATIENCE_S) as client:
        yield client
    server.stop()
    day.store.close()


NAMES = ["measurement", "field", "key", "unit", "region", "class", "from", "to", "every_ms", "aggregate", "latest", "withdrawn",
         "newest_first", "limit", "format", "device", "points", "nonsense", ""]  # fmt: skip
VALUES = st.one_of(
    st.sampled_from([
        "device_heat", "reading", "ledger", "dead_letter", "nonsense", "store_meta", 'a"b', "a;drop table reading", "supply_c",
        "heat_gj", "sub-03", "", "0", "1", "-1", "1e9", "nan", "9" * 30, "2026-01-08", "0001-01-01", "9999-12-31T23:59:59+14:00",
        "mean", "max", "last", "true", "arrow", "csv", "json", "900000", "\x00", "%00", "../../etc/passwd", "<script>", "donghe",
        "2", "2000", "2001", "substation", "weighbridge", "-9223372036854775808", "9223372036854775807",
    ]),
    st.text(max_size=12).filter(lambda t: t.isprintable()), st.integers(-(2**65), 2**65).map(str),
)  # fmt: skip
PATHS = st.one_of(
    st.sampled_from(["/api/query", "/api/query", "/api/status", "/api/site", "/api/dead-letters", "/api/panels/heat/history", "/healthz",
                     "/api", "/api/", "/api/panels//history", "/api/dead-letters//retry"]),
    st.text(string.printable, max_size=12).map(lambda t: f"/api/panels/{quote(t, safe='')}/history"),
    st.text(max_size=8).filter(str.isprintable).map(lambda t: f"/api/dead-letters/{quote(t, safe='')}/retry"),
)  # fmt: skip


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    method=st.sampled_from(["GET", "GET", "GET", "GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD"]),
    path=PATHS,
    known=st.booleans(),
    params=st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=6),
    token=st.sampled_from(["", "t0ken", "wrong"]),
)
def test_no_request_is_an_internal_error(
    board: httpx.Client, method: str, path: str, known: bool, params: list[tuple[str, str]], token: str
) -> None:
    if known and path == "/api/query":
        params = [("measurement", "device_heat"), *(p for p in params if p[0] != "measurement")]
    reply = board.request(method, path, params=params, headers={"X-Hearthline-Token": token})
    assert reply.status_code < 500 or (reply.status_code == 503 and path.endswith("/retry")), reply.text
    assert "Traceback" not in reply.text
    if reply.status_code >= 400 and reply.headers["content-type"] == "application/json" and method != "HEAD":
        assert reply.json()["detail"]


def test_every_panel_with_any_parameters_answers(board: httpx.Client) -> None:
    ids = [panel.id for page in pages() for panel in page.panels]

    @settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        st.sampled_from(ids),
        st.lists(
            st.tuples(st.sampled_from(["region", "unit", "device", "from", "to", "points"]), VALUES),
            max_size=4,
        ),
    )
    @example("plant_temperatures", [("to", str(-(2**63)))])
    @example("plant_temperatures", [("from", str(-(2**53))), ("to", str(2**53))])
    def each(panel: str, params: list[tuple[str, str]]) -> None:
        reply = board.get(f"/api/panels/{panel}/history", params=params)
        assert reply.status_code < 500, reply.text

    each()


# -- the command line ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["query", "nonsense"], "expected one of"),
        (["query", "store_meta"], "expected one of"),
        (["query", ""], "expected"),
        (["query", "device_heat", "--from", "yesterday"], "--from"),
        (["query", "device_heat", "--limit", "x"], "limit"),
        (["dead-letters", "list", "--reason", "nonsense"], "expected one of"),
    ],
)
def test_wrong_questions_end_with_2_and_one_line(tmp_path: Path, words: list[str], said: str) -> None:
    from store.duckdb_series import SERIES_FILE, DuckdbSeries

    DuckdbSeries(tmp_path / SERIES_FILE).close()
    done = run_command(*words, "--data-dir", tmp_path)
    assert done.exit_code == 2, done
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_measurements_without_rows_yet_are_no_mistake(tmp_path: Path) -> None:
    from store.duckdb_series import SERIES_FILE, DuckdbSeries

    DuckdbSeries(tmp_path / SERIES_FILE).close()
    done = ended("query", "device_heat", "--data-dir", tmp_path)
    assert (done.returncode, done.stdout) == (0, "no rows\n")
