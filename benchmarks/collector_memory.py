"""Resident memory of one collector process: ``python -m benchmarks.collector_memory``.

Runs `hearthline edge` with 20 csv devices of 18 columns at 10 s against a Mosquitto, with a server that
acknowledges, and again with the broker away; prints what /proc says of it after the first minute's work.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.support.edge_server import FakeServer
from tests.support.mosquitto import Mosquitto, free_port

GOAL_MB = 60.0
DEVICES = 20
VALUES = (
    "supply_c", "return_c", "flow_m3_h", "heat_kw", "supply_kpa", "return_kpa", "valve_pct",
    "secondary_supply_c", "secondary_return_c", "secondary_flow_m3_h", "secondary_supply_kpa",
    "secondary_return_kpa", "secondary_setpoint_c", "pump_hz", "outdoor_c", "energy_gj", "volume_m3",
    "secondary_makeup_m3",
)  # fmt: skip


def write(directory: Path, url: str, speed: float) -> Path:
    """A configuration of 20 substations whose recordings run at `speed`."""
    rows = "".join(
        f"{10 * k},{','.join(f'{50 + (k * 7 + c) % 40}.{c}' for c in range(len(VALUES)))}\n"
        for k in range(9000)
    )
    columns = "\n".join(f'{name} = "{name}"' for name in VALUES)
    text = f'[mqtt]\nurl = "{url}"\n'
    for n in range(DEVICES):
        (directory / f"s{n}.csv").write_text(f"t,{','.join(VALUES)}\n{rows}")
        text += (
            f'[[device]]\nid = "s{n}"\nregion = "r"\nunit = "u"\nclass = "substation"\n'
            f'interval_s = 10\ndriver = "csv"\n'
            f'[device.csv]\npath = "s{n}.csv"\ntime_column = "t"\ntime_format = "unix_s"\npace = {speed}\n'
            f"[device.csv.columns]\n{columns}\n"
        )
    path = directory / "edge.toml"
    path.write_text(text)
    return path


def memory_mb(pid: int) -> tuple[float, float]:
    """Resident memory now and at its highest."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(fields["VmRSS"].split()[0]) / 1024, int(fields["VmHWM"].split()[0]) / 1024


def measure(url: str, seconds: float, speed: float) -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as name:
        path = write(Path(name), url, speed)
        command = [
            sys.executable,
            "-c",
            "from hearthline.cli import main; main()",
            "edge",
            "--config",
            str(path),
        ]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            time.sleep(seconds)
            return memory_mb(process.pid)
        finally:
            process.terminate()
            process.wait(15)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument(
        "--speed", type=float, default=10.0, help="10 s rows a tenth of it apart: a minute's work in 6 s"
    )
    options = parser.parse_args()
    with Mosquitto() as broker:
        server = FakeServer(broker.port)
        connected = measure(broker.url, options.seconds, options.speed)
        stored = sum(len(messages) for messages in server.stored.values())
        server.close()
    away = measure(f"mqtt://127.0.0.1:{free_port()}", options.seconds, options.speed)
    print(
        f"{platform.machine()}, {platform.system()} {platform.release()}, Python {platform.python_version()}"
    )
    print(f"{DEVICES} devices × {len(VALUES)} values, {stored} messages acknowledged; goal {GOAL_MB:.0f} MB")
    for what, (now, peak) in (("connected", connected), ("broker away", away)):
        verdict = "met" if peak < GOAL_MB else "MISSED"
        print(f"{what:12} resident {now:5.1f} MB, highest {peak:5.1f} MB  {verdict}")
    sys.exit(0 if max(connected[1], away[1]) < GOAL_MB else 1)


if __name__ == "__main__":
    main()
