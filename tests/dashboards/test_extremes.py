"""What a day of readings shows when it is thinned to the width of a chart, in a real Chromium."""

import io

import numpy as np
import pytest
from PIL import Image

from tests.support.board_data import DAY_MS, NOW_MS, Day
from tests.support.board_running import TWO_LOOKS, Running, browser, opened, taken, until

__all__ = ["browser", "opened"]  # fixtures

STEP_MS = 300_000
SILENT_MS = (NOW_MS - 6 * 3_600_000) // STEP_MS * STEP_MS
FAR_C = 160.0


class Spiky(Day):
    """The plant's supply is far off for one reading, and silent for one step of the chart."""

    def table(self, device, t, values):
        if device.device == "plant-1" and len(t) > 1000:
            values = {**values, "supply_c": values["supply_c"].copy()}
            values["supply_c"][np.searchsorted(t, NOW_MS - DAY_MS // 2)] = FAR_C
            kept = (t < SILENT_MS) | (t >= SILENT_MS + STEP_MS)
            t, values = t[kept], {k: v[kept] for k, v in values.items()}
        return super().table(device, t, values)


class SpikyBoard(Running):
    made = Spiky


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    made = SpikyBoard(tmp_path_factory.mktemp("series"))
    yield made
    made.stop()


def reds(page):
    """Where the supply's colour is, of the chart without its legend."""
    picture = Image.open(io.BytesIO(page.locator("#panel-plant_temperatures canvas").first.screenshot()))
    colours = np.asarray(picture.convert("RGB")).astype(int)[75:]
    return colours[:, :, 0] - colours[:, :, 2] > 25


@pytest.mark.parametrize(("language", "size"), TWO_LOOKS)
def test_one_reading_far_off_and_one_silent_step_are_seen_in_a_whole_day(opened, language, size):
    watched = opened(f"/?lang={language}", size)
    page = watched.page
    until(page, "performance.getEntriesByName('hl-drawn-plant_temperatures').length > 0")
    page.locator("#panel-plant_temperatures").scroll_into_view_if_needed()
    red = reds(page)
    columns = np.flatnonzero(red.any(axis=0))
    tall = len(red) - red[::-1, columns].argmax(axis=0) - red[:, columns].argmax(axis=0)
    assert tall.max() > 30, "a stroke to the reading that is far off"
    assert np.quantile(tall, 0.9) < 12, "a line elsewhere"
    gaps = columns[1:][np.diff(columns) > 1]
    across = columns[-1] - columns[0]
    assert (gaps - columns[0]) / across == pytest.approx([0.75], abs=0.02)
    watched.assert_quiet()


def test_extremes_are_taken_along_with_the_means(opened):
    page = opened("/?lang=en").page
    until(page, "performance.getEntriesByName('hl-drawn-plant_temperatures').length > 0")
    rows = taken(page, "plant_temperatures")
    assert rows[0][5:] == ["value", "unit", "state", "low", "high", "step_s"]
    far = [row for row in rows[1:] if row[9] and float(row[9]) == FAR_C]
    assert len(far) == 1
    assert float(far[0][8]) < float(far[0][5]) < FAR_C
