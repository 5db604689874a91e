from __future__ import annotations

import os
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest

from edge.config import ConfigError, DeviceConfig
from edge.driver import Driver, DriverError, Recording
from edge.drivers import available, make
from edge.drivers.csv import CsvDriver, Options
from edge.say import Complaints
from edge.water_table import density_kg_m3

FOREVER = 2**62


def driver(tmp_path, text, said=None, **options):
    path = tmp_path / "d.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    given = {"path": path, "time_column": "t", "time_format": "unix_s", "pace": "fast"}
    given["columns"] = {"supply_c": "a"}
    say = said.append if said is not None else (lambda _: None)
    return CsvDriver("m", Options.model_validate({**given, **options}), Complaints(say))


def everything(d):
    readings, errors = [], []
    while not d.exhausted:
        try:
            readings += d.read(FOREVER)
        except DriverError as error:
            errors.append(str(error))
    return readings, errors


def utc(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def test_found_by_discovery(tmp_path):
    (tmp_path / "x.csv").write_text("t,a\n1,2\n")
    raw = {"id": "m", "region": "r", "unit": "u", "class": "meter", "interval_s": 10, "driver": "csv"}
    raw["csv"] = {"path": str(tmp_path / "x.csv"), "time_column": "t", "columns": {"supply_c": "a"}}
    raw["csv"]["time_format"] = "unix_s"
    made = make(DeviceConfig.model_validate(raw))
    assert "csv" in available()
    assert isinstance(made, Driver)
    assert isinstance(made, Recording)


@pytest.mark.parametrize(
    ("time_format", "cell", "expected", "more"),
    [
        ("unix_s", "1546300800", utc("2019-01-01T00:00:00"), {}),
        ("unix_s", "1546300800.25", utc("2019-01-01T00:00:00") + 250, {}),
        ("unix_ms", "1546300800123", utc("2019-01-01T00:00:00") + 123, {}),
        ("seconds_from", "900.0", utc("2019-01-01T00:15:00"), {"epoch": "2019-01-01T00:00:00Z"}),
        ("iso", "2019-01-01T02:00:00+02:00", utc("2019-01-01T00:00:00"), {}),
        ("iso", "2019-01-01 02:00", utc("2019-01-01T00:00:00"), {"timezone": "Europe/Tallinn"}),
        ("%d.%m.%Y %H:%M", "01.07.2019 03:00", utc("2019-07-01T00:00:00"), {"timezone": "Europe/Tallinn"}),
    ],
)
def test_times(tmp_path, time_format, cell, expected, more):
    readings, _ = everything(driver(tmp_path, f"t,a\n{cell},1\n", time_format=time_format, **more))
    assert [r.t_ms for r in readings] == [expected]


def local(tmp_path, *rows, zone="Europe/Tallinn"):
    text = "t,a\n" + "".join(f"{row}\n" for row in rows)
    readings, errors = everything(driver(tmp_path, text, time_format="%Y-%m-%d %H:%M", timezone=zone))
    assert not errors
    return [r.t_ms for r in readings]


def test_the_spring_gap_is_no_jump(tmp_path):
    t = local(tmp_path, *(f"2019-03-31 {h:02}:00,1" for h in (1, 2, 4, 5)))
    assert [b - a for a, b in pairwise(t)] == [3_600_000] * 3


def test_an_hour_that_does_not_exist_takes_the_offset_before_the_change(tmp_path):
    t = local(tmp_path, "2019-03-31 02:30,1", "2019-03-31 03:30,2")
    assert t == [utc("2019-03-31T00:30:00"), utc("2019-03-31T01:30:00")]


def test_the_hour_that_occurs_twice_is_told_by_the_order_of_rows(tmp_path):
    hours = local(tmp_path, *(f"2019-10-27 {h:02}:00,{k}" for k, h in enumerate((2, 3, 3, 4, 5))))
    assert [b - a for a, b in pairwise(hours)] == [3_600_000] * 4
    quarters = [f"2019-10-27 03:{m:02},{k}" for k, m in enumerate((0, 15, 30, 45, 0, 15, 30, 45))]
    t = local(tmp_path, "2019-10-27 02:45,9", *quarters, "2019-10-27 04:00,9")
    assert [b - a for a, b in pairwise(t)] == [900_000] * 9


def test_equal_rows_in_the_doubled_hour_are_one_row_repeated(tmp_path):
    rows = ["2019-10-27 02:00,1", "2019-10-27 03:00,2", "2019-10-27 03:00,2", "2019-10-27 03:00,3"]
    t = local(tmp_path, *rows, "2019-10-27 03:00,3", "2019-10-27 04:00,4")
    assert [(b - a) // 3_600_000 for a, b in pairwise(t)] == [1, 0, 1, 0, 1]


def test_rows_are_passed_on_as_they_are(tmp_path):
    readings, _ = everything(driver(tmp_path, "t,a\n3,1\n3,1\n2,5\n\n3,1\n"))
    assert [(r.t_ms, r.values) for r in readings] == [
        (3000, {"supply_c": 1.0}),
        (3000, {"supply_c": 1.0}),
        (2000, {"supply_c": 5.0}),
        (3000, {"supply_c": 1.0}),
    ]


@pytest.mark.parametrize("cell", ["x", "nan", "inf", "1e999", "1_000", "0x10", "1,5", "12.3.4", "--1", "１"])
def test_a_cell_that_is_no_number_is_absent_counted_and_said_once(tmp_path, cell):
    said = []
    d = driver(
        tmp_path,
        f't,a,b\n1,"{cell}",7\n2,"{cell}",8\n3,4,9\n',
        said,
        columns={"supply_c": "a", "return_c": "b"},
    )
    readings, errors = everything(d)
    assert [r.values for r in readings] == [
        {"return_c": 7.0},
        {"return_c": 8.0},
        {"supply_c": 4.0, "return_c": 9.0},
    ]
    assert not errors
    assert d.complaints.counts == {"m supply_c": 2}
    assert len(said) == 1
    assert f"d.csv:2: column a: expected a finite number, got {cell!r}" in said[0]


def test_an_empty_cell_is_absent_and_nothing_is_said(tmp_path):
    said = []
    readings, _ = everything(driver(tmp_path, "t,a\n1,\n2, \n", said))
    assert [r.values for r in readings] == [{}, {}]
    assert not said


def test_volume_flow_from_mass_flow_by_the_density_at_a_temperature(tmp_path):
    columns = {
        "flow_m3_h": {"column": "m", "unit": "kg/s", "density_at": "supply_c"},
        "supply_c": {"column": "k", "unit": "K"},
    }
    said = []
    d = driver(tmp_path, "t,m,k\n1,26.667,372.3\n2,1,\n3,1,500\n", said, columns=columns)
    first, second, third = everything(d)[0]
    assert list(first.values) == ["flow_m3_h", "supply_c"]
    assert first.values["flow_m3_h"] == pytest.approx(
        26.667 * 3600 / density_kg_m3(372.3 - 273.15), rel=1e-15
    )
    assert second.values == {}
    assert list(third.values) == ["supply_c"]
    assert "expected supply_c within 0 to 180 °C" in said[0]


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (b"2,5\n", "expected 3 fields, got 2"),
        (b"2,5,6,7\n", "expected 3 fields, got 4"),
        (b'2,"5,6\n', "unexpected end of data"),
        (b"2,\xff\xfe,6\n", "can't decode byte"),
        (b"soon,5,6\n", "soon"),
        (b",5,6\n", "could not convert"),
        (b"nan,5,6\n", "expected a number"),
    ],
)
def test_a_corrupted_record_names_its_line_and_its_neighbours_stand(tmp_path, record, expected):
    readings, errors = everything(driver(tmp_path, b"t,a,b\n1,4,0\n" + record + b"3,6,0\n"))
    assert [r.t_ms for r in readings] == [1000, 3000]
    assert len(errors) == 1
    assert "d.csv:3 (byte 12): " in errors[0]
    assert expected in errors[0]


def test_a_file_cut_anywhere_gives_an_error_never_a_wrong_number(tmp_path):
    text = "t,a\n1,12.345\n2,67.891\n3,23.456\n"
    whole = {r.t_ms: r.values for r in everything(driver(tmp_path, text))[0]}
    for end in range(4, len(text)):
        readings, errors = everything(driver(tmp_path, text[:end]))
        assert all(whole[r.t_ms] == r.values for r in readings), text[:end]
        cut_inside = not text[:end].endswith("\n")
        assert len(errors) == cut_inside
        assert not errors or "expected a line end" in errors[0]


def test_a_last_line_without_its_end_can_be_accepted(tmp_path):
    assert len(everything(driver(tmp_path, "t,a\n1,2", unterminated="accept"))[0]) == 1


def test_other_dialects(tmp_path):
    text = "\ufefft;a;p\r\n1;12,5;京A1\r\n"
    d = driver(
        tmp_path,
        text,
        delimiter=";",
        decimal=",",
        columns={"mass_kg": "a", "plate": {"column": "p", "text": True}},
    )
    assert everything(d)[0][0].values == {"mass_kg": 12.5, "plate": "京A1"}


def test_fast_reads_up_to_a_recorded_time(tmp_path):
    d = driver(tmp_path, "t,a\n1,1\n2,2\n5,5\n")
    assert d.next_ms() == 1000
    assert [r.t_ms for r in d.read(2500)] == [1000, 2000]
    assert d.next_ms() == 5000
    assert d.read(2500) == []
    assert not d.exhausted
    assert [r.t_ms for r in d.read(5000)] == [5000]
    assert d.exhausted
    assert d.next_ms() is None


@pytest.mark.parametrize(("pace", "factor"), [("real", 1), (60, 60), (0.5, 0.5)])
def test_pace_follows_the_clock(tmp_path, pace, factor):
    d = driver(tmp_path, "t,a\n100,1\n160,2\n220,3\n", pace=pace)
    start = 1_700_000_000_000
    assert [r.t_ms for r in d.read(start)] == [100_000]
    due = d.due_ms(start)
    assert due == start + 60_000 / factor
    assert d.read(due - 1) == []
    assert [r.t_ms for r in d.read(due)] == [160_000]
    assert [r.t_ms for r in d.read(start + int(600_000 / factor))] == [220_000]


def test_resume_goes_on_after_the_last_row_even_in_the_doubled_hour(tmp_path):
    rows = ["2019-10-27 02:00,1", "2019-10-27 03:00,2", "2019-10-27 03:00,2", "2019-10-27 03:00,3"]
    text = "t,a\n" + "\n".join([*rows, "2019-10-27 03:00,3", "2019-10-27 04:00,4", ""])
    options = {"time_format": "%Y-%m-%d %H:%M", "timezone": "Europe/Tallinn"}
    whole = everything(driver(tmp_path, text, **options))[0]
    for cut in range(len(whole) + 1):
        first = driver(tmp_path, text, **options)
        for reading in whole[:cut]:
            # one row at a time, as far as equal times let it
            assert reading in whole
        head = []
        while len(head) < cut:
            head.append(first._next.reading)
            first._advance(first._next)
        second = driver(tmp_path, text, **options)
        assert second.resume(first.position())
        assert head + everything(second)[0] == whole


def test_resume_refuses_another_file(tmp_path):
    d = driver(tmp_path, "t,a\n1,1\n2,2\n")
    d.read(1000)
    position = d.position()
    appended = driver(tmp_path, "t,a\n1,1\n2,2\n3,3\n")
    assert appended.resume(position)
    assert [r.t_ms for r in appended.read(FOREVER)] == [2000, 3000]
    other = driver(tmp_path, "t,a\n1,9\n2,2\n")
    assert not other.resume(position)
    assert not other.resume("nonsense")
    assert [r.t_ms for r in other.read(FOREVER)] == [1000, 2000]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"path": "/nowhere/x.csv"}, "path: expected a readable CSV file"),
        ({"time_column": "when"}, "d.csv:1: expected one column 'when', got 0 in t, a"),
    ],
)
def test_a_file_that_does_not_fit_is_named(tmp_path, options, expected):
    with pytest.raises(ConfigError, match=expected):
        driver(tmp_path, "t,a\n", **options)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"timezone": "Mars/Olympus"}, "expected an IANA time zone"),
        ({"time_format": "seconds_from"}, "expected epoch with"),
        ({"epoch": "2019-01-01T00:00:00"}, "expected a time with its offset"),
        ({"columns": {"energy_gj": {"column": "a", "unit": "kg"}}}, "expected one of GJ"),
        ({"columns": {"flow_m3_h": {"column": "a", "unit": "kg/s"}}}, "expected density_at"),
        ({"pace": 0}, "greater than 0"),
        ({"columns": {}}, "at least 1"),
        ({"colums": {}}, "Extra inputs"),
    ],
)
def test_wrong_options_are_named(tmp_path, options, expected):
    with pytest.raises(ValueError, match=expected):
        driver(tmp_path, "t,a\n", **options)


RECORDINGS = os.environ.get("HEARTHLINE_RECORDINGS")


@pytest.mark.skipif(not RECORDINGS, reason="HEARTHLINE_RECORDINGS is not set: see docs/recordings.md")
def test_the_recorded_heat_meter():
    options = Options.model_validate(
        {
            "path": Path(RECORDINGS) / "heat_meter" / "meter_10259_2019_h1.csv",
            "time_column": "READ_DATE",
            "time_format": "%Y-%m-%d %H:%M:%S",
            "timezone": "Europe/Tallinn",
            "pace": "fast",
            "columns": {"energy_gj": {"column": "ENERGY", "unit": "MWh"}, "operating_h": "HOURS"},
        }
    )
    readings, errors = everything(CsvDriver("m", options))
    assert not errors
    assert len(readings) == 4486
    steps = [b.t_ms - a.t_ms for a, b in pairwise(readings)]
    assert set(steps) == {0, 3_600_000}, "neither a step back nor a jump over the change to summer time"
    assert steps.count(0) == 143
    hours = [b.values["operating_h"] - a.values["operating_h"] for a, b in pairwise(readings)]
    assert sum(h == s / 3_600_000 for h, s in zip(hours, steps, strict=True)) > 0.99 * len(steps)
    assert readings[-1].values["energy_gj"] - readings[0].values["energy_gj"] == pytest.approx(
        (78.649 - 11.05) * 3.6
    )
