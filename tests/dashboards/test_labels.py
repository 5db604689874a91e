"""Labels of the network drawing in a real Chromium: none lies over another, however many are silent."""

import pytest

from tests.support.board_running import DESK, PHONE, browser, opened, running

__all__ = ["browser", "opened", "running"]  # fixtures

ALONE = """async ([count, state, language]) => {
  const src = document.querySelector("link[rel=modulepreload]").href.replace(/[^/]*$/, "");
  const { NetworkDrawing } = await import(src + "network.js");
  const { formats, translator } = await import(src + "format.js");
  const words = language === "zh" ? { silent: "失联", stale: "陈旧" } : {};
  const nodes = { n0: { x: 1, y: 0.4, distance_m: 0, devices: ["plant"] } };
  const devices = [{ id: "plant", name: "第一热源厂 Plant 1", class: "plant" }];
  const pipes = [];
  for (let i = 1; i <= count; i += 1) {
    nodes[`n${i}`] = { x: ((i * 37) % 101) / 101, y: ((i * 61) % 89) / 240, distance_m: i, devices: [`s${i}`] };
    devices.push({ id: `s${i}`, name: `Station ${i}`, class: "substation" });
    pipes.push({ pipe: `p${i}`, from: "n0", to: `n${i}`, length_m: 1, behind: [i - 1, i] });
  }
  const place = document.querySelector("#panel-network_drawing .hl-net");
  const context = {
    f: formats(language, "Asia/Shanghai"), t: translator(words), url: (x) => x, metered: () => true,
    site: { devices, byId: new Map(devices.map((d) => [d.id, d])) }, config: { scope: {} },
    live: { now: 1, rows: () => new Map(), believed: () => new Map(), state: (d) => ({ state: d.class === "plant" ? "fresh" : state, age: 0 }) },
    networks: Promise.resolve([{ id: "net", name: "net", nodes, pipes, substations: devices.slice(1).map((d) => d.id), placed: "map", missing: "", apart: [] }]),
  };
  const drawing = new NetworkDrawing({}, context);
  place.replaceWith(drawing.body);
  await new Promise((done) => setTimeout(done, 300));
  const all = drawing.body.getBoundingClientRect();
  const boxes = [...drawing.body.querySelectorAll("text")].map((x) => [x.textContent, x.getBoundingClientRect()]);
  const over = [];
  boxes.forEach(([a, p], i) => boxes.slice(i + 1).forEach(([b, q]) => {
    if (p.left < q.right - 1 && q.left < p.right - 1 && p.top < q.bottom - 3 && q.top < p.bottom - 3) over.push([a, b]);
  }));
  const outside = boxes.filter(([, p]) => p.left < all.left - 1 || p.right > all.right + 1 || p.top < all.top - 1 || p.bottom > all.bottom + 1);
  return { labels: boxes.map(([text]) => text), over, outside: outside.map(([text]) => text), marks: drawing.body.querySelectorAll("a").length };
}"""


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_no_label_of_the_network_lies_over_another(opened, size):
    page = opened("/network?lang=en", size).page
    page.wait_for_selector("#panel-network_drawing .hl-net")
    for count in (3, 10, 30, 100):
        for language, word in (("zh", "失联"), ("en", "silent")):
            found = page.evaluate(ALONE, [count, "silent", language])
            assert (count, language, found["over"]) == (count, language, [])
            assert (count, language, found["outside"]) == (count, language, [])
            assert found["marks"] == count + 1
            assert "第一热源厂 Plant 1" in found["labels"]
            assert found["labels"][-1] == f"✕ {word} {count}"
            if count == 3:
                assert found["labels"].count(word) == 3


@pytest.mark.parametrize(("path", "first"), [("/", "alarm_strip"), ("/alarms", "alarm_list")])
def test_on_a_phone_alarms_come_first(opened, path, first):
    page = opened(f"{path}?lang=en", PHONE).page
    page.wait_for_selector(".hl-card")
    tops = page.evaluate(
        "[...document.querySelectorAll('.hl-card')].map(e => [e.getBoundingClientRect().top, e.id]).sort((a, b) => a[0] - b[0])"
    )
    assert tops[0][1] == f"panel-{first}"


def test_on_a_phone_the_row_of_pages_shows_where_one_is(opened):
    page = opened("/trust?lang=en", PHONE).page
    page.wait_for_selector("#panel-ledger")
    link = page.locator(".hl-nav [aria-current]").bounding_box()
    assert link is not None
    assert link["x"] >= 0
    assert link["x"] + link["width"] <= PHONE["width"]


def test_a_long_name_pushes_no_count_of_the_ledger_out_of_sight(opened):
    page = opened("/trust?lang=en").page
    page.wait_for_selector("#panel-ledger td.hl-named a")
    beyond = page.evaluate(
        """() => {
          document.querySelector("#panel-ledger td.hl-named a").textContent = "第一热源厂煤场地磅 Weighbridge of the first plant's yard, gross";
          const box = document.querySelector("#panel-ledger .hl-scroll");
          return box.scrollWidth - box.clientWidth;
        }"""
    )
    assert beyond == 0
