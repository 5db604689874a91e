"""Resident memory and processor time of one collector process: ``python -m benchmarks.collector_memory``.

Runs `hearthline edge` with 20 csv devices of 18 columns at 10 s against a Mosquitto, with a server that
acknowledges, and again with the broker away; prints what /proc says of it after the first minute's work.
Processor time is taken at the real rate, a sample of each device every 10 s, after the start.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.machine import machine
from tests.support.edge_server import FakeServer
from tests.support.mosquitto import Mosquitto, free_port

GOAL_MB = 60.0
GOAL_CPU_PCT = 3.0
SETTLE_S = 8.0
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


def cpu_s(pid: int) -> float:
    """Processor time that a process has used, its own and the system's for it. [s]"""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(url: str, seconds: float, speed: float) -> tuple[float, float, float]:
    """Resident memory at the end and at its highest [MB], share of one core after the start [%]."""
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
            time.sleep(min(SETTLE_S, seconds / 2))
            began_s, used_s = time.monotonic(), cpu_s(process.pid)
            time.sleep(seconds - min(SETTLE_S, seconds / 2))
            share = (cpu_s(process.pid) - used_s) / (time.monotonic() - began_s)
            return *memory_mb(process.pid), 100 * share
        finally:
            process.terminate()
            process.wait(15)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument(
        "--speed", type=float, default=10.0, help="10 s rows a tenth of it apart: a minute's work in 6 s"
    )
    parser.add_argument("--cpu-seconds", type=float, default=70.0, help="how long it runs at the real rate")
    options = parser.parse_args()
    with Mosquitto() as broker:
        server = FakeServer(broker.port)
        connected = measure(broker.url, options.seconds, options.speed)
        stored = sum(len(messages) for messages in server.stored.values())
        real = measure(broker.url, options.cpu_seconds, 1.0)
        server.close()
    away = measure(f"mqtt://127.0.0.1:{free_port()}", options.seconds, options.speed)
    print(
        f"{platform.machine()}, {platform.system()} {platform.release()}, Python {platform.python_version()}"
    )
    print(f"{DEVICES} devices × {len(VALUES)} values, {stored} messages acknowledged; goal {GOAL_MB:.0f} MB")
    print(f"machine: {machine()}")
    for what, (now, peak, _) in (("connected", connected), ("broker away", away), ("real rate", real)):
        verdict = "met" if peak < GOAL_MB else "MISSED"
        print(f"{what:12} resident {now:5.1f} MB, highest {peak:5.1f} MB  {verdict}")
    verdict = "met" if real[2] < GOAL_CPU_PCT else "MISSED"
    print(f"at the real rate {real[2]:.2f} % of one core, goal {GOAL_CPU_PCT:.0f} %  {verdict}")
    met = max(connected[1], away[1], real[1]) < GOAL_MB and real[2] < GOAL_CPU_PCT
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
