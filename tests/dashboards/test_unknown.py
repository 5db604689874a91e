"""What is unknown says unknown and why, and what an alarm rests on is told in words, in a real Chromium."""

import pytest

from dashboards.language import catalogue
from models.anomaly import ANOMALY, Anomaly, Severity, State, anomaly_table
from models.results import Outputs
from tests.support.board_data import NOW_MS
from tests.support.board_running import browser, opened, running

__all__ = ["browser", "opened", "running"]  # fixtures

MINUTE_MS = 60_000
TRIP = {
    "contract": "C01", "origin": "mine", "destination": "yard", "state": "open", "loaded_kg": 31_000,
    "departed": NOW_MS - 40 * MINUTE_MS, "window_start": NOW_MS - 41 * MINUTE_MS,
}  # fmt: skip


@pytest.fixture(scope="module")
def road(running):
    running.day.write_results(
        "trip",
        [
            {**TRIP, "key": "U1", "plate": "冀U0001"},
            {**TRIP, "key": "U2", "plate": "冀U0002", "arrived": NOW_MS - 5 * MINUTE_MS},
        ],
        0,
    )
    running.day.write_results("eta", [{"key": "U2", "window_start": TRIP["window_start"], "late_p": 0.97}], 0)
    queue = {"waiting": 1, "window_start": NOW_MS - 15 * MINUTE_MS}
    running.day.write_results(
        "queue",
        [{**queue, "key": "bridge-0", "tickets": 0}, {**queue, "key": "bridge-1", "tickets": 2}],
        900_000,
    )


@pytest.mark.parametrize(
    ("language", "says"),
    [
        ("en", ("unknown: no truck was weighed in it", "unknown: nobody saw that truck enter",
                "unknown: no truck left that was weighed here",
                "unknown: no trip of this way has been seen whole yet", "there since 08/01, 16:55")),
        ("zh", ("未知：该时段没有车辆过磅", "未知：过磅车辆的进场未被看到", "未知：该时段没有过磅车离场",
                "未知：该线路尚无完整行程", "01/08 16:55 已到")),
    ],
)  # fmt: skip
def test_unknown_queues_and_arrivals_say_why(opened, road, language, says):
    page = opened(f"/logistics?lang={language}").page
    page.wait_for_selector("#panel-open_trips tr:has-text('冀U0001')")
    bridges = page.locator("#panel-bridge_queues tbody tr")
    none, unseen = bridges.nth(0).inner_text(), bridges.nth(1).inner_text()
    assert (says[0] in none, says[2] in none) == (True, True)
    assert (says[1] in unseen, says[0] in unseen) == (True, False)
    unforetold = page.locator("#panel-open_trips tr", has_text="冀U0001")
    assert unforetold.inner_text().count(says[3]) == 1
    assert (
        unforetold.locator(f"[title='{says[3].split(': ' if language == 'en' else '：')[1]}']").count() == 4
    )
    there = page.locator("#panel-open_trips tr", has_text="冀U0002").inner_text()
    assert says[4] in there
    assert "0.97" not in there, "of one that is there nothing is foretold"
    word = "unknown" if language == "en" else "未知"
    assert (
        bridges.locator(f"td span:text-is('{word}')").evaluate_all(
            "spans => Math.max(...spans.map(s => s.getClientRects().length))"
        )
        == 1
    ), "a word is not broken"
    wider = "e => e.scrollWidth - e.clientWidth"
    assert page.locator("#panel-open_trips .hl-scroll").evaluate(wider) <= 0
    blank = "rows => rows.flatMap(r => [...r.cells]).filter(c => !c.innerText.trim()).length"
    assert bridges.evaluate_all(blank) == 0


def test_a_table_of_what_is_wrong_says_that_nothing_was_found(opened, running):
    page = opened("/logistics?lang=en").page
    page.wait_for_selector("#panel-road_exceptions .hl-empty:has-text('nothing of that kind was found')")


@pytest.mark.parametrize(
    ("language", "says", "none"),
    [
        ("en", "none is open now; ended in this range: 2", "nothing of that kind was found"),
        ("zh", "目前没有未结束的；本时段内已结束 2 条", "目前没有发现此类问题"),
    ],
)
def test_exceptions_that_have_ended_within_the_range_are_not_nothing(opened, running, language, says, none):
    hour_ms = 3_600_000
    ended = [
        Anomaly(subject, "detention", Severity.MINOR, 1.0, {}, NOW_MS - from_h * hour_ms,
                NOW_MS - until_h * hour_ms, 900_000, "donghe", "north", State.ENDED)
        for subject, from_h, until_h in (("truck-1", 3, 2), ("truck-2", 30, 23), ("truck-3", 50, 40))
    ]  # fmt: skip
    out = Outputs("donghe", running.day._next())
    out.add(ANOMALY, anomaly_table(ended, "donghe"))
    running.day.store.write([out])
    page = opened(f"/logistics?lang={language}").page
    page.wait_for_selector(f"#panel-road_exceptions .hl-empty:has-text('{says}')")
    assert page.locator("#panel-road_exceptions tbody tr").count() == 0
    page = opened(f"/logistics?lang={language}&hours=1").page
    page.wait_for_selector(f"#panel-road_exceptions .hl-empty:has-text('{none}')")


TOLD = """async ([texts, evidence, subjects]) => {
  const from = document.querySelector("link[rel=modulepreload]").href.replace(/[^/]*$/, "");
  const { subject, told } = await import(from + "evidence.js");
  const { formats, translator } = await import(from + "format.js");
  const site = { byId: new Map([["sub-1", { name: "一号站" }]]), networks: [{ id: "net-1", name: "北网" }], places: [] };
  const context = { f: formats("zh", "Asia/Shanghai"), t: translator(texts), config: { texts, places: [] }, site };
  return [told({ evidence: JSON.stringify(evidence) }, context), subjects.map((x) => subject(x, context))];
}"""


def test_evidence_and_subjects_are_told_in_the_pages_language(opened):
    page = opened("/trust?lang=zh").page
    rules = {
        "P(received < 80 % of plan) > 0.2": "到货低于计划 80 % 的概率大于 0.2",
        "7 alarms of one code in network:net-1 at once": "热网 北网 同时出现 7 个同类告警",
        "one value for 3 times the longest of 99.0% of the channel's runs": "同一数值持续达该通道 99.0% 常见最长时段的 3 倍",
        "a rule of the site's own": "a rule of the site's own",
    }
    for rule, says in rules.items():
        evidence = {"rule": rule, "shortfall_p": 0.25, "devices": ["sub-1"], "children": ["x:y:1"]}
        told, subjects = page.evaluate(
            TOLD, [catalogue("zh"), evidence, ["network:net-1", "plate:冀A1", "sub-1", "x:y"]]
        )
        assert told == [["规则", says], ["违约概率", "0.25"], ["设备", "一号站"]]
        assert subjects == ["热网 北网", "车牌 冀A1", "一号站", "x:y"]
