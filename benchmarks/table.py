"""Every figure that has a goal, in one table: ``python -m benchmarks table``.

Speed end to end beside a bare subscriber, latency, memory, restart, cost by number of devices; some ten
minutes. Each is also a benchmark of its own.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime

from benchmarks import devices, end_to_end, latency, memory, restart
from benchmarks.figures import Figure, table
from benchmarks.machine import machine
from benchmarks.usage import without_options

PARTS = (end_to_end, latency, memory, restart, devices)


def main() -> None:
    without_options("table", __doc__)
    print(f"machine: {machine()}; {datetime.now(UTC):%Y-%m-%d %H:%M} UTC", flush=True)
    found: list[Figure] = []
    for part in PARTS:
        print(f"-- {part.__name__}", flush=True)
        try:
            found += part.figures()
        except SystemExit as error:  # the others are still worth knowing
            print(f"   failed: {error}")
            found.append(
                Figure(f"{part.__name__.removeprefix('benchmarks.')}: {error}", 0.0, "", 1.0, above=True)
            )
    print(table(found))
    print(f"machine at the end: {machine()}")
    sys.exit(0 if all(figure.met for figure in found) else 1)


if __name__ == "__main__":
    main()
