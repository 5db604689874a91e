"""`fulfilment_period`: quarter and year as the monthly report has them, from contract months as they go."""

import json
from dataclasses import replace

import pytest

from alerts.codes import NAMES as CODES
from models.contract_report import monthly_report
from models.frame import Frame, Record
from models.fulfilment_forecast import rules_of
from models.local_month import days_ms
from models.site import FulfilmentRule, Region, Site, Unit
from streams.core.beginning import Beginning
from streams.core.entity_operator import Entity, Item
from streams.core.operator import discovered
from streams.operators.fulfilment import NEWEST
from streams.operators.fulfilment_period import fulfilment_period
from tests.support.road import HOUR_MS, ROAD_TEXTS, STREAM, road_journal, run_road, trips
from tests.support.telemetry import T0

DAY_MS = 24 * HOUR_MS
SITE = Site(
    "s", "S", "Asia/Shanghai", regions={"r": Region("r", "R")}, units={"u": Unit("u", "r", "U")},
    rules={"quarter": FulfilmentRule("quarter", 70.0, 0.1)},
)  # fmt: skip


def newest(contract, month, seller="Jin", unit="u", **values):
    whole = {"planned_kg": 1000, "received_kg": 400, "expected_kg": 800.0, "expected_u_kg": 200.0} | values
    start = days_ms(month, "Asia/Shanghai")[0]
    fields = {"contract": contract, "month": month, "seller": seller, "unit": unit, **whole}
    return Item(NEWEST, f"{contract}:{month}", start, {k: v for k, v in fields.items() if v is not None})


def rows(name, *items):
    told = fulfilment_period.function(Entity(name, items, SITE, "haul", T0, 0))
    return {r.key: r for r in told if r.measurement == "fulfilment_period"}


def test_a_contract_month_concerns_its_quarter_and_its_year():
    assert tuple(fulfilment_period.by(newest("A", "2026-05"), SITE)) == ("2026-Q2", "2026")


def test_all_suppliers_have_a_row_and_each_of_them_by_the_rules_of_the_site():
    told = rows("2026-Q1", newest("A", "2026-01"), newest("B", "2026-02", "Shan", expected_kg=900.0))
    assert set(told) == {"haul:quarter", "haul:quarter:Jin", "haul:quarter:Shan"}
    whole = told["haul:quarter"]
    assert (whole.unit, whole.start_ms, whole.start_ms + whole.window_ms) == (
        "u", days_ms("2026-01", "Asia/Shanghai")[0], days_ms("2026-04", "Asia/Shanghai")[0],
    )  # fmt: skip
    fields = whole.fields
    assert (fields["contracts"], fields["planned_kg"], fields["expected_kg"]) == (2, 2000, 1700)
    assert (fields["least_pct"], fields["first_month"], fields["last_month"]) == (70.0, "2026-01", "2026-02")
    assert 0.0 < fields["shortfall_p"] < 0.1
    assert fields["warned"] == 0
    # 800 ± 100 of 1000 where 700 are asked for, one standard deviation below.
    assert told["haul:quarter:Jin"].fields["shortfall_p"] == pytest.approx(0.1587, abs=0.01)
    assert told["haul:quarter:Jin"].fields["warned"] == 1


@pytest.mark.parametrize(
    ("name", "least_pct", "warn_p", "subjects"),
    [
        ("2026-Q1", 70.0, 0.1, {"supplier:Jin"}),
        ("2026-Q1", 70.0, 0.2, set()),
        ("2026-Q1", 95.0, 0.2, {"haulage:haul", "supplier:Jin", "supplier:Shan"}),
        ("2026", 95.0, 0.2, {"haulage:haul", "supplier:Jin", "supplier:Shan"}),
    ],
)
def test_a_shortfall_likelier_than_the_rule_of_its_period_is_an_anomaly(name, least_pct, warn_p, subjects):
    period = "quarter" if "Q" in name else "year"
    site = replace(SITE, rules={period: FulfilmentRule(period, least_pct, warn_p)})
    items = [newest("A", "2026-01"), newest("B", "2026-02", "Shan", expected_kg=900.0)]
    now_ms = days_ms("2026-02", "Asia/Shanghai")[10]

    def told(now_ms):
        entity = Entity(name, items, site, "haul", now_ms, 0)
        rows = [r for r in fulfilment_period.function(entity) if r.measurement == "anomaly"]
        return {r.fields["subject"]: r for r in rows}

    found = told(now_ms)
    assert set(found) == subjects
    for subject, row in found.items():
        evidence = json.loads(row.fields["evidence"])
        assert row.fields["code"] == f"{period}_shortfall" in CODES
        assert row.fields["state"] == "active"
        assert row.unit == "u"
        assert evidence["period"] == name
        assert evidence["rule"] == f"P(received < {least_pct:g} % of plan) > {warn_p:g}"
        assert evidence["shortfall_p"] > warn_p
        assert row.fields["score"] > 1.0
        assert told(row.again_ms)[subject].fields["state"] == "ended"


def test_a_shortfall_that_nobody_foretells_is_no_anomaly():
    entity = Entity("2026", [newest("A", "2026-01", expected_kg=None)], SITE, "haul", T0, 0)
    assert {r.measurement for r in fulfilment_period.function(entity)} == {"fulfilment_period"}


def test_what_is_not_foretold_is_unknown_and_says_of_whom():
    whole = rows("2026", newest("A", "2026-01"), newest("B", "2026-02", expected_kg=None))["haul:year"]
    assert (whole.fields["shortfall_p"], whole.fields["warned"]) == (None, None)
    assert whole.fields["missing"] == "B"
    assert whole.fields["received_kg"] == 800


def test_contracts_of_several_units_are_nobodys_alone():
    assert rows("2026", newest("A", "2026-01"), newest("B", "2026-01", unit="v"))["haul:year"].unit == ""


@pytest.mark.parametrize("later_days", [0, 100])
def test_rows_are_the_periods_of_the_monthly_report(later_days):
    """Even when the first month's own rows are sealed: two months later the quarter still has it."""
    february = "C3,Seller A,Buyer,u1,mine,plant-yard,5500,2026-02,800,600,23,h1\n"
    texts = ROAD_TEXTS | {"contracts.csv": ROAD_TEXTS["contracts.csv"] + february}
    events = sorted(trips(5, days=9.0), key=lambda e: e.t)
    by_day = [[e for e in events if (e.t - T0) // DAY_MS == day] for day in range(9)]
    arrivals = [T0 + (day + 1) * DAY_MS for day in range(9)]
    until_ms = T0 + (10 + later_days) * DAY_MS
    records = road_journal(by_day, arrivals, texts)
    for day in range(10, 10 + later_days, 5):
        at_ms, offset = T0 + day * DAY_MS, records[-1].offset + 1
        records.append(Record(STREAM, offset, at_ms, Frame.heartbeat().encode()))
    told = run_road(records, discovered(), until_ms=until_ms)
    days = told.of("fulfilment").values()
    month = max(r["month"] for r in days)
    report = monthly_report(days, month, rules_of(SITE) | {"quarter": FulfilmentRule("quarter", 90.0, 0.2)})
    lines = {
        f"h1:{line.period}" + (f":{line.seller}" if line.seller else ""): line for line in report.periods
    }
    stored = {key: row for (key, _), row in told.of("fulfilment_period").items()}
    assert set(stored) == set(lines)
    assert len(lines) == 6
    for key, line in lines.items():
        expected = line.model_dump(exclude={"reason", "warned"})
        assert {name: stored[key][name] for name in expected} == expected
        assert stored[key]["warned"] == (None if line.warned is None else int(line.warned))
        assert line.shortfall_p is not None
        assert line.received_kg > 0


@pytest.mark.parametrize(("anew_to_d", "told"), [(-1, True), (29, True), (31, False)])
def test_what_was_settled_before_a_beginning_was_forgotten_stands(anew_to_d, told):
    """A quarter is settled 30 days after its end; what was said of it only until then is to be said anew."""
    end_ms = days_ms("2026-04", "Asia/Shanghai")[0]
    beginning = Beginning(end_ms, anew_to=7, anew_to_ms=end_ms + anew_to_d * DAY_MS)
    item = newest("A", "2026-03", received_kg=None, expected_kg=None, reason="forgotten")
    entity = Entity("2026-Q1", [item], SITE, "haul", end_ms + 40 * DAY_MS, 0, beginning)
    assert bool(list(fulfilment_period.function(entity))) is told
