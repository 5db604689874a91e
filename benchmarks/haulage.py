"""Seconds and rows of a simulated month of coal on the road: ``python -m benchmarks.haulage``.

The case is examples/cases/coal_month.toml: 2,000 trucks, 40 contracts. CPU
seconds stand beside wall seconds, because they do not depend on what else the
machine does.
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.machine import machine

CASE = Path(__file__).parents[1] / "examples" / "cases" / "coal_month.toml"


@dataclass(frozen=True)
class Run:
    """One simulation. Seconds of the whole command, starting included.

    Attributes
    ----------
    peak_mb : float
        Largest memory of the process. [MB]
    rows : dict
        Rows by file.
    """

    said: dict[str, Any]
    wall_s: float
    cpu_s: float
    peak_mb: float
    rows: dict[str, int]
    bytes: int


def measure(hours: float | None) -> Run:
    """Simulate the month, or the first `hours` of it with what goes wrong in them."""
    with tempfile.TemporaryDirectory() as name:
        case, out = Path(name) / "case.toml", Path(name) / "out"
        case.write_text(shortened(CASE.read_text(encoding="utf-8"), hours), encoding="utf-8")
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "hearthline", "simulate", "--case", case, "--out", out, "--json"],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        wall_s = time.perf_counter() - began
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        files = sorted(out.glob("*.parquet"))
        rows = {f.stem: pq.read_metadata(f).num_rows for f in files}
        size = (out / "telemetry.parquet").stat().st_size
        return Run(json.loads(done.stdout), wall_s, cpu_s, after.ru_maxrss / 1024.0, rows, size)


def shortened(text: str, hours: float | None) -> str:
    """The case cut to its first `hours`, without what goes wrong only after them."""
    if hours is None:
        return text
    head, *faults = text.split("[[fault]]")
    kept = [
        f for f in faults if float((re.search(r"^onset_h = (\S+)", f, re.MULTILINE) or ["", "0"])[1]) < hours
    ]
    body = re.sub(r"^hours = .*$", f"hours = {hours:g}", head, count=1, flags=re.MULTILINE)
    return "[[fault]]".join([body, *kept])


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--hours", type=float, help="of the month; all of it without")
    given = arguments.parse_args()
    print(f"machine: {machine()}")
    run = measure(given.hours)
    said = run.said
    print(
        f"haulage: {said['trips']:,} trips on {said['tickets']:,} tickets with {said['fixes']:,} positions "
        f"in {said['messages']:,} messages ({run.bytes / 1e6:,.0f} MB) in {run.wall_s:.1f} s; "
        f"{run.cpu_s:.1f} s of CPU = {said['fixes'] / run.cpu_s:,.0f} positions/s; "
        f"peak {run.peak_mb:,.0f} MB; books miss {said['books_residual_kg']} kg"
    )
    print(f"rows: {run.rows}")


if __name__ == "__main__":
    main()
