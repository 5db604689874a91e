"""Laws of coal and heat, over two streams: order, repeats, lateness, crashes and corrections change nothing."""

import json
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simulator.case import parse
from simulator.simulate import run
from streams.core.entity_events import events_of
from streams.core.entity_operator import Entity, Item
from streams.operators.fuel_heat import FIELDS, fuel_heat
from tests.support.coal_streams import YARD_CASE, replayed

HOUR_MS = 3_600_000
LATENESS_MS = 900_000
UNTIL_MS = 1_767_542_400_000 + 126 * HOUR_MS
"""Then all three days are settled."""
ALL = ("fuel_heat", "supplier_fuel", "fuel_burnt", "trip")


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    out = tmp_path_factory.mktemp("yard")
    case = YARD_CASE.replace("hours = 216", "hours = 66").replace("trucks = 12", "trucks = 6")
    run(parse("case.toml", case.replace("survey_days = 3", "survey_days = 1"), None), out)
    return out


@pytest.fixture(scope="module")
def clean(simulated):
    return replayed(simulated, UNTIL_MS)


def settled(streams, measurement):
    return {
        k: r for k, r in streams.told.of(measurement, "revision").items() if r["status"] != "provisional"
    }  # fmt: skip


def equal(a, b):
    for measurement in ALL:
        assert settled(a, measurement) == settled(b, measurement), measurement


def disordered(simulated, rng):
    """The recording with events hours late, plants within the lateness, and a third of all of it twice."""
    table = pq.read_table(simulated / "telemetry.parquet")
    told = []
    for row in table.to_pylist():
        device = row["topic"].split("/")[4]
        most = LATENESS_MS // 2 if device.startswith("boiler") else 9 * HOUR_MS
        late = rng.randrange(LATENESS_MS // 2 if rng.random() < 0.8 else most)
        told.append({**row, "received_ms": row["received_ms"] + late})
        if rng.random() < 0.3:
            told.append({**row, "received_ms": row["received_ms"] + late + rng.randrange(HOUR_MS)})
    told.sort(key=lambda r: r["received_ms"])
    return pa.Table.from_pylist(told, schema=table.schema)


def test_order_repeats_and_lateness_change_nothing(simulated, clean, tmp_path):
    (tmp_path / "site").symlink_to(simulated / "site")
    pq.write_table(disordered(simulated, random.Random(4)), tmp_path / "telemetry.parquet")
    assert len(settled(clean, "fuel_heat")) == 3
    equal(clean, replayed(tmp_path, UNTIL_MS))


def test_crashes_change_nothing(simulated, clean):
    crashed = replayed(simulated, UNTIL_MS, crash_every=9)
    assert crashed.told.rows == clean.told.rows


def test_rows_are_those_of_a_plain_computation_over_the_whole_history(simulated, clean):
    site, items = clean.site, []
    for row in pq.read_table(simulated / "telemetry.parquet").to_pylist():
        _, _, _, _, device, kind = row["topic"].split("/")
        device_class = site.devices[device].device_class
        if kind == "telemetry" and device_class in {"yard", "office"} and device != "office-coal":
            message = json.loads(row["payload"])
            rows = [
                {"device": device, "boot": message["boot"], "seq": message["seq"], "pos": n, **sample}
                for n, sample in enumerate(message["samples"])
            ]
            items += [i for _, i in events_of(pa.RecordBatch.from_pylist(rows), device_class, {})]
    for source in ("trip", "fuel_burnt", "device_heat"):
        for (key, start), row in clean.told.of(source).items():
            if source == "trip" or row["status"] != "provisional":
                items.append(Item(source, key, start, {n: v for n, v in row.items() if v is not None}))
    items.sort(key=lambda i: i.order)
    (unit,) = {k for k, _ in clean.told.of("fuel_heat")}
    entity = Entity(unit, items, site, unit, UNTIL_MS, 0)
    expected = {
        (r.key, r.start_ms): {n: None if v != v else v for n, v in r.fields.items()}  # noqa: PLR0124  NaN
        for r in fuel_heat.function(entity)
        if r.measurement == "fuel_heat" and r.settles_ms <= entity.now_ms
    }
    got = {k: {n: r[n] for n in FIELDS} for k, r in settled(clean, "fuel_heat").items()}
    assert got == {k: {n: v.get(n) for n in FIELDS} for k, v in expected.items()}
    assert len(got) == 3


def test_a_survey_that_comes_two_days_late_restates_the_days_since(simulated, clean, tmp_path):
    (tmp_path / "site").symlink_to(simulated / "site")
    table = pq.read_table(simulated / "telemetry.parquet")
    rows = table.to_pylist()
    surveys = [r for r in rows if "survey" in r["payload"]]
    assert len(surveys) >= 3
    late = surveys[1]
    others = [r for r in rows if r is not late]
    last_ms = max(r["received_ms"] for r in rows)
    last = [*others, {**late, "received_ms": last_ms}]
    pq.write_table(pa.Table.from_pylist(last, schema=table.schema), tmp_path / "telemetry.parquet")
    told = replayed(tmp_path, UNTIL_MS)
    equal(clean, told)
    pq.write_table(pa.Table.from_pylist(others, schema=table.schema), tmp_path / "telemetry.parquet")
    without = settled(replayed(tmp_path, UNTIL_MS), "fuel_heat")
    assert without != settled(clean, "fuel_heat"), "the survey has something to say"
