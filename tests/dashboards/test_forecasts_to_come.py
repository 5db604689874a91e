"""What is forecast for the networks, in a real Chromium: the next hour first, none that is over, none of a device."""

import pytest

from tests.support.board_data import NOW_MS
from tests.support.board_running import browser, opened, running, until

__all__ = ["browser", "opened", "running"]  # fixtures

HOUR_MS = 3_600_000
HERE_MS = NOW_MS // HOUR_MS * HOUR_MS
ROWS = (
    "[...document.querySelectorAll('#panel-forecasts tbody tr')].map(r => [...r.cells].map(c => c.innerText))"
)


def forecasts(whose, at_ms, hours, p50_kw):
    return [
        {"key": f"{whose}:{n}", "window_start": at_ms + n * HOUR_MS, "p10_kw": p50_kw - 9.0, "p50_kw": p50_kw + n,
         "p90_kw": p50_kw + 9.0, "persistence_kw": p50_kw, "status": "final"}
        for n in hours
    ]  # fmt: skip


@pytest.fixture(scope="module")
def told(running):
    earlier, hours = HERE_MS - HOUR_MS, range(1, 73)
    running.day.write_results("load_forecast", forecasts("net-1", earlier, hours, 5000.0), HOUR_MS)
    running.day.write_results("load_forecast", forecasts("net-1", HERE_MS, hours, 4000.0), HOUR_MS)
    running.day.write_results(
        "load_forecast", forecasts("net-1", HERE_MS - 90 * HOUR_MS, [48], 7000.0), HOUR_MS
    )
    running.day.write_results("load_forecast", forecasts("sub-03", HERE_MS, (1, 2, 72), 90.0), HOUR_MS)


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize("scope", ["", "&unit=donghe"])
def test_the_next_hour_stands_first(opened, scope):
    watched = opened(f"/loads?lang=en{scope}")
    page = watched.page
    until(page, f"{ROWS}.length === 40")
    rows = page.evaluate(ROWS)
    assert [r[0].rsplit("·")[1].split()[0] for r in rows] == [
        str(n) for n in (*range(1, 25), *range(27, 73, 3))
    ]
    assert {r[0].split(" ·")[0] for r in rows} == {"东河一网"}
    assert [rows[0][3], rows[-1][3]] == ["4,001", "4,072"], "of the newest forecast"
    watched.assert_quiet()
