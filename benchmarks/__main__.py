"""Every benchmark, one after the other, with the machine: ``python -m benchmarks [NAME …]``."""

from __future__ import annotations

import argparse
import subprocess
import sys

BENCHMARKS = (
    "device_heat",
    "replay",
    "ingest_load",
    "end_to_end",
    "collector_memory",
    "wire_bytes",
    "outage",
    "week_out",
    "connect_storm",
    "haulage",
    "fulfilment",
    "latency",
    "alert_latency",
    "memory",
    "restart",
    "distributed",
    "worker_chain",
    "worker_pair",
    "worker_recovery",
    "devices",
    "simulator",
    "load_forecast",
    "trips",
    "faults",
    "tracks",
    "track_speed",
    "heat_balance",
    "heat_operators",
    "leaks",
    "leak_places",
    "meter_faults",
    "pipe_loss",
    "silent_devices",
    "leap",
    "long_ago",
    "board",
)
TABLE = "table"  # runs several of them again, beside their goals


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Run benchmarks one by one.")
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"of {', '.join(BENCHMARKS)} or {TABLE}; all but {TABLE} without one",
    )
    names = parser.parse_args().names
    if wrong := [name for name in names if name not in (*BENCHMARKS, TABLE)]:
        parser.error(f"expected names of {', '.join(BENCHMARKS)} or {TABLE}, got {', '.join(wrong)}")
    for name in names or BENCHMARKS:
        print(f"== {name}", flush=True)
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False)


if __name__ == "__main__":
    main()
