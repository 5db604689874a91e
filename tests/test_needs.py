"""What is missing skips a test on a desk and fails it in CI."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.needs import REQUIRE_REAL, missing


@pytest.mark.parametrize(
    ("variables", "outcome"),
    [
        ({}, pytest.skip.Exception),
        ({"CI": "true"}, pytest.fail.Exception),
        ({REQUIRE_REAL: "1"}, pytest.fail.Exception),
        ({"CI": "true", REQUIRE_REAL: "0"}, pytest.skip.Exception),
    ],
)
def test_missing_locally_is_skipped_and_missing_in_ci_is_a_failure(monkeypatch, variables, outcome):
    for name in ("CI", REQUIRE_REAL):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(outcome, match="postgres is missing: apt-get install postgresql"):
        missing("postgres", "apt-get install postgresql")


def test_ci_installs_what_its_tests_need_and_requires_it():
    text = (Path(__file__).parents[1] / ".ci" / "run").read_text()
    wanted = re.search(r"wanted=\(([^)]*)\)", text).group(1).split()
    assert {"mosquitto", "postgresql", "default-jre-headless", "maven", "chromium"} <= set(wanted)
    before, after = text.split(f"export {REQUIRE_REAL}=1")
    assert "go install github.com/influxdata/influxdb/cmd/influxd@v1.8.10" in before
    assert '"$test_command"' in after
