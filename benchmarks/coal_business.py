"""What a simulated coal month says of contracts, yards and furnaces, for the benchmarks that judge them.

The truth of the simulator is read from its files; nothing of the operators is used here.
"""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from models.contract_papers import OfficePaper, Side, TripState, Weighed

CASE = Path(__file__).parents[1] / "examples" / "cases" / "coal_month.toml"
MANY = """seed = {seed}
start = 2026-01-01T00:00:00+08:00
hours = 744

[logistics]
mines = 8
plants = 5
trucks = 240
contracts = 40
lane_km = [120, 420]
off_duty_h = 20
closed_day_share = 0.05
planned_share = {share}
jam_share = 0.02

[logistics.gps]
tracked_share = 0
"""
SHARES = (1.05, 1.2, 1.35, 1.5)
"""Coal planned over what the trucks can haul: some contracts are fulfilled, some are not."""


def simulate(case: Path, out: Path) -> None:
    """Run a case, unless its result is there already."""
    if not (out / "truth_flow.parquet").is_file():
        subprocess.run(
            [sys.executable, "-m", "hearthline", "simulate", "--case", case, "--out", out, "--json"],
            check=True, capture_output=True,
        )  # fmt: skip


def month(work: Path) -> Path:
    """The month of 40 contracts and 2,000 trucks, without positions, which no book needs."""
    case = work / "month.toml"
    text = CASE.read_text(encoding="utf-8")
    case.write_text(
        text.replace("[logistics.gps]\n", "[logistics.gps]\ntracked_share = 0\n"), encoding="utf-8"
    )
    simulate(case, work / "month")
    return work / "month"


def small_month(work: Path, seed: int) -> Path:
    """A month of 40 contracts and 240 trucks."""
    case = work / f"s{seed}.toml"
    case.write_text(MANY.format(seed=seed, share=SHARES[seed % len(SHARES)]), encoding="utf-8")
    simulate(case, work / f"s{seed}")
    return work / f"s{seed}"


def table(run: Path, name: str, *columns: str) -> dict[str, Any]:
    """Columns of a truth file as arrays."""
    read = pq.read_table(run / f"truth_{name}.parquet", columns=list(columns))
    return {c: read[c].to_numpy(zero_copy_only=False) for c in columns}


def contracts(run: Path) -> dict[str, dict[str, str]]:
    """Rows of contracts.csv by contract."""
    with (run / "site" / "contracts.csv").open(encoding="utf-8", newline="") as file:
        return {row["contract"]: row for row in csv.DictReader(file)}


@dataclass(frozen=True)
class Papers:
    """What the server would be told of one contract, and its true trips."""

    offices: list[OfficePaper]
    weighed: list[Weighed]
    trips: list[TripState]


def papers(run: Path) -> dict[str, Papers]:
    """Papers by contract as they came by telemetry, in all their disorder; which is whose trip is true."""
    registered = contracts(run)
    with (run / "site" / "devices.csv").open(encoding="utf-8", newline="") as file:
        places = {row["device"]: row["place"] for row in csv.DictReader(file)}
    offices: dict[str, dict[str, OfficePaper]] = defaultdict(dict)
    weighed: dict[str, dict[tuple[str, str], Weighed]] = defaultdict(dict)
    read = pq.read_table(run / "telemetry.parquet", columns=["topic", "payload"]).to_pydict()
    for topic, payload in zip(read["topic"], read["payload"], strict=True):
        found = re.search(r"/((?:bridge|office)[^/]*)/telemetry$", topic)
        for sample in json.loads(payload)["samples"] if found else ():
            name, kg, t = sample.get("contract"), sample.get("mass_kg"), sample["t"]
            if name is None or name not in registered:
                continue
            if "ref" in sample:
                offices[name][sample["ref"]] = OfficePaper(t, sample["ref"], sample["event"], kg)
                continue
            place = places[found[1]] if found else ""
            sides: dict[str, Side] = {
                registered[name]["origin"]: "origin", registered[name]["destination"]: "destination",
            }  # fmt: skip
            paper = Weighed(t, sample["ticket"], sample["step"], kg, sides.get(place))
            weighed[name][sample["ticket"], sample["step"]] = paper
    trips: dict[str, list[TripState]] = defaultdict(list)
    names = (
        "contract", "origin_ticket", "destination_ticket", "gross_origin_ms", "shown_tare_ms", "loaded_kg",
        "received_kg",
    )  # fmt: skip
    rows = pq.read_table(run / "truth_trip.parquet", columns=list(names)).to_pylist()
    for row in rows:
        closed = row["shown_tare_ms"] is not None and row["received_kg"] is not None
        trips[row["contract"]].append(
            TripState(
                row["origin_ticket"], row["destination_ticket"] or "", row["gross_origin_ms"],
                row["shown_tare_ms"] if closed else None, row["loaded_kg"],
                row["received_kg"] if closed else None, "closed" if closed else "open",
            )
        )  # fmt: skip
    return {
        name: Papers(list(offices[name].values()), list(weighed[name].values()), trips[name])
        for name in registered
    }


@dataclass(frozen=True)
class Daily:
    """A contract's month by day: received, and released and not loaded at each day's end. [kg]"""

    planned_kg: float
    received_kg: np.ndarray[Any, np.dtype[np.float64]]
    unloaded_kg: np.ndarray[Any, np.dtype[np.float64]]


def forged(run: Path) -> set[str]:
    """Tickets behind which nothing was weighed."""
    weighing = table(run, "weighing", "ticket", "trip")
    return set(weighing["ticket"][weighing["trip"] == 0].tolist())


def daily(run: Path, start_ms: int = 1_767_196_800_000, days: int = 31) -> list[Daily]:
    """Every contract's days, by papers' times and masses."""
    flow = table(run, "flow", "paper_ms", "contract", "event", "paper_kg")
    day = np.clip((flow["paper_ms"] - start_ms) // 86_400_000, 0, days - 1).astype(np.int64)
    inside = flow["paper_ms"] < start_ms + days * 86_400_000
    found = []
    for name, row in contracts(run).items():
        mine = inside & (flow["contract"] == name)

        def summed(*events: str, mine: Any = mine) -> Any:
            of = mine & np.isin(flow["event"], events)
            return np.bincount(day[of], weights=flow["paper_kg"][of], minlength=days)

        left = np.cumsum(summed("release") - summed("load", "cancel"))
        found.append(Daily(1000.0 * float(row["planned_t"]), summed("receive"), left))
    return found
