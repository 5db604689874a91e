"""`fulfilment`: a contract's days from its papers and trips, and what nobody registered."""

import numpy as np
import pytest

from models.anomaly import ANOMALY
from models.frame import Frame, Record
from models.fulfilment import RESIDUALS
from models.site import Contract, Device, Region, Site, Unit
from streams.core.entity_operator import Entity, Item
from streams.core.operator import discovered
from streams.core.pipeline import Pipeline
from streams.operators.fulfilment import SHORTFALL, fulfilment
from streams.operators.weighing import WEIGHED
from tests.support.road import STREAM, Event, Told, road_journal
from tests.support.telemetry import T0 as ROAD_T0

DAY = 86_400_000
T0 = 1_767_196_800_000  # 2026-01-01 in Asia/Shanghai
LATE = 900_000
SITE = Site(
    "s", "S", "Asia/Shanghai", regions={"r": Region("r", "R")}, units={"u": Unit("u", "r", "U")},
    devices={
        "b-m": Device("b-m", "weighbridge", "u", "haul", place="mine"),
        "b-p": Device("b-p", "weighbridge", "u", "haul", place="plant"),
    },
    contracts={
        "C": Contract("C", "Jin", "U", "u", "mine", "plant", "Q", "2026-01", 3_100.0, None, None, "haul")
    },
)  # fmt: skip


def office(t, event, kg):
    values = {
        "ref": f"{event}{t}",
        "event": event,
        "contract": "C",
        **({} if kg is None else {"mass_kg": kg}),
    }
    return Item("office", "o", t, values)


def weighed(t, ticket, step, kg, bridge="b-m", contract="C"):
    device = SITE.devices.get(bridge)
    values = {"ticket": ticket, "step": step, "mass_kg": kg, "contract": contract, "bridge": bridge}
    values["place"] = "" if device is None else device.place
    return Item(WEIGHED, f"{bridge}:{ticket}:{step}", t, values)


def load(n, t, hours=6, kg=100_000, lost=100, received=True):
    """A truck's tickets and its trip."""
    end = t + hours * 3_600_000
    trip = {
        "contract": "C", "origin_ticket": f"O{n}", "loaded_kg": kg, "state": "closed" if received else "open",
    }  # fmt: skip
    items = [weighed(t - 60_000, f"O{n}", "tare", 15e3), weighed(t, f"O{n}", "gross", 15e3 + kg)]
    if received:
        trip |= {"destination_ticket": f"D{n}", "received_kg": kg - lost, "received_ms": end}
        items += [
            weighed(end - 60_000, f"D{n}", "gross", 15e3 + kg - lost, "b-p"),
            weighed(end, f"D{n}", "tare", 15e3, "b-p"),
        ]
    return [*items, Item("trip", f"O{n}", t, trip)]


def rows(items, now, name="C", stream="haul"):
    ordered = sorted(items, key=lambda i: i.order)
    return list(fulfilment.function(Entity(name, ordered, SITE, stream, now, 0)))


def days(items, now, **more):
    found = [r for r in rows(items, now, **more) if r.measurement == "fulfilment"]
    return {(r.start_ms - T0) // DAY: r for r in found}


def month(a_day):
    items = [office(T0 + 1, "release", 3_100_000.0)]
    for day in range(31):
        for n in range(a_day):
            items += load(f"{day}-{n}", T0 + day * DAY + (n + 1) * 3_600_000)
    return items


def test_a_day_is_the_months_sums_up_to_its_end_and_to_now_while_it_is_open():
    told = days(month(1), T0 + 2 * DAY + 4 * 3_600_000)
    assert list(told) == [0, 1, 2]
    assert [told[n].fields["loaded_kg"] for n in told] == [100_000, 200_000, 300_000]
    assert [told[n].fields["received_kg"] for n in told] == [99_900, 199_800, 199_800]
    assert [told[n].fields["in_transit_kg"] for n in told] == [0, 0, 100_000]
    assert [told[n].fields["lost_kg"] for n in told] == [100, 200, 200]
    assert all(told[n].fields[name] == 0 for n in told for name in RESIDUALS)
    assert told[1].settles_ms == T0 + 2 * DAY + LATE


def test_what_is_due_by_now_grows_with_the_hours_though_no_paper_comes():
    beat = Frame.heartbeat().encode()
    release = Event("desk", 1, ROAD_T0, {"ref": "R", "event": "release", "contract": "C1", "mass_kg": 5e5})
    records = road_journal([[release]], [ROAD_T0 + 500])
    records += [Record(STREAM, 2 + n, ROAD_T0 + n * 600_000, beat) for n in range(1, 40)]
    pipeline, due = Pipeline(STREAM, discovered(), provisional_every_ms=600_000), []
    for record in records:
        rows = Told()
        rows.take(pipeline.step(record))
        due += [r["planned_to_date_kg"] for (key, _), r in rows.of("fulfilment").items() if key[:2] == "C1"]
    hours = (ROAD_T0 - T0) / 3_600_000 + np.arange(7)
    assert due[-6:] == pytest.approx(1e6 / 744 * hours[1:], abs=300)
    assert len(due) <= 9, "a row an hour is enough"


def test_after_its_month_a_contract_is_not_computed_every_hour():
    items = [office(T0 + 1, "release", 3_100_000.0), *load(1, T0 + 30 * DAY)]
    for now, again in ((T0 + 30 * DAY + 5, 3_600_000 - 5), (T0 + 33 * DAY + 5, DAY - 5)):
        wakes = [t for r in rows(items, now) for t in (r.again_ms, r.settles_ms) if t is not None and t > now]
        assert min(wakes) - now in {again, LATE - 5}
        assert min(w for w in wakes if w != now + LATE - 5) == now + again


def test_settled_days_do_not_depend_on_now():
    items = month(1)
    early, late = days(items, T0 + 9 * DAY + LATE), days(items, T0 + 40 * DAY)
    for n in range(9):
        assert early[n] == late[n]


def test_an_open_trip_is_in_transit_and_a_phantom_ticket_shows_as_a_residual():
    items = [office(T0 + 1, "release", 1e6), *load(1, T0 + 3_600_000, received=False)]
    assert days(items, T0 + DAY)[0].fields["in_transit_kg"] == 100_000
    items += [weighed(T0 + 5, "F", "tare", 15e3), weighed(T0 + 6, "F", "gross", 45e3)]
    assert days(items, T0 + DAY)[0].fields["transit_residual_kg"] == 30_000


def test_a_bad_paper_is_counted_and_named_and_in_no_sum():
    items = [
        office(T0 + 1, "release", 1e6), office(T0 + 2, "release", -5.0), office(T0 + 3, "settle", None),
        weighed(T0 + 4, "N", "tare", 45e3), weighed(T0 + 5, "N", "gross", 15e3),
    ]  # fmt: skip
    fields = days(items, T0 + DAY)[0].fields
    assert (fields["released_kg"], fields["loaded_kg"], fields["refused"]) == (1_000_000, 0, 3)
    assert "N: net_not_positive" in fields["refusals"]


def test_papers_of_a_contract_that_nobody_registered_are_seen_and_in_no_sum():
    items = [
        weighed(T0 + 4, "X1", "gross", 45e3, contract="X"),
        weighed(T0 + DAY, "X2", "gross", 45e3, contract="X"),
    ]
    told = rows(items, T0 + 2 * DAY, name="X")
    assert [(r.key, r.reason, dict(r.fields)) for r in told] == [
        ("X:2026-01", "unknown_contract", {"refused": 1, "contract": "X"}),
        ("X:2026-01", "unknown_contract", {"refused": 1, "contract": "X"}),
    ]  # fmt: skip


def test_only_the_contracts_own_stream_tells_of_it():
    assert rows(month(1), T0 + 5 * DAY, stream="u") == []


@pytest.mark.parametrize(("a_day", "short"), [(1, False), (0, True)])
def test_a_likely_shortfall_is_an_anomaly_with_its_evidence(a_day, short):
    items = (
        month(1)
        if a_day
        else month(0) + [i for d in range(0, 31, 3) for i in load(d, T0 + d * DAY + DAY // 2)]
    )
    now = T0 + 20 * DAY
    found = [r for r in rows(items, now) if r.measurement == ANOMALY]
    assert bool(found) == short
    last = days(items, now)[19].fields
    assert (last["shortfall_p"] > 0.9) == short
    assert (last["forecast_pct"] > 95.0) != short
    if short:
        assert found[0].fields["code"] == SHORTFALL
        assert found[0].fields["subject"] == "contract:C"


def test_a_contract_of_which_no_paper_came_yet_is_not_said_to_fall_short():
    assert not [r for r in rows([], T0 + 27 * DAY) if r.measurement == ANOMALY]
    late = [i for d in range(20, 31) for i in load(d, T0 + d * DAY + DAY // 2)]  # it began on the 21st
    for day, told in ((21, False), (24, False), (27, True)):
        found = [
            r
            for r in rows([i for i in late if i.t < T0 + day * DAY], T0 + day * DAY)
            if r.measurement == ANOMALY
        ]
        assert bool(found) == told, day
    assert [r.fields["code"] for r in rows([], T0 + 32 * DAY) if r.measurement == ANOMALY] == [SHORTFALL]


def test_rows_go_on_after_the_month_until_all_is_settled():
    items = month(1)
    assert max(days(items, T0 + 45 * DAY)) == 45
    settled = [*items, office(T0 + 33 * DAY + 1, "settle", 31 * 99_900.0)]
    assert max(days(settled, T0 + 45 * DAY)) == 33
