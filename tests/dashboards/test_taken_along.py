"""What a panel shows is taken along, as numbers or as a picture, in a real Chromium."""

import re

import pytest
from PIL import Image

from dashboards.panels import pages
from store.protocol import Select
from tests.support.board_data import DAY_MS
from tests.support.board_query import CHARTS, TABLES, Asked, iso, number, read_cells, rows
from tests.support.board_rest import running
from tests.support.board_running import browser, opened, stand, taken, until_here

__all__ = ["browser", "opened", "running"]  # fixtures

PAGES = {page.id: page for page in pages()}


@pytest.mark.parametrize("name", PAGES)
def test_every_panel_can_be_taken_along_as_csv_with_the_numbers_that_query_prints(opened, running, name):
    shown = PAGES[name]
    since_ms = running.now_ms - (
        DAY_MS // 8 if name == "network" else DAY_MS
    )  # many readings, of all devices
    asked = Asked(running.server.url, running.day.site, running.now_ms, since_ms, "sub-03")
    span = f"from={asked.from_ms}&to={asked.now_ms + 1}"
    watched = opened(f"{shown.path.replace('{device}', asked.device)}?lang=en&{span}")
    page = watched.page
    stand(page, shown)
    files = {p.id: until_here(page, lambda p=p: filled(taken(page, p.id))) for p in shown.panels}
    for panel in shown.panels:
        told = files[panel.id][1:]
        if panel.kind in CHARTS and panel.series:
            expected = asked.history(panel)
            found = {(r[0].lstrip("'"), r[1], r[4]): r[5] for r in told}
            assert found.keys() == expected.keys(), panel.id
            wrong = {k: (v, found[k]) for k, v in expected.items() if not same(v, found[k])}
            assert (wrong, found == {}) == ({}, False), panel.id
        elif panel.kind in TABLES:
            expected = asked.table(shown, panel)
            assert (read_cells(panel, told), expected == []) == (expected, False), panel.id
            assert all(head == head.strip() for head in files[panel.id][0]), panel.id
            aged = [i for i, (_, _, unit) in enumerate(panel.columns) if unit == "age"]
            assert all(re.fullmatch(r"(\d{4}-\d\d-\d\dT[\d:.]+Z)?", row[i]) for row in told for i in aged), (
                panel.id
            )
        elif panel.id == "reporting":
            meters = [d for d in running.day.site.devices.values() if d.device_class != "office"]
            *states, registered = map(int, told[0])
            assert (sum(states), registered) == (len(meters), len(meters))
        elif panel.kind in DRAWN:
            assert DRAWN[panel.kind](asked, shown, panel, told), panel.id
    watched.assert_quiet()


def filled(rows):
    """Rows of a panel that has something: what is drawn from an answer of its own comes a moment later."""
    return rows if any(any(row) for row in rows) else None


def same_terms(asked, page, panel, told):
    """A waterfall has the terms of its window."""
    return told and all(
        [number(x) for x in row[2:-1]] == asked.balance(page, panel, row[0], row[1].replace(".000Z", "Z"))
        for row in told
    )


def same_pressures(asked, _page, panel, told):
    """A profile has the newest pressures of every device on it."""
    fields = [s.field for s in panel.series]
    return told and all(
        [float(x) for x in row[3:]] == [asked.newest(row[0])[f] for f in fields] for row in told
    )


def same_deviations(asked, _page, panel, told):
    """Bars stand by how far the newest return is from the middle of those that are fresh; the others at the end."""
    fresh = [row for row in told if row[4] == "fresh"]
    returns = {row[0]: asked.newest(row[0])["return_c"] for row in fresh}
    middle = sorted(returns.values())[len(returns) // 2]
    above = [float(row[3]) for row in fresh]
    return (
        len(fresh) > 20
        and told[: len(fresh)] == fresh
        and {row[3] for row in told[len(fresh) :]} == {""}
        and {row[0]: float(row[2]) for row in fresh} == returns
        and above == pytest.approx([returns[row[0]] - middle for row in fresh], abs=1e-9)
        and above == sorted(above, reverse=True)
    )


def same_newest(asked, _page, panel, told):
    """A process drawing has the newest readings, as many digits as their unit is read with."""
    words = {row[0] for row in told}
    newest = asked.newest(asked.device)
    expected = {f"{read(newest[x.field], x.unit)} {x.unit}" for x in panel.series}
    return expected <= {w.removeprefix("outdoor ") for w in words}


def read(value, unit):
    """Whole kPa and %, tenths of the rest, from a thousand on a digit less."""
    digits = 0 if unit in {"kPa", "%"} or abs(value) >= 1000 else 1
    return f"{value:,.{digits}f}"


def same_bars(asked, _page, _panel, told):
    """Bars have what each contract has reached, and what is due of its plan by now."""
    newest = rows(asked.url, Select("fulfilment", latest=True))
    expected = {
        r["contract"]: [
            r["rate_pct"], 100 * r["planned_to_date_kg"] / r["planned_kg"], r.get("forecast_pct"), r.get("shortfall_p"),
        ]
        for r in newest if "rate_pct" in r
    }  # fmt: skip
    return told and expected == {
        row[0]: [None if cell == "" else float(cell) for cell in row[1:]] for row in told
    }


def same_trucks(asked, _page, _panel, told):
    """A map has the newest position of every truck, with its time and what it carries."""
    trips = {r["plate"]: r for r in rows(asked.url, Select("trip", latest=True)) if r["state"] == "open"}
    for device, plate, at, lat, lon, _state, contract, loaded_kg, eta, _late in told:
        newest, trip = asked.newest(device), trips.get(plate, {})
        assert [at, float(lat), float(lon)] == [
            iso(newest["window_start"]), newest["lat_deg"], newest["lon_deg"],
        ]  # fmt: skip
        assert [contract, number(loaded_kg)] == [
            trip.get("contract", ""),
            number(str(trip.get("loaded_kg", ""))),
        ]
        assert eta == (iso(trip["eta"]) if "eta" in trip else "")
    return len(told) == len({row[0] for row in told}) > 1


def same_alarms(asked, _page, panel, told):
    """Open alarms by their ids, each time whole; those that nobody acknowledged on the overview."""
    newest = {r["key"]: r for r in rows(asked.url, Select("alarm_open", latest=True))}
    listed = {k: r for k, r in newest.items() if panel.kind == "alarms" or asks(r)}
    expected = {
        k: [str(r["priority"]), r["subject"], r["code"], r["state"], iso(r["raised"])]
        for k, r in listed.items()
    }
    return told and {row[0]: row[1:6] for row in told} == expected


def asks(alarm):
    return alarm["state"] == "raised" and not alarm.get("suppressed") and not alarm.get("shelved_until")


DRAWN = {
    "bullets": same_bars, "map": same_trucks, "alarms": same_alarms, "strip": same_alarms, "waterfall": same_terms,
    "profile": same_pressures, "process": same_newest, "deviations": same_deviations,
}  # fmt: skip


def same(expected, cell):
    """A value as the store holds it, and as a CSV of six decimals does."""
    return cell == "" if expected is None else float(cell) == pytest.approx(expected, rel=1e-9, abs=2e-6)


@pytest.mark.parametrize(
    ("path", "panel"), [("/network", "network_drawing"), ("/", "heat_windows"), ("/trust", "ledger")]
)
def test_a_panel_can_be_taken_along_as_a_picture(opened, path, panel):
    watched = opened(path + "?lang=zh")
    page = watched.page
    page.wait_for_selector(f"#panel-{panel} :is(canvas, svg line, tbody td)")
    stand(page, next(p for p in PAGES.values() if p.path == path))
    box = page.locator(f"#panel-{panel}").bounding_box()
    page.locator(f"#panel-{panel} .hl-tools summary").click()
    with page.expect_download() as caught:
        page.locator(f"#panel-{panel} [data-take=png]").click()
    picture = Image.open(caught.value.path()).convert("RGB")
    assert picture.size == pytest.approx((2 * box["width"], 2 * box["height"]), abs=2)
    dark = sum(count for count, colour in picture.getcolors(1 << 24) if max(colour) < 120)
    assert dark > 500  # words and lines, not a blank card
    watched.assert_quiet()


def test_the_keyboard_stays_at_the_menu_by_which_a_file_was_taken(opened):
    page = opened("/water?lang=en").page
    stand(page, PAGES["water"])
    menu = page.locator("#panel-makeup_rate .hl-tools summary")
    menu.focus()
    for take, steps in (("csv", 1), ("png", 2)):
        page.keyboard.press("Enter")
        for _ in range(steps):
            page.keyboard.press("Tab")
        with page.expect_download() as caught:
            page.keyboard.press("Enter")
        assert caught.value.suggested_filename.endswith(take)
        assert menu.evaluate("e => e === document.activeElement && !e.parentElement.open")
    page.keyboard.press("Enter")
    for _ in range(3):
        page.keyboard.press("Tab")
    assert menu.evaluate("e => !e.parentElement.contains(document.activeElement) && !e.parentElement.open")
