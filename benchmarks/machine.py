"""What machine a figure was measured on."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["machine"]


def machine() -> str:
    """Processor, cores and how busy the machine was."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown"
    )
    return f"{model}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
