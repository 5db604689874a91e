"""A board in a process of its own: NiceGUI has one application a process, and a kill must be a real one.

Run as ``python -m tests.support.board_process FOLDER PORT KIND``; prints its URL once it answers.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from models.anomaly import ANOMALY, Anomaly, Severity, anomaly_table
from models.results import Outputs
from models.site import Device, Network, Region, Site, Unit, Vehicle
from tests.support.board_data import DAY_MS, NOW_MS, Day, seeded, status
from tests.support.waiting import PATIENCE_S

REPOSITORY = Path(__file__).parents[2]
PAYLOADS = (
    "<script>window.hit=1</script>",
    "<img src=x onerror=window.hit=1>",
    "'\"><svg onload=window.hit=1>",
    "{{constructor.constructor('window.hit=1')()}}",
    "${window.hit=1}",
    "`+window.hit=1+`",
    "</script><script>window.hit=1//",
    "<iframe srcdoc='<script>parent.hit=1</script>'>",
    "javascript:window.hit=1",
    "<a href=javascript:window.hit=1>x</a>",
    "&lt;script&gt;window.hit=1&lt;/script&gt;",
    "<style>*{display:none}</style>",
    "<math><mi onclick=window.hit=1>",
    "\u2028window.hit=1",
    '=HYPERLINK("http://127.0.0.1/"&A1)',
    "+1+cmd|' /C calc'!A0",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "</style><script>window.hit=1</script>",
    "</title><script>window.hit=1</script>",
    "</textarea><script>window.hit=1</script>",
    "<template><script>window.hit=1</script></template>",
    "<input autofocus onfocus=window.hit=1>",
    "<details open ontoggle=window.hit=1>",
    "<object data=javascript:window.hit=1>",
    "<base href=//127.0.0.1:9/>",
    "<meta http-equiv=refresh content=0;url=javascript:window.hit=1>",
    "%3Cscript%3Ewindow.hit=1%3C/script%3E",
    "[x](javascript:window.hit=1)",
    '"),window.hit=1,("',
)
assert len(PAYLOADS) == 30


_KILOGRAMS = (
    "planned_kg", "planned_to_date_kg", "released_kg", "loaded_kg", "in_transit_kg", "lost_kg", "received_kg",
    "settled_kg", "expected_kg", "transit_residual_kg", "unmatched_kg",
)  # fmt: skip


def hostile_site() -> Site:
    """A site whose every name is a script."""
    devices = {
        f"sub-{i:02d}": Device(
            f"sub-{i:02d}", "substation", f"unit-{i:02d}", "donghe", name=text, interval_s=10
        )
        for i, text in enumerate(PAYLOADS)
    }
    trucks = {
        f"truck-{i:02d}": Device(f"truck-{i:02d}", "truck", "donghe", "donghe", name=text, interval_s=10)
        for i, text in enumerate(PAYLOADS)
    }
    units = {f"unit-{i:02d}": Unit(f"unit-{i:02d}", "north", text) for i, text in enumerate(PAYLOADS)}
    return Site(
        "x", PAYLOADS[1], "Asia/Shanghai", regions={"north": Region("north", PAYLOADS[2])},
        units={"donghe": Unit("donghe", "north", PAYLOADS[8]), **units},
        networks={"net-1": Network("net-1", "donghe", PAYLOADS[0])}, devices=devices | trucks,
        vehicles={d.name: Vehicle(d.name, d.device, None, None, None) for d in trucks.values() if d.name},
    )  # fmt: skip


def _write_hostile(day: Day) -> None:
    for i, text in enumerate(PAYLOADS):
        day.write_dead_letter(f"x:{i}:0", text, "schema", text)
    today = {
        "window_start": NOW_MS // DAY_MS * DAY_MS,
        "status": "provisional",
        "rate_pct": 10.0,
        **dict.fromkeys(_KILOGRAMS, 1e6),
    }
    day.write_results(
        "fulfilment", [{"key": text, "contract": text, "seller": text, **today} for text in PAYLOADS]
    )
    now = {"window_start": NOW_MS - 3_600_000, "status": "provisional"}
    day.write_results("trip", [
        {"key": f"T{i}", "plate": text, "contract": text, "origin_ticket": text, "state": "open",
         "loaded_kg": 3e4, "departed": float(NOW_MS - 3_600_000), "flags": text, **now}
        for i, text in enumerate(PAYLOADS)
    ])  # fmt: skip
    found = [
        Anomaly(f"plate:{text}", "overload", Severity.MAJOR, 2.0, {"located": text}, NOW_MS - 7_200_000,
                NOW_MS, 3_600_000, "donghe", "north")
        for text in PAYLOADS
    ]  # fmt: skip
    out = Outputs("donghe", day._next())
    out.add(ANOMALY, anomaly_table(found, "donghe"))
    day.store.write([out])


@contextmanager
def board_process(folder: Path, port: int = 0, kind: str = "plain") -> Iterator[str]:
    """A running board's URL; the process is killed at the end, as a power cut would."""
    command = [sys.executable, "-m", "tests.support.board_process", str(folder), str(port), kind]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:"), url
        yield url
    finally:
        process.kill()
        process.wait(PATIENCE_S)


def main(folder: Path, port: int, kind: str) -> None:
    from dashboards.board import create_app
    from dashboards.serve import BoardServer

    hostile = kind == "hostile"
    day = seeded(folder, hostile_site() if hostile else None, trouble=not hostile)
    components = {"components": [{"name": PAYLOADS[1], "state": PAYLOADS[2], "detail": PAYLOADS[3]}]}
    if hostile:
        _write_hostile(day)
    app = create_app(day.store, day.site, lambda: NOW_MS, lambda: components if hostile else status())
    server = BoardServer(app, port=port)
    server.start()
    print(server.url, flush=True)
    signal.pause()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
