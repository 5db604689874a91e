"""Whether water balances close, and how small a leak is found how soon: ``python -m benchmarks.leaks``.

Four parts, each with seeds of its own, none of which was used to choose anything:

- `calibration`: network-days without faults and without losses, meters of their own each; the share of hours
  with |leak| within leak_u against what the errors of the same meters alone would give;
- `cooling`: a supply that falls or rises by 5 K in an hour;
- `seasons`: days without faults, and how many alarms they raise;
- `curve`: leaks of several sizes, hot and cold, in networks that were watched for five days: the hours
  until they are said; draw-off and leaks told apart; how far off onset, size and side are.

``--full`` runs 500 network-days, a season and 20 networks.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from benchmarks.heat_balance import GOAL, WITHIN
from benchmarks.machine import machine
from benchmarks.network_days import HOUR_MS, START_MS
from benchmarks.water_days import OWN_SHARE, Hour, WaterRun
from benchmarks.water_past import Past
from models.accuracy import COVERAGE_FACTOR
from models.leak_detection import DRAW_OFF, LEAK
from models.water import density_kg_m3
from models.water_balance import MAKEUP_PCT, RESOLUTION_M3, SWELLING_PCT, TANK_NOISE, TANK_PCT
from simulator.kinds import Fault
from simulator.weather import Weather

__all__ = ["FIRST_SEED", "expected_share", "main", "warmer_run", "within"]

FloatArray = NDArray[np.float64]

FIRST_SEED: Final = 60_000
"""Seeds of the score begin here; those below are for trying things out."""
SIZES: Final = (3, 10, 30, 100)
WARM_H, DAY_H = 6, 24
LEAKS_PCT: Final = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
HOURS: Final = (4, 6, 12, 24)
GOAL_PCT, GOAL_H = 0.1, 24
METER_SETS: Final = 4
"""Sets of meters that tell of each simulated day, each a network-day of its own."""
_MOST: Final = 0.9
"""Share of leaks that have to be found for a size to count as found."""
_DRAWS: Final = 500
_STEP_S: Final = 300.0
_LEARN_H: Final = 24 * 5
_PART: Final = {"calibration": 0, "cooling": 15_000, "seasons": 20_000, "curve": 30_000}


def within(hours: Sequence[Hour]) -> NDArray[np.bool_]:
    """Whether the loss lies within its uncertainty of the true one, hour by hour."""
    if any(h.said.reason for h in hours):
        raise AssertionError(f"expected every hour to be known, got {[h.said.reason for h in hours]}")
    return np.array([abs(h.said.leak_m3 - h.leaked_m3) <= h.said.leak_u_m3 for h in hours])


def expected_share(hours: Sequence[Hour], rng: np.random.Generator, share: float = OWN_SHARE) -> float:
    """Share of hours within ± k u, for errors of the same meters alone, within `share` of their limits."""
    found = []
    ends = density_kg_m3(np.array([15.0, 45.0])) / density_kg_m3(15.0)
    for h in hours:
        even = share * rng.uniform(-1.0, 1.0, (3, _DRAWS)) / 100.0
        swell = rng.uniform(ends.min(), ends.max(), _DRAWS) - ends.mean()
        noise = rng.standard_normal(_DRAWS) * TANK_NOISE * h.level_m3 * np.sqrt(2.0)
        steps = rng.uniform(-0.5, 0.5, (4, _DRAWS)).sum(axis=0) * RESOLUTION_M3
        error = (
            MAKEUP_PCT * even[0] * h.said.makeup_m3
            - (TANK_PCT * even[1] + swell) * h.said.tank_m3
            - SWELLING_PCT * even[2] * h.said.storage_m3
            + noise
            + steps
        )
        found.append(np.mean(np.abs(error) <= h.said.leak_u_m3))
    return float(np.mean(found))


def calibration(days: int, seed: int, sizes: Sequence[int]) -> None:
    """Print the share of hours within uncertainty, by size of the network."""
    print("substations  network-days  hours  within u  expected  rms leak/u(k=1)  mean u/circulated")
    every, expected = [], []
    for place, size in enumerate(sizes):
        told: list[Hour] = []
        for number in range(days // len(sizes)):
            network, meters = divmod(number, METER_SETS)
            if meters == 0:
                laid = WaterRun(seed + 1000 * place + network, size, step_s=_STEP_S, sealed=True)
                past = Past(laid.truth, _STEP_S)
            run = WaterRun(
                seed + 1000 * place + network, size, step_s=_STEP_S, sealed=True, meters=meters, past=past
            )
            run.advance(WARM_H + DAY_H)
            told += run.hours[WARM_H:]
        inside, wanted = within(told), expected_share(told, np.random.default_rng(seed + place))
        every.append(inside)
        expected.append(wanted)
        ratio = np.array([COVERAGE_FACTOR * h.said.leak_m3 / h.said.leak_u_m3 for h in told])
        u = np.mean([h.said.leak_u_m3 / h.circulated_m3 for h in told])
        print(
            f"{size:11d}  {days // len(sizes):12d}  {len(told):5d}  {inside.mean():8.2%}  {wanted:8.2%}  "
            f"{np.sqrt(np.mean(ratio**2)):15.2f}  {u:17.4%}",
            flush=True,
        )
    share, wanted = float(np.concatenate(every).mean()), float(np.mean(expected))
    reached = share >= GOAL and abs(share - wanted) <= WITHIN
    print(
        f"all: {share:.2%} within u, expected {wanted:.2%} (goal: at least {GOAL:.0%} and within "
        f"{WITHIN:.0%}): {'reached' if reached else 'MISSED'}"
    )


def warmer_run(seed: int, substations: int, step_k: float, step_s: float = 60.0) -> WaterRun:
    """A day on which the supply changes by `step_k` within an hour, two hours after its beginning."""
    at = START_MS + (WARM_H + 2) * HOUR_MS
    outdoor = -step_k / 1.4  # of the plant's heating curve
    times = [START_MS - 10 * HOUR_MS, at, at + HOUR_MS // 4]
    weather = Weather.recorded(times, [-8.0, -8.0, -8.0 + outdoor])
    run = WaterRun(seed, substations, step_s=step_s, sealed=True, weather=weather)
    run.advance(WARM_H + 8)
    return run


def cooling(networks: int, seed: int) -> None:
    """Print what a fall and a rise of 5 K in an hour do to the balance, with storage and without it."""
    for step_k in (-5.0, 5.0):
        leak, u, blind, alarms = [], [], [], 0
        for number in range(networks):
            run = warmer_run(seed + number, 30, step_k, 120.0)
            alarms += len(run.anomalies)
            for h in run.hours[WARM_H:]:
                leak.append(h.said.leak_m3)
                u.append(h.said.leak_u_m3)
                blind.append(h.said.leak_m3 + h.said.storage_m3)
        off, without = np.abs(leak) / np.array(u), np.abs(blind) / np.array(u)
        print(
            f"supply {step_k:+.0f} K in an hour: {np.mean(off > 1.0):.1%} of {len(off)} hours abnormal, "
            f"largest |leak|/u {off.max():.2f}; without storage {np.mean(without > 1.0):.1%}, "
            f"{without.max():.1f}; {alarms} alarms"
        )


def seasons(days: int, networks: int, seed: int) -> None:
    """Print the alarms of networks in which nothing goes wrong, each told of by several sets of meters."""
    raised: list[str] = []
    each = days // (networks * METER_SETS)
    for number in range(networks):
        past = Past(WaterRun(seed + number, 5, step_s=_STEP_S).truth, _STEP_S)
        runs = [
            WaterRun(seed + number, 5, step_s=_STEP_S, meters=meters, past=past)
            for meters in range(METER_SETS)
        ]
        for day in range(each):
            for run in runs:
                run.advance(DAY_H)
            past.forget((day + 1) * 86_400.0)
        raised += [f"{number}/{m}: {key}" for m, run in enumerate(runs) for key in _keys(run)]
    told = each * networks * METER_SETS
    reached = "reached" if len(raised) * 180 <= told else "MISSED"
    verdict = reached if told >= 180 else "too few days to tell"
    most = chi2.ppf(0.95, 2 * len(raised) + 2) / 2.0 * 180.0 / told
    print(
        f"{len(raised)} alarms in {told} days without faults, {networks} networks by {METER_SETS} sets of "
        f"meters for {each} days (goal: at most one in 180; at 95 % at most {most:.1f}): {verdict} {raised}"
    )


def _keys(run: WaterRun) -> list[str]:
    return sorted({str(row["key"]) for row in run.anomalies})


@dataclass(frozen=True)
class Found:
    """What became of one simulated loss."""

    pct: float
    hot: bool
    kind: str
    after_h: float
    rows: list[dict[str, Any]]
    onset_ms: int
    size_m3_h: float


def _one(run: WaterRun, kind: str, pct: float, node: str, hours: float) -> Found:
    """Let a watched network lose water, for `hours`; for draw-off `pct` is the mean of a day."""
    run = run.split()
    passed = float(np.mean([h.circulated_m3 for h in run.hours[-24:]]))
    size = pct / 100.0 * passed
    onset = run.now_ms + HOUR_MS
    burst = 6.8 if kind == "draw_off" else 1.0  # bursts of six minutes in six hours a day of half the slots
    fault = Fault(kind, node, burst * size / 3.6, onset, onset + 1000 * HOUR_MS, onset)
    run.suffer([fault])
    before = len(run.anomalies)
    run.advance(1 + hours)
    rows = run.anomalies[before:]
    after = (rows[0]["said_ms"] - onset) / HOUR_MS if rows else np.inf
    return Found(pct, kind == "supply_leak", kind, after, rows, onset, size)


def curve(networks: int, seed: int) -> None:
    """Print how soon leaks are found, and how well they are described."""
    found: list[Found] = []
    for number in range(networks):
        substations = SIZES[number % 3]
        run = WaterRun(seed + number, substations, step_s=_STEP_S)
        run.advance(_LEARN_H)
        if run.anomalies:
            print(f"seed {seed + number}: {len(run.anomalies)} rows of alarms while nothing was wrong")
        nodes = sorted(n for n in run.truth.supply.graph.index if n != "n-plant")
        rng = np.random.default_rng(seed + number)
        for pct in LEAKS_PCT:
            kind = ("leak", "supply_leak")[int(rng.integers(2))]
            hours = GOAL_H if pct <= GOAL_PCT else 12
            found.append(_one(run, kind, pct, str(rng.choice(nodes)), hours))
        found += [_one(run, "draw_off", pct, str(rng.choice(nodes)), 36) for pct in (0.1, 0.5)]
        told = ", ".join(f"{f.kind} {f.pct:g} % {f.after_h:g} h" for f in found[-len(LEAKS_PCT) - 2 :])
        print(f"seed {seed + number}, {substations} substations: {told}", flush=True)
    leaks = [f for f in found if f.kind != "draw_off"]
    print("leak of circulation  " + "  ".join(f"within {h:2d} h" for h in HOURS) + "  median h")
    for pct in LEAKS_PCT:
        after = np.array([f.after_h for f in leaks if f.pct == pct])
        shares = "  ".join(f"{np.mean(after <= h):11.0%}" for h in HOURS if h <= 12 or pct <= GOAL_PCT)
        print(f"{pct:17.2f} %  {shares}  {np.median(after):8.1f}")
    least = [min((p for p in LEAKS_PCT if _all_by(leaks, p, h)), default=np.inf) for h in HOURS]
    print(
        "smallest found in 90 %: " + ", ".join(f"{p:g} % in {h} h" for p, h in zip(least, HOURS, strict=True))
    )
    reached = _all_by(leaks, GOAL_PCT, GOAL_H)
    print(f"goal, {GOAL_PCT} % within {GOAL_H} h: {'reached' if reached else 'MISSED'}")
    _described(found)


def _all_by(leaks: Sequence[Found], pct: float, hours: float) -> bool:
    """Whether nine in ten leaks of a size are said in time."""
    mine = [f.after_h <= hours for f in leaks if f.pct == pct]
    return float(np.mean(mine)) >= _MOST


def _described(found: Sequence[Found]) -> None:
    """Print how manner, onset, size and side fit the truth, of what was found."""
    said = [f for f in found if f.rows]
    for kind, code in (("leak", LEAK), ("draw_off", DRAW_OFF)):
        mine = [f for f in said if (f.kind == "draw_off") == (kind == "draw_off")]
        right = [f.rows[-1]["code"] == code for f in mine]
        first = [f.rows[0]["code"] == code for f in mine]
        print(f"{kind}: {sum(right)} of {len(mine)} said to be {code} in the end, {sum(first)} at once")
    leaks = [f for f in said if f.kind != "draw_off"]
    onset = np.array([(f.rows[0]["window_start"] - f.onset_ms) / HOUR_MS for f in leaks])
    told = [json.loads(f.rows[-1]["evidence"]) for f in leaks]
    covered = [
        abs(e["excess_m3_h"] - f.size_m3_h) <= e["excess_u_m3_h"] for e, f in zip(told, leaks, strict=True)
    ]
    sides = [e["side"] for e in told]
    right = [s == ("supply" if f.hot else "return") for s, f in zip(sides, leaks, strict=True) if s]
    print(
        f"onset off by {np.median(np.abs(onset)):.1f} h (median), {np.abs(onset).max():.1f} h at most; true "
        f"size within uncertainty {np.mean(covered):.0%}; side said of {len(right)} of {len(leaks)}, right "
        f"{np.mean(right) if right else 0:.0%}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.leaks", description=__doc__)
    parser.add_argument("--full", action="store_true", help="500 network-days, a season, 20 networks")
    parser.add_argument("--days", type=int, help="network-days to calibrate with, and days of the seasons")
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=list(SIZES), help="substations to calibrate with"
    )
    parser.add_argument("--networks", type=int, help="networks of the seasons and the curve")
    parser.add_argument("--only", choices=tuple(_PART), help="one part alone")
    parser.add_argument("--seed", type=int, default=FIRST_SEED)
    given = parser.parse_args()
    print(f"machine: {machine()}; seeds from {given.seed}")
    for name, offset in _PART.items():
        if given.only not in {None, name}:
            continue
        print(f"-- {name}, seeds from {given.seed + offset}", flush=True)
        seed = given.seed + offset
        if name == "calibration":
            calibration(given.days or (500 if given.full else 16), seed, given.sizes)
        elif name == "cooling":
            cooling(10 if given.full else 2, seed)
        elif name == "seasons":
            seasons(
                given.days or (192 if given.full else 20), given.networks or (2 if given.full else 1), seed
            )
        else:
            curve(given.networks or (20 if given.full else 2), seed)


if __name__ == "__main__":
    main()
