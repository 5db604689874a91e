"""Contracts' kilograms: identities that hold and that can fail, rates, and what a month will end with."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.contract_papers import OfficePaper, TripState, Weighed, moved, nets, papers_judged
from models.fulfilment import RESIDUALS, funnel, movements, rate_pct, reported_pct
from models.fulfilment_forecast import RULES, Outlook, capped, outlook, rules_of, together
from models.local_month import days_ms, months_of, period_of
from models.site import Site
from models.site_files import SiteError, parse_site

PLANNED = 1_000_000


def a_month(seed: int, trips: int = 40):
    """Papers of a month that was kept well: every trip with its four weighings; times 0 to 10,000."""
    draw = random.Random(seed)
    offices, weighed, told = [OfficePaper(0, "R1", "release", float(PLANNED))], [], []
    for n in range(trips):
        t, loaded, lost = draw.randrange(1, 8000), draw.randrange(9_000, 11_000), draw.randrange(-20, 200)
        ended = t + draw.randrange(10, 3000)
        a, b = f"O{n}", f"D{n}"
        weighed += [
            Weighed(t - 1, a, "tare", 15_000.0, "origin"),
            Weighed(t, a, "gross", 15_000.0 + loaded, "origin"),
            Weighed(ended - 5, b, "gross", 15_000.0 + loaded - lost, "destination"),
            Weighed(ended, b, "tare", 15_000.0, "destination"),
        ]
        told.append(TripState(a, b, t, ended, loaded, loaded - lost, "closed"))
    draw.shuffle(weighed)
    return offices, weighed, told


def by_hand(offices, told, at):
    """The sums of a well kept month, trip by trip."""
    loaded = sum(t.loaded_kg for t in told if t.opened_ms <= at)
    received = sum(t.received_kg for t in told if t.ended_ms <= at)
    lost = sum(t.loaded_kg - t.received_kg for t in told if t.ended_ms <= at)
    road = sum(t.loaded_kg for t in told if t.opened_ms <= at < t.ended_ms)
    return loaded, received, lost, road


def funnel_of(offices, weighed, told, at):
    rows, refused = papers_judged(offices)
    good, bad = nets(weighed)
    return funnel(PLANNED, moved(rows, good, told), at), [*refused, *bad]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.lists(st.integers(-10, 12_000), min_size=1, max_size=20))
def test_identities_close_to_the_kilogram_at_any_instant_and_sums_are_those_by_hand(seed, instants):
    offices, weighed, told = a_month(seed)
    sums, refused = funnel_of(offices, weighed, told, instants)
    assert not refused
    assert sums.worst_kg == 0
    for n, at in enumerate(instants):
        ours = [getattr(sums, f)[n] for f in ("loaded_kg", "received_kg", "lost_kg", "in_transit_kg")]
        assert tuple(ours) == by_hand(offices, told, at)
        whole = sums.at(n)
        assert whole["planned_kg"] == whole["released_kg"] + whole["unreleased_kg"]
        assert whole["received_kg"] == whole["settled_kg"] + whole["unsettled_kg"] + whole["rejected_kg"]


def test_a_funnel_does_not_depend_on_the_order_of_its_papers():
    offices, weighed, told = a_month(3)
    once, _ = funnel_of(offices, weighed, told, [5000])
    again, _ = funnel_of(offices[::-1], weighed[::-1], told[::-1], [5000])
    assert once.at(0) == again.at(0)


@pytest.mark.parametrize(
    ("spoil", "residual"),
    [
        (lambda month: month[0].append(OfficePaper(1, "R2", "release", 5e3)), "release_residual_kg"),
        (lambda month: month[0].append(OfficePaper(1, "K1", "cancel", 990e3)), "load_residual_kg"),
        (lambda month: month[2].pop(), "transit_residual_kg"),
        (lambda month: month[0].append(OfficePaper(9_999, "S1", "settle", 990e3)), "receipt_residual_kg"),
    ],
)
def test_each_identity_can_fail_and_is_the_one_that_does(spoil, residual):
    offices, weighed, told = month = a_month(5)
    spoil(month)
    sums, _ = funnel_of(offices, weighed, told, [11_000])
    assert [name for name in RESIDUALS if getattr(sums, name)[0]] == [residual]


def test_a_ticket_that_lacks_a_weighing_counts_with_what_its_trip_knows():
    offices, weighed, told = a_month(6)
    lacking = [w for w in weighed if not (w.ticket == "O7" and w.step == "tare")]
    whole, _ = funnel_of(offices, weighed, told, [11_000])
    sums, refused = funnel_of(offices, lacking, told, [11_000])
    assert not refused
    assert sums.at(0) == whole.at(0)


def test_a_receipt_without_a_loading_is_received_and_unmatched_and_closes():
    offices, weighed, told = a_month(7)
    weighed += [Weighed(50, "X", "gross", 40e3, "destination"), Weighed(60, "X", "tare", 15e3, "destination")]
    sums, _ = funnel_of(offices, weighed, told, [11_000])
    assert (sums.unmatched_kg[0], sums.worst_kg) == (25_000, 0)


def test_a_trip_that_is_given_up_is_lost_in_whole():
    offices, weighed, told = a_month(8, trips=1)
    told = [TripState("O0", "", told[0].opened_ms, 9_000, told[0].loaded_kg, None, "lost")]
    weighed = [w for w in weighed if w.ticket == "O0"]
    sums, _ = funnel_of(offices, weighed, told, [8_999, 9_000])
    assert sums.in_transit_kg.tolist() == [told[0].loaded_kg, 0]
    assert sums.lost_kg.tolist() == [0, told[0].loaded_kg]
    assert sums.worst_kg == 0


@pytest.mark.parametrize(
    ("weighings", "reason"),
    [
        ([("tare", 46e3), ("gross", 15e3)], "net_not_positive"),
        ([("tare", 15e3), ("gross", 15e3)], "net_not_positive"),
        ([("tare", 15e3), ("gross", None)], "mass_unknown"),
        ([("tare", 15e3), ("brutto", 40e3)], "unknown_step"),
    ],
)
def test_a_bad_ticket_is_refused_with_its_reason_and_in_no_total(weighings, reason):
    bad = [Weighed(10 + n, "BAD", step, kg, "origin") for n, (step, kg) in enumerate(weighings)]
    sums, refused = funnel_of([], bad, [], [100])
    assert {r.reason for r in refused} == {reason}
    assert sums.loaded_kg[0] == 0


@pytest.mark.parametrize(
    ("event", "kg", "reason"),
    [
        ("release", -5.0, "mass_not_positive"),
        ("release", None, "mass_unknown"),
        ("gift", 5.0, "unknown_event"),
    ],
)
def test_a_bad_paper_of_an_office_is_refused_with_its_reason_and_in_no_total(event, kg, reason):
    sums, refused = funnel_of([OfficePaper(1, "R", event, kg)], [], [], [5])
    assert [r.reason for r in refused] == [reason]
    assert sums.released_kg[0] == 0


def test_a_ticket_of_another_place_is_refused():
    _, refused = funnel_of([], [Weighed(1, "T", "tare", 15e3, None)], [], [5])
    assert [r.reason for r in refused] == ["other_place"]


def test_nothing_planned_has_no_rate_and_what_is_not_reported_counts_nothing():
    assert np.isnan(rate_pct(5.0, 0.0))
    assert reported_pct(float("nan"), 900.0, 1000.0) == 0.0
    assert reported_pct(950.0, 900.0, 1000.0) == 90.0


def test_a_contract_that_must_fall_short_and_one_that_cannot_are_certain():
    assert Outlook(900.0, 1000.0, 950.0, 10.0).shortfall_p(800.0) == 0.0
    assert Outlook(100.0, 700.0, 650.0, 10.0).shortfall_p(800.0) == 1.0


def test_a_month_that_is_over_is_what_was_received():
    seen = outlook([10.0] * 31, [99.0] * 31, 0.0, 0.0, 5.0, 400.0)
    assert seen.expected_kg == 310.0
    assert (seen.shortfall_p(310.0), seen.shortfall_p(311.0)) == (0.0, 1.0)


def test_too_few_days_tell_nothing():
    assert outlook([10.0] * 4, [99.0] * 4, 3.0, 27.0, 0.0, 400.0) is None


def test_days_on_which_trucks_waited_for_a_release_are_no_pace():
    waiting = [30.0, 30.0, 30.0, 0.0, 0.0, 30.0, 30.0, 30.0, 30.0, 30.0]
    left = [300.0, 300.0, 0.0, 0.0, 300.0, 300.0, 300.0, 300.0, 300.0, 300.0]
    paced = outlook(waiting, left, 0.0, 20.0, 0.0, 2000.0)
    naive = outlook(waiting, [300.0] * 10, 0.0, 20.0, 0.0, 2000.0)
    assert paced.run_rate_kg_d == pytest.approx(30.0)
    assert naive.run_rate_kg_d < 26.0


def test_a_lesser_of_two_is_what_drawing_says():
    draws = np.minimum(np.random.default_rng(4).normal(950.0, 80.0, 200_000), 1000.0)
    mean, sigma = capped(950.0, 80.0, 1000.0)
    assert mean == pytest.approx(draws.mean(), abs=1.0)
    assert sigma == pytest.approx(draws.std(), abs=1.0)


def test_a_quarter_is_its_months_together():
    sure = Outlook(900.0, 900.0, 900.0, 0.0)
    open_ = Outlook(100.0, 1000.0, 850.0, 40.0)
    both = together([sure, sure, open_])
    assert both.shortfall_p(0.9 * 3000.0) > 0.7
    assert both.shortfall_p(0.85 * 3000.0) < 0.02


RULES_OF_A_SITE = '[site]\nname = "N"\ntimezone = "Asia/Shanghai"\n[[fulfilment]]\nperiod = "month"\n'


def test_rules_are_the_sites_own_where_it_has_any():
    site, _ = parse_site({"site.toml": f"{RULES_OF_A_SITE}least_pct = 75\nwarn_p = 0.3\n"})
    rules = rules_of(site)
    assert (rules["month"].least_pct, rules["month"].warn_p) == (75, 0.3)
    assert rules["quarter"] == next(r for r in RULES if r.period == "quarter")
    assert rules_of(Site("s", "S", "UTC")) == {r.period: r for r in RULES}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("least_pct = 120", "least_pct: expected a number from 0 up to 100, got 120"),
        ("", "least_pct: expected this key, got none"),
        ('least_pct = 80\n[[fulfilment]]\nperiod = "week"\nleast_pct = 1', "period: expected one of month"),
        ('least_pct = 80\n[[fulfilment]]\nperiod = "month"\nleast_pct = 1', "period: expected it once"),
    ],
)
def test_a_bad_rule_stops_the_start_with_its_place(line, message):
    with pytest.raises(SiteError) as error:
        parse_site({"site.toml": f"{RULES_OF_A_SITE}{line}\n"})
    assert message in str(error.value)


def test_a_thirteenth_month_is_refused_before_any_total():
    texts = {
        "site.toml": '[site]\nname = "N"\ntimezone = "Asia/Shanghai"\n[[region]]\nid = "r"\n'
        '[[unit]]\nid = "u"\nregion = "r"\n',
        "places.csv": "place,unit,kind,name,lat_deg,lon_deg,radius_m\na,,mine,,1,1,9\nb,u,plant,,1,2,9\n",
        "contracts.csv": "contract,unit,origin,destination,month,planned_t\nC,u,a,b,2026-13,5\n",
    }
    with pytest.raises(SiteError, match="expected a month as YYYY-MM, got '2026-13'"):
        parse_site(texts)


def test_months_know_their_days_and_their_quarter():
    assert len(days_ms("2024-02", "Asia/Shanghai")) == 30
    assert len(days_ms("2026-12", "Asia/Shanghai", 30)) == 62
    lengths = np.diff(days_ms("2026-03", "Europe/Berlin")) // 3_600_000
    assert sorted(set(lengths.tolist())) == [23, 24]
    assert all(m in months_of(period_of(m, p)) for m in ("2026-01", "2026-12") for p in ("quarter", "year"))


def test_movements_count_at_their_very_instant():
    sums = funnel(10, movements([(5, "released", 4)]), [4, 5])
    assert sums.released_kg.tolist() == [0, 4]
