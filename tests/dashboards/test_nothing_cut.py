"""What stands in a panel of a desk is seen: long names and much evidence push nothing out of sight, in a real Chromium."""

import pytest

from tests.support.board_rest import running
from tests.support.board_running import browser, opened, until

__all__ = ["browser", "opened", "running"]  # fixtures

LONG = "Sunshine Garden South second stage substation number twenty-five"
RENAMED = """([panel, cell, name]) => {
  for (const td of document.querySelectorAll(`#panel-${panel} ${cell}`)) (td.querySelector("a") ?? td).textContent = name;
  const box = document.querySelector(`#panel-${panel} .hl-scroll`);
  return [document.querySelectorAll(`#panel-${panel} ${cell}`).length > 0, box.scrollWidth - box.clientWidth];
}"""
TRENDS = """() => {
  const box = document.querySelector("#panel-alarm_detail .hl-scroll");
  const bottom = box.getBoundingClientRect().bottom;
  return [...box.querySelectorAll("figure")].map(x => Math.round(bottom - x.getBoundingClientRect().bottom));
}"""
EVIDENCE = """n => {
  const list = document.querySelector("#panel-alarm_detail dl");
  for (let i = 0; i < n; i++) list.append(list.children[0].cloneNode(true), list.children[1].cloneNode(true));
}"""


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize(
    ("path", "panel", "cell"),
    [
        ("/", "attention", "td:nth-child(2)"),
        ("/network", "meter_adjustment", "td:nth-child(1)"),
        ("/alarms", "worst_actors", "td:nth-child(1)"),
    ],
)
def test_a_long_name_pushes_no_column_out_of_sight(opened, language, path, panel, cell):
    page = opened(f"{path}?lang={language}").page
    until(page, f"document.querySelectorAll('#panel-{panel} tbody td').length > 3")
    some, beyond = page.evaluate(RENAMED, [panel, cell, LONG])
    assert (some, beyond) == (True, 0)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_trends_of_an_alarm_are_seen_below_much_evidence(opened, language):
    page = opened(f"/alarms?lang={language}").page
    until(page, "document.querySelectorAll('#panel-alarm_detail figure').length > 2")
    page.evaluate(EVIDENCE, 10)
    assert page.evaluate(TRENDS)[2] >= 0, "the third is whole"
