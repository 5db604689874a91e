"""Light or dark: as chosen, else as the system has it, in a real Chromium."""

import pytest

from tests.support.board_running import browser, running, until
from tests.support.chromium import Watched

__all__ = ["browser", "running"]  # fixtures

# Nothing while the page is on its way to another: a wait may fall between the two.
THEME = "document.querySelector('.hl')?.className.match(/hl-(light|dark)/)[1]"
HERE = "document.querySelector('.hl-switches a[data-set^=theme].hl-here')?.dataset.set"


@pytest.fixture
def seen(browser, running):
    contexts = []

    def go(path, system):
        context = browser.new_context(color_scheme=system)
        contexts.append(context)
        watched = Watched(context.new_page())
        watched.page.goto(running.server.url + path)
        until(watched.page, "!!document.querySelector('.hl-page')")
        return watched

    yield go
    for context in contexts:
        context.close()


@pytest.mark.parametrize("system", [pytest.param("light", marks=pytest.mark.soak), "dark"])
def test_who_has_chosen_none_has_the_systems(seen, system):
    watched = seen("/?lang=en", system)
    page = watched.page
    page.wait_for_selector(".hl-clock b")
    until(page, f"{THEME} === '{system}' && {HERE} === 'theme={system}'")
    watched.assert_quiet()


@pytest.mark.parametrize("chosen", ["light", pytest.param("dark", marks=pytest.mark.soak)])
def test_what_was_chosen_stays_whatever_the_system_has(seen, chosen):
    other = "light" if chosen == "dark" else "dark"
    page = seen(f"/?lang=en&theme={chosen}", other).page
    page.wait_for_selector(".hl-clock b")
    until(page, f"{THEME} === '{chosen}' && {HERE} === 'theme={chosen}'")


def test_a_choice_against_the_system_is_remembered(seen):
    page = seen("/?lang=en", "dark").page
    page.wait_for_selector(".hl-clock b")
    page.locator(".hl-switches a[data-set='theme=light']").click()
    until(page, f"{THEME} === 'light'")
    page.goto(page.url.split("?")[0] + "?lang=en")
    page.wait_for_selector(".hl-clock b")
    until(page, f"{THEME} === 'light'")


def test_a_page_follows_the_system_at_dusk(seen):
    page = seen("/?lang=en", "light").page
    page.wait_for_selector(".hl-clock b")
    page.emulate_media(color_scheme="dark")
    until(
        page,
        f"{THEME} === 'dark' && !!document.querySelector('.hl-clock b')",
    )


def test_dusk_waits_for_who_writes(seen):
    page = seen("/alarms?lang=en", "light").page
    field = page.locator(".hl-alarm-deeds input >> nth=1")
    field.fill("pump seized, spare")
    page.emulate_media(color_scheme="dark")
    page.wait_for_timeout(1500)
    assert field.input_value() == "pump seized, spare"
    field.fill("")
    until(page, f"{THEME} === 'dark'")


def test_an_address_that_leads_nowhere_has_the_systems_too(seen):
    page = seen("/substation/sub-99?lang=en", "dark").page
    until(page, f"{THEME} === 'dark'")
