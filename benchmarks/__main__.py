"""Every benchmark, one after the other, with the machine: ``python -m benchmarks``."""

from __future__ import annotations

import subprocess
import sys

BENCHMARKS = ("device_heat", "replay", "ingest_load", "end_to_end", "collector_memory")


def main() -> None:
    for name in BENCHMARKS:
        print(f"== {name}", flush=True)
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False)


if __name__ == "__main__":
    main()
