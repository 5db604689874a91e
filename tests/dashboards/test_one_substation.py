"""Which substation a page is about, and its whole process, in a real Chromium."""

import pytest

from tests.support.board_running import DESK, PHONE, browser, opened, running, until

__all__ = ["browser", "opened", "running"]  # fixtures

SITE = "Donghe District Heating"
LONG = "阳光小区南区二期换热站"
CHOICE = """name => {
  const select = document.querySelector(".hl-devices select");
  select.selectedOptions[0].textContent = name;
  const pen = document.createElement("canvas").getContext("2d");
  pen.font = getComputedStyle(select).font;
  return [select.clientWidth - pen.measureText(name).width, document.documentElement.scrollWidth - innerWidth];
}"""
SIDES = """() => {
  const frame = document.querySelector("#panel-process").getBoundingClientRect();
  return [...document.querySelectorAll("#panel-process svg > *")].filter(x => {
    const box = x.getBoundingClientRect();
    return box.left < frame.left || box.right > frame.right || box.top < frame.top || box.bottom > frame.bottom;
  }).map(x => x.textContent || x.getAttribute("class"));
}"""


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize(("language", "title"), [("en", "Substation"), ("zh", "换热站")])
def test_title_heading_and_choice_name_the_substation(opened, language, title, size):
    watched = opened(f"/substation/sub-03?lang={language}", size)
    page = watched.page
    assert page.title() == f"光明小区站 · {title} · {SITE} · Hearthline"
    assert page.get_by_role("heading", level=1).all_text_contents() == ["光明小区站"]
    room, beyond = page.evaluate(CHOICE, LONG)
    assert room > 30, "a name of a usual length is whole, beside the arrow"
    assert beyond <= 0
    watched.assert_quiet()


def test_a_page_of_no_device_has_its_own_title(opened):
    page = opened("/network?lang=en").page
    assert page.title() == f"Network · {SITE} · Hearthline"
    assert page.get_by_role("heading", level=1).count() == 0


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize(("language", "outdoor"), [("en", "outdoor"), ("zh", "室外")])
def test_the_process_is_drawn_whole(opened, language, outdoor, size):
    watched = opened(f"/substation/sub-03?lang={language}", size)
    page = watched.page
    until(page, "document.querySelectorAll('#panel-process svg > text').length > 10")
    assert page.evaluate(SIDES) == []
    words = page.locator("#panel-process svg > text").all_text_contents()
    assert len([x for x in words if x.startswith(outdoor)]) == 1
    assert len([x for x in words if x.endswith("kPa")]) == 4
    assert page.locator("#panel-process svg").count() == (1 if size is DESK else 2)
    watched.assert_quiet()
