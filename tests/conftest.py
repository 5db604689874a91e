"""What holds for every test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from streams.core import containing

if TYPE_CHECKING:
    from tests.support.postgres import Postgres

# In CI the same cases every time, so that a change is judged by itself; on a desk new ones at each run.
# How long an example takes to be made says how busy the machine is.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", PATIENT, derandomize=True)
settings.register_profile("desk", PATIENT)
settings.load_profile("ci" if os.environ.get("CI") else "desk")


@pytest.fixture(autouse=True)
def nothing_is_contained(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator that raises fails its test, unless that is what the test is about."""
    if request.node.get_closest_marker("contained") is None:
        monkeypatch.setattr(containing, "CONTAINED", ())


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One real PostgreSQL for the whole session; each test makes a database of its own."""
    from tests.support.postgres import Postgres

    with Postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def records_at(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path | str]:
    """Where new records are to be: a file, then a database of a real PostgreSQL."""
    if request.param == "sqlite":
        yield tmp_path / "records.sqlite3"
        return
    server: Postgres = request.getfixturevalue("postgres")
    yield (url := server.database())
    server.drop(url)
