"""Where leaks are said to be, against where they are: ``python -m benchmarks.leak_places``.

Networks that were watched for some days, each pipe's inner diameter a little other than registered (so its
friction by five times as much), pressure sensors that scatter; then a leak at a node drawn at random, in the
supply or the return. What is said is right where the leak is behind the branch that is named, or at one of
the candidates. Scored a day after the leak began, on seeds that chose nothing.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.machine import machine
from benchmarks.network_days import HOUR_MS
from benchmarks.water_days import WaterRun
from models.leak_detection import LEAK
from models.site import Site
from simulator.kinds import Fault
from simulator.unit import NETWORK

FIRST_SEED = 90_000
"""Seeds of the score begin here; those below are for trying things out."""
SIZES = (10, 30)
LEAKS_PCT = (0.2, 0.5, 1.0, 2.0)
CROOKED = 0.02
_LEARN_H, _LEAK_H, _STEP_S = 24 * 6, 24, 300.0


@dataclass(frozen=True)
class Said:
    """What the evidence says of one leak; `right` is None where it says nothing."""

    pct: float
    candidates: int
    branch: bool
    right: bool | None
    share: float
    side: bool | None
    reason: str


def behind(site: Site, pipe: str) -> set[str]:
    """Nodes behind a pipe of the made-up tree, whose pipes are laid away from the plant."""
    below: dict[str, list[str]] = {}
    for p in site.pipes.values():
        below.setdefault(p.from_node, []).append(p.to_node)
    found, todo = set[str](), [site.pipes[pipe].to_node]
    while todo:
        node = todo.pop()
        found.add(node)
        todo += below.get(node, [])
    return found


def judged(site: Site, evidence: dict[str, Any], pct: float, node: str, *, hot: bool) -> Said:
    """Compare what is said with the truth."""
    named = evidence["candidates"]
    branch = evidence["branch"]
    right: bool | None = None
    share = np.nan
    if named or branch:
        places = {site.pipes[p].to_node for p in named} if named else behind(site, branch)
        right = node in places
        share = len(places) / len(site.pipes)
    side = None if evidence["side"] is None else evidence["side"] == ("supply" if hot else "return")
    return Said(pct, len(named), branch is not None, right, share, side, evidence["place_reason"] or "")


def one(seed: int, substations: int, per_size: int) -> list[Said]:
    """Leaks of each size in one network."""
    watched = WaterRun(seed, substations, step_s=_STEP_S, crooked=CROOKED)
    watched.advance(_LEARN_H)
    passed = float(np.mean([h.circulated_m3 for h in watched.hours[-24:]]))
    nodes = sorted(n for n in watched.truth.supply.graph.index if n != "n-plant")
    rng = np.random.default_rng([seed, 5])
    found = []
    for pct in LEAKS_PCT:
        for _ in range(per_size):
            run, node, hot = watched.split(), str(rng.choice(nodes)), bool(rng.integers(2))
            onset = run.now_ms + HOUR_MS
            kind = "supply_leak" if hot else "leak"
            run.suffer([Fault(kind, node, pct / 100.0 * passed / 3.6, onset, onset + 1000 * HOUR_MS, onset)])
            before = len(run.anomalies)
            run.advance(1 + _LEAK_H)
            rows = [r for r in run.anomalies[before:] if r["code"] == LEAK and r["key"].endswith(NETWORK)]
            rows = rows or [r for r in run.anomalies[before:] if r["code"] == LEAK]
            if rows:
                found.append(judged(run.site, json.loads(rows[-1]["evidence"]), pct, node, hot=hot))
            else:
                found.append(Said(pct, 0, False, None, np.nan, None, "not found"))
    return found


def told(found: Sequence[Said]) -> None:
    """Print how often something is said, how often it is right, and how much of the network it is."""
    print("leak    leaks  located  right  (alone, of 2 or 3, a branch)  share of pipes  side right  else")
    for pct in LEAKS_PCT:
        mine = [f for f in found if f.pct == pct]
        said = [f for f in mine if f.right is not None]
        kinds = (sum(f.candidates == 1 for f in said), sum(f.candidates > 1 for f in said),
                 sum(not f.candidates for f in said))  # fmt: skip
        sides = [f.side for f in mine if f.side is not None]
        reasons = sorted({f.reason for f in mine if f.reason})
        right, share = sum(bool(f.right) for f in said), np.mean([f.share for f in said]) if said else np.nan
        print(
            f"{pct:4.1f} %  {len(mine):5d}  {len(said):7d}  {right:5d}  {kinds!s:>28s}  {share:14.1%}  "
            f"{sum(sides)} of {len(sides)}  "
            + ", ".join(f"{r} {sum(f.reason == r for f in mine)}" for r in reasons)
        )
    said = [f for f in found if f.right is not None]
    print(f"of {len(found)} leaks {len(said)} located, of them {sum(bool(f.right) for f in said)} rightly")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.leak_places", description=__doc__)
    parser.add_argument("--networks", type=int, default=2, help="networks of each size")
    parser.add_argument("--leaks", type=int, default=2, help="leaks of each size in each")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="substations of a network")
    parser.add_argument("--seed", type=int, default=FIRST_SEED)
    given = parser.parse_args()
    print(f"machine: {machine()}; seeds from {given.seed}; a sample every {_STEP_S:.0f} s", flush=True)
    every: list[Said] = []
    for place, size in enumerate(given.sizes):
        for number in range(given.networks):
            every += one(given.seed + 1000 * place + number, size, given.leaks)
    told(every)


if __name__ == "__main__":
    main()
