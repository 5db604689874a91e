"""Contracts, yards and furnaces of a simulated month against its truth: ``python -m benchmarks fulfilment``.

Identities at random instants; the forecast of a shortfall on months that nothing was chosen by; the supplier
whose coal lacks heat, by laboratories and by the furnaces alone. Everything rests on simulated data.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import coal_business as business
from benchmarks.machine import machine
from models.burning_days import BurningDays
from models.coal_quality import dry_mj_kg, quality_gap
from models.contract_papers import moved, nets, papers_judged
from models.fulfilment import Funnel, funnel
from models.fulfilment_forecast import LEAST_DAYS, outlook
from models.local_month import local_days
from models.yard_account import Lots, yard_account

TUNED = range(100, 106)
"""Seeds by which the forecast's constants were chosen; the table rests on `JUDGED` alone."""
JUDGED = range(200, 210)
_DAY_MS = 86_400_000
_LEAST_PCT = 80.0


def identities(run: Path, instants: int = 1000, seed: int = 7) -> bool:
    """All four identities of every contract at random instants, and against the simulator's own books.

    Forged tickets are in no true trip. Without them everything has to be zero; with them the identities have
    to say of which contract they are, which shows that they can fail.
    """
    random = np.random.default_rng(seed)
    flow = business.table(run, "flow", "paper_ms", "contract", "event", "paper_kg")
    begin, end = int(flow["paper_ms"].min()), int(flow["paper_ms"].max())
    at = np.sort(random.integers(begin, end, instants))
    forged = business.forged(run)
    worst = differing = refused = tickets = 0
    told: dict[str, int] = {}
    registered = business.contracts(run)
    bearing: dict[str, int] = {}
    for name, papers in business.papers(run).items():
        planned = round(1000.0 * float(registered[name]["planned_t"]))
        offices, bad = papers_judged(papers.offices)
        good, worse = nets(papers.weighed)
        refused, tickets = refused + len(bad) + len(worse), tickets + len(good)
        true = {of: net for of, net in good.items() if net.ticket not in forged}
        if len(true) < len(good):
            bearing[name] = len(good) - len(true)
        all_of_them = funnel(planned, moved(offices, good, papers.trips), at)
        sums = funnel(planned, moved(offices, true, papers.trips), at)
        if all_of_them.worst_kg:
            told[name] = all_of_them.worst_kg
        worst = max(worst, sums.worst_kg)
        differing += _differing(flow, name, at, sums)
    print(
        f"identities: {instants:,} instants × {len(registered)} contracts, {tickets:,} tickets: residual at "
        f"most {worst} kg, {differing} sums differ from the simulator's books, {refused} tickets refused"
    )
    print(f"  with forged tickets ({bearing}) identities miss, largest in kg: {told}")
    return worst == 0 and differing == 0 and set(told) == set(bearing)


def _differing(flow: dict[str, Any], name: str, at: Any, sums: Funnel) -> int:
    """At how many instants a sum is not what the simulator's books have."""
    count = 0
    for event, ours in (("load", sums.loaded_kg), ("receive", sums.received_kg), ("lose", sums.lost_kg)):
        of = (flow["contract"] == name) & (flow["event"] == event)
        order = np.argsort(flow["paper_ms"][of], kind="stable")
        total = np.concatenate(([0], np.cumsum(flow["paper_kg"][of][order])))
        true = total[np.searchsorted(flow["paper_ms"][of][order], at, side="right")]
        count += int((true != ours).sum())
    return count


def reliability(runs: list[Path]) -> bool:
    """How often a month fell short beside how likely that was said to be, from day 5 on."""
    said, fell = [], []
    for run in runs:
        for contract in business.daily(run):
            days = contract.received_kg
            least = _LEAST_PCT / 100.0 * contract.planned_kg
            for known in range(LEAST_DAYS, len(days)):
                seen = outlook(days[:known], contract.unloaded_kg[:known], 0.0, float(len(days) - known), 0.0,
                               contract.planned_kg)  # fmt: skip
                assert seen is not None
                said.append(seen.shortfall_p(least))
                fell.append(float(days.sum() < least))
    p, y = np.array(said), np.array(fell)
    ten = np.minimum((p * 10).astype(int), 9)
    print(
        f"shortfall forecast, {len(runs)} months × 40 contracts, seeds not used for tuning, daily from day 5:"
    )
    print("| said | forecasts | mean said | fell short |\n|---|---|---|---|")
    for n in range(10):
        mine = ten == n
        if mine.any():
            low, count = n / 10, int(mine.sum())
            print(
                f"| {low:.1f} to {low + 0.1:.1f} | {count:,} | {p[mine].mean():.3f} | {y[mine].mean():.3f} |"
            )
    error = sum((ten == n).sum() * abs(p[ten == n].mean() - y[ten == n].mean()) for n in set(ten)) / len(p)
    brier, base = float(np.mean((p - y) ** 2)), float(y.mean() * (1 - y.mean()))
    warned = p > 0.2
    print(f"calibration error {error:.4f}; Brier {brier:.4f} (base rate alone {base:.4f})")
    print(
        f"warned of {warned.mean():.0%}: {y[warned].mean():.0%} of those fell short; "
        f"{1 - warned[y == 1].mean():.1%} of what fell short was not warned of"
    )
    return bool(error < 0.05 and brier < base)


def by_laboratories(run: Path) -> set[str]:
    """Suppliers found short by certificates against the receiving laboratory."""
    lab = business.table(run, "lab", "lot", "contract", "end", "ticket", "moisture_pct", "q_net_ar_mj_kg")
    sellers = {name: row["seller"] for name, row in business.contracts(run).items()}
    dry = dry_mj_kg(lab["q_net_ar_mj_kg"], lab["moisture_pct"])
    ends: dict[str, dict[tuple[str, str], float]] = {"origin": {}, "destination": {}}
    for lot, contract, end, q in zip(lab["lot"], lab["contract"], lab["end"], dry.tolist(), strict=True):
        ends[end][sellers[contract], lot] = q
    found = set()
    print("quality by laboratories: | supplier | lots | lacks % | ± | lots needed | short |")
    for seller in sorted(set(sellers.values())):
        lots = [
            lot for name, lot in ends["origin"] if name == seller and (seller, lot) in ends["destination"]
        ]
        gap = quality_gap([ends["origin"][seller, lot] for lot in lots],
                          [ends["destination"][seller, lot] for lot in lots])  # fmt: skip
        found |= {seller} if gap.short else set()
        size = f"{gap.short_pct:.2f} | {gap.u_pct:.2f} | {gap.needed}"
        print(f"  | {seller} | {gap.lots} | {size} | {gap.short} |")
    return found


def by_furnaces(run: Path) -> set[str]:
    """Suppliers whose coal gives less heat than the others', by what boilers made of it alone."""
    sellers = {name: row["seller"] for name, row in business.contracts(run).items()}
    units = {name: row["unit"] for name, row in business.contracts(run).items()}
    trip = business.table(run, "trip", "contract", "shown_tare_ms", "received_kg", "certified_mj_kg")
    yard = business.table(run, "yard", "t_ms", "unit", "event", "paper_kg")
    fire = business.table(run, "burning", "t_ms", "unit", "heat_gj", "fuel_kg")
    residuals: dict[str, list[tuple[float, float]]] = {}
    closed = ~np.isnan(trip["received_kg"].astype(float)) & ~np.isnan(trip["shown_tare_ms"].astype(float))
    begin, end = int(yard["t_ms"].min()), int(fire["t_ms"].max())
    days = local_days(begin, end - _DAY_MS, "Asia/Shanghai")
    certified = trip["certified_mj_kg"].astype(float)
    for unit in sorted(set(units.values())):
        mine = [n for n in np.flatnonzero(closed) if units[trip["contract"][n]] == unit]
        lots = Lots.of(
            [
                (int(trip["shown_tare_ms"][n]), float(trip["received_kg"][n]), certified[n], certified[n],
                 sellers[trip["contract"][n]])
                for n in mine
            ]
        )  # fmt: skip
        of = (yard["unit"] == unit) & (yard["event"] == "opening")
        burning = fire["unit"] == unit
        burnt = list(zip(fire["t_ms"][burning].tolist(), fire["fuel_kg"][burning].tolist(), strict=True))
        books = yard_account([(begin, float(yard["paper_kg"][of][0]))], lots, burnt, 20.9)
        assert books is not None
        starts = np.array([d[0] for d in days])
        place = np.searchsorted(starts, fire["t_ms"][burning], side="left") - 1
        inside = (place >= 0) & (fire["t_ms"][burning] <= days[-1][1])
        heat, kg = (
            np.bincount(place[inside], weights=fire[c][burning][inside], minlength=len(days)).astype(
                np.float64
            )
            for c in ("heat_gj", "fuel_kg")
        )
        for each in BurningDays.of(books, days, heat, kg, np.ones(len(days))).suppliers():
            if not np.isnan(each.residual_pct):
                residuals.setdefault(each.supplier, []).append((each.residual_pct, each.residual_u_pct))
    found = set()
    print("heat by furnaces alone: | supplier | yards | residual % | ± | lacks heat |")
    for seller, told in sorted(residuals.items()):
        value, u = np.array(told).T
        weight = 1.0 / np.maximum(u, 0.3) ** 2
        mean, spread = float((value * weight).sum() / weight.sum()), float(2.0 * (1.0 / weight.sum()) ** 0.5)
        short = mean + spread < -1.5
        found |= {seller} if short else set()
        print(f"  | {seller} | {len(told)} | {mean:.2f} | {spread:.2f} | {short} |")
    return found


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--work", type=Path, help="where simulated months are kept and found again")
    arguments.add_argument("--months", type=int, default=len(JUDGED), help="months to judge the forecast by")
    given = arguments.parse_args()
    print(f"machine: {machine()}")
    with tempfile.TemporaryDirectory() as name:
        work = given.work or Path(name)
        work.mkdir(parents=True, exist_ok=True)
        run = business.month(work)
        good = [identities(run), reliability([business.small_month(work, s) for s in JUDGED[: given.months]])]
        for found in (by_laboratories(run), by_furnaces(run)):
            print(f"  named: {', '.join(sorted(found)) or 'nobody'}")
            good.append(found == {"仿真矿业2 Simulated Mining 2"})
    sys.exit(0 if all(good) else 1)


if __name__ == "__main__":
    main()
