"""`hearthline report`: a month in three forms, and what the other side has otherwise."""

import contextlib
import csv
import io
import json

import jsonschema
import pyarrow as pa
import pytest
from openpyxl import Workbook, load_workbook

from hearthline.cli import UsageError, build
from models.contract_report import ContractLine, MonthlyReport
from models.results import Outputs, result_schema
from store.duckdb_series import SERIES_FILE, DuckdbSeries

DAY = 86_400_000
T0 = 1_767_196_800_000
MASSES = ("planned_kg", "released_kg", "loaded_kg", "received_kg", "settled_kg", "rejected_kg")
COLUMNS = (
    "contract", "month", "unit", "seller", "buyer", "grade", "origin", "destination", "planned_kg",
    "released_kg", "unreleased_kg", "cancelled_kg", "unloaded_kg", "loaded_kg", "in_transit_kg", "lost_kg",
    "received_kg", "unmatched_kg", "settled_kg", "unsettled_kg", "rejected_kg", "rate_pct", "reported_pct",
    "forecast_pct", "shortfall_p", "release_residual_kg", "load_residual_kg", "transit_residual_kg",
    "receipt_residual_kg", "refused", "status", "until_ms",
)  # fmt: skip


def row(key, day, masses=(), **more):
    given = dict(zip(MASSES, masses, strict=False))
    return {
        "key": key, "unit": "u1", "region": "r1", "stream": "haul", "window_start": T0 + day * DAY,
        "window_ms": DAY, "coverage": None, "status": "final", "reason": None, "revision": 0, "model": None,
        **given, **more,
    }  # fmt: skip


@pytest.fixture
def data_dir(tmp_path):
    fields = [
        *(pa.field(m, pa.int64()) for m in MASSES), pa.field("refused", pa.int64()),
        *(pa.field(n, pa.float64()) for n in ("rate_pct", "reported_pct")),
        *(pa.field(n, pa.string()) for n in ("contract", "month", "seller", "refusals")),
    ]  # fmt: skip
    known = {"month": "2026-01", "seller": "=煤业 Coal"}
    rows = [
        row("A:2026-01", 3, (1000, 900, 800, 700, 0, 0), contract="A", rate_pct=70.0, reported_pct=70.0, **known),
        row("A:2026-01", 4, (1000, 900, 850, 800, 0, 0), contract="A", rate_pct=80.0, reported_pct=80.0, **known),
        row("B:2026-01", 4, (2000, 2000, 500, 400, 0, 0), contract="B", rate_pct=20.0, reported_pct=20.0,
            refused=2, refusals="T9: net_not_positive", **known),
        row("Z:2026-01", 4, refused=3, status="unknown", reason="unknown_contract"),
        row("Y:2026-01", 4, (4000, None, None, None, None, None), contract="Y", status="unknown", reason="begun_later",
            **known),
        row("A2:2026-02", 40, (5, 5, 5, 5, 5, 0), contract="A2", month="2026-02"),
    ]  # fmt: skip
    trips = [
        {**row("O1", 2), "contract": "A", "origin_ticket": "O1", "destination_ticket": "D1", "loaded_kg": 310.0,
         "received_kg": 300.0},
        {**row("O2", 3), "contract": "A", "origin_ticket": "O2", "destination_ticket": None, "loaded_kg": 305.0,
         "received_kg": None},
        {**row("O3", 3), "contract": "A2", "origin_ticket": "O3", "destination_ticket": None, "loaded_kg": 9.0,
         "received_kg": None},
    ]  # fmt: skip
    trip = result_schema([
        *(pa.field(n, pa.string()) for n in ("contract", "origin_ticket", "destination_ticket")),
        pa.field("loaded_kg", pa.float64()), pa.field("received_kg", pa.float64()),
    ])  # fmt: skip
    out = Outputs("haul", 1)
    out.add("fulfilment", pa.Table.from_pylist(rows, schema=result_schema(fields)))
    out.add("trip", pa.Table.from_pylist(trips, schema=trip))
    store = DuckdbSeries(tmp_path / SERIES_FILE)
    store.write([out])
    store.close()
    return tmp_path


def run(*arguments):
    return build()([*map(str, arguments)], standalone_mode=False)


def monthly(data_dir, out, *more):
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        run("report", "monthly", "--month", "2026-01", "--data-dir", data_dir, "--out", out, *more)
    assert said.getvalue() == f"{out}: {out.stat().st_size:,} bytes\n"
    return out.read_bytes()


def differing(data_dir, other):
    out = data_dir / "found.json"
    run("report", "differences", "--month", "2026-01", "--data-dir", data_dir, "--other", other, "--out", out)
    return json.loads(out.read_text(encoding="utf-8"))["differences"]


def test_the_columns_are_those_that_others_rely_on():
    assert tuple(ContractLine.model_fields) == COLUMNS


def test_a_month_is_the_newest_day_of_each_contract_and_what_is_refused_stands_apart(data_dir):
    report = json.loads(monthly(data_dir, data_dir / "m.json"))
    jsonschema.validate(report, MonthlyReport.model_json_schema())
    assert report["form"] == "hearthline.report.monthly/1"
    assert [(c["contract"], c["received_kg"]) for c in report["contracts"]] == [("A", 800), ("B", 400)]
    assert report["contracts"][0]["until_ms"] == T0 + 5 * DAY
    totals = report["totals"]
    assert (totals["planned_kg"], totals["received_kg"], totals["rate_pct"]) == (3000, 1200, 40.0)
    assert report["not_counted"] == [
        {"contract": "B", "refused": 2, "reason": "T9: net_not_positive"},
        {"contract": "Y", "refused": 0, "reason": "begun_later"},
        {"contract": "Z", "refused": 3, "reason": "unknown_contract"},
    ]
    (period,) = [p for p in report["periods"] if p["period"] == "quarter" and p["seller"] is None]
    assert (period["planned_kg"], period["received_kg"], period["rate_pct"]) == (7000, None, None)


def test_all_forms_say_the_same_and_no_cell_is_a_formula(data_dir):
    told = json.loads(monthly(data_dir, data_dir / "m.json"))["contracts"]
    lines = list(csv.DictReader(io.StringIO(monthly(data_dir, data_dir / "m.csv").decode("utf-8-sig"))))
    monthly(data_dir, data_dir / "m.xlsx")
    sheet = load_workbook(data_dir / "m.xlsx")["contracts"]
    header, *cells = ([c.value for c in line] for line in sheet.iter_rows())
    assert tuple(lines[0]) == tuple(header) == COLUMNS
    for n, line in enumerate(told):
        assert lines[n]["seller"] == cells[n][COLUMNS.index("seller")] == "'=煤业 Coal"
        for name in MASSES:
            assert int(lines[n][name]) == cells[n][COLUMNS.index(name)] == line[name]
        assert lines[n]["unloaded_kg"] == ""
        assert line["unloaded_kg"] is None


def test_quarter_and_year_stand_in_the_report_by_the_rules_of_a_site(data_dir):
    site = data_dir / "site"
    site.mkdir()
    rule = '[[fulfilment]]\nperiod = "quarter"\nleast_pct = 75\n'
    (site / "site.toml").write_text(
        f'[site]\nname = "N"\ntimezone = "Asia/Shanghai"\n{rule}', encoding="utf-8"
    )
    told = json.loads(monthly(data_dir, data_dir / "m.json", "--site", site))["periods"]
    assert [(p["name"], p["seller"], p["least_pct"]) for p in told] == [
        (name, seller, least) for name, least in (("2026-Q1", 75.0), ("2026", 90.0))
        for seller in (None, "=煤业 Coal")
    ]  # fmt: skip
    assert {(p["planned_kg"], p["shortfall_p"], p["reason"]) for p in told} == {
        (7000, None, "nothing is foretold of A, B + 1")
    }
    monthly(data_dir, data_dir / "m.xlsx", "--site", site)
    header, *cells = load_workbook(data_dir / "m.xlsx")["periods"].iter_rows(values_only=True)
    assert (header[0], len(cells), cells[1][2]) == ("period", 4, "'=煤业 Coal")


def test_our_own_report_read_back_has_no_difference(data_dir):
    for name in ("m.csv", "m.xlsx", "m.json"):
        monthly(data_dir, data_dir / name)
        assert differing(data_dir, data_dir / name) == []


def test_differences_by_contract_are_named_one_by_one(data_dir):
    other = data_dir / "other.csv"
    text = "contract,month,received_t,loaded_kg\nA,2026-01,0.790,850\nA,2026-01,1,1\nX,2026-01,5,5\nB,2026-13,1,1\n"
    other.write_bytes(text.encode("gb18030"))
    found = {(d["contract"], d["what"]): d for d in differing(data_dir, other)}
    assert set(found) == {
        ("A", "differs"),
        ("A", "twice_there"),
        ("X", "missing_here"),
        ("B", "missing_there"),
    }
    assert found["A", "differs"]["difference_kg"] == 10
    other.write_text("contract,received_kg\nA,much\nB,400\n", encoding="utf-8")
    (unreadable,) = differing(data_dir, other)
    assert (unreadable["what"], unreadable["field"]) == ("unreadable_there", "received_kg")


def test_differences_by_ticket_are_of_the_months_contracts(data_dir):
    book = Workbook()
    for line in (["ticket", "net_kg"], ["O1", 310], ["D1", 298], ["O9", 5]):
        book.active.append(line)
    book.save(data_dir / "tickets.xlsx")
    found = {
        (d["ticket"], d["what"]): d["difference_kg"] for d in differing(data_dir, data_dir / "tickets.xlsx")
    }
    assert found == {("D1", "differs"): 2, ("O9", "missing_here"): None, ("O2", "missing_there"): None}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected a header"),
        (b"a,b\n1,2\n", "expected a column contract or ticket"),
        (b"PK\x03\x04broken", "expected an XLSX workbook"),
        (b'{"contracts": 5}', "expected a list of objects"),
        (b"{", "expected JSON"),
        (b"\xff\xfe\xff", "expected text in UTF-8 or GB 18030"),
    ],
)
def test_a_file_that_is_no_table_is_wrong_usage(data_dir, content, message):
    (data_dir / "bad").write_bytes(content)
    with pytest.raises(UsageError, match=message):
        differing(data_dir, data_dir / "bad")


def test_a_thirteenth_month_is_wrong_usage_and_one_without_results_fails(data_dir, capsys):
    with pytest.raises(UsageError, match="expected a month as YYYY-MM, got '2026-13'"):
        run("report", "monthly", "--month", "2026-13", "--data-dir", data_dir)
    with pytest.raises(UsageError, match=r"--out: expected a name that ends in \.csv, .*got .*m\.xls$"):
        monthly(data_dir, data_dir / "m.xls")
    assert not (data_dir / "m.xls").exists()
    with pytest.raises(UsageError, match="--format xlsx: expected --out FILE"):
        run("report", "monthly", "--month", "2026-01", "--data-dir", data_dir, "--format", "xlsx")
    assert run("report", "monthly", "--month", "2027-01", "--data-dir", data_dir) == 1
    assert "expected contracts with results, got none" in capsys.readouterr().err
