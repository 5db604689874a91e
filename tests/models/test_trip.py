"""Trips are put together as they were driven; losses have the uncertainty of their formula."""

from __future__ import annotations

from dataclasses import astuple, replace

import numpy as np
import pytest

from models.lots import Assay, assay_of, dry_mj_kg
from models.site import Place
from models.trip import LONGEST_MS, distance_m, lane_ms, match, too_fast, transit_loss, trucks_needed
from models.weighing import Ticket, Weighing
from simulator.logistics.coal import received_mj_kg

H_MS = 3_600_000


def ticket(name: str, end, at_ms: int, net_kg: float | None = 30_000.0, contract: str = "C1") -> Ticket:
    tare = Weighing(at_ms - 600_000, "b", name, "tare", 15_000.0, contract=contract)
    gross = Weighing(
        at_ms, "b", name, "gross", None if net_kg is None else 15_000.0 + net_kg, contract=contract
    )
    return Ticket(name, end, tare, gross, ())


def usual(_load, _receipt) -> float:
    return 6.0 * H_MS


def test_a_missing_receipt_does_not_shift_the_others() -> None:
    loads = [ticket(f"M{n}", "origin", n * 16 * H_MS, 30_000.0 + 100 * n) for n in range(6)]
    receipts = [
        ticket(f"Y{n}", "destination", n * 16 * H_MS + 6 * H_MS, 29_950.0 + 100 * n) for n in range(6)
    ]
    del receipts[2]
    found = match(loads, receipts, usual)
    assert {loads[i].ticket: receipts[j].ticket for i, j in found.items()} == {
        f"M{n}": f"Y{n}" for n in (0, 1, 3, 4, 5)
    }
    del loads[4]
    found = match(loads, receipts, usual)
    assert {loads[i].ticket: receipts[j].ticket for i, j in found.items()} == {
        f"M{n}": f"Y{n}" for n in (0, 1, 3, 5)
    }


def test_mass_decides_where_time_does_not() -> None:
    loads = [ticket("A", "origin", 0, 30_000.0), ticket("B", "origin", H_MS, 20_000.0)]
    receipts = [
        ticket("b", "destination", 7 * H_MS, 19_900.0),
        ticket("a", "destination", 7 * H_MS + 1, 29_900.0),
    ]
    assert match(loads, receipts, usual) == {0: 1, 1: 0}


def test_nothing_before_its_load_nor_five_days_after_is_its_receipt() -> None:
    load = [ticket("A", "origin", 10 * H_MS)]
    for at_ms in (9 * H_MS, 10 * H_MS, 10 * H_MS + LONGEST_MS + 1):
        receipts = [ticket("a", "destination", at_ms)]
        assert match(load, receipts, usual) == {}
    assert match(load, [], usual) == match([], load, usual) == {}


def test_a_mass_that_nobody_knows_leaves_the_time_to_decide() -> None:
    loads = [ticket("A", "origin", 0, None)]
    receipts = [ticket("a", "destination", 6 * H_MS), ticket("z", "destination", 40 * H_MS)]
    assert match(loads, receipts, usual) == {0: 0}


def test_the_loss_is_that_of_the_dry_coal_and_its_parts_add_up() -> None:
    for moist in ((10.0, 10.0), (12.0, 9.5), (8.0, 11.0)):
        loss = transit_loss(31_000.0, 30_500.0, *moist)
        dry_lost = 1.0 - 30_500.0 * (100.0 - moist[1]) / (31_000.0 * (100.0 - moist[0]))
        assert loss.share == pytest.approx(dry_lost)
        assert loss.real_kg + loss.moisture_kg == pytest.approx(500.0)
    assert transit_loss(30_000.0, 29_700.0).share == pytest.approx(0.01)
    assert transit_loss(30_000.0, 29_700.0).share_u > transit_loss(30_000.0, 29_700.0, 10.0, 10.0).share_u


@pytest.mark.parametrize(
    "odd", [(0.0, 100.0), (-5.0, 100.0), (30_000.0, 29_000.0, 100.0, 10.0), (30_000.0, 29_000.0, 10.0, 130.0),
            (30_000.0, 29_000.0, -1.0), (float("nan"), 29_000.0)],
)  # fmt: skip
def test_of_what_cannot_be_no_loss_is_told(odd) -> None:
    assert np.isnan(astuple(transit_loss(*odd))).all()
    assert np.isnan([dry_mj_kg(20.0, 100.0), dry_mj_kg(20.0, -1.0)]).all()


def test_the_uncertainty_is_the_scatter_of_the_formula() -> None:
    rng = np.random.default_rng(5)
    n = 20_000
    moist = rng.normal(14.0, 0.5, (2, n))
    kg = rng.normal([[30_000.0], [29_800.0]], 20.0, (2, n))
    shares = 1.0 - kg[1] * (100.0 - moist[1]) / (kg[0] * (100.0 - moist[0]))
    told = transit_loss(30_000.0, 29_800.0, 14.0, 14.0).share_u / 2.0
    assert told == pytest.approx(float(np.std(shares)), rel=0.03)
    assert trucks_needed(0.004, told) == pytest.approx(np.ceil((3.0 * told / 0.004) ** 2))
    assert trucks_needed(0.0, told) == trucks_needed(-0.1, told) == float("inf")


def test_lanes_by_distance_and_what_no_truck_can_do() -> None:
    a = Place("a", None, "mine", "", 39.0, 110.0, 500.0)
    b = replace(a, place="b", kind="plant", lat_deg=41.0)
    assert distance_m(a, b) == pytest.approx(222_400, rel=1e-3)
    assert 4 * H_MS < lane_ms(a, b) < 9 * H_MS
    assert too_fast(a, b, 2.0 * H_MS)
    assert not too_fast(a, b, 3.0 * H_MS)
    assert np.isnan(lane_ms(None, b))
    assert not too_fast(None, b, 1.0)


def test_the_result_that_stands_for_a_load() -> None:
    day = 1_767_225_600_000  # 2026-01-01 08:00 in Shanghai
    assays = [
        Assay(day + 25 * H_MS, "C1-260101", "C1", "origin", "", 10.0, 22.0),
        Assay(day + 49 * H_MS, "C1-260102", "C1", "origin", "", 11.0, 22.0),
        Assay(day + 26 * H_MS, "C1-260101", "C1", "destination", "", 12.0, 22.0),
        Assay(day + 5 * H_MS, "T7", "C1", "origin", "T7", 13.0, 22.0),
        Assay(day + 9 * H_MS, "C2-T1001", "C2", "origin", "", 14.0, 22.0),
    ]

    def moisture(name: str, contract: str, end: str, at_ms: int) -> float | None:
        found = assay_of(name, contract, end, at_ms, assays, "Asia/Shanghai")
        return found.moisture_pct if found else None

    assert moisture("T1", "C1", "origin", day) == 10.0
    assert moisture("T1", "C1", "origin", day + 15 * H_MS) == 10.0
    assert moisture("T1", "C1", "origin", day + 16 * H_MS) == 11.0, "a day later in Shanghai"
    assert moisture("T1", "C1", "destination", day) == 12.0
    assert moisture("T7", "C1", "origin", day) == 13.0
    assert moisture("T1", "C2", "origin", day) == 14.0, "no date in its name, but soon after"
    assert moisture("T1", "C2", "origin", day + 10 * H_MS) is None
    assert moisture("T1", "C3", "origin", day) is None


def test_dry_heat_is_the_inverse_of_the_one_as_received() -> None:
    for moisture in (0.0, 8.0, 20.0):
        assert dry_mj_kg(received_mj_kg(25.0, moisture), moisture) == pytest.approx(25.0)
