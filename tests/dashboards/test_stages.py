"""Lag by stage on the Trust page: from what the server's status tells to the page, in a real Chromium."""

import pytest

from dashboards.live import _status_rows
from tests.support.board_data import status
from tests.support.board_running import browser, opened, running, taken, until

__all__ = ["browser", "opened", "running"]  # fixtures

ROWS = "[...document.querySelectorAll('#panel-stages tbody tr')].map(r => [...r.cells].map(c => c.innerText))"
SHOWN = {
    "en": [
        ["journalling", "ingest", "0.25", "12", "● ok"],
        ["computing", "streams", "31.50", "3,400", "● ok"],
        ["storing", "store", "0", "0", "● ok"],
    ],
    "zh": [
        ["写入日志", "接收端", "0.25", "12", "● 正常"],
        ["计算", "流处理", "31.50", "3,400", "● 正常"],
        ["入库", "存储", "0", "0", "● 正常"],
    ],
}  # fmt: skip


def test_a_component_tells_what_waits_for_it_and_one_that_is_not_there_nothing():
    rows = _status_rows(status())
    assert [rows[x].get("lag_s") for x in ("broker", "ingest", "journal", "streams", "store")] == [
        None, 0.25, None, 31.5, 0.0,
    ]  # fmt: skip
    assert (rows["streams"]["stage"], rows["streams"]["queued"]) == ("stepped", 3400)
    only = {"components": [], "lag": {"stored": {"messages": 1, "seconds": 1.0}, "told": {"records": 1}}}
    assert _status_rows(only) == {}


ELSEWHERE = """async (t) => {
  const from = document.querySelector("link[rel=modulepreload]").href.replace(/[^/]*$/, "");
  const { Components, Stages } = await import(from + "tables.js");
  const rows = new Map([
    ["store", { state: "ok", detail: "here" }],
    ["streams · w 1", { part: "streams", process: "w 1", state: "degraded", stage: "stepped", lag_s: 40.5, queued: 12, what: "late" }],
  ]);
  const context = { live: { now: 1, rows: () => rows }, t: (x) => t[x] ?? x };
  const components = new Components({}, context);
  components.update();
  const [[, stage]] = Stages.prototype.ordered.call({ context });
  return { shown: [...components.body.querySelectorAll("b")].map((x) => x.textContent), stage };
}"""


def test_parts_of_other_processes_stand_by_their_name_and_whose_they_are(opened):
    page = opened("/trust?lang=en").page
    page.wait_for_selector(".hl-component")
    found = page.evaluate(ELSEWHERE, {"streams": "流处理", "store": "存储"})
    assert found["shown"] == ["存储", "流处理 w 1"]
    expected = {"part": "流处理 · w 1", "stage": "computing", "lag_s": 40.5, "queued": 12}
    assert {name: found["stage"][name] for name in expected} == expected


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_stage_stands_there_in_the_order_of_a_message_without_scrolling(opened, language):
    watched = opened(f"/trust?lang={language}")
    page = watched.page
    until(page, f"{ROWS}.length === 3")
    assert page.evaluate(ROWS) == SHOWN[language]
    box = "document.querySelector('#panel-stages .hl-scroll')"
    over = f"[{box}.scrollHeight - {box}.clientHeight, {box}.scrollWidth - {box}.clientWidth]"
    assert page.evaluate(over) == [0, 0]
    assert [row[0] for row in taken(page, "stages")[1:]] == ["journalling", "computing", "storing"]
    watched.assert_quiet()
