"""`contract_quality`: transit loss and heat of a contract month, with how sure they are."""

import numpy as np
import pytest

from models.site import Contract, Region, Site, Unit
from streams.core.entity_operator import Entity, Item
from streams.operators.contract_quality import contract_quality

T0 = 1_767_196_800_000  # 2026-01-01 in Asia/Shanghai
HOUR = 3_600_000
SITE = Site(
    "s", "S", "Asia/Shanghai", regions={"r": Region("r", "R")}, units={"u": Unit("u", "r", "U")},
    contracts={
        "C": Contract("C", "Jin", "U", "u", "mine", "yard", "Q", "2026-01", 3_100.0, None, 21.0, "haul")
    },
)  # fmt: skip


def load(n, loss=0.4, short=0.0, flags=None, **more):
    sent = 21.0 + 0.01 * (n % 7)
    values = {
        "contract": "C", "loaded_kg": 31_000, "received_kg": 30_900, "received_ms": T0 + (n + 5) * HOUR,
        "loss_pct": loss, "flags": flags, "loaded_moisture_pct": 12.0, "received_moisture_pct": 12.0,
        "loaded_q_mj_kg": sent, "q_mj_kg": sent * (1 - short / 100), **more,
    }  # fmt: skip
    return Item("trip", f"T{n}", T0 + n * HOUR, {k: v for k, v in values.items() if v is not None})


def row(items, stream="haul"):
    told = list(contract_quality.function(Entity("C", items, SITE, stream, T0 + 700 * HOUR, 0)))
    assert len(told) <= 1
    return told[0].fields if told else {}


def test_the_mean_loss_has_its_uncertainty_and_says_how_many_trucks_tell_it_from_the_tolerance():
    draws = np.random.default_rng(3).normal(0.5, 0.8, 400)
    told = row([load(n, loss) for n, loss in enumerate(draws)])
    assert told["trucks"] == 400
    assert told["loss_pct"] == pytest.approx(0.5, abs=0.12)
    assert told["loss_u_pct"] == pytest.approx(2.0 * np.hypot(0.04, 0.1), rel=0.05)
    assert told["trucks_needed"] == pytest.approx((3.0 * 0.8 / 0.3) ** 2, rel=0.6)


def test_coal_that_lacks_heat_shows_by_lots_and_against_the_contract():
    told = row([load(n, short=6.0) for n in range(40)])
    assert told["lots"] == 7
    assert told["heat_short_pct"] - told["heat_short_u_pct"] > 4.0
    assert told["lots_needed"] == 5
    assert told["paper_pct"] == pytest.approx(-6.0, abs=0.5)


def test_doubtful_loads_are_counted_and_in_no_mean_and_nothing_is_made_up():
    told = row([load(1), load(2, loss=40.0, flags="weighed_twice"), load(3, loss=None)])
    assert (told["trucks"], told["doubtful"]) == (1, 2)
    assert told["loss_pct"] == 0.4
    assert np.isnan(told["loss_u_pct"])
    assert told["trucks_needed"] is None
    bare = row([load(1, q_mj_kg=None, received_moisture_pct=None, flags="no_moisture")])
    assert np.isnan(bare["q_mj_kg"])
    assert np.isnan(bare["heat_short_pct"])
    assert bare["lots"] == 0


def test_what_has_not_arrived_or_is_of_another_month_or_stream_is_not_judged():
    assert row([load(1, received_ms=None)]) == {}
    assert row([load(-3)]) == {}
    assert row([load(1)], stream="u") == {}
