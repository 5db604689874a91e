"""The collector's unit: what it starts exists, the watchdog has time, and the sandbox is what it says."""

from __future__ import annotations

import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge.supervisor import STUCK_S
from hearthline.cli import build

UNIT = Path(__file__).parents[1] / "deploy" / "collector" / "hearthline-edge.service"


def values() -> dict[str, list[str]]:
    found = defaultdict(list)
    for line in UNIT.read_text(encoding="utf-8").splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found[key].append(value)
    return found


def test_it_notifies_and_its_watchdog_is_slower_than_our_own_eye():
    unit = values()
    assert unit["Type"] == ["notify"]
    assert float(unit["WatchdogSec"][0]) > STUCK_S
    assert unit["Restart"] == ["always"]
    assert "HUP" in unit["ExecReload"][0]


def test_what_it_starts_is_a_command():
    (start,) = values()["ExecStart"]
    words = start.split()[2:]
    assert words[0] == "edge"
    assert words[1] in CliRunner().invoke(build(), ["edge", "--help"]).output


@pytest.mark.parametrize(
    "setting",
    [
        "NoNewPrivileges=yes", "ProtectSystem=strict", "ProtectHome=yes", "PrivateTmp=yes", "CapabilityBoundingSet=",
        "RestrictNamespaces=yes", "MemoryDenyWriteExecute=yes", "SystemCallFilter=@system-service", "DevicePolicy=closed",
        "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX", "User=hearthline", "LockPersonality=yes",
    ],
)  # fmt: skip
def test_it_has_no_more_of_the_machine_than_it_needs(setting):
    assert setting in UNIT.read_text(encoding="utf-8").splitlines()


def test_systemd_reads_it():
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed: apt-get install systemd")
    done = subprocess.run([analyze, "verify", str(UNIT)], capture_output=True, text=True, check=False)
    told = [line for line in done.stderr.splitlines() if "Unknown" in line or "Failed to parse" in line]
    assert not told
