"""`fuel_heat`: the yard's books, what they last for, and what is said where a term is missing."""

import csv
import os
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from models.coal_yard import misses_closure
from models.site import Contract, Device, Network, Region, Site, Unit
from simulator.case import parse
from simulator.simulate import run
from streams.core.entity_operator import Entity, Item
from streams.operators.fuel_heat import fuel_heat
from tests.support.coal_streams import YARD_CASE, replayed

RECORDINGS = os.environ.get("HEARTHLINE_RECORDINGS")
DAY = 86_400_000
HALF = 1_800_000
T0 = 1_767_196_800_000  # 2026-01-01 in Asia/Shanghai
CONTRACT = Contract("C", "Jin", "U", "u", "mine", "yard", "Q", "2026-01", 3_100.0, 600.0, 20.0, "haul", 60.0)
SITE = Site(
    "s", "S", "Asia/Shanghai", regions={"r": Region("r", "R")}, units={"u": Unit("u", "r", "U", 100.0)},
    networks={"n": Network("n", "u", "N", season_c=-6.0)},
    devices={
        "p": Device("p", "plant", "u", "u", "n"),
        "y": Device("y", "yard", "u", "u"),
        "o": Device("o", "office", "u", "u"),
        "b": Device("b", "weighbridge", "u", "haul", place="yard"),
    },
    contracts={"C": CONTRACT},
)  # fmt: skip


def survey(t, stock_t):
    return Item("office", "o", t, {"event": "survey", "ref": f"S{t}", "stock_t": stock_t})


def gauge(t, stock_t):
    return Item("yard", "y", t, {"stock_t": stock_t})


def burning(days, kg=1_000.0, gj=16.0, from_ms=T0):
    """Half hours of coal, and the quarters of heat in them."""
    items = []
    for n in range(days * 48):
        t = from_ms + n * HALF
        items.append(Item("fuel_burnt", "p", t, {"burnt_kg": kg, "window_ms": HALF, "coverage": 1.0}))
        items += [
            Item("device_heat", "p", t + q * HALF // 2, {"heat_gj": gj / 2, "window_ms": HALF // 2, "coverage": 1.0})
            for q in range(2)
        ]  # fmt: skip
    return items


def came(t, kg=30_000.0, hours=5.0, q=None, **more):
    """A trip that was tipped at `t`."""
    values = {
        "unit": "u", "contract": "C", "state": "closed", "loaded_kg": kg, "received_kg": kg, "received_ms": t,
        "departed": t - round(hours * 3_600_000), **({} if q is None else {"q_mj_kg": q}), **more,
    }  # fmt: skip
    return Item("trip", f"T{t}", t - round(hours * 3_600_000), values)


def coming(t, eta_h, kg=30_000.0):
    """A trip under way since `t`, to arrive `eta_h` later."""
    etas = {n: round(t + (eta_h + by) * 3_600_000) for n, by in (("eta_p10", -1), ("eta", 0), ("eta_p90", 1))}
    return Item("trip", f"O{t}", t, {"unit": "u", "contract": "C", "state": "open", "loaded_kg": kg, **etas})


def foretold(said_ms, kw, spread=0.1):
    """A network's forecast as said at an instant."""
    return [
        Item("load_forecast", f"n:{h}", said_ms + (h - 1) * 3_600_000,
             {"p10_kw": kw * (1 - spread), "p50_kw": kw, "p90_kw": kw * (1 + spread), "window_ms": 3_600_000})
        for h in (1, 2, 3, 6, 12, 24, 36, 48, 72)
    ]  # fmt: skip


def rows(items, now, site=SITE, stream="u", measurement="fuel_heat"):
    ordered = sorted(items, key=lambda i: i.order)
    told = fuel_heat.function(Entity("u", ordered, site, stream, now, 0))
    return {(r.start_ms - T0) // DAY: r for r in told if r.measurement == measurement}


def day(items, n, now=None, **more):
    """Fields of a day that has ended, and its reason."""
    row = rows(items, T0 + (n + 1) * DAY if now is None else now, **more)[n]
    return {k: v for k, v in row.fields.items() if not (v is None or v != v)}, row.reason  # noqa: PLR0124  NaN


def test_stock_is_what_was_surveyed_and_came_less_what_was_burnt():
    items = [survey(T0 + HALF, 1_000.0), *burning(2), came(T0 + DAY // 2), came(T0 + DAY + 1)]
    first, second = day(items, 0)[0], day(items, 1)[0]
    assert first["stock_t"] == pytest.approx(
        1_000.0 + 30.0 - 47.0
    )  # the first half hour was before the survey
    assert second["stock_t"] == pytest.approx(first["stock_t"] + 30.0 - 48.0)
    assert (second["received_t"], second["burnt_t"], second["heat_gj"]) == (30.0, 48.0, 48 * 16.0)
    assert second["kg_per_gj"] == pytest.approx(62.5)
    assert second["efficiency_pct"] == pytest.approx(80.0)  # of 20 MJ/kg, as contracts say


def test_a_survey_sets_the_books_right_and_says_what_they_missed_and_how_sure_that_is():
    items = [survey(T0 + HALF, 1_000.0), *burning(2), survey(T0 + 2 * DAY - HALF, 900.0)]
    told = day(items, 1)[0]
    assert told["stock_residual_t"] == pytest.approx(1_000.0 - 94.0 - 900.0)
    assert told["stock_residual_u_t"] == pytest.approx(2.0 * np.hypot(10.0, 9.0), rel=0.01)
    assert told["stock_t"] == pytest.approx(900.0 - 1.0)
    late = day([*items[:1], *burning(2)], 1)[0]
    assert "stock_residual_t" not in late, "nothing was measured that day"


def test_days_left_follow_recent_burn_then_the_signature_then_the_forecast():
    made_kw = 16.0 / 1_800.0 * 1e6
    items = [survey(T0, 1_000.0), *burning(6)]
    recent = day(items, 5)[0]
    stock_gj = recent["stock_t"] * 20.0 * 0.8
    assert recent["method"] == "recent"
    assert recent["heat_days"] == pytest.approx(stock_gj / (made_kw * 0.0864), rel=1e-6)
    assert recent["heat_days_p10"] < recent["heat_days"] < recent["heat_days_p90"]
    learnt = {
        "base_kw": 1_000.0, "slope_kw_k": 500.0, "balance_c": 15.0, "sigma_kw": 300.0, "window_ms": DAY,
    }  # fmt: skip
    items.append(Item("signature", "n", T0 + 4 * DAY, learnt))
    signature = day(items, 5)[0]
    assert signature["method"] == "signature"
    assert signature["heat_days"] == pytest.approx(stock_gj / (11_500.0 * 0.0864), rel=1e-6)
    items += foretold(T0 + 6 * DAY - 4 * 3_600_000, 20_000.0)
    forecast = day(items, 5)[0]
    assert forecast["method"] == "forecast"
    assert forecast["heat_days"] < signature["heat_days"], "the next three days are colder"
    stale = day([*items, *burning(1, from_ms=T0 + 6 * DAY)], 6)[0]
    assert stale["method"] == "signature", "what was said a day ago is no forecast any more"


def test_what_is_on_the_road_prolongs_the_reach_and_the_last_safe_departure():
    ways = [came(T0 + n * 7_200_000 + 1) for n in range(12)]
    items = [survey(T0, 600.0), *burning(6), *ways]
    alone = day(items, 5)[0]
    loaded = day([*items, *(coming(T0 + 6 * DAY - 3_600_000 - n, 6) for n in range(8))], 5)[0]
    assert loaded["road_t"] == 240.0
    assert loaded["reach_days"] > alone["reach_days"] + 4.0
    # Ten of twelve trips tell how long nine of ten take: five hours.
    assert alone["latest_departure"] < T0 + 6 * DAY + alone["reach_days"] * DAY
    assert loaded["latest_departure"] > alone["latest_departure"] + 3 * DAY
    assert 0.0 <= loaded["below_min_p"] <= alone["below_min_p"] <= 1.0
    lost = [came(T0 + 6 * DAY + 5 * 3_600_000)]  # it has arrived since: on that evening it was on the road
    assert day([*items, *lost], 5, now=T0 + 7 * DAY)[0]["road_t"] == 30.0


def test_every_cost_is_of_what_was_paid_for_and_a_supplier_by_himself():
    items = [survey(T0, 1_000.0), *burning(4), came(T0 + DAY, kg=30_000.0, q=18.0, loaded_kg=30_300.0)]
    told = day(items, 3)[0]
    assert told["cost_cny_gj"] == pytest.approx(660.0 * 30.3 * 1e3 / (30_000.0 * 18.0 * 0.8), rel=1e-6)
    site = replace(SITE, contracts={"C": replace(CONTRACT, price_cny_t=None)})
    fields, _ = day(items, 3, site=site)
    assert "cost_cny_gj" not in fields
    assert fields["missing"] == "no_price"


@pytest.mark.parametrize(
    ("items", "reason", "stock_t"),
    [
        ([survey(T0, 1_000.0)], "no_burn", 1_000.0),
        (burning(1), "no_stock", None),
        ([survey(T0, 1_000.0), *burning(1)[:72]], "coverage", 1_000.0),
        ([survey(T0 - 4 * HALF, 1_000.0), *burning(1)], "no_stock", None),
    ],
    ids=["nobody counts coal", "never surveyed", "the counter went silent", "surveyed before it counted"],
)
def test_a_missing_term_is_unknown_with_its_reason(items, reason, stock_t):
    fields, why = day(items, 0)
    assert why == fields["missing"] == reason
    assert fields.get("stock_t") == stock_t
    assert not fields.keys() & {"heat_days", "efficiency_pct", "kg_per_gj", "reach_days", "cost_cny_gj"}


def test_coal_whose_heat_nobody_knows_is_followed_by_mass():
    site = replace(SITE, contracts={"C": replace(CONTRACT, q_ref_mj_kg=None)})
    fields, why = day([survey(T0, 1_000.0), *burning(6)], 5, site=site)
    assert (why, fields["method"]) == ("", "burn")
    assert fields["heat_days"] == pytest.approx(fields["stock_t"] / 48.0)
    assert "no_quality" in fields["missing"].split(";")
    assert "efficiency_pct" not in fields


def test_a_day_of_which_half_the_heat_is_unknown_is_unknown_and_in_no_mean():
    items = [survey(T0, 1_000.0), *burning(5)]
    holes = [i for i in items if not (i.source == "device_heat" and T0 + 2 * DAY <= i.t < T0 + 2.5 * DAY)]
    fields, why = day(holes, 2)
    assert why == "coverage"
    assert "heat_gj" not in fields
    assert "efficiency_pct" not in fields
    assert day(holes, 4)[0]["efficiency_pct"] == pytest.approx(80.0)


def test_the_first_day_has_no_deciles_since_nobody_knows_how_days_scatter():
    fields, _ = day([survey(T0, 1_000.0), *burning(1)], 0)
    assert fields["heat_days"] == pytest.approx(fields["stock_t"] / 48.0)
    assert "heat_days_p10" not in fields
    assert fields["missing"] == "few_days;no_receipts"


def test_only_the_stream_of_the_plants_tells_of_it_and_an_open_day_is_told_as_far_as_it_is_known():
    items = [survey(T0, 1_000.0), *burning(1)]
    assert rows(items, T0 + DAY, stream="haul") == {}
    told = rows(items, T0 + DAY + 1_000)
    assert list(told) == [0], "of the new day nothing is known yet"
    told = rows([*items, *burning(1, from_ms=T0 + DAY)[:6]], T0 + DAY + 3 * HALF)
    assert told[1].fields["as_of"] == T0 + DAY + 2 * HALF
    assert told[1].fields["burnt_t"] == 2.0


def test_settled_days_do_not_depend_on_now():
    items = [survey(T0, 1_000.0), *burning(8), *(came(T0 + n * DAY + 5) for n in range(1, 8))]
    early, late = rows(items, T0 + 6 * DAY), rows(items, T0 + 8 * DAY)
    for n in range(4):
        assert repr(early[n]) == repr(late[n])
        assert early[n].settles_ms == T0 + (n + 3) * DAY + 900_000


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    out = tmp_path_factory.mktemp("yard")
    run(parse("case.toml", YARD_CASE, None), out)
    return out


def test_stock_and_days_left_are_those_of_the_simulators_yard(simulated):
    told = replayed(simulated).told.of("fuel_heat")
    yard = pq.read_table(simulated / "truth_yard.parquet").to_pylist()
    burnt = pq.read_table(simulated / "truth_burning.parquet").to_pylist()
    judged = 0
    for (_, start), row in sorted(told.items()):
        if row["status"] != "final":
            continue
        at = row["as_of"]
        true_t = sum(y["true_kg"] for y in yard if y["t_ms"] <= at) / 1e3
        assert row["stock_t"] == pytest.approx(true_t, rel=0.02)
        made = sum(b["heat_gj"] for b in burnt if start < b["t_ms"] <= at)
        assert row["heat_gj"] == pytest.approx(made, rel=0.03)
        gone = np.cumsum([b["fuel_kg"] / 1e3 for b in burnt if b["t_ms"] > at])
        if row["heat_days_p10"] is not None and len(gone) and gone[-1] > true_t:
            true_days = float(np.searchsorted(gone, true_t)) / 96.0
            judged += 1
            assert row["heat_days"] == pytest.approx(true_days, rel=0.2)
            wide = 1.5 * (row["heat_days_p90"] - row["heat_days_p10"])
            assert abs(row["heat_days"] - true_days) < wide
    assert judged >= 3
    assert all(abs(r["efficiency_pct"] - 82.0) < 3.0 for r in told.values() if r["efficiency_pct"])


def _month(name, month, opening, came_kg, burnt_kg, closing):
    """A plant's month as its unit is told: a survey at each end, one receipt, and all the coal."""
    zone = 8 * 3_600_000
    begin, end = (
        round(datetime(2024 + m // 12, m % 12 + 1, 1, tzinfo=UTC).timestamp() * 1000) - zone
        for m in (month - 1, month)
    )
    span = {"window_ms": HALF, "coverage": 1.0}
    items = [
        survey(begin, opening),
        Item("fuel_burnt", "p", begin, {"burnt_kg": 0.0, **span}),
        *([came(begin + DAY, kg=came_kg)] if came_kg else []),
        Item("fuel_burnt", "p", end - HALF, {"burnt_kg": burnt_kg, **span}),
        survey(end, closing),
    ]
    last = fuel_heat.function(Entity("u", items, SITE, "u", end, end - DAY - 1000 * fuel_heat.reach_s))
    told = [r for r in last if r.measurement == "fuel_heat" and r.start_ms == end - DAY]
    assert len(told) == 1, (name, month)
    return told[0].fields["stock_residual_t"]


@pytest.mark.skipif(not RECORDINGS, reason="HEARTHLINE_RECORDINGS is not set: see docs/recordings.md")
def test_plant_months_that_miss_closure_are_those_of_a_plain_computation():
    path = Path(RECORDINGS or "") / "coal_stock" / "plant_months_2024.csv"
    with path.open(encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    of = defaultdict(dict)
    for r in table:
        of[r["Name of TPS"]][int(r["Month"])] = {
            c: Fraction(r[c]) for c in ("Closing Stocks", "Total", "Total Consumption")
        }
    plain, ours = set(), set()
    for name, months in of.items():
        for month, r in months.items():
            if month - 1 not in months:
                continue
            opening, burnt = months[month - 1]["Closing Stocks"], r["Total Consumption"]
            if abs(opening + r["Total"] - burnt - r["Closing Stocks"]) * 200 > burnt:
                plain.add((name, month))
            # The table has thousands of tonnes; those are tonnes here.
            residual = _month(
                name,
                month,
                float(opening),
                float(r["Total"] * 1000),
                float(burnt * 1000),
                float(r["Closing Stocks"]),
            )
            if misses_closure(residual, float(burnt)):
                ours.add((name, month))
    assert len(plain) > 100
    assert ours == plain
