"""Mass and energy of the truth at every step: of the ready cases, and of sites and troubles that nobody chose."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.site import Pipe
from simulator import water
from simulator.case import parse
from simulator.fleet import UnitReadings
from simulator.kinds import GROWING, KINDS
from simulator.network.plugflow import PlugFlow
from simulator.simulate import run
from simulator.truth_files import CLOSES, Closure
from simulator.unit import demo_plan
from tests.support.simulated_cases import EXAMPLES, case_text, example

CASES = sorted((Path(__file__).parents[2] / "examples" / "cases").glob("*.toml"))
ZONES = ("Asia/Shanghai", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe")


class Audit:
    """Adds up what stood where before and after each step, by itself; gives the worst that was missed."""

    def __init__(self, heat):
        self.truth, self.worst = heat.truth, 0.0
        self._stood = self._stands()

    def _stands(self):
        """Water and heat in the pipes, then in the tank; made up; burnt."""
        truth = self.truth
        pipes = [side.content for side in (truth.supply, truth.back)]
        plant = truth.plant
        return np.array([
            sum(p.mass_kg.sum() for p in pipes), sum((p.mass_kg * p.h_kj_kg).sum() for p in pipes),
            plant.tank_kg, plant.tank_kj, plant.makeup_kg, plant.fuel_kg,
        ])  # fmt: skip

    def step(self, snap):
        b, plant = snap.balance, self.truth.plant
        now = self._stands()
        kg, kj, tank_kg, tank_kj, made_kg, burnt_kg = now - self._stood
        self._stood = now
        made_kj = made_kg * float(water.enthalpy_kj_kg(plant.makeup_c))
        fired_kj = burnt_kg * plant.efficiency * plant.coal_mj_kg * 1000.0
        missed_kg = (made_kg - tank_kg - kg - b.leaked_kg, b.mass_error_kg)
        missed_kj = (
            fired_kj + made_kj - tank_kj - kj - b.lost_kj - b.leaked_kj - b.delivered_kj.sum(),
            b.energy_error_kj,
        )
        assert np.isfinite(b.throughput_kj)
        assert b.throughput_kg > 0.0
        shares = [abs(m) / b.throughput_kg for m in missed_kg] + [abs(m) / b.throughput_kj for m in missed_kj]
        self.worst = max(self.worst, *(s if np.isfinite(s) else np.inf for s in shares))


def audited(case):
    """The worst share that a step of a case misses."""
    readings = UnitReadings.of(case)
    audits = [Audit(heat) for heat in readings.heat]
    readings.watchers.append(lambda r: [a.step(h.last) for a, h in zip(audits, r.heat, strict=True)])
    while readings.now_ms + case.interval_s * 1000.0 <= case.end_ms:
        for _, reading in readings.step():
            assert all(np.isfinite(v) for v in reading.values.values() if isinstance(v, float))
    assert audits
    return max(a.worst for a in audits)


@pytest.mark.parametrize("path", [p for p in CASES if p.name.startswith("heat_")], ids=lambda path: path.name)
def test_a_ready_case_closes_at_every_step(path):
    # In steps of five minutes, so that the gate has all of its hours and all of its faults.
    text = path.read_text(encoding="utf-8")
    assert text.count("interval_s = ") == 1
    lines = ["interval_s = 300" if line.startswith("interval_s") else line for line in text.splitlines()]
    assert audited(parse(path.name, "\n".join(lines), None)) < CLOSES / 1000.0


@pytest.mark.soak
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("path", CASES, ids=lambda path: path.name)
def test_a_ready_case_closes_as_it_is_written(path, tmp_path):
    done = run(parse(path.name, path.read_text(encoding="utf-8"), None), tmp_path)
    assert done.closes


def drawn_case(seed):
    """A site with rings or none, weather, interval, zone and a heap of faults, all drawn."""
    rng = np.random.default_rng([2026, seed])
    count, interval_s = int(rng.integers(1, 13)), float(rng.choice([1.0, 7.5, 60.0, 300.0]))
    plan = demo_plan(seed, count, 0, interval_s=interval_s)
    wide, far = float(rng.choice([0.5, 1.0, 2.5])), float(rng.choice([0.2, 1.0, 4.0]))
    pipes = {
        n: replace(p, inner_diameter_m=wide * p.inner_diameter_m, length_m=far * p.length_m)
        for n, p in plan.pipes.items()
    }
    nodes = sorted({n for p in pipes.values() for n in (p.from_node, p.to_node)})
    for number in range(int(rng.integers(0, 5))):
        ends = rng.choice(nodes, 2, replace=False)
        name, size = f"tie-{number}", float(rng.uniform(0.05, 0.4))
        pipes[name] = Pipe(name, "sim-net-1", *map(str, ends), float(rng.uniform(1, 900)), size, 0.3)
    devices = dict(plan.devices)
    subs = [n for n, d in devices.items() if d.device_class == "substation"]
    if rng.random() < 0.4:  # one in the plant's own house
        devices[subs[0]] = replace(devices[subs[0]], node="n-plant")
    zone = str(rng.choice(ZONES))
    site = replace(plan, pipes=pipes, devices=devices, timezone=zone, texts={})
    hours, faults = 60.0 * interval_s / 3600.0, []
    for kind in rng.permutation(list(KINDS))[: int(rng.integers(0, len(KINDS) + 1))]:
        on = KINDS[str(kind)].on
        places = {"node": nodes, "pipe": list(pipes), "substation": subs, "device": list(site.devices)}
        fault = example(str(kind), place=str(rng.choice(places.get(on, subs))))
        fault["onset_h"] = float(rng.uniform(0.0, 0.8)) * hours
        if kind in GROWING:
            fault["ramp_h"] = float(rng.uniform(0.0, 0.5)) * hours
        faults.append(fault)
    weather = f"[weather]\nmean_c = {rng.uniform(-35, 28):.1f}\nswing_k = {rng.uniform(0, 15):.1f}\n"
    start = rng.choice(["2026-03-28T23:30:00Z", "2028-02-28T23:30:00Z", "2026-10-25T00:30:00Z"])
    text = case_text(
        *faults, hours=hours, interval=interval_s, seed=seed, top='site = "drawn"', tables=weather
    ).replace("2026-01-10T00:00:00Z", str(start))
    return parse(f"drawn-{seed}.toml", text, lambda _: site)


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(n, marks=pytest.mark.soak) for n in (2, 3))])
def test_a_case_that_nobody_chose_closes_at_every_step(seed):
    assert audited(drawn_case(seed)) < CLOSES / 1000.0


@pytest.mark.parametrize("seed", [151, pytest.param(192, marks=pytest.mark.soak)])
def test_rings_that_nobody_draws_from_close(seed):
    # The only substation stands in the plant's house: what the pipes lose by shrinking is all that moves.
    assert audited(drawn_case(seed)) < CLOSES / 1000.0


@pytest.mark.soak
@pytest.mark.timeout(3_600)
def test_hundreds_of_cases_that_nobody_chose_close():
    worst = {seed: audited(drawn_case(seed)) for seed in range(100, 400)}
    assert max(worst.values()) < CLOSES / 1000.0, worst


@pytest.mark.parametrize("ring", [False, True], ids=["tree", "ring"])
def test_every_kind_at_once_closes(ring):
    plan = demo_plan(3, 6, 0, interval_s=60.0)
    if ring:
        tie = Pipe("tie", "sim-net-1", "n-01", "n-03", 500.0, 0.15, 0.3)
        plan = replace(plan, pipes={**plan.pipes, "tie": tie}, texts={})
    faults = [example(kind, onset_h=0.05 * number) for number, kind in enumerate(EXAMPLES)]
    case = parse("all.toml", case_text(*faults, top='site = "x"'), lambda _: plan)
    assert {f.kind for f in case.faults} == set(KINDS)
    assert audited(case) < CLOSES / 1000.0


@pytest.mark.parametrize("kind", ["leak", "supply_leak", "internal_leak"])
def test_a_burst_that_no_return_can_feed_closes_and_is_made_up(kind):
    place = "sub-02" if kind == "internal_leak" else "n-01"
    fault = {"kind": kind, "place": place, "size": 900.0, "onset_h": 0.2}
    case = parse("burst.toml", case_text(fault, hours=1), None)
    assert audited(case) < CLOSES / 1000.0
    readings = UnitReadings.of(case)
    made = []
    for _ in range(60):
        rows = dict(readings.step())
        made.append(rows["plant-1"].values["makeup_m3"])
        assert readings.heat[0].truth.plant.tank_kg <= readings.heat[0].truth.plant.tank_full_kg
    assert made[-1] - made[12] == pytest.approx(900.0 * 47 * 60 / 999.1, rel=0.02)


def test_a_truth_that_loses_heat_or_is_no_number_does_not_close(monkeypatch):
    case = parse("c", case_text(hours=0.1), None)
    whole = PlugFlow.cool
    monkeypatch.setattr(PlugFlow, "cool", lambda *a: 0.99 * whole(*a))
    readings, closure = UnitReadings.of(case), Closure()
    readings.step()
    closure.take(readings.heat[0].last)
    assert not closure.closes
    snap = readings.heat[0].last
    for missing in ({"lost_kj": float("nan")}, {"given_kg": float("nan")}, {"throughput_kg": float("nan")}):
        closure = Closure()
        closure.take(
            replace(snap, balance=replace(snap.balance, stored_kj=snap.balance.stored_kj, **missing))
        )
        assert not closure.closes
