// What needs attention first: who is silent or has no heat, then where the return is furthest above the others'.
import { fromTheMiddle } from "./deviations.js";
import { h, put } from "./dom.js";
import { deviceLink } from "./tables.js";
import { mark } from "./tiles.js";

const SHAPES = { silent: "✕", stale: "▨", never: "?", unknown: "?" };

export class Attention {
  constructor(panel, context) {
    this.context = context;
    this.list = h("tbody");
    const { t } = context;
    const heads = [t("priority"), t("device"), t("what"), t("age or excess")].map((x, i) => h("th", { scope: "col" }, i ? x : h("span", { class: "hl-unseen" }, x)));
    this.body = h("div", { class: "hl-scroll", tabindex: 0 },
      h("table", { class: "hl-table hl-attention" }, h("thead", {}, h("tr", {}, heads)), this.list));
  }

  update() {
    const { live, t } = this.context;
    if (live.now === null) return;
    const found = [...this.troubles(), ...this.deviations()].slice(0, 10);
    put(this.list, JSON.stringify(found.map((x) => [x.device.id, x.what, x.much])), () => found.map((x) => h("tr", { "data-row": `${x.device.id} ${x.state ? "state" : "return"}` },
      h("td", { class: "hl-cell hl-first" }, x.priority ? mark(true, x.priority, x.shape) : h("span", { class: "hl-muted" }, x.shape)),
      h("td", { class: "hl-cell hl-named", "data-label": t("device") }, deviceLink(x.device, this.context)),
      h("td", { class: "hl-cell hl-words", "data-label": t("what") }, x.what),
      h("td", { class: "hl-cell", "data-label": t("age or excess") }, x.much))));
  }

  troubles() {
    const { live, site, f, t } = this.context;
    const seen = live.rows("seen");
    const heat = live.rows("heat");
    const order = ["silent", "stale", "never", "unknown"];
    const found = [];
    for (const device of site.devices) {
      const { state, age } = live.state(device, seen.get(device.id)?.window_start);
      const row = heat.get(device.id);
      if (state !== "fresh") {
        const much = age === null ? "–" : t("{age} ago", { age: f.age(age - (age % 5000), t) });
        found.push({ device, state, age, what: t(state === "never" ? "has never reported" : `${state}: no newer reading`), much });
      } else if (row?.status === "unknown") {
        const what = t("heat unknown: {reason}", { reason: t(row.reason ?? "no reason given") });
        found.push({ device, state: "unknown", age: live.now - row.window_start, what, much: t("window from {time}", { time: f.short(row.window_start) }) });
      }
    }
    found.sort((a, b) => order.indexOf(a.state) - order.indexOf(b.state) || (b.age ?? 0) - (a.age ?? 0));
    return found.map((x) => ({ ...x, shape: SHAPES[x.state], priority: x.state === "silent" ? 2 : 3 }));
  }

  // Nothing wrong by itself: where the return is furthest above that of the others.
  deviations() {
    const { live, site, f, t } = this.context;
    const rows = [...live.rows("heat").values()]
      .filter((r) => site.byId.get(r.key)?.class === "substation" && typeof r.return_c === "number");
    if (rows.length < 3) return [];
    return fromTheMiddle(rows.map((r) => ({ device: site.byId.get(r.key), return_c: r.return_c })))
      .filter((x) => x.by > 0)
      .sort((a, b) => b.by - a.by)
      .map(({ device, middle, by }) => ({
        device, shape: "△", what: t("return above the median of {value} °C", { value: f.number(middle, "°C") }),
        much: `+${f.number(by, "°C")} K`,
      }));
  }
}
