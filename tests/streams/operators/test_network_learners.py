"""Signatures, forecasts and effects on the return, by settled steps: figures, and what is said where some lack."""

from __future__ import annotations

import numpy as np
import pytest

from models.energy_signature import fit_signature
from models.return_effect import return_effect as effect_of
from streams.operators.load_forecast import RECENT_MEAN, load_forecast
from streams.operators.return_effect import return_effect
from streams.operators.signature import signature
from tests.support.settled_steps import learn, site_texts

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
MONDAY = 1_767_571_200_000  # 2026-01-05, midnight UTC
DEVICES = ("plant,plant,n1,supply,", "sub,substation,n1,return,1000", "sky,weather,,,")
CLIMATE = "design_c = -10\nseason_c = -2\nseason_days = 120\n"
GJ_PER_KW_STEP = 900e-6


def outdoor(steps: int) -> np.ndarray:
    at = np.arange(steps) / 4.0
    return -2.0 + 9.0 * np.sin(at / 37.0) + 3.0 * np.sin(2 * np.pi * at / 24.0)


def steps_of(outdoor_c: np.ndarray, load_kw: np.ndarray) -> list[dict[str, dict[str, float]]]:
    return [
        {
            "plant": {"heat_gj": kw * GJ_PER_KW_STEP}, "sub": {"heat_gj": 0.4 * kw * GJ_PER_KW_STEP},
            "sky": {"outdoor_c": c},
        }
        for c, kw in zip(outdoor_c, load_kw, strict=True)
    ]  # fmt: skip


def test_days_give_the_signature_of_the_plain_function_and_say_what_they_lack() -> None:
    days = 18
    warmth = outdoor(96 * days)
    load = 50.0 - 2.0 * warmth + np.random.default_rng(1).normal(0.0, 2.0, len(warmth))
    steps = steps_of(warmth, load)
    for at in range(96 * 5, 96 * 5 + 20):
        del steps[at]["sky"]
    for at in range(96 * 7, 96 * 7 + 20):
        del steps[at]["sub"]
    rows = learn(signature, site_texts(DEVICES, CLIMATE), MONDAY, steps)
    assert len(rows) == 3 * days, "the plant, the substation and the network, each day"

    def row(key: str, day: int) -> dict:
        return rows[key, MONDAY + day * DAY_MS]

    assert {row("n1", d)["reason"] for d in (4, 5, 7)} == {"few_days"}
    assert row("n1", 4)["base_kw"] is None
    assert (row("sub", 7)["coverage"], row("n1", 7)["coverage"]) == pytest.approx((76 / 96, 1.0))
    power, means = (v.reshape(days, 96).mean(axis=1) for v in (load, warmth))
    means[5] = np.nan
    plain = fit_signature(power[:, None], means)
    last = row("n1", days - 1)
    assert (last["status"], last["reason"], last["model"]) == ("final", None, "signature/1")
    for name in ("base_kw", "slope_kw_k", "balance_c", "sigma_kw"):
        assert last[name] == pytest.approx(getattr(plain, name)[0], rel=1e-5), name
    of_sub = 0.4 * power
    of_sub[7] = np.nan  # 76 of 96 quarters of an hour are not a day
    plain = fit_signature(of_sub[:, None], means)
    assert row("sub", days - 1)["slope_kw_k"] == pytest.approx(plain.slope_kw_k[0], rel=1e-6)
    known = ~np.isnan(means)
    per_kelvin = power[known].sum() / (18.0 - means[known]).sum()
    assert last["w_m2"] == pytest.approx(per_kelvin * 28.0, rel=1e-5)
    assert last["gj_m2"] == pytest.approx(per_kelvin * 20.0 * 120.0 * 86_400e-6 / 1000.0, rel=1e-5)
    assert row("sub", days - 1)["w_m2"] == pytest.approx(0.4 * last["w_m2"], rel=0.02)


def test_a_day_without_outdoor_temperature_is_unknown_and_is_not_learnt() -> None:
    warmth = outdoor(96 * 18)
    steps = steps_of(warmth, 50.0 - 2.0 * warmth)
    for at in range(96 * 16, 96 * 17):
        del steps[at]["sky"]
    rows = learn(signature, site_texts(DEVICES, CLIMATE), MONDAY, steps)
    before, lacking, after = (rows["sub", MONDAY + d * DAY_MS] for d in (15, 16, 17))
    assert (lacking["status"], lacking["reason"]) == ("unknown", "no_outdoor")
    assert lacking["slope_kw_k"] == before["slope_kw_k"], "what the days before tell, as they stand"
    assert (after["status"], after["reason"]) == ("final", None)


@pytest.mark.parametrize(
    ("devices", "network", "key", "status", "reason"),
    [
        (("plant,plant,n1,supply,", "sub,substation,n1,return,", DEVICES[2]), CLIMATE, "sub", "unknown", "no_area"),
        (DEVICES, "", "sub", "final", "no_design_c"),
        (DEVICES, "design_c = -10\n", "n1", "final", "no_season_c"),
        (DEVICES[1:], CLIMATE, "n1", "unknown", "no_plant"),
    ],
)  # fmt: skip
def test_what_the_registry_lacks_is_named(devices, network, key, status, reason) -> None:
    warmth = outdoor(96 * 15)
    rows = learn(signature, site_texts(devices, network), MONDAY, steps_of(warmth, 50.0 - 2.0 * warmth))
    row = rows[key, MONDAY + 14 * DAY_MS]
    assert (row["status"], row["reason"]) == (status, reason)
    assert (row["w_m2"] is None) == (reason != "no_season_c")
    assert (row["slope_kw_k"] is None) == (reason == "no_plant")


def test_a_local_day_has_as_many_hours_as_clocks_say() -> None:
    start = 1_774_652_400_000  # 2026-03-28, midnight in Berlin; the next day has 23 hours
    warmth = outdoor(4 * (24 + 23 + 3))
    texts = site_texts(DEVICES, CLIMATE, "Europe/Berlin")
    for learner in (signature, return_effect):
        rows = learn(learner, texts, start, steps_of(warmth, 50.0 - 2.0 * warmth))
        assert [(w, r["window_ms"] // HOUR_MS) for (k, w), r in rows.items() if k == "sub"] == [
            (start, 24), (start + DAY_MS, 23),
        ]  # fmt: skip
    rows = learn(signature, texts, start, steps_of(warmth, 50.0 - 2.0 * warmth))
    assert rows["n1", start + DAY_MS]["coverage"] == pytest.approx(1.0)


def test_without_a_weather_forecast_it_rests_on_the_recent_mean_and_says_so() -> None:
    warmth = outdoor(4 * 120)
    load = 50.0 - 2.0 * warmth
    steps = steps_of(warmth, load)
    rows = learn(load_forecast, site_texts(DEVICES), MONDAY, steps)
    row = rows["n1:6", MONDAY + 125 * HOUR_MS]
    assert (row["status"], row["reason"], row["model"]) == ("final", RECENT_MEAN, "load_forecast/1")
    assert row["persistence_kw"] == pytest.approx(load[4 * 101 : 4 * 102].mean())
    assert row["p10_kw"] < row["p50_kw"] < row["p90_kw"]
    assert rows["sub:6", MONDAY + 125 * HOUR_MS]["p50_kw"] == pytest.approx(0.4 * row["p50_kw"], rel=1e-6)
    assert ("sub:7", MONDAY + 126 * HOUR_MS) not in rows
    assert ("n1:7", MONDAY + 126 * HOUR_MS) in rows
    # A forecast that reaches ten hours is used as far as it goes.
    steps[-4]["sky"] = {"outdoor_c": 0.0, "forecast_age_s": 0.0} | {
        f"outdoor_{h}h_c": 3.0 for h in range(1, 11)
    }
    forecast = learn(load_forecast, site_texts(DEVICES), MONDAY, steps)
    assert forecast["n1:6", MONDAY + 125 * HOUR_MS]["reason"] is None
    assert forecast["n1:12", MONDAY + 131 * HOUR_MS]["reason"] == RECENT_MEAN


def test_what_a_forecast_lacks_is_named_and_the_neighbour_has_its_own() -> None:
    warmth = outdoor(4 * 100)
    load = 50.0 - 2.0 * warmth
    last = MONDAY + 100 * HOUR_MS
    texts = site_texts(DEVICES)

    def foretold(steps) -> tuple[dict, dict]:
        rows = learn(load_forecast, texts, MONDAY, steps)
        return rows["sub:1", last], rows["n1:1", last]

    silent = steps_of(warmth, load)
    for step in silent[4 * 70 :]:
        del step["sub"]
    of_sub, of_network = foretold(silent)
    assert (of_sub["status"], of_sub["reason"], of_sub["p50_kw"]) == ("unknown", "gap", None)
    assert of_network["p50_kw"] > 0.0
    blind = [{k: v for k, v in step.items() if k != "sky"} for step in steps_of(warmth, load)]
    of_sub, of_network = foretold(blind)
    assert (of_network["status"], of_network["reason"], of_network["p50_kw"]) == (
        "unknown",
        "no_outdoor",
        None,
    )
    assert of_network["persistence_kw"] == pytest.approx(load[4 * 76 : 4 * 77].mean())
    texts = site_texts(DEVICES[1:])
    of_sub, of_network = foretold(steps_of(warmth, load))
    assert (of_network["reason"], of_network["p50_kw"]) == ("no_plant", None)
    assert of_sub["p50_kw"] > 0.0


def test_plants_tell_the_weather_where_no_station_does() -> None:
    warmth = outdoor(4 * 80)
    steps = steps_of(warmth, 50.0 - 2.0 * warmth)
    for step in steps:
        step["plant"]["outdoor_c"] = step.pop("sky")["outdoor_c"]
    row = learn(load_forecast, site_texts(DEVICES[:2]), MONDAY, steps)["n1:1", MONDAY + 80 * HOUR_MS]
    assert row["p50_kw"] > 0.0


def test_the_worst_substation_comes_first_and_its_effect_is_that_of_mixing() -> None:
    subs = ("good", "bad", "dumb")
    devices = ("plant,plant,n1,supply,", *(f"{s},substation,n1,return,1000" for s in subs))
    back = {"good": 40.0, "bad": 60.0}
    step = {
        s: {"volume_m3": 2.0, "return_c": back[s], "supply_c": 90.0, "excess_m3": 0.0 if s == "good" else 0.8}
        for s in back
    }
    standing = {s: {**v, "volume_m3": 0.0, "return_c": np.nan, "excess_m3": np.nan} for s, v in step.items()}
    steps = [step] * 48 + [standing] * 48
    rows = learn(return_effect, site_texts(devices, "return_ref_c = 40\n"), MONDAY, steps)
    assert sorted(k for k, _ in rows) == sorted(subs)
    good, bad, dumb = (rows[s, MONDAY] for s in subs)
    assert (bad["excess_rank"], good["excess_rank"], dumb["excess_rank"]) == (1.0, 2.0, None)
    assert (bad["status"], bad["return_c"]) == ("final", pytest.approx(60.0))
    assert bad["excess_m3"] == pytest.approx(48 * 0.8)
    plain = effect_of([2.0, 2.0], [40.0, 60.0], [0.0, 0.8], 40.0)
    assert bad["return_effect_k"] == pytest.approx(plain.effect_k[1], rel=0.02)  # by mass, not by volume
    assert bad["return_gain_k"] == pytest.approx(plain.gain_k[1], rel=0.02)
    assert (dumb["status"], dumb["reason"], dumb["return_effect_k"]) == ("unknown", "coverage", None)
    rows = learn(return_effect, site_texts(devices), MONDAY, [
        {s: {k: x for k, x in v.items() if k != "excess_m3"} for s, v in step.items()}
    ] * 96)  # fmt: skip
    assert rows["bad", MONDAY]["reason"] == "no_return_ref_c"
    assert rows["bad", MONDAY]["return_effect_k"] == pytest.approx(10.0, abs=0.3)


def test_heat_transfer_is_told_beside_what_is_usual_for_the_same_nominal_flow() -> None:
    sizes = {"good": 10.0, "bad": 20.0, "fair": 5.0, "idle": 5.0, "plain": None}
    devices = (
        "plant,plant,n1,supply,",
        *(f"{s},substation,n1,return,1000,{qp or ''}" for s, qp in sizes.items()),
    )
    ua = {"good": 60.0, "bad": 80.0, "fair": 25.0, "idle": 30.0, "plain": 50.0}
    whole = {
        s: {"loop.heat_gj": 0.9, "loop.ua_kw_k": ua[s], "volume_m3": 2.0, "return_c": 40.0} for s in sizes
    }
    weak = {s: {**v, "loop.ua_kw_k": ua[s] / 2.0, "loop.heat_gj": 0.3} for s, v in whole.items()}
    night = {s: {**v, "loop.ua_kw_k": np.nan} for s, v in whole.items()}
    by_day = [whole] * 60 + [weak] * 36
    steps = [
        {s: (night if s == "idle" and at >= 40 else step)[s] for s in sizes} for at, step in enumerate(by_day)
    ]
    rows = learn(return_effect, site_texts(devices, "return_ref_c = 40\n"), MONDAY, steps)
    day = {s: rows[s, MONDAY] for s in sizes}
    # Heat over the integral of the log-mean difference: 60 steps of 0.9 GJ at UA, 36 of 0.3 GJ at half of it.
    share = (60 * 0.9 + 36 * 0.3) / (60 * 0.9 + 36 * 0.3 * 2.0)
    for s in ("good", "bad", "fair", "plain"):
        assert day[s]["ua_kw_k"] == pytest.approx(share * ua[s]), s
    assert day["idle"]["ua_kw_k"] is None, "known for less than half of the day"
    assert [day[s]["ua_rank"] for s in ("bad", "fair", "good", "plain", "idle")] == [
        1.0,
        2.0,
        3.0,
        None,
        None,
    ]
    assert {day[s]["ua_of"] for s in ("bad", "fair", "good")} == {3.0}
    assert day["bad"]["ua_kwh_m3_k"] == pytest.approx(share * 4.0)
    assert day["good"]["ua_usual_kwh_m3_k"] == pytest.approx(share * 5.0)
    assert day["plain"]["ua_usual_kwh_m3_k"] is None


def test_two_exchangers_have_no_usual() -> None:
    devices = ("plant,plant,n1,supply,", *(f"{s},substation,n1,return,1000,10" for s in ("a", "b")))
    step = {s: {"loop.heat_gj": 0.9, "loop.ua_kw_k": 50.0} for s in ("a", "b")}
    rows = learn(return_effect, site_texts(devices), MONDAY, [step] * 96)
    assert [rows[s, MONDAY]["ua_usual_kwh_m3_k"] for s in ("a", "b")] == [None, None]
    assert [rows[s, MONDAY]["ua_rank"] for s in ("a", "b")] == [1.0, 2.0]
