"""Trips, fraud and suppliers of simulated months against their truth: ``python -m benchmarks.trips``.

The case is examples/cases/coal_month.toml: 2,000 trucks, 40 contracts, 60,000 tickets, 1 % in disorder. It
is played with seeds that nothing was tuned on, through simulate and replay; without positions, unless they
are asked for. Thresholds were chosen on seed 2026.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.haulage import CASE, shortened
from benchmarks.machine import machine
from hearthline.site_dir import read_site
from models.fulfilment import RESIDUALS

SEEDS = (31, 47)
"""Not used for tuning."""
_ROAD = frozenset({
    "tare_drift", "tare_inflated", "repeated_weight", "overload", "plate_swapped", "phantom_ticket",
    "impossible_time", "bridge_drift", "transit_loss", "supplier_short_quality",
})  # fmt: skip
Row = dict[str, Any]


@dataclass
class Score:
    """What came of one month.

    Attributes
    ----------
    trips, right : int
        Trips by truth that have a ticket, and those whose tickets were put together as they belong.
    wrong : Counter
        Of the others, by what befell their tickets.
    found, missed : list of str
        Injected frauds by kind and subject.
    accused, false : list of str
        Who was accused of anything, and who of them never did anything.
    innocent : int
        Plates, contracts, suppliers and bridges that did nothing.
    tickets : dict
        Accused one by one: how many were injected, how many of these found, how many others accused.
    books, astray, explained : int
        Contract days whose four identities were looked at, those where one is not zero, and of these the
        ones whose reason is known: receipts that never came weigh at least as much, or loads were forged.
    """

    trips: int = 0
    right: int = 0
    wrong: Counter[str] = field(default_factory=Counter)
    found: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    accused: list[str] = field(default_factory=list)
    false: list[str] = field(default_factory=list)
    innocent: int = 0
    tickets: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    books: int = 0
    astray: int = 0
    explained: int = 0


def case_text(seed: int, trucks: int | None, hours: float | None, *, positions: bool) -> str:
    """The month with another seed, fewer trucks and hours, with or without positions."""
    text = shortened(CASE.read_text(encoding="utf-8"), hours)
    text = re.sub(r"^seed = .*$", f"seed = {seed}", text, count=1, flags=re.MULTILINE)
    if not positions:
        text = text.replace("[logistics.gps]\n", "[logistics.gps]\ntracked_share = 0.0\n")
    if trucks is not None:
        text = re.sub(r"^trucks = .*$", f"trucks = {trucks}", text, count=1, flags=re.MULTILINE)
    return text


def _without_boilers(run: Path) -> None:
    """Leave out of a recording what plants report: their windows cost more than all the coal."""
    plants = [d.device for d in read_site(run / "site").devices.values() if d.device_class == "plant"]
    path = run / "telemetry.parquet"
    table = pq.read_table(path)
    device = pc.list_element(pc.split_pattern(table["topic"], "/"), 4)
    pq.write_table(table.filter(pc.invert(pc.is_in(device, pa.array(plants, pa.string())))), path)


def play(text: str, folder: Path) -> tuple[float, float, float]:
    """Simulate a case and replay it; wall and CPU seconds of the replay, and its largest memory in MB."""
    case, run, out = folder / "case.toml", folder / "run", folder / "out"
    case.write_text(text, encoding="utf-8")
    base = [sys.executable, "-m", "hearthline"]
    if not (run / "truth_faults.json").exists():  # it is the last to be written
        command = [*base, "simulate", "--case", str(case), "--out", str(run), "--json"]
        subprocess.run(command, check=True, capture_output=True)
    _without_boilers(run)
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [*base, "replay", run / "telemetry.parquet", "--site", run / "site", "--out", out, "--json"],
        check=True, capture_output=True,
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - began, cpu_s, after.ru_maxrss / 1024.0


def _rows(path: Path) -> list[Row]:
    return (
        [r for r in pq.read_table(path).to_pylist() if r.get("status") != "withdrawn"]
        if path.exists()
        else []
    )


def score(run: Path, out: Path) -> Score:
    """Hold a replay's rows against the truth of the simulation."""
    result = Score()
    _score_trips(run, out, result)
    _score_fraud(run, out, result)
    _score_books(run, out, result)
    return result


def _score_trips(run: Path, out: Path, result: Score) -> None:
    disorder = {d["name"]: d["kind"] for d in _rows(run / "truth_disorder.parquet")}
    weighed = {(w["ticket"], w["step"]) for w in _rows(out / "weighing.parquet")}
    said = {r["key"]: r for r in _rows(out / "trip.parquet")}
    for trip in _rows(run / "truth_trip.parquet"):
        origin, destination = trip["origin_ticket"], trip["destination_ticket"]
        loaded = (origin, "gross") in weighed
        # What no ticket says, because it went missing or is of later, nobody can put together.
        received = bool(destination) and any((destination, s) in weighed for s in ("gross", "tare"))
        if not loaded and not received:
            continue
        result.trips += 1
        if loaded:
            row = said.get(origin)
            right = row is not None and (row["destination_ticket"] or None) == (
                destination if received else None
            )
        else:
            row = said.get(destination)
            right = row is not None and not row["origin_ticket"]
        result.right += right
        if not right:
            kinds = {disorder.get(origin), disorder.get(destination), *trip["wrongs"].split("+")} - {None, ""}
            result.wrong["+".join(sorted(map(str, kinds))) or "none"] += 1


def _score_books(run: Path, out: Path, result: Score) -> None:
    """Identities of each contract's days.

    Offices settle what arrived, even where its ticket never came; and they release no forged load.
    """
    forged = {w["contract"] for w in _rows(run / "truth_weighing.parquet") if not w["vehicle"]}
    received = {r["destination_ticket"] for r in _rows(out / "trip.parquet") if r["received_kg"] is not None}
    never_came = [
        t for t in _rows(run / "truth_trip.parquet")
        if t["destination_ticket"] and t["received_kg"] and t["destination_ticket"] not in received
    ]  # fmt: skip
    for row in _rows(out / "fulfilment.parquet"):
        result.books += 1
        residuals = {name: row[name] for name in RESIDUALS if row[name]}
        if not residuals:
            continue
        result.astray += 1
        end_ms = row["window_start"] + row["window_ms"]
        lacking_kg = sum(
            t["received_kg"] for t in never_came
            if t["contract"] == row["contract"] and t["tare_destination_ms"] < end_ms
        )  # fmt: skip
        more_loaded_kg = -residuals.pop("load_residual_kg", 0)
        settled_kg = -residuals.pop("receipt_residual_kg", 0)
        known = 0 <= settled_kg <= lacking_kg
        known &= more_loaded_kg == 0 or (more_loaded_kg > 0 and row["contract"] in forged)
        result.explained += not residuals and known


def _score_fraud(run: Path, out: Path, result: Score) -> None:
    faults = json.loads((run / "truth_faults.json").read_text(encoding="utf-8"))
    faults = faults["faults"] if isinstance(faults, dict) else faults
    anomalies = [a for a in _rows(out / "anomaly.parquet") if a["code"] in _ROAD]
    said = {(a["code"], a["subject"]) for a in anomalies}
    injected = [i for i in _rows(run / "truth_injected.parquet") if i["code"] in _ROAD]
    guilty = {i["subject"] for i in injected} | {f["subject"] for f in faults if f.get("subject")}
    guilty |= {f"plate:{i['plate']}" for i in injected if i["subject"].startswith("ticket:")}
    for fault in faults:
        code, subject = fault.get("code"), fault.get("subject")
        if code not in _ROAD or not subject:
            continue
        name = f"{fault['kind']} of {subject}"
        (result.found if (code, subject) in said else result.missed).append(name)
    for code in sorted({i["code"] for i in injected if i["subject"].startswith("ticket:")}):
        true = {i["subject"] for i in injected if i["code"] == code}
        # A forged trip has two tickets, of which the truth names the last.
        accused = {s for c, s in said if c == code}
        forged = {f"ticket:{w['ticket']}" for w in _rows(run / "truth_weighing.parquet") if not w["vehicle"]}
        result.tickets[code] = (len(true), len(true & accused), len(accused - true - forged))
    whole = {(c, s) for c, s in said if not s.startswith("ticket:")}
    result.accused = sorted(f"{c} of {s}" for c, s in whole)
    result.false = sorted(f"{c} of {s}" for c, s in whole if s not in guilty)
    result.innocent = len(set(_subjects(run / "site")) - guilty)


def _subjects(site: Path) -> list[str]:
    known = read_site(site)
    bridges = [d.device for d in known.devices.values() if d.device_class == "weighbridge"]
    sellers = {c.seller for c in known.contracts.values()}
    names = [
        ("plate", known.vehicles),
        ("contract", known.contracts),
        ("supplier", sellers),
        ("bridge", bridges),
    ]
    return [f"{kind}:{name}" for kind, of in names for name in of]


def report(title: str, result: Score, wall_s: float, cpu_s: float, peak_mb: float, weighings: int) -> None:
    """Print what came of a month."""
    print(
        f"{title}: {weighings:,} weighings in {wall_s:.0f} s "
        f"({cpu_s:.0f} s of CPU = {weighings / cpu_s:,.0f}/s), peak {peak_mb:,.0f} MB"
    )
    share = 100.0 * result.right / max(result.trips, 1)
    print(f"  trips matched rightly: {result.right:,} of {result.trips:,} = {share:.2f} % (goal 99.5)")
    print(f"    the others by what befell their tickets: {dict(result.wrong.most_common(8))}")
    frauds = len(result.found) + len(result.missed)
    print(f"  fraud found: {len(result.found)} of {frauds}; missed: {', '.join(result.missed) or 'none'}")
    accused = {a.split(" of ", 1)[1] for a in result.false}
    share = 100.0 * len(accused) / max(result.innocent, 1)
    print(
        f"  falsely accused: {len(accused)} of {result.innocent:,} innocent plates, contracts, suppliers and "
        f"bridges = {share:.2f} % (goal under 1); {len(result.false)} of {len(result.accused)} accusations: "
        f"{dict(Counter(a.split(' of ')[0] for a in result.false))}"
    )
    print(
        f"  identities: all four zero on {result.books - result.astray:,} of {result.books:,} contract days; "
        f"on {result.explained} of the other {result.astray} offices settled no more than what never came, "
        "or forged loads were never released"
    )
    for code, (true, found, false) in result.tickets.items():
        print(f"  {code}: {found} of {true} tickets found, {false} others accused")
    suppliers = [a for a in result.accused if a.startswith("supplier_short_quality")]
    print(f"  suppliers named: {', '.join(a.split(':', 1)[1] for a in suppliers) or 'none'}")


def measure(
    seed: int, trucks: int | None, hours: float | None, work: Path | None, *, positions: bool
) -> None:
    """Play, replay and score one month."""
    with tempfile.TemporaryDirectory() as name:
        folder = work or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        wall_s, cpu_s, peak_mb = play(case_text(seed, trucks, hours, positions=positions), folder)
        result = score(folder / "run", folder / "out")
        weighings = pq.read_metadata(folder / "out" / "weighing.parquet").num_rows
        title = f"seed {seed}, {trucks or 2000} trucks{'' if positions else ', no positions'}"
        report(title, result, wall_s, cpu_s, peak_mb, weighings)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seed", type=int, nargs="*", default=SEEDS)
    parser.add_argument("--trucks", type=int, help="2,000 without")
    parser.add_argument("--hours", type=float, help="of the month; all of it without")
    parser.add_argument("--positions", action="store_true", help="with positions")
    parser.add_argument("--work", type=Path, help="directory that keeps what was simulated and replayed")
    given = parser.parse_args()
    print(f"machine: {machine()}")
    for seed in given.seed:
        measure(seed, given.trucks, given.hours, given.work, positions=given.positions)


if __name__ == "__main__":
    main()
