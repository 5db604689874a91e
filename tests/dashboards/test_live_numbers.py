"""What follows the store live (tiles, states, the list of trouble, the map) against `hearthline query`."""

from __future__ import annotations

import re
from collections import Counter
from statistics import fmean, median_high

import numpy as np
import pytest

from dashboards.language import catalogue
from dashboards.panels import pages
from dashboards.scope import silence_ms, stale_ms
from store.protocol import Select
from tests.support.board_query import rows
from tests.support.board_rest import running
from tests.support.board_running import browser, opened, taken, until

__all__ = ["browser", "opened", "running"]  # fixtures

OVERVIEW = next(page for page in pages() if page.id == "overview")
TOGETHER = {"sum": sum, "mean": fmean, "max": max, "min": min}
WINDOW_MS = 900_000


@pytest.fixture
def newest(running):
    return {r["key"]: r for r in rows(running.server.url, Select("reading", latest=True))}


@pytest.fixture
def heat(running):
    return {r["key"]: r for r in rows(running.server.url, Select("device_heat", latest=True))}


def state_of(running, device, newest):
    if device.device not in newest:
        return "never"
    age = running.now_ms - newest[device.device]["window_start"]
    return "silent" if age > silence_ms(device) else "stale" if age > stale_ms(device) else "fresh"


def states(running, newest):
    devices = running.day.site.devices.values()
    return {d.device: state_of(running, d, newest) for d in devices if d.device_class != "office"}


def looked_at(opened, path):
    page = opened(path + "?lang=en").page
    until(page, "document.querySelector('.hl-age')?.textContent.includes('old')")
    return page


def numbers(text):
    return [float(x) for x in re.findall(r"-?[0-9]+(?:\.[0-9]+)?", text.replace(",", "").replace("−", "-"))]


def digits(text):
    return max(len(x) for x in re.findall(r"[0-9]\.?([0-9]*)(?= |$)", text))


def test_tiles_show_the_newest_rows_put_together(opened, running):
    page = looked_at(opened, "/")
    feeds = {f.name: f.select for f in OVERVIEW.feeds}
    classes = {d.device: d.device_class for d in running.day.site.devices.values()}
    tiles = [p for p in OVERVIEW.panels if p.kind == "tile" and p.series and p.id != "delivered"]
    assert len(tiles) >= 6
    for tile in tiles:
        page.wait_for_selector(f"#panel-{tile.id} .hl-value b")
        text = page.inner_text(f"#panel-{tile.id} .hl-value b")
        told = [
            row
            for select in (feeds[name] for name in tile.feeds)
            for row in rows(running.server.url, Select(select.measurement, latest=True))
            if select.device_class in {"", classes.get(row["key"])}
        ]
        expected = [
            TOGETHER[s.across]([r[s.field] for r in told if r.get(s.field) is not None]) * s.scale
            for s in tile.unchosen
        ]
        assert numbers(text) == pytest.approx(expected, abs=0.5001 * 10.0 ** -digits(text)), tile.id


def test_the_delivered_heat_is_that_of_the_newest_complete_window(opened, running):
    page = looked_at(opened, "/")
    page.wait_for_selector("#panel-delivered .hl-value b")
    sums: dict[int, float] = {}
    for row in rows(running.server.url, Select("device_heat")):
        if row["key"].startswith("sub-") and row.get("heat_gj") is not None:
            sums[row["window_start"]] = sums.get(row["window_start"], 0.0) + row["heat_gj"]
    expected = sums[max(at for at in sums if at + WINDOW_MS <= running.now_ms)]
    assert numbers(page.inner_text("#panel-delivered .hl-value b")) == pytest.approx([expected], abs=0.00501)


def test_the_matrix_counts_devices_by_the_age_of_their_newest_reading(opened, running, newest):
    page = looked_at(opened, "/")
    told = [row for row in taken(page, "state_matrix")[1:] if len(row) == 5]
    devices, found = running.day.site.devices, states(running, newest)
    expected: dict[str, Counter[str]] = {}
    for name, state in found.items():
        expected.setdefault(devices[name].unit, Counter())[state] += 1
    kinds = ("fresh", "stale", "silent", "never")
    assert sorted([int(numbers(cell)[-1]) for cell in row[1:]] for row in told) == sorted(
        [counts[kind] for kind in kinds] for counts in expected.values()
    )
    squares = page.evaluate(
        "[...document.querySelectorAll('.hl-square')].map(e => e.className.split('hl-is-')[1])"
    )
    assert Counter(squares) == Counter(found.values())


def test_the_list_of_trouble_has_every_trouble_and_the_highest_returns(opened, running, newest, heat):
    page = looked_at(opened, "/")
    page.wait_for_selector(".hl-attention td")
    devices, found = running.day.site.devices, states(running, newest)
    names = {d.name or d.device: d.device for d in devices.values()}
    told = [row for row in taken(page, "attention") if len(row) == 4 and row[1].strip() in names]
    unknown = {k for k, r in heat.items() if r["status"] == "unknown" and found[k] == "fresh"}
    trouble = {k for k, state in found.items() if state != "fresh"} | unknown
    returns = {
        k: r["return_c"]
        for k, r in heat.items()
        if devices[k].device_class == "substation" and "return_c" in r
    }
    middle = median_high(returns.values())
    high = sorted((v - middle for v in returns.values() if v > middle), reverse=True)
    listed = [names[row[1].strip()] for row in told if "above the median" not in row[2]]
    assert set(listed) <= trouble
    assert len(listed) == len(set(listed)) == min(10, len(trouble))
    order = ["silent", "stale", "never", "fresh"]
    assert [found[k] for k in listed] == sorted((found[k] for k in trouble), key=order.index)[:10]
    for device, row in zip(listed, told, strict=False):
        words = {"never": "has never reported", "fresh": "heat unknown"}.get(found[device], found[device])
        assert row[2].startswith(words)
        if found[device] == "fresh":
            assert row[2].endswith(catalogue("en")[heat[device]["reason"]])
    shown = [numbers(row[3])[0] for row in told if "above the median" in row[2]]
    assert shown == pytest.approx(high[: len(shown)], abs=0.0501)
    assert len(told) == min(10, len(trouble) + len(high))


def test_the_map_has_each_truck_where_its_newest_position_is(opened, running, newest):
    page = looked_at(opened, "/logistics")
    page.wait_for_selector(".hl-truck")
    drawn = page.evaluate(
        "[...document.querySelectorAll('.hl-truck')].map(e => "
        "[new URL(e.href.baseVal, location).searchParams.get('truck'), e.querySelector('g').getAttribute('transform')])"
    )
    where = {name: numbers(at)[:2] for name, at in drawn}
    devices = running.day.site.devices
    trucks = {k: r for k, r in newest.items() if devices[k].device_class == "truck" and "lat_deg" in r}
    assert where.keys() <= trucks.keys()
    assert len(where) >= 3
    for axis, field, way in ((0, "lon_deg", 1), (1, "lat_deg", -1)):  # east is right, north is up
        degrees, pixels = np.array([(trucks[k][field], at[axis]) for k, at in where.items()]).T
        slope, base = np.polyfit(degrees, pixels, 1)
        assert slope * way > 0
        assert pixels == pytest.approx(slope * degrees + base, abs=0.2)
