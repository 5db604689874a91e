"""Whatever an alarm is about, what was measured of it is drawn beside it, or it is said that nothing is kept."""

import re
from pathlib import Path

import pyarrow as pa
import pytest

import streams.operators
from alerts.action import ALARM_STREAM
from alerts.alarm import Alarm, Member, Phase
from alerts.codes import NAMES
from alerts.rows import alarm_tables
from dashboards import trends
from dashboards.trends import FAR_MS, KINDS, NEAR_MS, WINDOWS, sources_of, trend
from models.anomaly import Severity
from models.measurements import known
from models.results import READING, Outputs, result_schema
from models.site_files import parse_site
from store.duckdb_series import DuckdbSeries
from streams.core.entity_operator import EntityOperator
from streams.core.operator import discovered
from tests.support.road import ROAD_TEXTS
from tests.support.series import output, readings, sample

T0 = 1_767_225_600_000
HOUR = 3_600_000
SITE = parse_site(ROAD_TEXTS)[0]
WINDOW = 1000 * SITE.networks["n1"].window_s
SPANS = {READING: NEAR_MS, "network_heat": WINDOWS * WINDOW, "network_water": WINDOWS * WINDOW}
SUBJECTS = {
    "plant": "reading", "truck-1": "reading", "network:n1": "network_heat", "branch:n1/east": "network_heat",
    "plate:P1": "reading", "plate:P3": "weighing", "ticket:K1": "weighing", "bridge:bridge-m": "weighing",
    "contract:C1": "fulfilment", "supplier:Seller A": "trip", "haulage:h1": "trip",
}  # fmt: skip
"""One of every kind, and a measurement that must be among what is drawn of it, whatever the code."""
NOWHERE = ("ghost", "network:ghost", "branch:ghost/x", "bridge:ghost", "contract:ghost", "supplier:ghost", "haulage:ghost",
           "meteor:1")  # fmt: skip
KEYS = {"network_heat": "n1", "network_water": "n1", "fulfilment": "C1:2026-01", "trip": "C1|K1"}
TEXTS = {"plate": "P1", "ticket": "K1", "contract": "C1", "step": "gross"}


def alarm(subject, code, evidence):
    made = Alarm(f"{subject}:{code}:{T0}", subject, code, Severity.MAJOR, T0, T0, "u1", "r1", phase=Phase.RAISED,
                 raised_ms=T0, evidence=evidence)  # fmt: skip
    made.members[made.id] = Member(T0, T0, True, False, Severity.MAJOR, 1)
    return made


def declared():
    """Fields of every measurement, as the registered operators declare them."""
    found = {}
    for operator in discovered():
        if isinstance(operator, EntityOperator):
            found |= {name: dict(fields) for name, fields in operator.writes.items()}
        elif hasattr(operator, "fields"):
            found[operator.name] = dict.fromkeys(operator.fields, pa.float64())
    return found


def row_of(measurement, fields, key, start, n, plate):
    numbers = {f: 100 + n for f, kind in fields.items() if not pa.types.is_string(kind)}
    ticket = (
        {"ticket": "K1" if (n, plate.get("plate")) == (0, "P1") else f"K{n}{plate}"}
        if "ticket" in fields
        else {}
    )
    return {
        "key": key, "unit": "u1", "region": "r1", "stream": "s1", "window_start": start, "window_ms": 0, "coverage": 1.0,
        "status": "final", "reason": None, "revision": 0, "model": None, **numbers,
        **{f: TEXTS.get(f) for f, kind in fields.items() if pa.types.is_string(kind)}, **plate, **ticket,
    }  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    series = DuckdbSeries(tmp_path_factory.mktemp("trends") / "series.duckdb")
    rows = []
    for device, name in (("plant", "supply_c"), ("plant", "tank_m3"), ("truck-1", "speed_m_s")):
        rows += [sample(device, T0 + n * 10_000, n, **{name: 50.0 + n}) for n in range(-3, 4)]
    merged = {}
    for row in rows:
        merged[row["key"], row["window_start"]] = merged.get((row["key"], row["window_start"]), {}) | row
    given = [output(1, readings=[readings(*merged.values())])]
    out = Outputs("s1", 2)
    for measurement, fields in declared().items():
        made = []
        for n in range(-2, 3):
            step = WINDOW if measurement in {"network_heat", "network_water"} else 8 * HOUR
            plates = ("P1", "P3") if measurement == "weighing" else ("P1",)
            for plate in plates:
                key = KEYS.get(measurement, f"bridge-m:K1:gross{n}{plate}")
                own = {"plate": plate} if "plate" in fields else {}
                made.append(row_of(measurement, fields, key, T0 + n * step, n, own))
        schema = result_schema([pa.field(f, kind) for f, kind in fields.items()])
        if measurement in {"network_heat", "network_water", "weighing", "fulfilment", "trip"}:
            out.add(measurement, pa.Table.from_pylist(made, schema=schema))
    alarms = Outputs(ALARM_STREAM, 3)
    told = [alarm(s, c, {"rule": "r"}) for s in (*SUBJECTS, *NOWHERE) for c in NAMES]
    told.append(alarm("plant", "looked_at_tank", {"numbers": {"tank_m3": 3.0}}))
    told.append(alarm("plant", "looked_by_name", {"fields": ["tank_m3"]}))
    told.append(alarm("network:n1", "looked_at_water", {"leak_m3": 3.0, "floor_m3_h": 1.0}))
    alarms.add("alarm", alarm_tables(told, ALARM_STREAM)["alarm"])
    series.write([*given, out, alarms])
    yield series
    series.close()


def test_every_kind_of_subject_that_an_operator_names_is_known():
    named = set()
    for path in Path(streams.operators.__file__).parent.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        if "ANOMALY" in text or ".say(" in text:
            named |= set(re.findall(r'f"([a-z]+):\{', text))
    assert {"network", "plate", "contract", "supplier", "bridge", "ticket"} <= named
    assert named <= KINDS.keys()
    assert KINDS.keys() == {s.partition(":")[0] for s in SUBJECTS if ":" in s}


@pytest.mark.parametrize("subject", SUBJECTS)
def test_all_that_may_be_wrong_with_a_subject_has_its_trend(store, subject):
    # Of codes that are drawn alike, one is asked for.
    alike = {tuple(sources_of(subject, code, {}, SITE)): code for code in NAMES}
    for code in alike.values():
        drawn = trend(store, SITE, f"{subject}:{code}:{T0}")
        assert drawn["kept"]
        assert SUBJECTS[subject] in {line["measurement"] for line in drawn["lines"]}, code
        for line in drawn["lines"]:
            assert "_" not in line["term"]["en"], line["field"]
            assert any("\u4e00" <= c <= "\u9fff" for c in line["term"]["zh"]), line["field"]
            assert line["span_ms"] == SPANS.get(line["measurement"], FAR_MS)
            times = [t for t, _ in line["points"]]
            assert times == sorted(times)
            assert len(times) > 1
            assert all(abs(t - T0) <= line["span_ms"] for t in times)
        assert drawn["of"] == ("n1" if subject.startswith("branch:") else "")


@pytest.mark.parametrize("subject", NOWHERE)
def test_where_nothing_is_kept_it_is_said(store, subject):
    assert not any(sources_of(subject, code, {}, SITE) for code in NAMES)
    for code in ("air", "transit_loss"):
        assert trend(store, SITE, f"{subject}:{code}:{T0}") == {
            "at_ms": T0,
            "kept": False,
            "of": "",
            "lines": [],
        }


@pytest.mark.parametrize(
    ("alarm", "first"),
    [
        (f"plant:looked_at_tank:{T0}", "tank_m3"),
        (f"plant:looked_by_name:{T0}", "tank_m3"),
        (f"plant:air:{T0}", "supply_c"),
        (f"network:n1:looked_at_water:{T0}", "leak_m3"),
        (f"network:n1:sensor_bias:{T0}", "residual_gj"),
        (f"plate:P1:tare_drift:{T0}", "mass_kg gross"),
        (f"contract:C1:transit_loss:{T0}", "loss_pct"),
        (f"supplier:Seller A:supplier_short_quality:{T0}", "q_mj_kg"),
    ],
)
def test_what_the_rule_looked_at_comes_first(store, alarm, first):
    assert trend(store, SITE, alarm)["lines"][0]["field"] == first


def test_a_plate_is_drawn_without_the_weights_of_others(store):
    lines = trend(store, SITE, f"plate:P3:overload:{T0}")["lines"]
    assert [len(line["points"]) for line in lines if line["field"] == "mass_kg gross"] == [5]


def test_a_ticket_that_was_weighed_once_is_drawn_with_the_other_loads_of_its_truck(store):
    lines = trend(store, SITE, f"ticket:K1:phantom_ticket:{T0}")["lines"]
    weights = [line["points"] for line in lines if line["field"] == "mass_kg gross"]
    assert [len(points) for points in weights] == [5]
    assert {line["measurement"] for line in lines} == {"weighing", READING}


def test_windows_of_a_quarter_are_shown_for_half_an_hour_at_least():
    texts = {**ROAD_TEXTS, "site.toml": ROAD_TEXTS["site.toml"].replace("window_s = 3600", "window_s = 900")}
    (heat, water) = sources_of("network:n1", "sensor_bias", {}, parse_site(texts)[0])
    assert heat.span_ms == water.span_ms == WINDOWS * 900_000 >= NEAR_MS


def test_a_trend_is_whole_however_many_rows_of_others_lie_beside(store, monkeypatch):
    drawn = {f"{s}:{c}:{T0}": None for s in SUBJECTS for c in ("transit_loss", "air")}
    whole = {alarm: trend(store, SITE, alarm) for alarm in drawn}
    monkeypatch.setattr(trends, "_MOST_ROWS", 3)
    assert {alarm: trend(store, SITE, alarm) for alarm in drawn} == whole


def test_every_field_is_one_that_is_written():
    written = declared()
    for subject in SUBJECTS:
        for source in (s for code in NAMES for s in sources_of(subject, code, {}, SITE)):
            there = known if source.measurement == READING else written[source.measurement]
            assert set(source.fields) <= set(there), source
            assert source.column in {"", "key", *there}


def test_an_alarm_that_nobody_knows(store):
    with pytest.raises(LookupError, match="expected the id of an alarm, got 'nobody'"):
        trend(store, SITE, "nobody")
