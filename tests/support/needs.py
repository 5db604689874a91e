"""What a test needs and this machine has not: skipped on a desk, a failure in CI."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

__all__ = ["REQUIRE_REAL", "missing"]

REQUIRE_REAL = "HEARTHLINE_REQUIRE_REAL"
"""Set by `.ci/run`, which installs everything: a test that is skipped there is one that nobody runs."""


def missing(what: str, install: str) -> NoReturn:
    """End the test, saying what installs `what`: skipped, or failed where real components are required."""
    message = f"{what} is missing: {install}"
    if os.environ.get(REQUIRE_REAL, os.environ.get("CI", "")) in ("1", "true"):
        pytest.fail(message)
    pytest.skip(message)
