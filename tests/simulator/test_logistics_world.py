import json
from collections import Counter, defaultdict
from itertools import pairwise

import numpy as np
import pytest

from simulator.logistics.books import ACCOUNTS
from simulator.logistics.kinds import KINDS, Wrong
from simulator.logistics.made_up import Size, made_up
from simulator.logistics.plan import Disorder, Plan
from simulator.logistics.post import Post
from simulator.logistics.world import World

START = 1_767_196_800_000  # 2026-01-01 in China
HOUR = 3_600_000
SIZE = Size(mines=2, plants=2, stations=1, trucks=24, contracts=5, lane_km=(40.0, 90.0), wagons=12)
PLATES = [f"仿A{10_000 + n * 17:05d}" for n in range(1, 25)]


def wrong(kind, place, size=1.0, **more):
    return Wrong(kind, place, size, START, START + 10**9, START, **more)


def world(hours, *wrongs, seed=3, size=SIZE, **plan):
    site, terms, trains = made_up(seed, START, START + hours * HOUR, size)
    made = World(
        site,
        Plan(places=terms, trains=trains, wrongs=wrongs, spread_h=4.0, **plan),
        seed,
        START,
        START + hours * HOUR,
    )
    made.advance(START + hours * HOUR)
    return made


@pytest.fixture(scope="module")
def week():
    return world(
        16 * 24, wrong("theft", PLATES[0], 2_000.0), wrong("impossible_time", PLATES[1], 0.3),
        disorder=Disorder(late_share=0.02, missing_share=0.02), settle_days=5, reject_share=0.05, survey_days=3,
    )  # fmt: skip


def balances(flows, contract, t_ms, *, paper):
    accounts = dict.fromkeys(ACCOUNTS, 0)
    for f in flows:
        if f.contract == contract and (f.paper_ms if paper else f.t_ms) <= t_ms:
            kg = f.paper_kg if paper else f.true_kg
            accounts[f.source] -= kg
            accounts[f.target] += kg
    return accounts


@pytest.mark.parametrize("paper", [True, False])
def test_funnel_closes_at_every_instant_against_trips_and_office_events(week, paper):
    rng = np.random.default_rng(7)
    end = START + 16 * 24 * HOUR
    released, settled, rejected = (
        [
            (f.t_ms, f.contract, f.paper_kg if paper else f.true_kg)
            for f in week.books.flows
            if f.event == event
        ]
        for event in ("release", "settle", "reject")
    )
    assert released
    assert settled
    assert rejected
    for t in rng.integers(START, end, 60).tolist():
        for name, contract in week.site.contracts.items():
            at = balances(week.books.flows, name, t, paper=paper)
            at["unreleased"] += round(contract.planned_t * 1000)
            trips = [x for x in week.trips if x.contract.contract == name and x.gross_origin_ms <= t]
            done = [
                x for x in trips
                if x.tare_destination_ms and (x.shown_tare_ms if paper else x.tare_destination_ms) <= t
            ]  # fmt: skip
            loaded, received = (
                (lambda x: x.loaded_kg, lambda x: x.received_kg)
                if paper
                else (lambda x: x.load.loaded_kg, lambda x: x.load.received_kg)
            )
            is_released = sum(kg for at_ms, c, kg in released if c == name and at_ms <= t)
            is_loaded, is_received = sum(map(loaded, trips)), sum(map(received, done))
            is_lost = sum(loaded(x) - received(x) for x in done)
            arrived = {id(x) for x in done}
            in_transit = sum(loaded(x) for x in trips if id(x) not in arrived)
            assert round(contract.planned_t * 1000) == is_released + at["unreleased"]
            assert is_released == is_loaded + at["unloaded"] + at["cancelled"]
            assert is_loaded == is_received + is_lost + in_transit
            assert (at["lost"], at["in_transit"]) == (is_lost, in_transit)
            assert is_received == at["settled"] + at["unsettled"] + at["rejected"]
            assert at["settled"] == sum(kg for at_ms, c, kg in settled if c == name and at_ms <= t)
            assert at["unreleased"] >= 0
            if paper:
                assert min(at["unloaded"], at["in_transit"], at["unsettled"]) >= 0


def test_yards_close_against_receipts_burning_and_surveys(week):
    for unit, yard in week.yards.by_unit.items():
        for t in np.random.default_rng(8).integers(START, week.now_s * 1000, 40).tolist():
            rows = [y for y in week.books.yards if y.unit == unit and y.t_ms <= t]
            opening = sum(y.true_kg for y in rows if y.event == "opening")
            trips = [
                x for x in week.trips
                if x.contract.unit == unit and x.tare_destination_ms and x.tare_destination_ms <= t
            ]  # fmt: skip
            burnt = int(sum(b.fuel_kg for b in week.yards.burning if b.unit == unit and b.t_ms <= t))
            stock = sum(y.true_kg for y in rows)
            assert stock == opening + sum(x.load.received_kg for x in trips) - burnt
            booked = sum(y.paper_kg for y in rows)
            adjusted = sum(y.paper_kg for y in rows if y.event == "survey")
            assert booked == opening + sum(x.received_kg for x in trips) - burnt + adjusted
        surveys = [y for y in week.books.yards if y.unit == unit and y.event == "survey"]
        assert len(surveys) == 6
        assert yard.pile
        assert sum(kg for kg, _ in yard.pile) == pytest.approx(week.books.stock_kg[unit], abs=2.0)


def test_what_offices_send_is_what_the_books_have():
    fresh = world(13 * 24, settle_days=5, reject_share=0.05)
    told = [e for e in fresh.post.due(START + 13 * 24 * HOUR) if e.device == "office-coal"]
    booked = {f.ref: f for f in fresh.books.flows if f.event in ("release", "cancel", "settle", "reject")}
    assert len(told) == len(booked)
    assert {f.event for f in booked.values()} == {"release", "settle", "reject"}
    for event in told:
        flow = booked[event.values["ref"]]
        assert (flow.t_ms, flow.contract, flow.event) == (
            event.t_ms,
            event.values["contract"],
            event.values["event"],
        )
        assert flow.paper_kg == event.values["mass_kg"]


def test_a_load_keeps_its_dry_coal_but_for_what_is_spilt_or_taken(week):
    assert len(week.trips) > 400
    for trip in week.trips:
        load = trip.load
        assert load.received_kg == load.loaded_kg - load.spilt_kg - load.taken_kg + load.water_kg
        dry = (load.loaded_kg - load.spilt_kg - load.taken_kg) * (100.0 - load.moisture_pct)
        assert load.received_kg * (100.0 - load.arrival_pct) == pytest.approx(dry, rel=1e-9)


def test_no_bridge_holds_two_vehicles_and_every_bay_only_its_own(week):
    by_bridge = defaultdict(list)
    for w in week.weighings:
        by_bridge[w.bridge].append(w.t_ms)
    assert len(by_bridge) == 10  # tare and gross at four places, and two for the trains
    for bridge, times in by_bridge.items():
        assert min(b - a for a, b in pairwise(sorted(times))) >= (25_000 if "rail" in bridge else 90_000) - 1
    loads = sorted((s.start_ms, s.until_ms) for s in week.stops if s.kind == "load" and s.place == "mine-1")
    ends = [e for _, e in loads]
    bays = week.plan.terms("mine-1").bays
    for n, (begin, _) in enumerate(loads):
        assert sum(end > begin for end in ends[:n]) < bays + 1


def test_tickets_of_a_place_have_their_own_numbers_and_times_of_a_bridge_are_unique(week):
    steps = Counter((w.ticket, w.step) for w in week.weighings)
    assert set(steps.values()) == {1}
    times = Counter((w.bridge, w.paper_ms) for w in week.weighings)
    assert set(times.values()) == {1}


def test_trucks_are_where_their_tickets_say_and_never_faster_than_a_truck():
    made = world(30)
    places = made.site.places
    numbers = {t.vehicle.plate: t.number for t in made.trucks}
    checked = 0
    for w in made.weighings:
        if w.vehicle not in numbers or w.t_ms > made.now_s * 1000:
            continue
        where = made.tracks.where(np.array([numbers[w.vehicle]]), np.array([w.t_ms / 1000.0]))
        place = places[made.site.devices[w.bridge].place]
        north = np.radians(where.lat_deg[0] - place.lat_deg) * 6_371_000
        east = np.radians(where.lon_deg[0] - place.lon_deg) * 6_371_000 * np.cos(np.radians(place.lat_deg))
        assert np.hypot(north, east) < place.radius_m
        assert where.speed_m_s[0] == 0.0
        checked += 1
    assert checked > 100
    t = np.arange(START / 1000.0, made.now_s, 30.0)
    for truck in range(5):
        where = made.tracks.where(np.full(len(t), truck), t)
        assert where.speed_m_s.max() < 30.0
        north = np.radians(np.diff(where.lat_deg)) * 6_371_000
        east = np.radians(np.diff(where.lon_deg)) * 6_371_000 * np.cos(np.radians(where.lat_deg[1:]))
        assert np.hypot(north, east).max() < 30.0 * 30.0
    for trip in made.trips:
        if trip.road is not None and trip.tare_destination_ms:
            assert trip.gross_origin_ms < trip.departed_ms < trip.half_way_ms < trip.arrived_ms
            assert trip.arrived_ms < trip.gross_destination_ms < trip.tare_destination_ms


def test_drivers_rest_and_traffic_is_slower_at_the_rush_hour():
    far = Size(mines=1, plants=1, trucks=8, contracts=1, lane_km=(500.0, 520.0))
    made = world(72, size=far)
    rests = [s for s in made.stops if s.kind == "rest"]
    assert rests
    assert all(s.until_ms - s.start_ms >= 25 * 60_000 for s in rests)
    road = world(1, size=Size(mines=1, plants=1, trucks=1, contracts=1, lane_km=(60.0, 61.0))).roads[0]
    night, rush = (
        road.drive(START / 1000.0 + h * 3600, 8 * 3600.0, 1.0, back=False, rest_after_s=1e9, rests_s=[])[0]
        for h in (0.5, 7.2)
    )
    assert rush[-1] - rush[0] > 1.03 * (night[-1] - night[0])


def test_a_train_is_one_lot_of_wagons_without_boxes(week):
    wagons = [t for t in week.trips if t.road is None]
    assert wagons
    lots = Counter(t.lot for t in wagons)
    assert set(lots.values()) == {12}
    assert all(t.device == "" and t.contract.origin == "station-1" for t in wagons)
    assert all(60_000 < t.loaded_kg < 68_000 for t in wagons)
    results = [r for r in week.lots.results if r.lot in lots]
    assert {r.vehicles for r in results} == {12}
    assert {r.end for r in results} == {"origin", "destination"}


def test_laboratories_err_little_and_origins_say_what_the_certificate_says():
    made = world(96, wrong("short_quality", "仿真矿业1 Simulated Mining 1", 0.06))
    by_seller = defaultdict(list)
    sellers = {c.contract: c.seller for c in made.site.contracts.values()}
    for r in made.lots.results:
        assert abs(r.moisture_pct - r.true_moisture_pct) < 1.5
        by_seller[sellers[r.contract], r.end].append(r.q_net_ar_mj_kg / r.true_q_net_ar_mj_kg)
    cheat = "仿真矿业1 Simulated Mining 1"
    assert np.mean(by_seller[cheat, "origin"]) == pytest.approx(1.0 / 0.94, abs=0.01)
    assert np.mean(by_seller[cheat, "destination"]) == pytest.approx(1.0, abs=0.01)
    for (seller, _), ratios in by_seller.items():
        if seller != cheat:
            assert np.mean(ratios) == pytest.approx(1.0, abs=0.01)


def of(made, kind):
    touched = [i for i in made.wrongs.touched if i.kind == kind]
    assert touched
    code = KINDS[kind].code
    assert all(i.code == code and i.subject for i in touched)
    trips = {t.number: t for t in made.trips}
    return touched, [trips[i.trip] for i in touched if i.trip in trips]


def closed(trips):
    return [t for t in trips if t.tare_destination_ms]


def test_theft_is_missing_at_the_end_and_stops_by_the_road():
    made = world(48, wrong("theft", PLATES[2], 2_500.0))
    _, trips = of(made, "theft")
    for trip in closed(trips):
        assert trip.loaded_kg - trip.received_kg > 2_000
    others = [t for t in closed(made.trips) if not t.wrongs and t.road]
    assert max(t.loaded_kg - t.received_kg for t in others) < 1_500
    stops = [s for s in made.stops if s.kind == "theft"]
    assert {s.plate for s in stops} == {PLATES[2]}
    assert all(s.place == "" for s in stops)


def test_an_inflated_tare_hides_coal_that_never_arrives():
    made = world(48, wrong("tare_inflated", PLATES[2], 1_200.0))
    _, trips = of(made, "tare_inflated")
    tares = defaultdict(list)
    for w in made.weighings:
        if w.vehicle == PLATES[2] and w.step == "tare":
            tares["mine" in w.bridge].append(w.shown_kg)
    assert np.mean(tares[True]) - np.mean(tares[False]) == pytest.approx(1_200.0, abs=150.0)
    for trip in closed(trips):
        assert trip.load.taken_kg == 1_200
        assert abs(trip.loaded_kg - trip.received_kg) < 1_000


def test_a_tare_drifts_by_its_size_a_day():
    made = world(96, wrong("tare_drift", PLATES[2], 150.0))
    of(made, "tare_drift")
    tares = [(w.t_ms, w.shown_kg) for w in made.weighings if w.vehicle == PLATES[2] and w.step == "tare"]
    slope = np.polyfit([(t - START) / 86_400_000 for t, _ in tares], [kg for _, kg in tares], 1)[0]
    assert slope == pytest.approx(150.0, abs=40.0)


def test_a_swapped_plate_is_on_the_ticket_and_its_tag_is_not():
    made = world(48, wrong("plate_swapped", PLATES[2], other=PLATES[3]))
    of(made, "plate_swapped")
    tags = {v.plate: v.tag for v in made.site.vehicles.values()}
    shown = [w for w in made.weighings if w.vehicle == PLATES[2]]
    assert shown
    assert all(w.plate == PLATES[3] and w.tag == tags[PLATES[2]] for w in shown)


def test_repeated_weights_repeat_and_hide_what_is_missing():
    made = world(48, wrong("repeated_weight", PLATES[2], 3_000.0))
    _, trips = of(made, "repeated_weight")
    done = closed(trips)
    assert len({t.received_kg for t in done}) == 1
    assert all(t.load.received_kg < t.received_kg - 1_500 for t in done)


def test_phantom_tickets_have_no_truck_and_stay_out_of_the_books():
    made = world(72, wrong("phantom_ticket", "C01-2026-01", 4.0))
    touched, _ = of(made, "phantom_ticket")
    assert 6 <= len(touched) <= 36
    assert all(i.subject == f"ticket:{i.ticket}" for i in touched)
    forged = {w.ticket for w in made.weighings if not w.vehicle}
    assert forged == {i.ticket for i in touched}
    assert not forged & {f.ref for f in made.books.flows}


def test_an_overload_is_over_the_rated_mass():
    made = world(48, wrong("overload", PLATES[2], 4_000.0))
    of(made, "overload")
    gross = [
        w.shown_kg
        for w in made.weighings
        if w.vehicle == PLATES[2] and w.step == "gross" and "mine" in w.bridge
    ]
    assert np.mean(gross) == pytest.approx(53_000.0, abs=120.0)
    assert max(w.shown_kg for w in made.weighings if w.vehicle in PLATES and w.vehicle != PLATES[2]) < 49_200


def test_an_impossible_time_is_on_paper_only():
    made = world(48, wrong("impossible_time", PLATES[2], 0.25))
    _, trips = of(made, "impossible_time")
    for trip in closed(trips):
        paper, true = (
            trip.shown_gross_ms - trip.gross_origin_ms,
            trip.gross_destination_ms - trip.gross_origin_ms,
        )
        assert paper == pytest.approx(0.25 * true, abs=2.0)
    late = [w for w in made.weighings if w.vehicle == PLATES[2] and w.paper_ms != w.t_ms]
    assert late


@pytest.mark.parametrize(("kind", "size", "after_h"), [("bridge_drift", 0.002, 72), ("bridge_bias", 0.01, 1)])
def test_a_bridge_drifts(kind, size, after_h):
    made = world(80, wrong(kind, "bridge-plant-yard-1-gross", size))
    ratio = [
        (w.t_ms, w.shown_kg / w.true_kg - 1.0)
        for w in made.weighings
        if w.bridge == "bridge-plant-yard-1-gross"
    ]
    sound = [abs(w.shown_kg / w.true_kg - 1.0) for w in made.weighings if w.bridge == "bridge-mine-1-gross"]
    assert max(sound) < 0.0025
    late = [r for t, r in ratio if t > START + after_h * HOUR]
    assert late
    expected = size * (3.2 if kind == "bridge_drift" else 1.0)
    assert np.mean(late) == pytest.approx(expected, abs=0.0012)


def test_a_route_deviation_is_off_the_lane_and_a_detention_waits():
    made = world(
        48, wrong("route_deviation", PLATES[2], 5_000.0), wrong("detention", "plant-yard-2", 3.0, share=0.5)
    )
    _, trips = of(made, "route_deviation")
    trip = trips[0]
    t = np.linspace(trip.departed_ms / 1000.0, trip.arrived_ms / 1000.0, 400)
    number = next(x.number for x in made.trucks if x.vehicle.plate == PLATES[2])
    where = made.tracks.where(np.full(400, number), t)
    lane_m = [
        np.hypot(
            (trip.road.lat - lat) * 111_195, (trip.road.lon - lon) * 111_195 * np.cos(np.radians(lat))
        ).min()
        for lat, lon in zip(where.lat_deg, where.lon_deg, strict=True)
    ]
    assert 3_000 < max(lane_m) < 6_000
    touched, _ = of(made, "detention")
    held = [s for s in made.stops if s.kind == "detention"]
    assert {i.trip for i in touched} == {s.trip for s in held}
    assert all(s.until_ms - s.start_ms > 2.9 * HOUR and s.place == "plant-yard-2" for s in held)


def test_real_loss_and_watering_show_in_masses_and_moisture():
    made = world(72, wrong("real_loss", "C01-2026-01", 0.03), wrong("watered", "C02-2026-01", 1_000.0))
    _, lossy = of(made, "real_loss")
    assert np.mean([t.load.spilt_kg / t.load.loaded_kg for t in lossy]) == pytest.approx(0.032, abs=0.003)
    _, wet = of(made, "watered")
    for trip in wet:
        assert trip.load.arrival_pct - trip.load.moisture_pct > 1.5
    shares = [(t.loaded_kg - t.received_kg) / t.loaded_kg for t in closed(wet)]
    assert abs(np.mean(shares)) < 0.01


def test_a_wrong_is_done_on_its_share_of_the_trips_and_in_its_time_only():
    some = Wrong("theft", PLATES[2], 2_000.0, START + 24 * HOUR, START + 120 * HOUR, START + 72 * HOUR, 0.5)
    made = world(140, some)
    touched, _ = of(made, "theft")
    assert all(START + 24 * HOUR <= i.t_ms < START + 120 * HOUR for i in touched)
    during = [
        t for t in made.trips
        if t.plate == PLATES[2] and START + 24 * HOUR <= t.gross_origin_ms < START + 120 * HOUR
    ]  # fmt: skip
    assert 0 < len(touched) < len(during)
    assert min(i.size for i in touched) < 2_000.0
    assert max(i.size for i in touched) == 2_000.0


def test_disorder_befalls_its_share_of_the_tickets_and_each_in_its_way():
    disorder = Disorder(
        late_share=0.1, duplicate_share=0.1, missing_share=0.1, swapped_share=0.1, mislabelled_share=0.1,
        reused_share=0.1, unknown_plate_share=0.1, unknown_contract_share=0.1, untagged_share=0.1,
    )  # fmt: skip
    post = Post(5, START, disorder, (), {"b"})
    for n in range(1_000):
        for k, step in enumerate(("tare", "gross")):
            t = START + n * 600_000 + k * 300_000
            values = {
                "ticket": f"T{n}", "plate": "P1", "tag": "G1", "step": step, "mass_kg": 15_000.0 + 30_000.0 * k,
                "contract": "C",
            }  # fmt: skip
            post.weighing("b", t, values, t)
    fate = {d.name: d.kind for d in post.disordered}
    count = Counter(fate.values())
    assert len(count) == 9
    assert all(60 < n < 145 for n in count.values()), count
    told = defaultdict(list)
    for event in post.due(START + 10**10):
        told[event.values["ticket"]].append(event)
    expected = {
        "late": lambda es: max(e.sent_ms - e.t_ms for e in es) > 0,
        "missing": lambda es: not es,
        "duplicate": lambda es: (
            len(es) == 4 and len({json.dumps({**e.values, "t": e.t_ms}) for e in es}) == 2
        ),
        "swapped": lambda es: [e.values["step"] for e in es] == ["gross", "tare"],
        "mislabelled": lambda es: (es[0].values["step"], es[0].values["mass_kg"]) == ("gross", 15_000.0),
        "reused": lambda es: len(es) == 4 and len({e.values["mass_kg"] for e in es}) > 2,
        "unknown_plate": lambda es: all(e.values["plate"] != "P1" for e in es),
        "unknown_contract": lambda es: all(e.values["contract"] != "C" for e in es),
        "untagged": lambda es: all("tag" not in e.values for e in es),
        "": lambda es: [(e.values["step"], e.sent_ms - e.t_ms) for e in es] == [("tare", 0), ("gross", 0)],
    }
    for n in range(1_000):
        kind = fate.get(f"T{n}", "")
        assert expected[kind](told[f"T{n}"]), (n, kind)
        if kind not in ("missing", "duplicate", "reused"):
            assert len(told[f"T{n}"]) == 2, (n, kind)


def test_an_offline_bridge_tells_later_and_loses_nothing():
    out = Wrong("offline", "bridge-mine-1-gross", 1.0, START + 6 * HOUR, START + 18 * HOUR, START + 6 * HOUR)
    made = world(30, out)
    told = [e for e in made.post.due(START + 30 * HOUR) if e.device == "bridge-mine-1-gross"]
    weighed = [w for w in made.weighings if w.bridge == "bridge-mine-1-gross" and w.t_ms <= START + 30 * HOUR]
    assert len(told) == len(weighed)
    inside = [e for e in told if START + 6 * HOUR <= e.t_ms < START + 18 * HOUR]
    assert inside
    assert {e.sent_ms for e in inside} == {START + 18 * HOUR}


def test_contracts_differ_in_what_becomes_of_them_and_are_never_loaded_beyond_their_releases():
    made = world(
        24 * 12,
        size=Size(mines=3, plants=2, trucks=30, contracts=6, lane_km=(60.0, 120.0), planned_share=1.3),
    )
    shares = []
    for name, contract in made.site.contracts.items():
        unloaded = 0
        for f in made.books.flows:
            if f.contract == name:
                unloaded += f.paper_kg * ((f.target == "unloaded") - (f.source == "unloaded"))
                assert unloaded >= 0
        received = sum(f.paper_kg for f in made.books.flows if f.contract == name and f.event == "receive")
        shares.append(received / contract.planned_t / 1000.0)
    assert max(shares) / min(shares) > 1.2
